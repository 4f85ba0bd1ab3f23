"""Time and room behind an endpoint: deadlines, cancellation, limits, rates, threads, fairness, and what a task knows."""

import asyncio
import threading
from typing import Annotated, Any

import pytest
from fastapi import Depends, FastAPI

from fastapi_chain import Progress, Run, TaskContext, chain, current_task, install, task
from fastapi_chain.testing import ChainClock


def shop(**options: Any) -> FastAPI:
    """Return an app with a runtime whose router is at /chains."""
    app = FastAPI()
    app.include_router(install(app, **options).router(), prefix="/chains")
    return app


def test_a_deadline_ends_what_runs_and_what_waits(serving, chain_clock: ChainClock):
    """Tasks know how much time is left, retries included; at the end of it the run has failed, with its reason."""
    app = shop(expose_errors=True)
    begun: list[asyncio.Event] = []
    left: list[float | None] = []

    @task(retries=1, backoff=10)
    async def fetch(ctx: TaskContext) -> None:
        left.append(ctx.time_left())
        if ctx.attempt == 1:
            raise ConnectionError

    @task(after=[fetch])
    async def crunch(ctx: TaskContext) -> None:
        left.append(ctx.time_left())
        begun[0].set()
        await asyncio.Event().wait()

    @task(after=[crunch])
    async def store() -> None: ...

    @app.post("/files", status_code=202)
    @chain(store, deadline=30.0)
    async def upload() -> None: ...

    async def main() -> dict[str, Any]:
        begun.append(asyncio.Event())
        async with serving(app) as client:
            at = (await client.post("/files")).headers["location"]
            await begun[0].wait()
            await chain_clock.advance(20.0)
            return await client.finished(at)

    run = asyncio.run(main())
    assert left == pytest.approx([30.0, 20.0, 20.0])
    assert (run["state"], run["reason"], run["error"]["title"]) == ("failed", "deadline", "DeadlineExceeded")
    assert [(one["state"], one["cancel_reason"]) for one in run["tasks"]] == [
        ("succeeded", None),
        ("cancelled", "deadline"),
        ("cancelled", "deadline"),
    ]


def test_cancelling_reaches_async_tasks_at_once_and_flags_threads(serving):
    """The one gets a `CancelledError`, the other sees `ctx.cancelled` and goes on to its end; nothing starts after."""
    app = shop()
    begun: list[asyncio.Event] = []
    loop: list[asyncio.AbstractEventLoop] = []
    flagged = threading.Event()
    ended: list[str] = []

    @task
    async def waits() -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            ended.append("waits")
            raise

    @task
    def works(ctx: TaskContext) -> None:
        loop[0].call_soon_threadsafe(begun[0].set)
        while not ctx.cancelled:
            pass
        flagged.set()

    @task(after=[waits, works], run_if="all_done")
    async def never() -> None:
        ended.append("never")

    @app.post("/orders", status_code=202)
    @chain(never)
    async def place() -> None: ...

    async def main() -> dict[str, Any]:
        begun.append(asyncio.Event())
        loop.append(asyncio.get_running_loop())
        async with serving(app) as client:
            at = (await client.post("/orders")).headers["location"]
            await begun[0].wait()
            assert (await client.post(f"{at}/cancel")).status == 202
            return await client.finished(at)

    run = asyncio.run(main())
    assert flagged.wait(10)
    assert ended == ["waits"]
    assert {one["name"]: one["cancel_reason"] for one in run["tasks"]} == dict.fromkeys(
        ["waits", "works", "never"], "run_cancelled"
    )


def test_a_limit_and_a_rate_hold_over_all_requests(serving, chain_clock: ChainClock):
    """Whatever the run and the endpoint: one call at once, one start every two seconds."""
    app = shop()
    at: list[float] = []
    inside: list[str] = []

    @task(limit=1, rate="30/m")
    async def call(ctx: TaskContext) -> None:
        assert inside == []
        inside.append(ctx.run_id)
        at.append(chain_clock.elapsed)
        for _ in range(5):
            await asyncio.sleep(0)
        inside.clear()

    @app.post("/one", status_code=202)
    @chain(call, name="one")
    async def one() -> None: ...

    @app.post("/two", status_code=202)
    @chain(call, name="two")
    async def two() -> None: ...

    async def main() -> list[str]:
        async with serving(app) as client:
            made = [(await client.post(url)).headers["location"] for url in ("/one", "/two", "/one", "/two")]
            return [(await client.finished(url))["state"] for url in made]

    assert asyncio.run(main()) == ["succeeded"] * 4
    assert at == pytest.approx([0, 2, 4, 6])


