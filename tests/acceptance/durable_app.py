"""An app with a durable engine, as a process that tests start and kill."""

import asyncio
from collections.abc import Iterator
from typing import Annotated

import uvicorn
from fastapi import Depends, FastAPI, Response

from fastapi_chain import Registry, TaskContext, chain, install
from fastapi_chain.run import Run
from tests.engines.crash import Trace


def make_app(url: str, path: str, *, worker: bool = True, seconds: float = 0.05) -> FastAPI:
    """Return the app; its tasks write into the trace at *path*."""
    app = FastAPI()
    registry = Registry("durable_app")
    trace = Trace(path)

    @registry.task
    async def first(number: int, ctx: TaskContext) -> int:
        trace("begin", ctx.run_id, ctx.task)
        await asyncio.sleep(seconds)
        return number + 1

    @registry.task(after=[first])
    def second(first: int, ctx: TaskContext) -> int:
        trace("begin", ctx.run_id, ctx.task)
        return first * 2

    def session() -> Iterator[str]:
        yield "session"

    @app.post("/plain", status_code=202)
    @chain(second, name="plain")
    async def plain(number: int, run: Run) -> dict[str, str]:
        return {"run": run.id}

    @app.post("/committing", status_code=202)
    @chain(second, name="committing")
    def committing(number: int, run: Run, session: Annotated[str, Depends(session)]) -> dict[str, str]:
        return {"run": run.id}

    runtime = install(app, engine=url, worker=worker, drain_timeout=1.0)

    @app.get("/find/{run}")
    async def find(run: str, response: Response) -> dict[str, object]:
        found = await runtime.engine.find(run)
        if found is None:
            response.status_code = 404
            return {}
        return {"state": found.state, "reason": found.reason, "outputs": dict(found.outputs)}

    return app


def serve(url: str, path: str, port: int, worker: bool) -> None:
    """Serve the app until killed."""
    app = make_app(url, path, worker=worker)
    uvicorn.run(app, host="127.0.0.1", port=port, log_level="error", lifespan="on")
