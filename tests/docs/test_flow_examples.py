"""The examples of flow control, driven as a client would drive them."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest
from fastapi.testclient import TestClient

from fastapi_chain.testing import chain_client

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
    order = {"id": 1, "item": "book", "cents": 1990}
    with chain_client(example.app) as client:
        run, again = (client.run_of(client.post("/orders", json=order)) for _ in range(2))
    assert (run.state, run[example.receipt]) == ("succeeded", "order 1: 19.90 EUR, from the shelf of books")
    assert run.id == again.id
    assert example.bank.taken == {1: 1990}
    assert example.stock.items["book"] == 2


def test_checkout_gives_the_money_back() -> None:
    """If the goods are not there, the charge is undone and the run has failed."""
    example = load("checkout")
    with chain_client(example.app) as client:
        run = client.run_of(client.post("/orders", json={"id": 2, "item": "pen", "cents": 120}))
    assert example.bank.taken == {}
    assert (run.state, run.tasks["charge"].undone) == ("failed", True)


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
    with chain_client(example.app) as client:
        run = client.run_of(client.post("/documents", files={"file": (name, b"one two three four five six seven")}))
    assert [vector.chunk for vector in example.store[name]] == [0, 1, 2]
    assert (run.state, run[example.announce]) == ("succeeded", announced)


def test_webhooks_collect_failures_and_raise_the_alarm(capsys: pytest.CaptureFixture[str]) -> None:
    """What could be delivered is, what could not is in the report and raises one alarm; a repeated delivery is one run."""
    example = load("webhooks")
    with chain_client(example.app) as client:
        run, again = (
            client.run_of(client.post("/events", json={"kind": "push"}, headers={"X-Delivery": "d1"})) for _ in range(2)
        )
    assert run.id == again.id
    assert run[example.summary].delivered == ["https://a.example", "https://b.example"]
    assert capsys.readouterr().out == "alarm: could not reach https://down.example\n"
    assert run.state == "failed"


def test_imports_collect_what_failed() -> None:
    """Rows that fail or have nothing to store are in the report, and the run succeeds."""
    example = load("imports")
    with chain_client(example.app) as client:
        run = client.run_of(client.post("/imports", json=["ann@example.com", "", "bob", "eve@example.com"]))
    assert (run.state, run[example.store]) == ("succeeded", ["ann@example.com", "eve@example.com"])
    assert run[example.report] == example.Report(stored=2, left_out=[2], failed={3: "'bob' is no address"})
