"""Every page of the tutorial does what it says you should see."""

import importlib.util
import re
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from types import ModuleType

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


BASKET = {"items": ["pen", "book"], "cents": 1990}
RECEIPT = "to ann@example.com: pen, book: 19.90 EUR, from shelf 2"
IN_ROWS = "order 1 is in the database: True"
PACKING = "packing from shelf 2"


@pytest.mark.parametrize(
    ("page", "cents", "printed"),
    [
        ("data", 1990, ["to ann@example.com: pen, book: 19.90 EUR"]),
        ("branches", 1990, [PACKING, RECEIPT]),
        ("dependencies", 1990, [IN_ROWS, PACKING, RECEIPT]),
        ("retries", 1990, [IN_ROWS, PACKING, "charged on attempt 3", RECEIPT]),
        ("failures", 1990, [PACKING, "audit: 1990 cents", RECEIPT]),
        ("failures", 0, ["audit: skip: nothing to pay", PACKING]),
        (
            "failures",
            99999,
            [
                "audit: failed, Declined: insufficient funds",
                "calling ann@example.com, because of 'insufficient funds'",
                PACKING,
            ],
        ),
        ("fan_out", 1990, ["audit: 1990 cents", "packing pen in paper, book in paper, from shelf 2", RECEIPT]),
    ],
)
def test_page(page: str, cents: int, printed: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """An order prints what the shop of that page prints, in any order of its branches."""
    example = load(page)
    with TestClient(example.app) as client:
        answer = client.post("/orders?email=ann@example.com", json=BASKET | {"cents": cents})
        assert answer.json() == BASKET | {"id": 1, "cents": cents}
    assert sorted(capsys.readouterr().out.splitlines()) == sorted(printed)


def test_the_shop_grows() -> None:
    """Each page keeps the tasks of the page before; fan-out packs what it has wrapped."""
    pages = ("first", "data", "branches", "dependencies", "retries", "failures", "fan_out", "progress", "watching")
    shown = [
        set(re.findall(r"^(?:async )?def (\w+)", (TUTORIAL / f"{page}.py").read_text(), re.MULTILINE)) for page in pages
    ]
    for before, after in pairwise(shown):
        assert before - {"page"} <= after


def test_watching_runs() -> None:
    """A run is found by its Location, guarded, and gives its result."""
    example = load("watching")
    guarded = {"authorization": "Bearer ann"}
    with TestClient(example.app) as client:
        accepted = client.post("/orders?email=ann@example.com", json=BASKET)
        assert accepted.headers["location"].startswith("/chains/runs/")
        assert client.get(accepted.headers["location"]).status_code == 401
        run = client.get(accepted.headers["location"], headers={**guarded, "prefer": "wait=5"}).json()
        while not run["done"]:
            run = client.get(accepted.headers["location"], headers={**guarded, "prefer": "wait=5"}).json()
        assert (run["chain"], run["state"], run["tags"]) == ("checkout", "succeeded", {"email": "ann@example.com"})
        result = client.get(f"{accepted.headers['location']}/result", headers=guarded)
        assert result.json() == {"send": None, "pack": "2 parcels from shelf 2", "audit": None}


def test_testing_page() -> None:
    """The tests that the page shows pass, as a user would run them."""
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-p",
            "no:cacheprovider",
            "--rootdir",
            str(TUTORIAL),
            "test_watching.py",
        ],
        cwd=TUTORIAL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert "4 passed" in done.stdout, done.stdout + done.stderr
