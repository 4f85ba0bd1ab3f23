"""The examples of flow control, driven as a client would drive them."""

import asyncio
import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest
from fastapi.testclient import TestClient

from fastapi_chain.testing import ChainClock, chain_client

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


class FlakyBank:
    """Does not answer at first."""

    def __init__(self) -> None:
        self.asked = 0

    async def charge(self, order: int, cents: int) -> None:
        self.asked += 1
        if self.asked < 3:
            raise ConnectionError


def test_checkout_writes_a_receipt(chain_clock: ChainClock) -> None:
    """An order that can be served is charged, reserved and receipted; the same order again is the same run."""
    example = load("checkout")
    with chain_client(example.app) as client:
        order = {"id": 1, "item": "book", "cents": 1990}
        first = client.post("/orders", json=order)
        again = client.post("/orders", json=order)
        run = client.run_of(first)
        assert (first.status_code, first.headers["location"]) == (202, f"/chains/runs/{run.id}")
        assert again.headers["location"] == first.headers["location"]
        assert client.get(f"/chains/runs/{run.id}").json()["counts"] == {"succeeded": 4}
        assert run[example.receipt] == "order 1: 19.90 EUR, from the shelf of books"
        assert run.tags == {"item": "book"}
        assert (example.bank.taken, example.stock.items["book"]) == ({1: 1990}, 2)

        bank = FlakyBank()
        example.app.dependency_overrides[example.get_bank] = lambda: bank
        run = client.run_of(client.post("/orders", json={**order, "id": 2}))
        assert (run.state, len(run.tasks["charge"].attempts)) == ("succeeded", 3)


def test_checkout_gives_the_money_back() -> None:
    """If the goods are not there, that is not tried again, the charge is undone, and there is no receipt."""
    example = load("checkout")
    with chain_client(example.app) as client:
        run = client.run_of(client.post("/orders", json={"id": 2, "item": "pen", "cents": 120}))
    assert example.bank.taken == {}
    assert run.state == "failed"
    assert {name: (record.state, record.skip_reason, record.undone) for name, record in run.tasks.items()} == {
        "charge": ("succeeded", None, True),
        "reserve": ("failed", None, False),
        "receipt": ("skipped", "upstream_failed: reserve", False),
        "analytics": ("succeeded", None, False),
    }
    assert len(run.tasks["reserve"].attempts) == 1
    assert isinstance(run.errors["reserve"], example.SoldOut)


class BusyEmbedder:
    """Counts how often it is called at once; every other text it takes the second time only."""

    def __init__(self) -> None:
        self.now = self.most = 0
        self.seen: set[str] = set()

    async def embed(self, text: str) -> list[float]:
        self.now += 1
        self.most = max(self.most, self.now)
        await asyncio.sleep(0)
        self.now -= 1
        if text not in self.seen and len(self.seen) % 2:
            self.seen.add(text)
            raise ConnectionError
        self.seen.add(text)
        return [float(len(text))]


@pytest.mark.parametrize(
    ("name", "announced"),
    [
        ("a.txt", "a.txt: 3 chunks, without a thumbnail"),  # the optional task fails
        ("a.pdf", "a.pdf: 3 chunks, with a thumbnail"),  # everything succeeds
    ],
)
def test_ingestion_stores_every_chunk(name: str, announced: str) -> None:
    """Each chunk becomes a vector, in order; a missing thumbnail makes nothing fail; the browser sees how far it is."""
    example = load("ingestion")
    with chain_client(example.app) as client:
        answer = client.post("/documents", files={"file": (name, b"one two three four five six seven")})
        run = client.run_of(answer)
        shown = client.get(answer.headers["location"]).json()
    assert [vector.chunk for vector in example.store[name]] == [0, 1, 2]
    assert (run.state, run[example.announce]) == ("succeeded", announced)
    tasks = {one["name"]: one for one in shown["tasks"]}
    assert tasks["chunks"]["progress"] == {"done": 3.0, "total": 3.0, "text": "cutting"}
    assert [item["name"] for item in tasks["vector"]["items"]] == ["vector[0]", "vector[1]", "vector[2]"]
    assert tasks["vector"]["item_counts"] == {"succeeded": 3}


def test_ingestion_calls_the_model_four_times_at_once(chain_clock: ChainClock) -> None:
    """Never more, though chunks are tried again."""
    example = load("ingestion")
    embedder = BusyEmbedder()
    example.app.dependency_overrides[example.get_embedder] = lambda: embedder
    with chain_client(example.app) as client:
        text = " ".join(map(str, range(60)))
        run = client.run_of(client.post("/documents", files={"file": ("a.pdf", text.encode())}))
    assert (run.state, run[example.stored], embedder.most) == ("succeeded", 20, 4)
    assert [vector.chunk for vector in example.store["a.pdf"]] == list(range(20))
    assert {len(item.attempts) for item in run.tasks["vector"].items.values()} == {1, 2}


def test_webhooks_collect_failures_and_raise_the_alarm(
    chain_clock: ChainClock, capsys: pytest.CaptureFixture[str]
) -> None:
    """What could be delivered is, what could not is in the report and raises one alarm; a repeated delivery is one run."""
    example = load("webhooks")
    with chain_client(example.app) as client:
        first = client.post("/events", json={"kind": "push"}, headers={"X-Delivery": "d1"})
        again = client.post("/events", json={"kind": "push"}, headers={"X-Delivery": "d1"})
        assert first.headers["X-Chain-Run"] == again.headers["X-Chain-Run"]
        run = client.run_of(first)
    assert run.state == "failed"
    assert run[example.summary] == example.Report(
        delivered=["https://a.example", "https://b.example"], failed=["https://down.example"]
    )
    assert [len(item.attempts) for item in run.tasks["deliver"].items.values()] == [1, 3, 1]
    assert capsys.readouterr().out == "alarm: could not reach https://down.example\n"


def test_webhooks_are_sent_fifty_a_second(chain_clock: ChainClock) -> None:
    """Beyond the first fifty; where all arrive there is no alarm."""
    example = load("webhooks")
    example.subscribers[:] = [f"https://{n}.example" for n in range(120)]
    with chain_client(example.app) as client:
        run = client.run_of(client.post("/events", json={"kind": "push"}, headers={"X-Delivery": "d1"}))
    assert (run.state, len(run[example.summary].delivered)) == ("succeeded", 120)
    assert chain_clock.elapsed == pytest.approx(70 / 50)
    assert run.tasks["alarm"].skip_reason == "condition"


def test_imports_collect_what_failed() -> None:
    """Rows that fail or have nothing to store are in the report, and the run succeeds."""
    example = load("imports")
    with chain_client(example.app) as client:
        run = client.run_of(client.post("/imports", json=["ann@example.com", "", "bob", "eve@example.com"]))
    assert (run.state, run[example.store]) == ("succeeded", ["ann@example.com", "eve@example.com"])
    assert run[example.report] == example.Report(stored=2, left_out=[2], failed={3: "'bob' is no address"})
