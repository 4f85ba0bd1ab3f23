"""The pytest plugin: what it gives without being asked, in a pytest of its own."""

import subprocess
import sys
from pathlib import Path

import pytest

import fastapi_chain.testing

FAILING = """
import asyncio

import pytest
from fastapi_chain import chain, task
from fastapi_chain.testing import run_inline


def make():
    @task
    async def charge() -> None:
        raise PermissionError("declined")

    @task(after=[charge])
    async def receipt() -> None:
        pass

    return chain(receipt, name="checkout")


@pytest.fixture
def broken():
    raise OSError("no fixture")


def test_fails():
    run = asyncio.run(run_inline(make(), raise_errors=False))
    assert run.state == "succeeded"


def test_passes(fresh_registry, chain_clock):
    run = asyncio.run(run_inline(make(), raise_errors=False))
    assert run.state == "failed" and list(fresh_registry.tasks) == ["charge", "receipt"]
    assert chain_clock.elapsed == 0


def test_has_no_run():
    assert False


def test_cannot_begin(broken):
    pass
"""


def run_pytest(folder: Path, text: str) -> str:
    """Return what pytest prints about a file of tests."""
    (folder / "test_shop.py").write_text(text)
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-p",
        "no:cacheprovider",
        "-p",
        "no:timeout",
        "--rootdir",
        str(folder),
        "-q",
    ]
    result = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    return result.stdout + result.stderr


def test_a_failing_test_shows_its_runs(tmp_path: Path) -> None:
    """The report of a test that failed has a section with its runs, drawn as `fastapi-chain show` draws them."""
    output = run_pytest(tmp_path, FAILING)
    assert "2 failed, 1 passed, 1 error" in output
    assert output.count("- fastapi_chain runs -") == 1
    section = output.partition("- fastapi_chain runs -")[2].partition("____")[0]
    lines = [line.rstrip() for line in section.splitlines()[1:]]
    assert lines[0].startswith("checkout ")
    assert "✗ failed" in lines[0]
    assert lines[2].startswith("✗  charge   ")
    assert lines[3].startswith("»  receipt  ")
    assert lines[3].endswith("needs charge")
    assert lines[5] == "charge failed after 1 attempt"
    assert '  test_shop.py:12   raise PermissionError("declined")' in lines
    assert "  PermissionError: declined" in lines
    assert "  skipped because of it: receipt" in lines


def test_no_fixture_is_used_by_itself(tmp_path: Path) -> None:
    """A test that does not ask for anything gets nothing, and pytest starts without FastAPI."""
    text = "import sys\n\ndef test_it():\n    assert not {'fastapi', 'starlette'} & set(sys.modules)\n"
    assert "1 passed" in run_pytest(tmp_path, text)


def test_the_names_are_those_of_the_stub() -> None:
    """Type checkers see the names that there are, and an unknown one is an attribute error."""
    stub = Path(fastapi_chain.testing.__file__).with_suffix(".pyi").read_text()
    names = fastapi_chain.testing.__all__
    assert names == sorted(names)
    assert all(f"{name} as {name}" in stub and getattr(fastapi_chain.testing, name).__doc__ for name in names)
    assert set(names) <= set(dir(fastapi_chain.testing))
    with pytest.raises(AttributeError, match=r"module 'fastapi_chain.testing' has no attribute 'no_such_name'"):
        _ = fastapi_chain.testing.no_such_name
