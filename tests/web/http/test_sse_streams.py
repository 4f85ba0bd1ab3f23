"""A run as server-sent events."""

import asyncio
import logging
from typing import Any

import pytest
from fastapi import FastAPI

from fastapi_chain import Progress, chain, install, task
from fastapi_chain.engines.base import KnownRun
from fastapi_chain.web import feed, sse


def shop(**options: Any) -> tuple[FastAPI, Any]:
    """Return an app with a runtime whose router is at /chains."""
    app = FastAPI()
    runtime = install(app, **options)
    app.include_router(runtime.router(), prefix="/chains")
    return app, runtime


Gates = dict[str, asyncio.Event]


def waiting(app: FastAPI, gates: Gates) -> None:
    """Give *app* an endpoint that starts a run of two tasks; each waits for its gate."""

    @task
    async def first() -> None:
        await gates["first"].wait()

    @task(after=[first])
    async def second() -> None:
        await gates["second"].wait()

    @app.post("/data", status_code=202)
    @chain(second)
    async def ingest() -> None: ...


def opened(*names: str) -> Gates:
    """Return new gates."""
    return {name: asyncio.Event() for name in names}


def test_a_run_is_streamed_to_its_end(serving):
    """A snapshot, then what changes, numbered as the run counts, then the end; the server closes."""
    app, _ = shop()
    gates: Gates = {}
    waiting(app, gates)

    async def main() -> None:
        gates.update(opened("first", "second"))
        async with serving(app) as client:
            at = (await client.post("/data")).headers["location"]
            stream = client.start("GET", f"{at}/events")
            await stream.event("run.snapshot")
            assert (stream.status, stream.headers) == (
                200,
                {
                    "content-type": "text/event-stream; charset=utf-8",
                    "cache-control": "no-store",
                    "x-accel-buffering": "no",
                },
            )
            assert stream.body.startswith(b"retry: 1000\n\n")
            gates["first"].set()
            gates["second"].set()
            await stream.end()
            assert stream.over
            assert stream.names() == ["run.snapshot", *["task.changed"] * 3, "run.finished"]
            numbers = [number for _, number, _ in stream.events()]
            assert numbers == list(range(numbers[0], numbers[0] + 5))
            (_, _, snapshot), *changes, (_, _, end) = stream.events()
            assert snapshot == {**(await client.finished(at)), **snapshot}
            assert snapshot["state"] == "running"
            assert [{name: value for name, value in data.items() if name != "at"} for _, _, data in changes] == [
                {"task": "first", "state": "succeeded", "attempt": 1},
                {"task": "second", "state": "running", "attempt": 1, "max_attempts": 1},
                {"task": "second", "state": "succeeded", "attempt": 1},
            ]
            assert end == {"state": "succeeded", "reason": None, "counts": {"succeeded": 2}}

    asyncio.run(main())


