"""The runs of a durable engine, right from its database."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi_chain.engines.base import KnownRun, RunFilter
from fastapi_chain.errors import ChainError
from fastapi_chain.run import Run
from fastapi_chain.web.render import Renderer
from fastapi_chain.web.runtime import Runtime, runtime_of

from .discovery import Found
from .source import Document, Wanted
from .stopping import Stop

_renderer = Renderer(expose_errors=True)


def document_of(run: KnownRun, *, items: bool = True) -> Document:
    """Return *run* as `GET /runs/{id}` would answer, with what its errors say: whoever reads the database may know."""
    return _renderer.run(run, "", items=items).model_dump(mode="json", by_alias=True)


def durable(found: Found) -> Runtime:
    """Return the runtime of an app with a durable engine.

    Raises:
        Stop: It has none.
    """
    runtime = runtime_of(found.app)
    if runtime is None or runtime.engine.name == "memory":
        raise Stop(
            f"{found.name} keeps its runs in memory, where only the app itself finds them: "
            'give --url http://127.0.0.1:8000, or install(app, engine="sqlite:///chains.db")'
        )
    return runtime


def work_without_serving(app: object) -> None:
    """Let *app* start up as one that runs its chains here and serves nothing: nobody has to protect its pages."""
    runtime = runtime_of(app)
    if runtime is not None:
        runtime.serving = False
        engine: Any = runtime.engine
        if hasattr(engine, "worker"):
            # install(..., worker=False) is about servers.
            engine.worker = True


@asynccontextmanager
async def opened(found: Found) -> AsyncIterator["StoredRuns"]:
    """Open the database of an app, run nothing of what waits in it, and close it.

    Raises:
        Stop: The app has none.
        EngineUnavailable: It does not answer.
    """
    engine: Any = durable(found).engine
    engine.worker = False
    await engine.open()
    try:
        yield StoredRuns(engine)
    finally:
        await engine.drain(0.0)


class StoredRuns:
    """The runs in a database."""

    def __init__(self, engine: Any) -> None:  # noqa: ANN401 - the durable engine, which needs DBOS
        """Look into the database of *engine*, which is open."""
        self._engine = engine

    async def page(self, wanted: Wanted) -> Document:
        """Return some runs."""
        filter_ = RunFilter(
            states=frozenset(wanted.states),  # type: ignore[arg-type]  # the command line has checked them
            chain=wanted.chain,
            tags=dict(tag.split(":", 1) for tag in wanted.tags),
            text=wanted.text,
            since=wanted.since,
        )
        try:
            page = await self._engine.search(filter_, wanted.limit, wanted.cursor)
        except ValueError as error:
            raise Stop(f"--cursor {wanted.cursor!r} is none") from error
        return {"items": [document_of(run, items=False) for run in page.runs], "next_cursor": page.cursor}

    async def get(self, run: str) -> Document:
        """Return a run."""
        return document_of(await self._find(run))

    async def cancel(self, run: str) -> Document:
        """Cancel a run."""
        known = await self._find(run)
        await _done(Run(known).cancel())
        return document_of(await self._find(run))

    async def retry(self, run: str, from_: str) -> Document:
        """Let a run go on, in whatever process works on this database."""
        known = await self._find(run)
        await _done(Run(known).retry(from_))
        return document_of(await self._find(run))

    async def watch(self, run: str) -> AsyncIterator[Document]:
        """Yield a run each time that it has changed."""
        known = await self._find(run)
        yield document_of(known)
        if known.finished_at is None:
            async for _ in Run(known).events(known.seq):
                yield document_of(await self._find(run))
            yield document_of(await self._find(run))

    async def _find(self, run: str) -> KnownRun:
        found: KnownRun | None = await self._engine.find(run)
        if found is None:
            raise Stop(f"there is no run {run!r}", 1)
        return found


async def _done(action: Any) -> None:  # noqa: ANN401 - what is awaited
    """Await *action*; what speaks against it is what was found."""
    try:
        await action
    except ChainError as error:
        raise Stop(error.problem(), 1) from error
