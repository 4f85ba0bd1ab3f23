# Everything a contributor does, as one word each. `make` alone lists the words.
# A fresh machine needs Python 3.11 or newer, git and make: the rest is installed into .venv and .cache.

PYTHON ?= python3
BIN := .venv/bin
PIP := PIP_DISABLE_PIP_VERSION_CHECK=1 $(BIN)/python -m pip -qq
EXTRAS := cli,dashboard,durable,mypy,otel,testing

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help demo test test-long check format docs bench bench-all soak clean static

help: ## List the commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: .venv/demo.stamp ## Send real orders through a demo app and watch its runs
	@$(BIN)/python -m fastapi_chain.demo

test: static ## All checks, and all tests on every supported FastAPI, Python and mypy
	@$(BIN)/python tools/jobs.py

test-long: static ## The databases and random graphs on the other Pythons, too
	@$(BIN)/python tools/jobs.py python full

check: static ## Formatting, lint, layers, types and unit tests (below 90 seconds)
	@$(BIN)/python -m pytest --quiet tests/unit $(wildcard tests/test_*.py) fastapi_chain

static: .venv/dev.stamp
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	@$(BIN)/lint-imports --no-logo --no-cache
	$(BIN)/mypy
	$(BIN)/pyright --warnings
	$(BIN)/python tools/public_types.py

format: .venv/dev.stamp ## Format the code and mend what ruff can mend
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

docs: .venv/dev.stamp ## Build the documentation into site/, with both of its builders
	$(BIN)/zensical build --strict
	@# The theme's notice is about MkDocs 2, which is not what is installed.
	@rm -rf site
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

bench: .venv/dev.stamp ## Measure against hand-written asyncio
	@$(BIN)/python -m benchmarks

bench-all: .venv/dev.stamp ## Measure against other libraries too, in a venv of their own
	@$(BIN)/python -m benchmarks --all

soak: .venv/dev.stamp ## Kill workers and servers hundreds of times, on both databases; watch the memory under load
	@$(BIN)/python -m benchmarks.load
	@FASTAPI_CHAIN_KILLS=300 FASTAPI_CHAIN_SERVER_KILLS=30 $(BIN)/python -m pytest --quiet \
		tests/engines/test_durable_kill.py tests/acceptance/test_kill_servers.py

clean: ## Remove everything that these commands made
	rm -rf .venv .cache .coverage* .hypothesis .mypy_cache .pytest_cache .ruff_cache .import_linter_cache build dist site
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

.venv/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "fastapi_chain needs Python 3.11 or newer: make PYTHON=python3.12")'
	@$(PYTHON) -m venv .venv
	@# --group came with pip 25.1.
	@$(PIP) install 'pip>=25.1'

.venv/demo.stamp: pyproject.toml constraints.txt | .venv/bin/python
	@echo 'Installing fastapi_chain and what its demo needs into .venv ...'
	@$(PIP) install -c constraints.txt --editable '.[dashboard]' --group demo
	@touch $@

.venv/dev.stamp: pyproject.toml constraints.txt | .venv/bin/python
	@echo 'Installing fastapi_chain and its tools into .venv ...'
	@$(PIP) install -c constraints.txt --editable '.[$(EXTRAS)]' --group dev
	@touch $@ .venv/demo.stamp