def test_a_large_fan_out_keeps_no_other_run_waiting(serving):
    """Runs take turns at a limit: one call of a small run is not behind a thousand of a large one."""
    app = shop()
    begun: list[asyncio.Event] = []
    calls = 0

    @task
    async def rows(n: int) -> list[int]:
        return list(range(n))

    @task(each=rows, limit=2)
    async def send(row: int) -> None:
        nonlocal calls
        calls += 1
        begun[0].set()
        await asyncio.sleep(0)

    @app.post("/mails", status_code=202)
    @chain(send)
    async def mail(n: int) -> None: ...

    async def main() -> dict[str, Any]:
        begun.append(asyncio.Event())
        async with serving(app) as client:
            large = (await client.post("/mails?n=1000")).headers["location"]
            await begun[0].wait()
            small = await client.finished((await client.post("/mails?n=1")).headers["location"])
            assert small["state"] == "succeeded"
            assert calls < 500
            assert (await client.get(large)).json()["state"] == "running"
            return await client.finished(large)

    run = asyncio.run(main())
    assert (run["state"], run["tasks"][1]["item_counts"], calls) == ("succeeded", {"succeeded": 1000}, 1001)


def test_def_tasks_share_so_many_threads(serving):
    """`threads=1`: one call at once, over all runs; requests are answered meanwhile."""
    app = shop(threads=1)
    go_on = threading.Event()
    begun: list[asyncio.Event] = []
    loop: list[asyncio.AbstractEventLoop] = []
    inside: list[str] = []
    names: set[str] = set()

    @task
    def crunch(ctx: TaskContext) -> None:
        inside.append(ctx.run_id)
        names.add(threading.current_thread().name)
        loop[0].call_soon_threadsafe(begun[0].set)
        assert go_on.wait(10)
        assert inside == [ctx.run_id]
        inside.clear()

    @app.post("/files", status_code=202)
    @chain(crunch)
    async def upload() -> None: ...

    async def main() -> list[str]:
        begun.append(asyncio.Event())
        loop.append(asyncio.get_running_loop())
        async with serving(app) as client:
            made = [(await client.post("/files")).headers["location"] for _ in range(3)]
            await begun[0].wait()
            assert [(await client.get(at)).json()["done"] for at in made] == [False] * 3
            go_on.set()
            return [(await client.finished(at))["state"] for at in made]

    assert asyncio.run(main()) == ["succeeded"] * 3
    assert len(names) == 1


def test_a_task_knows_where_it_is(serving):
    """By parameters, by `current_task()` below it and in its dependencies; the endpoint, outside, gets stand-ins."""
    app = shop()
    seen: dict[str, object] = {}

    def note(where: str) -> None:
        here = current_task()
        seen[where] = (here.run_id, here.task, here.attempt, here.max_attempts, here.cancelled, here.time_left())

    async def session() -> str:
        note("dependency")
        return "session"

    @task(retries=2)
    async def clean(ctx: TaskContext, run: Run, db: Annotated[str, Depends(session)]) -> list[str]:
        note("clean")
        seen["parameters"] = (ctx.run_id, run.id, ctx.task, ctx.attempt, ctx.max_attempts)
        return ["a"]

    @task(each=clean)
    def save(row: str, progress: Progress) -> None:
        note("save")
        for _ in progress.track([row], text="rows"):
            pass

    @app.post("/data", status_code=202)
    @chain(save)
    async def ingest() -> str:
        Progress()(1, 2)
        return current_task().task

    async def main() -> tuple[str, dict[str, Any]]:
        async with serving(app) as client:
            answer = await client.post("/data")
            seen["endpoint"] = answer.json()
            return answer.headers["x-chain-run"], await client.finished(answer.headers["location"])

    id_, run = asyncio.run(main())
    assert seen == {
        "endpoint": "",
        "dependency": (id_, "clean", 1, 3, False, None),
        "clean": (id_, "clean", 1, 3, False, None),
        "parameters": (id_, id_, "clean", 1, 3),
        "save": (id_, "save[0]", 1, 1, False, None),
    }
    assert run["tasks"][1]["items"][0]["progress"] == {"done": 1.0, "total": 1.0, "text": "rows"}
