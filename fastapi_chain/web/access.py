"""Whose runs: what a request may see."""

from collections.abc import Awaitable, Callable
from inspect import isawaitable
from typing import Final, Protocol

from fastapi import Request

from fastapi_chain.endpoint.call import SLOT, Slot
from fastapi_chain.endpoint.problem import Refusal
from fastapi_chain.engines.base import Engine, KnownRun, Page, RunFilter
from fastapi_chain.errors import RunNotFound
from fastapi_chain.run import Run

Visible = Callable[[Request, Run], bool | Awaitable[bool]]
"""Whether a request may see a run."""


class HasEngine(Protocol):
    """What knows an engine."""

    @property
    def here(self) -> Engine:
        """The engine that holds on this loop."""

    @property
    def withdrawn(self) -> "Withdrawn":
        """The runs that came to nothing."""


_PAGES: Final = 20
"""How many pages of a store are searched for one answer where most runs are hidden."""


class Withdrawn:
    """The last runs that were promised and came to nothing: their requests failed when the response was out."""

    def __init__(self, limit: int = 1000) -> None:
        """Remember the last *limit* ids."""
        self._limit = limit
        self._ids: dict[str, None] = {}

    def add(self, run: str) -> None:
        """Remember the id *run*."""
        self._ids[run] = None
        if len(self._ids) > self._limit:
            del self._ids[next(iter(self._ids))]

    def __contains__(self, run: str) -> bool:
        return run in self._ids


def not_found(run: str, engine: str, *, withdrawn: bool = False) -> Refusal:
    """Return the refusal of a run that is not there, or not for this request.

    Args:
        run: Its id.
        engine: The name of the engine that was asked.
        withdrawn: Whether it has never begun.
    """
    error = RunNotFound(run=run, engine=engine, withdrawn=withdrawn)
    evidence = [f"{' '.join(row)}.".capitalize() for row in error.evidence()]
    remedies = [f"Fix: {remedy}" for remedy in error.remedies()]
    return Refusal(404, "run-not-found", " ".join([error.problem(), *evidence, *remedies]))


class Access:
    """The runs that requests may see."""

    def __init__(self, runtime: HasEngine, visible: Visible | None) -> None:
        """Let *visible* decide about the runs of *runtime*; without it, all of them may be seen."""
        self._runtime = runtime
        self._visible = visible

    def _engine(self, request: Request) -> Engine:
        """Return the engine that has the runs: of a mounted app, that is the one of the app around it."""
        slot: Slot | None = request.scope.get(SLOT)
        return self._runtime.here if slot is None else slot.engine

    async def get(self, request: Request, run: str) -> KnownRun:
        """Return the run with that id.

        Raises:
            Refusal: 404, there is none, or it is hidden.
        """
        engine = self._engine(request)
        found = await engine.find(run)
        if found is None:
            raise not_found(run, engine.name, withdrawn=run in self._runtime.withdrawn)
        if not await self._sees(request, found):
            raise not_found(run, engine.name)
        return found

    async def _sees(self, request: Request, run: KnownRun) -> bool:
        if self._visible is None:
            return True
        seen = self._visible(request, Run(run))
        return bool(await seen if isawaitable(seen) else seen)

    async def search(self, request: Request, wanted: RunFilter, limit: int, cursor: str | None) -> Page:
        """Return at most *limit* runs that are not hidden; fewer if it would take too long to find them.

        Raises:
            Refusal: 422, the cursor is none of ours.
        """
        engine = self._engine(request)
        found: list[KnownRun] = []
        for _ in range(_PAGES):
            try:
                # Never more than are wanted: the next page begins where this one of the store ends.
                page = await engine.search(wanted, limit - len(found), cursor)
            except ValueError:
                raise Refusal(422, "cursor", "This cursor is none that this list has given.") from None
            found += [run for run in page.runs if await self._sees(request, run)]
            cursor = page.cursor
            if cursor is None or len(found) == limit:
                break
        return Page(runs=found, cursor=cursor)