def test_every_kind_of_event(serving):
    """Retries, failures, skips, undos, progress and logs, each with what belongs to it; no text of errors."""
    app, _ = shop()
    gates: Gates = {}
    log = logging.getLogger("shop")

    @task
    async def unpack() -> None: ...

    @task(undo=unpack)
    async def pack(progress: Progress) -> None:
        await gates["on"].wait()
        progress(1, 2, "half")

    async def broken() -> None:
        raise OSError

    @task(undo=broken)
    async def label() -> None:
        await gates["on"].wait()
        try:
            raise KeyError("in the traceback")
        except KeyError:
            log.exception("label %d", 7)

    @task(after=[pack, label], retries=1, backoff=0.001)
    async def ship() -> None:
        raise OSError("a secret")

    @task(after=[ship])
    async def notify() -> None: ...

    @app.post("/data", status_code=202)
    @chain(notify)
    async def ingest() -> None: ...

    async def main() -> None:
        gates.update(opened("on"))
        async with serving(app) as client:
            at = (await client.post("/data")).headers["location"]
            stream = client.start("GET", f"{at}/events")
            await stream.event("run.snapshot")
            gates["on"].set()
            await stream.end()
            told = [
                (name, {key: value for key, value in data.items() if key != "at" and value is not None})
                for name, _, data in stream.events()[1:]
            ]
            hidden = {
                "type": "about:blank",
                "title": "Error",
                "detail": f"What went wrong is in the server's log, under run {at[-32:][:8]}.",
            }
            retrying = next(data for _, data in told if data.get("state") == "retrying")
            assert retrying.pop("next_attempt_at") > "2026"
            expected = [
                ("task.progress", {"task": "pack", "done": 1.0, "total": 2.0, "text": "half"}),
                ("task.log", {"task": "label", "attempt": 1, "level": "error", "text": "label 7"}),
                (
                    "task.changed",
                    {
                        "task": "ship",
                        "state": "retrying",
                        "attempt": 1,
                        "max_attempts": 2,
                        "error": {**hidden, "task": "ship"},
                    },
                ),
                (
                    "task.changed",
                    {"task": "ship", "state": "failed", "attempt": 2, "error": {**hidden, "task": "ship"}},
                ),
                ("task.changed", {"task": "notify", "state": "skipped", "skip_reason": "upstream_failed: ship"}),
                ("task.changed", {"task": "label", "undone": False, "undo_error": {**hidden, "task": "label"}}),
                ("task.changed", {"task": "pack", "undone": True}),
                (
                    "run.finished",
                    {"state": "failed", "counts": {"succeeded": 2, "failed": 1, "skipped": 1}},
                ),
            ]
            assert [one for one in told if one in expected] == expected
            assert b"secret" not in stream.body
            assert b"traceback" not in stream.body

    asyncio.run(main())


def test_a_cancelled_run_ends_its_stream(serving):
    """Its tasks say why."""
    app, _ = shop()
    gates: Gates = {}
    waiting(app, gates)

    async def main() -> None:
        gates.update(opened("first", "second"))
        async with serving(app) as client:
            at = (await client.post("/data")).headers["location"]
            stream = client.start("GET", f"{at}/events")
            await stream.event("run.snapshot")
            await client.post(f"{at}/cancel")
            await stream.end()
            changes = [
                (data["task"], data["state"], data["cancel_reason"])
                for name, _, data in stream.events()
                if name == "task.changed"
            ]
            assert changes == [("first", "cancelled", "run_cancelled"), ("second", "cancelled", "run_cancelled")]
            assert stream.events()[-1][2]["reason"] == "run_cancelled"

    asyncio.run(main())


def test_a_stream_is_resumed(serving):
    """`Last-Event-ID`, or `after`, gives what came after it and no snapshot; what lies ahead gives a snapshot."""
    app, _ = shop()
    gates: Gates = {}
    waiting(app, gates)

    async def main() -> None:
        gates.update(opened("first", "second"))
        async with serving(app) as client:
            at = (await client.post("/data")).headers["location"]
            stream = client.start("GET", f"{at}/events")
            await stream.event("run.snapshot")
            seen = stream.events()[0][1]
            stream.leave()
            await stream.end()
            assert not stream.over
            gates["first"].set()
            by_header = client.start("GET", f"{at}/events?after=1000", last_event_id=str(seen))
            by_query = client.start("GET", f"{at}/events?after={seen}", last_event_id="nonsense")
            ahead = client.start("GET", f"{at}/events?after=1000")
            for one in (by_header, by_query):
                change = await one.event("task.changed")
                assert (change["task"], change["state"]) == ("first", "succeeded")
                assert one.events()[0][1] == seen + 1
                assert "run.snapshot" not in one.names()
            await ahead.event("run.snapshot")
            gates["second"].set()
            for one in (by_header, by_query, ahead):
                await one.end()
                assert one.names()[-1] == "run.finished"

    asyncio.run(main())


