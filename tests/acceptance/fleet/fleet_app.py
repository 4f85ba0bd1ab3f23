"""The app of servers and workers that share a database; each is a process of its own.

What it is told comes from the environment: `DATABASE`, `TRACE` (a file to which tasks write), `WORKER=no` (only takes
runs), `TIME_TO_LIVE` (seconds), `NAME` (what a dependency is overridden with) and `CRON`. Tasks wait for files beside
the trace.
"""

import asyncio
import logging
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, Any

from fastapi import Depends, FastAPI

from fastapi_chain import Progress, Registry, Run, TaskContext, chain, install
from tests.engines.crash import Trace

trace = Trace(os.environ["TRACE"])
pool: dict[str, str] = {}
log = logging.getLogger("shop")
log.setLevel(logging.INFO)


@asynccontextmanager
async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
    pool["connection"] = "open"
    trace("lifespan begins")
    yield
    pool.clear()
    trace("lifespan ends")


app = FastAPI(lifespan=lifespan)
# Any: a durable engine, whose time-outs are too long for tests.
runtime: Any = install(
    app,
    engine=os.environ["DATABASE"],
    worker=os.environ.get("WORKER") != "no",
    drain_timeout=float(os.environ.get("DRAIN", "0.5")),
    expose_errors=True,
    expose_values=True,
)
runtime.engine._time_to_live = float(os.environ.get("TIME_TO_LIVE", "15"))
app.include_router(runtime.router(), prefix="/chains")
app.include_router(runtime.dashboard(allow_anonymous=True), prefix="/ui")


def there(name: str) -> bool:
    return Path(trace.path).with_name(name).exists()


async def file(name: str) -> None:
    """Return when the test has made a file of that name."""
    while not there(name):
        await asyncio.sleep(0.02)


def connection() -> str:
    return pool["connection"]


def name() -> str:
    return "real"


if "NAME" in os.environ:
    app.dependency_overrides[name] = lambda: os.environ["NAME"]

shop = Registry("fleet")


@shop.task
async def quick(n: int, ctx: TaskContext) -> int:
    trace("begin", ctx.run_id, ctx.task)
    return n + 1


@shop.task
async def first(n: int, ctx: TaskContext, progress: Progress) -> int:
    trace("begin", ctx.run_id, ctx.task)
    log.info("first of %d", n)
    progress(1, 2, "half")
    await file("go on")
    trace("woke", ctx.run_id)
    progress(2, 2, "whole")
    return n + 1


@shop.task(after=[first])
def second(
    first: int, ctx: TaskContext, connection: Annotated[str, Depends(connection)], name: Annotated[str, Depends(name)]
) -> str:
    trace("begin", ctx.run_id, ctx.task)
    return f"{first} {connection} {name}"


@shop.task
async def endless(ctx: TaskContext) -> None:
    trace("begin", ctx.run_id, ctx.task)
    try:
        await asyncio.Event().wait()
    except asyncio.CancelledError:
        trace("cancelled", ctx.run_id, ctx.task)
        raise


@shop.task
async def kept(n: int, ctx: TaskContext) -> int:
    trace("begin", ctx.run_id, ctx.task)
    return n


@shop.task(after=[kept])
async def broken(kept: int, ctx: TaskContext) -> int:
    trace("begin", ctx.run_id, ctx.task)
    if not there("mended"):
        raise ConnectionError("no answer")
    return kept + 1


@shop.task(queue="gpu")
async def special(n: int, ctx: TaskContext) -> int:
    trace("begin", ctx.run_id, ctx.task)
    return n * 10


@shop.task
async def poison(ctx: TaskContext) -> None:
    trace("begin", ctx.run_id, ctx.task)
    os.kill(os.getpid(), signal.SIGKILL)


@shop.task
async def slow(n: int, ctx: TaskContext) -> int:
    trace("begin", ctx.run_id, ctx.task)
    await file("go on")
    trace("woke", ctx.run_id)
    return os.getpid()


@shop.task(after=[slow])
async def write(slow: int, ctx: TaskContext) -> int:
    trace("write", ctx.run_id, slow)
    return slow


@shop.task(limit=2)
async def limited(n: int, ctx: TaskContext) -> None:
    trace("begin", ctx.run_id, ctx.task)
    await asyncio.sleep(0.1)
    trace("end", ctx.run_id, ctx.task)


@shop.task(rate="5/s")
async def rated(n: int, ctx: TaskContext) -> None:
    trace("begin", ctx.run_id, ctx.task)


@shop.task
async def ticked(ctx: TaskContext) -> None:
    trace("begin", ctx.run_id, ctx.task)


def on_post(path: str, *targets: Any, **options: Any) -> None:
    """Put a chain on `POST /path?n=1`."""

    @app.post(f"/{path}", status_code=202, name=path)
    @chain(*targets, name=path, **options)
    async def endpoint(n: int, run: Run) -> dict[str, Any]:
        return {"run": run.id, "pid": os.getpid(), "executor": runtime.engine.process}


on_post("quick", quick)
on_post("watched", second)
on_post("endless", endless)
on_post("broken", broken)
on_post("special", special)
on_post("poison", poison)
on_post("frozen", write)
on_post("limited", limited)
on_post("rated", rated)
on_post("keyed", quick, key="number-{n}")
on_post("asked_once", quick, idempotent=True)

# Nothing starts it but the clock.
ticking = chain(ticked, name="ticking", cron=os.environ.get("CRON", "0 0 1 1 *"))
