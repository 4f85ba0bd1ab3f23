"""Chains over HTTP: what they are made of, and their graphs."""

import asyncio
import sys

import pytest
from fastapi import FastAPI

from fastapi_chain import chain, install, task


def test_chains_and_their_graphs(serving):
    """Definitions and graphs of the app's chains; one that is on no endpoint is known by its name."""
    app = FastAPI()
    runtime = install(app)
    app.include_router(runtime.router(), prefix="/chains")

    @task
    async def lines(order: int, note: str = "") -> list[int]:
        return [order]

    @task(each=lines, retries=2, optional=True)
    async def ship(line: int) -> int:
        return line

    @task(after=[lines], output="row")
    async def save(lines: list[int]) -> int:
        return len(lines)

    @task(after=[ship])
    async def notify() -> None: ...

    @app.post("/data", status_code=202)
    @app.put("/data", status_code=202)
    @chain(save, notify, name="ingest")
    async def ingest(order: int) -> None: ...

    @app.post("/again", status_code=202)
    @chain(save)
    async def again(order: int) -> None: ...

    nightly = chain(save, name="nightly")

    async def main() -> None:
        async with serving(app) as client:
            listed = (await client.get("/chains/chains")).json()["items"]
            assert [one["name"] for one in listed] == ["ingest", "again"]
            assert (await client.get(listed[1]["links"]["self"])).json() == listed[1]
            one = listed[0]
            assert one["targets"] == ["save", "notify"]
            assert one["started_by"] == ["PUT /data", "POST /data"]
            assert one["inputs"] == [{"name": "order", "required": True}, {"name": "note", "required": False}]
            assert one["links"] == {
                "self": "/chains/chains/ingest",
                "graph": "/chains/chains/ingest/graph.json",
                "runs": "/chains/runs?chain=ingest",
            }
            by_name = {declared["name"]: declared for declared in one["tasks"]}
            assert by_name["ship"] == {
                "name": "ship",
                "output": "ship",
                "after": ["lines"],
                "max_attempts": 3,
                "optional": True,
                "each": "lines",
            }
            assert (await client.get("/chains/chains/nightly")).json()["name"] == nightly.name
            for end in ("", "/graph.json", "/graph.mmd", "/graph.svg"):
                answer = await client.get(f"/chains/chains/nope{end}")
                assert (answer.status, answer.slug) == (404, "chain-not-found")
            graph = (await client.get("/chains/chains/again/graph.json")).json()
            assert graph["edges"] == [{"source": "lines", "target": "save", "kind": "data", "params": ["lines"]}]
            text = await client.get("/chains/chains/again/graph.mmd")
            assert text.headers["content-type"] == "text/plain; charset=utf-8"
            assert text.body.decode() == nightly.to_mermaid()

    asyncio.run(main())


def test_edges_say_what_is_handed_on(serving):
    """An item and a value are data, `after=` alone is order."""
    app = FastAPI()
    app.include_router(install(app).router())

    @task
    async def lines() -> list[int]:
        return []

    @task(each=lines)
    async def ship(line: int) -> int:
        return line

    @task(after=[ship])
    async def notify() -> None: ...

    @app.post("/data", status_code=202)
    @chain(notify)
    async def ingest() -> None: ...

    async def main() -> None:
        async with serving(app) as client:
            edges = (await client.get("/chains/ingest/graph.json")).json()["edges"]
            assert edges == [
                {"source": "lines", "target": "ship", "kind": "data", "params": ["line"]},
                {"source": "ship", "target": "notify", "kind": "order", "params": []},
            ]

    asyncio.run(main())


def test_a_drawing_needs_something_that_draws(serving, monkeypatch):
    """An SVG where the drawing is installed; else a 404 that says what to install."""
    pytest.importorskip("graphlay")
    app = FastAPI()
    app.include_router(install(app).router())

    @task
    async def save() -> None: ...

    @app.post("/data", status_code=202)
    @chain(save)
    async def ingest() -> None: ...

    # What is drawn once is kept.
    @app.post("/other", status_code=202)
    @chain(save)
    async def other() -> None: ...

    async def main() -> None:
        async with serving(app) as client:
            drawn = await client.get("/chains/ingest/graph.svg")
            assert drawn.headers["content-type"] == "image/svg+xml"
            assert drawn.body.startswith(b"<svg ")
            monkeypatch.setitem(sys.modules, "graphlay", None)
            missing = await client.get("/chains/other/graph.svg")
            assert (missing.status, missing.slug) == (404, "drawing-not-installed")
            assert missing.json()["detail"].endswith("pip install 'fastapi-chain[dashboard]'")

    asyncio.run(main())
