"""P13: what a chain of three tasks adds to an endpoint. One request after the other, its background work included."""

import asyncio
import importlib.util
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Annotated, Any, Final

from fastapi import BackgroundTasks, Depends, FastAPI

from benchmarks import timing
from benchmarks.asgi import get, lifespan
from benchmarks.goals import Finding, NotMeasured
from benchmarks.timing import Case, Effort
from fastapi_chain import Registry, chain, install

MOST_ALONE: Final = 1.45
MOST_INSTALLED: Final = 1.6
"""Against the endpoint without background work."""
MOST_OF_TASKFLOW: Final = 0.25
"""Against fastapi-taskflow."""


async def measure(effort: Effort) -> AsyncIterator[Finding | NotMeasured]:
    """Time one request of each app by turns."""
    async with AsyncExitStack() as stack:
        cases = {"plain": requests(plain(), None)}
        makers = {"BackgroundTasks": background, "chain": alone, "installed": installed}
        if importlib.util.find_spec("fastapi_taskflow"):
            makers["fastapi-taskflow"] = taskflow
        for name, make in makers.items():
            app, done = make()
            await stack.enter_async_context(lifespan(app))
            cases[name] = requests(app, done)
        samples = await timing.by_turns(cases, effort)
    base = samples["plain"]
    notes = {name: f"{timing.median(taken, 'cpu') * 1e6:.0f} µs a request" for name, taken in samples.items()}
    notes["chain"] += f", plain {timing.median(base, 'cpu') * 1e6:.0f}"
    ratios = {name: timing.ratio(taken, base, "cpu") for name, taken in samples.items()}
    yield Finding("P13", "endpoint with a chain of 3", ratios["chain"], "×", MOST_ALONE, notes["chain"])
    yield Finding("P13", "the same with install", ratios["installed"], "×", MOST_INSTALLED, notes["installed"])
    yield Finding("", "the same with BackgroundTasks", ratios["BackgroundTasks"], "×", None, notes["BackgroundTasks"])
    what = "endpoint with a chain of 3, against fastapi-taskflow"
    if "fastapi-taskflow" not in samples:
        yield NotMeasured("P13", what, "fastapi-taskflow is not installed")
        return
    ratio = timing.ratio(samples["chain"], samples["fastapi-taskflow"], "cpu")
    yield Finding("P13", what, ratio, "×", MOST_OF_TASKFLOW, notes["fastapi-taskflow"])


def requests(app: FastAPI, done: asyncio.Event | None) -> Case:
    """Return the case that makes requests, each when the last task of the one before has run."""

    async def case(times: int) -> None:
        for _ in range(times):
            if done:
                done.clear()
            await get(app, "/")
            if done:
                await done.wait()

    return case


def plain() -> FastAPI:
    """Make an app whose endpoint only answers."""
    app = FastAPI()

    @app.get("/")
    async def endpoint(x: int = 1) -> dict[str, int]:
        return {"x": x}

    return app


def background() -> tuple[FastAPI, asyncio.Event]:
    """Make an app with three background tasks."""
    app, done = FastAPI(), asyncio.Event()

    async def first(x: int) -> int:
        return x

    async def last(_x: int) -> None:
        done.set()

    @app.get("/")
    async def endpoint(tasks: BackgroundTasks, x: int = 1) -> dict[str, int]:
        tasks.add_task(first, x)
        tasks.add_task(first, x)
        tasks.add_task(last, x)
        return {"x": x}

    return app, done


def alone() -> tuple[FastAPI, asyncio.Event]:
    """Make an app with a chain of three tasks."""
    app, done, registry = FastAPI(), asyncio.Event(), Registry("endpoint")

    @registry.task
    async def first(x: int) -> int:
        return x

    @registry.task(after=[first])
    async def second(first: int) -> int:
        return first

    @registry.task(after=[second])
    async def third(second: int) -> None:  # noqa: ARG001 - it is handed on
        done.set()

    @app.get("/")
    @chain(third)
    async def endpoint(x: int = 1) -> dict[str, int]:
        return {"x": x}

    return app, done


def installed() -> tuple[FastAPI, asyncio.Event]:
    """Make the same app with a runner that survives the request."""
    app, done = alone()
    install(app)
    return app, done


def taskflow() -> tuple[FastAPI, asyncio.Event]:
    """Make an app with three tasks of fastapi-taskflow."""
    manager: Any = importlib.import_module("fastapi_taskflow").TaskManager()
    app, done = FastAPI(), asyncio.Event()

    async def first(x: int) -> int:
        return x

    async def second(x: int) -> int:
        return x

    async def third(_x: int) -> None:
        done.set()
        manager.store._tasks.clear()  # noqa: SLF001 - it keeps every task for ever

    steps = [manager.task(retries=0)(step) for step in (first, second, third)]

    @app.get("/")
    async def endpoint(tasks: Annotated[Any, Depends(manager.get_tasks)], x: int = 1) -> dict[str, int]:
        for step in steps:
            tasks.add_task(step, x)
        return {"x": x}

    return app, done