def test_the_stream_of_a_finished_run(serving):
    """Snapshot, end, close; who has seen the end gets 204; who has seen only the snapshot gets the end."""
    app, _ = shop()

    @task
    async def save() -> None: ...

    @app.post("/data", status_code=202)
    @chain(save)
    async def ingest() -> None: ...

    async def main() -> None:
        async with serving(app) as client:
            at = (await client.post("/data")).headers["location"]
            run = await client.finished(at)
            stream = await client.get(f"{at}/events")
            assert stream.names() == ["run.snapshot", "run.finished"]
            (_, first, snapshot), (_, last, end) = stream.events()
            assert (first, last) == (run["seq"] - 1, run["seq"])
            assert snapshot == run
            assert end == {"state": "succeeded", "reason": None, "counts": {"succeeded": 1}}
            again = await client.get(f"{at}/events", last_event_id=str(first))
            assert again.names() == ["run.snapshot", "run.finished"]
            for known in (last, last + 5):
                over = await client.get(f"{at}/events", last_event_id=str(known))
                assert (over.status, over.body) == (204, b"")

    asyncio.run(main())


def test_what_is_gone_is_made_good_by_a_snapshot(serving, monkeypatch):
    """A client that was too slow, or away too long, starts again from a snapshot."""
    monkeypatch.setattr(feed, "KEPT", 3)
    app, _ = shop()
    gates: Gates = {}

    @task
    async def lines() -> list[int]:
        return list(range(10))

    @task(each=lines)
    async def ship(line: int) -> None: ...

    @task(after=[ship])
    async def wait() -> None:
        gates["begun"].set()
        await gates["on"].wait()

    @app.post("/data", status_code=202)
    @chain(wait)
    async def ingest() -> None: ...

    async def main() -> None:
        gates.update(opened("begun", "on"))
        async with serving(app) as client:
            at = (await client.post("/data")).headers["location"]
            await gates["begun"].wait()
            stream = client.start("GET", f"{at}/events?after=2")
            snapshot = await stream.event("run.snapshot")
            assert stream.names() == ["run.snapshot"]
            assert snapshot["counts"] == {"running": 1, "succeeded": 2}
            gates["on"].set()
            await stream.end()
            assert stream.names() == ["run.snapshot", "task.changed", "run.finished"]

    asyncio.run(main())


def test_followers_share_what_is_read(serving):
    """However many follow a run, its events are read once; the last one who leaves ends that."""
    app, runtime = shop()
    gates: Gates = {}
    waiting(app, gates)

    async def main() -> None:
        gates.update(opened("first", "second"))
        async with serving(app) as client:
            at = (await client.post("/data")).headers["location"]
            streams = [client.start("GET", f"{at}/events") for _ in range(3)]
            for stream in streams:
                await stream.event("run.snapshot")
            assert [one.followers for one in runtime._watching.feeds._feeds.values()] == [3]
            for stream in streams[:2]:
                stream.leave()
                await stream.end()
            gates["first"].set()
            await streams[2].event("task.changed")
            streams[2].leave()
            await streams[2].end()
            assert runtime._watching.feeds._feeds == {}
            gates["second"].set()
            assert (await client.finished(at))["state"] == "succeeded"

    asyncio.run(main())


def test_a_quiet_stream_shows_that_it_is_alive_and_ends_with_its_age(serving, monkeypatch):
    """A comment now and then; at its greatest age the stream ends, and the client comes back."""
    monkeypatch.setattr(sse, "HEARTBEAT_SECONDS", 0.01)
    monkeypatch.setattr(sse, "AGE", 0.05)
    app, _ = shop(drain_timeout=0)
    gates: Gates = {}
    waiting(app, gates)

    async def main() -> None:
        gates.update(opened("first", "second"))
        async with serving(app) as client:
            at = (await client.post("/data")).headers["location"]
            stream = await client.get(f"{at}/events")
            assert stream.over
            assert stream.names() == ["run.snapshot"]
            assert stream.body.count(b": still here\n\n") >= 2

    asyncio.run(main())


