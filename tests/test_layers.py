"""The layers: the package keeps the contracts of pyproject.toml, and each contract notices what it is there for."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import fastapi_chain

PACKAGE = Path(fastapi_chain.__file__).parent
CONFIG = Path(__file__).parent.parent / "pyproject.toml"


def lint_imports(folder: Path) -> str:
    """Return what import-linter says about the package in *folder*."""
    code = "from importlinter.cli import lint_imports_command; lint_imports_command()"
    command = [sys.executable, "-c", code, "--no-logo", "--no-cache", "--config", str(CONFIG)]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False).stdout


def broken(output: str) -> set[str]:
    """Return the names of the contracts that are broken."""
    return {line.removesuffix(" BROKEN") for line in output.splitlines() if line.endswith(" BROKEN")}


def listed_modules() -> list[str]:
    """Return every module that has a row in a contract, those inside another one first."""
    contracts = tomllib.loads(CONFIG.read_text())["tool"]["importlinter"]["contracts"]
    rows = [
        (container, layer)
        for contract in contracts
        for container in contract.get("containers", [])
        for layer in contract["layers"]
    ]
    modules = {f"{container}.{tail.strip(' ()')}" for container, layer in rows for tail in re.split("[:|]", layer)}
    return sorted(modules, key=lambda module: (-module.count("."), module))


LAYERS = "A module imports only from the rows below it"
PLAN = "A module of plan imports only from the rows below it"
WEB = "A module of web imports only from the rows below it"
ENGINES = "A module of engines imports only from the rows below it"
INDEPENDENT = "No engine knows another one"
PURE = "What is declared, planned and scheduled knows no framework"
ACYCLIC = "No two siblings import each other, function-local imports included"


def test_the_package_keeps_every_contract() -> None:
    """import-linter finds nothing in the package, and has checked something."""
    output = lint_imports(PACKAGE.parent)
    assert " 0 broken." in output, output
    assert broken(output) == set()


@pytest.mark.parametrize(
    ("files", "contracts"),
    [
        # As it stands, all is well.
        ({}, set()),
        # Downwards is what imports are for.
        ({"plan/__init__.py": "from fastapi_chain.spec import TaskSpec"}, set()),
        # One row up.
        ({"declare/__init__.py": "from fastapi_chain.plan import Plan"}, {LAYERS}),
        ({"plan/graph.py": "from .wiring import Wiring"}, {PLAN}),
        # All the way up, and inside a function.
        ({"spec.py": "def f() -> None:\n    from . import plan"}, {LAYERS}),
        # A module that stands in no row.
        ({"helpers.py": ""}, {LAYERS}),
        # What is pure imports no framework, wherever in the file.
        ({"plan/wiring.py": "import fastapi"}, {PURE}),
        ({"spec.py": "def f() -> None:\n    import sqlalchemy.orm"}, {PURE}),
        # An endpoint knows nothing of the chain above it; nor do routes of the app.
        ({"endpoint/call.py": "from fastapi_chain.chains import Chain"}, {LAYERS}),
        ({"web/routes.py": "from .runtime import install"}, {WEB}),
        # One engine uses another.
        ({"engines/durable.py": "from .memory import MemoryEngine"}, {ENGINES, INDEPENDENT}),
        # Modules of one row may know each other ...
        ({"events.py": "from .tasks import Task"}, set()),
        # ... but not both ways.
        (
            {"events.py": "from .tasks import Task", "tasks.py": "def f() -> None:\n    from .events import Event"},
            {ACYCLIC},
        ),
    ],
)
def test_a_contract_notices(tmp_path: Path, files: dict[str, str], contracts: set[str]) -> None:
    """Among empty modules, lines that do not belong into a file break exactly the contract that forbids them."""
    for module in listed_modules():
        path = tmp_path.joinpath(*module.split(".")).with_suffix(".py")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.parent.joinpath("__init__.py").touch()
        if not path.with_suffix("").is_dir():
            path.touch()
    (tmp_path / "fastapi_chain" / "__init__.py").touch()
    for file, text in files.items():
        (tmp_path / "fastapi_chain" / file).write_text(text)
    assert broken(lint_imports(tmp_path)) == contracts
