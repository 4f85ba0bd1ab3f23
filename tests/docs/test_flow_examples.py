"""The examples of flow control, driven as a client would drive them."""

import asyncio
import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest
from fastapi.testclient import TestClient

from fastapi_chain import install
from fastapi_chain.engines.base import RunFilter
from fastapi_chain.web.runtime import Runtime

EXAMPLES = Path(__file__).parents[2] / "docs" / "examples"


def load(name: str) -> ModuleType:
    """Import an example afresh, as a module of its own."""
    spec = importlib.util.spec_from_file_location(f"docs_example_{name}", EXAMPLES / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def test_first_chain_of_the_readme(capsys: pytest.CaptureFixture[str]) -> None:
    """The first example accepts data, saves and indexes it, and README shows exactly that file."""
    example = load("first_chain")
    with TestClient(example.app) as client:
        answer = client.post("/data", json={"text": "Hello World"})
        assert (answer.status_code, answer.json()) == (202, {"status": "accepted"})
    assert example.rows == ["hello world"]
    assert sorted(capsys.readouterr().out.splitlines()) == ["indexed ['hello', 'world']", "row 1 is saved"]
    readme = (EXAMPLES.parents[1] / "README.md").read_text()
    assert f"```python\n{(EXAMPLES / 'first_chain.py').read_text()}```" in readme


def test_checkout_writes_a_receipt() -> None:
    """An order that can be served is charged, reserved and receipted; the same order again is the same run."""
    example = load("checkout")
    with TestClient(example.app) as client:
        first = client.post("/orders", json={"id": 1, "item": "book", "cents": 1990}).json()
        assert first["run"]
    assert example.bank.taken == {1: 1990}
    assert example.stock.items["book"] == 2


def ends(runtime: Runtime) -> list[str]:
    """Return how the runs of *runtime* stand, the newest first."""
    return [run.state for run in runtime.history.search(RunFilter(), 10, None).runs]


def test_checkout_gives_the_money_back() -> None:
    """If the goods are not there, the charge is undone and the run has failed."""
    example = load("checkout")
    with TestClient(example.app) as client:
        client.post("/orders", json={"id": 2, "item": "pen", "cents": 120})
    assert example.bank.taken == {}
    assert ends(example.runtime) == ["failed"]


@pytest.mark.parametrize(
    ("name", "announced"),
    [
        ("a.txt", "a.txt: 3 chunks, without a thumbnail"),  # the optional task fails
        ("a.pdf", "a.pdf: 3 chunks, with a thumbnail"),  # everything succeeds
    ],
)
def test_ingestion_stores_every_chunk(name: str, announced: str) -> None:
    """Each chunk becomes a vector, in order; a missing thumbnail makes nothing fail."""
    example = load("ingestion")
    runtime = install(example.app)
    with TestClient(example.app) as client:
        client.post("/documents", files={"file": (name, b"one two three four five six seven")})
    assert [vector.chunk for vector in example.store[name]] == [0, 1, 2]
    assert ends(runtime) == ["succeeded"]
    said = asyncio.run(example.chain(example.announce).run(document=example.Document(name=name, text="a b c d e f g")))
    assert said[example.announce] == announced


def test_webhooks_collect_failures_and_raise_the_alarm() -> None:
    """What could be delivered is, what could not is in the report and raises one alarm; a repeated delivery is one run."""
    example = load("webhooks")
    with TestClient(example.app) as client:
        first = client.post("/events", json={"kind": "push"}, headers={"X-Delivery": "d1"})
        again = client.post("/events", json={"kind": "push"}, headers={"X-Delivery": "d1"})
        assert first.headers["X-Chain-Run"] == again.headers["X-Chain-Run"]
    assert example.alarms == ["could not reach https://down.example"]
    assert ends(example.runtime) == ["failed"]
