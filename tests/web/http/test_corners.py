"""What is rarely met, each part by itself."""

import asyncio
import contextvars
import sys
from collections.abc import AsyncIterator
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.responses import StreamingResponse

from fastapi_chain import chain, install, task
from fastapi_chain._trace import trace_of
from fastapi_chain.endpoint import once
from fastapi_chain.web import access
from fastapi_chain.web.access import Withdrawn
from fastapi_chain.web.feed import Feeds
from fastapi_chain.web.render import Renderer
from fastapi_chain.web.sse import Bell
from fastapi_chain.web.words import Words


def shop(**options: Any) -> tuple[FastAPI, Any]:
    """Return an app with a runtime whose router is at /chains."""
    app = FastAPI()
    runtime = install(app, **options)
    app.include_router(runtime.router(), prefix="/chains")
    return app, runtime


def test_a_search_for_visible_runs_ends(serving, monkeypatch):
    """Where most runs are hidden, a page may have fewer than were wanted; its cursor leads on."""
    monkeypatch.setattr(access, "_PAGES", 2)
    app = FastAPI()
    runtime = install(app)
    app.include_router(runtime.router(visible=lambda _request, run: run.tags["n"] == "0"))

    @task
    async def save() -> None: ...

    @app.post("/data", status_code=202)
    @chain(save, tags={"n": "{n}"})
    async def ingest(n: int) -> None: ...

    async def main() -> None:
        async with serving(app) as client:
            for n in range(4):
                await client.post(f"/data?n={n}")
            first = (await client.get("/runs?limit=1")).json()
            assert (first["items"], bool(first["next_cursor"])) == ([], True)
            second = (await client.get(f"/runs?limit=1&cursor={first['next_cursor']}")).json()
            assert ([run["tags"] for run in second["items"]], second["next_cursor"]) == ([{"n": "0"}], None)

    asyncio.run(main())


def test_a_queued_run_is_streamed_from_its_start(serving):
    """Its tasks show that it has begun."""
    app, _ = shop(max_running=1)
    gates: dict[str, asyncio.Event] = {}

    @task
    async def wait() -> None:
        await gates["on"].wait()

    @app.post("/data", status_code=202)
    @chain(wait)
    async def ingest() -> None: ...

    async def main() -> None:
        gates["on"] = asyncio.Event()
        async with serving(app) as client:
            await client.post("/data")
            at = (await client.post("/data")).headers["location"]
            stream = client.start("GET", f"{at}/events")
            snapshot = await stream.event("run.snapshot")
            assert (snapshot["state"], snapshot["progress"]) == ("queued", 0.0)
            gates["on"].set()
            await stream.end()
            # The start of the run itself has a number, and no event.
            assert [(name, number) for name, number, _ in stream.events()] == [
                ("run.snapshot", 0),
                ("task.changed", 2),
                ("task.changed", 3),
                ("run.finished", 4),
            ]

    asyncio.run(main())


def test_a_feed_that_has_ended_makes_room_for_a_new_one(serving):
    """A follower of the old one leaves without taking the new one along."""
    app, runtime = shop()
    gates: dict[str, asyncio.Event] = {}

    @task
    async def wait() -> None:
        await gates["on"].wait()

    @app.post("/data", status_code=202)
    @chain(wait)
    async def ingest() -> None: ...

    async def main() -> None:
        gates["on"] = asyncio.Event()
        async with serving(app) as client:
            at = (await client.post("/data")).headers["location"]
            run = await runtime.engine.find(at[-32:])
            feeds = Feeds(Words(Renderer(expose_errors=False)))
            bell = Bell()
            old = feeds.follow(run, bell.ring)
            first = old.__enter__()
            first.ended = True
            with feeds.follow(run, bell.ring) as second:
                assert second is not first
                old.__exit__(None, None, None)
                assert feeds._feeds == {run.id: second}
            assert feeds._feeds == {}
            gates["on"].set()

    asyncio.run(main())


def test_a_bell_that_rings_twice_wakes_once():
    """What it was for, whoever wakes sees for themselves."""

    async def main() -> None:
        bell = Bell()
        bell.ring()
        bell.ring()
        await bell.wait()
        waiting = asyncio.ensure_future(bell.wait())
        await asyncio.sleep(0)
        assert not waiting.done()
        waiting.cancel()
        await asyncio.wait([waiting])
        bell.ring()
        await bell.wait()

    asyncio.run(main())


def test_a_large_answer_in_many_parts_is_not_kept(serving, monkeypatch):
    """It is let through as it comes."""
    monkeypatch.setattr(once, "LARGEST", 10)
    app, _ = shop()

    @task
    async def save() -> None: ...

    async def parts() -> AsyncIterator[bytes]:
        for _ in range(3):
            yield b"x" * 8

    @app.post("/data", status_code=202)
    @chain(save, idempotent=True)
    async def ingest() -> StreamingResponse:
        return StreamingResponse(parts())

    async def main() -> None:
        async with serving(app) as client:
            assert (await client.post("/data", idempotency_key="k")).body == b"x" * 24
            assert (await client.post("/data", idempotency_key="k")).slug == "idempotency-answer-not-kept"

    asyncio.run(main())


def test_a_failed_run_without_a_failed_task(serving):
    """Its reason is all that there is: what a durable engine says of a run that nobody has confirmed."""
    app, runtime = shop()

    @task
    async def save() -> None: ...

    @app.post("/data", status_code=202)
    @chain(save)
    async def ingest() -> None: ...

    async def main() -> None:
        async with serving(app) as client:
            at = (await client.post("/data")).headers["location"]
            await client.finished(at)
            run = await runtime.engine.find(at[-32:])
            run.inner.state, run.inner.reason = "failed", "unconfirmed"
            shown = (await client.get(at)).json()
            assert (shown["state"], shown["reason"], shown["error"]) == ("failed", "unconfirmed", None)

    asyncio.run(main())


def test_the_trace_of_a_request():
    """It is that of the span that was current; without a context or a span there is none."""
    trace = pytest.importorskip("opentelemetry.trace")
    span = trace.NonRecordingSpan(
        trace.SpanContext(trace_id=0xABC, span_id=1, is_remote=False, trace_flags=trace.TraceFlags(1))
    )

    def current() -> contextvars.Context:
        with trace.use_span(span):
            return contextvars.copy_context()

    assert trace_of(current()) == "00000000000000000000000000000abc"
    assert trace_of(contextvars.Context()) is None
    assert trace_of(None) is None


def test_without_open_telemetry_there_is_no_trace(monkeypatch):
    """Nobody has imported it, so nobody has a trace."""
    monkeypatch.delitem(sys.modules, "opentelemetry.trace", raising=False)
    assert trace_of(contextvars.copy_context()) is None


@pytest.mark.parametrize("name", ["missing", "ingest"])
def test_plans_by_name(serving, name):
    """Durable engines ask for them: of the app's own chains, and of any other there is."""
    app, runtime = shop()

    @task
    async def save() -> None: ...

    @app.post("/data", status_code=202)
    @chain(save)
    async def ingest() -> None: ...

    assert (runtime.plan(name) is None) == (name == "missing")
    assert "ingest" not in [plan.chain for plan, _ in runtime.crons()]


def test_the_last_runs_that_came_to_nothing_are_remembered():
    """So that their 404 can say why; only so many of them."""
    withdrawn = Withdrawn(limit=2)
    for run in "abca":
        withdrawn.add(run)
    assert [run in withdrawn for run in "abc"] == [True, False, True]