def test_streams_and_long_polls_end_when_the_server_is_to_stop(serving):
    """Nobody waits for them."""
    app, runtime = shop(drain_timeout=0)
    gates: Gates = {}
    waiting(app, gates)

    async def main() -> None:
        gates.update(opened("first", "second"))
        async with serving(app) as client:
            at = (await client.post("/data")).headers["location"]
            stream = client.start("GET", f"{at}/events")
            await stream.event("run.snapshot")
            poll = client.start("GET", at, prefer="wait=20")
            await asyncio.sleep(0)
            runtime.stopping.stop()
            await stream.end()
            assert stream.over
            assert (await poll.end()).json()["done"] is False

    asyncio.run(main())


@pytest.mark.parametrize("age", [0.05, 60])
def test_a_client_that_does_not_read_holds_neither_its_stream_nor_the_end_of_the_server(serving, monkeypatch, age):
    """What is on its way to it is given up a moment after the stream is to end; nothing is left behind."""
    monkeypatch.setattr(sse, "PATIENCE", 0.01)
    app, runtime = shop(drain_timeout=0)
    gates: Gates = {}
    waiting(app, gates)

    async def main() -> None:
        gates.update(opened("first", "second"))
        async with serving(app) as client:
            at = (await client.post("/data")).headers["location"]
            monkeypatch.setattr(sse, "AGE", age)
            stream = client.start("GET", f"{at}/events")
            await stream.event("run.snapshot")
            stream.reads.clear()
            gates["first"].set()
            if age == 60:
                runtime.stopping.stop()
            await stream.end()
            assert stream.names() == ["run.snapshot"]
            assert (stream.over, runtime._watching.feeds._feeds, runtime.stopping._listeners) == (False, {}, set())

    asyncio.run(main())


def test_a_server_may_cancel_a_stream(serving):
    """As uvicorn does when its own patience ends; nothing is left behind."""
    app, runtime = shop(drain_timeout=0)
    gates: Gates = {}
    waiting(app, gates)

    async def main() -> None:
        gates.update(opened("first", "second"))
        async with serving(app) as client:
            at = (await client.post("/data")).headers["location"]
            stream = client.start("GET", f"{at}/events")
            await stream.event("run.snapshot")
            stream.task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await stream.end()
            assert (runtime._watching.feeds._feeds, runtime.stopping._listeners) == ({}, set())

    asyncio.run(main())


def test_a_client_that_is_gone_when_we_write_ends_its_stream(serving):
    """Some servers say so by an `OSError`; nothing is left behind."""
    app, runtime = shop()
    gates: Gates = {}
    waiting(app, gates)

    async def main() -> None:
        gates.update(opened("first", "second"))
        async with serving(app) as client:
            at = (await client.post("/data")).headers["location"]
            stream = client.start("GET", f"{at}/events")
            await stream.event("run.snapshot")

            def broken(_message: Any) -> None:
                raise ConnectionResetError

            stream.take = broken
            gates["first"].set()
            await stream.end()
            assert runtime._watching.feeds._feeds == {}
            gates["second"].set()

    asyncio.run(main())


def test_events_that_cannot_be_read_end_the_stream(serving, monkeypatch, caplog):
    """The client comes back later; the log says why."""
    app, runtime = shop()
    gates: Gates = {}
    waiting(app, gates)

    async def main() -> None:
        gates.update(opened("first", "second"))
        async with serving(app) as client:
            at = (await client.post("/data")).headers["location"]
            run: KnownRun = await runtime.engine.find(at[-32:])

            async def events(_after: int) -> Any:
                raise OSError("the database is away")
                yield

            monkeypatch.setattr(run, "events", events)
            stream = await client.get(f"{at}/events")
            assert stream.names() == ["run.snapshot"]
            assert [record.getMessage() for record in caplog.records] == [
                f"the events of run {at[-32:][:8]} cannot be read"
            ]
            gates["first"].set()
            gates["second"].set()

    asyncio.run(main())


@pytest.mark.parametrize("after", ["-1", "x"])
def test_a_number_that_is_none_is_refused(serving, after):
    """422, as a problem."""
    app, _ = shop()

    async def main() -> None:
        async with serving(app) as client:
            answer = await client.get(f"/chains/runs/x/events?after={after}")
            assert (answer.status, answer.slug) == (422, "request")

    asyncio.run(main())
