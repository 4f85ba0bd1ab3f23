"""Every page of the tutorial does what it says you should see."""

import importlib.util
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from fastapi.testclient import TestClient

TUTORIAL = Path(__file__).parents[2] / "docs" / "examples" / "tutorial"


def load(name: str) -> ModuleType:
    """Import one file of the tutorial, as a module of its own."""
    spec = importlib.util.spec_from_file_location(f"docs_tutorial_{name}", TUTORIAL / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("page", "path", "body", "printed"),
    [
        ("first", "/orders", {"id": 1, "item": "book", "cents": 1990}, ["receipt: charged 19.90 EUR for order 1"]),
        ("data", "/orders/7?item=pen&email=ann@example.com", None, ["to ann@example.com: pen: 19.90 EUR"]),
        (
            "branches",
            "/orders",
            {"id": 1, "item": "book"},
            ["counted book", "packed from shelf 3", "receipt: paid, shelf 3"],
        ),
        ("dependencies", "/orders", {"id": 4, "item": "book"}, ["order 4 is in the database: True"]),
        ("retries", "/charges?cents=100", None, ["charged on attempt 3"]),
        ("failures", "/charges?cents=100", None, ["audit: paid", "receipt: paid"]),
        ("failures", "/charges?cents=0", None, ["audit: skip: nothing to pay"]),
        (
            "failures",
            "/charges?cents=99999",
            None,
            ["audit: failed, PermissionError: insufficient funds", "calling, because of 'insufficient funds'"],
        ),
        (
            "fan_out",
            "/orders",
            {"lines": [{"item": "pen", "count": 3}, {"item": "book", "count": 1}]},
            ["3 x pen, 1 x book"],
        ),
    ],
)
def test_page(page: str, path: str, body: Any, printed: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """The request of "Check it" prints what the page shows; branches print in any order."""
    example = load(page)
    with TestClient(example.app) as client:
        assert client.post(path, json=body).is_success
    out = capsys.readouterr().out.splitlines()
    assert sorted(out) == printed


def test_watching_runs() -> None:
    """A run is found by its Location, guarded, and gives its result."""
    example = load("watching")
    guarded = {"authorization": "Bearer ann"}
    with TestClient(example.app) as client:
        accepted = client.post("/texts?text=one+two+three")
        assert accepted.headers["location"].startswith("/chains/runs/")
        assert client.get(accepted.headers["location"]).status_code == 401
        run = client.get(accepted.headers["location"], headers={**guarded, "prefer": "wait=5"}).json()
        while not run["done"]:
            run = client.get(accepted.headers["location"], headers={**guarded, "prefer": "wait=5"}).json()
        assert (run["chain"], run["state"]) == ("upload", "succeeded")
        result = client.get(f"{accepted.headers['location']}/result", headers=guarded)
        assert result.json() == {"count": 3}


def test_testing_page() -> None:
    """The tests that the page shows pass, as a user would run them."""
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", str(TUTORIAL), "test_tested.py"],
        cwd=TUTORIAL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert "4 passed" in done.stdout, done.stdout + done.stderr
