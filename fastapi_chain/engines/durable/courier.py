"""Carries word between the runs of this process and the database: events out, orders in.

A run that is over in a moment costs nothing here: what has happened in it can be told afterwards from its outcomes.
One that takes longer has its events told, so that they can be followed from everywhere.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable
from typing import Final, Protocol

from fastapi_chain.errors import EngineUnavailable

from .execution import Execution
from .journal import Reports
from .telling import dump_event

SECONDS: Final = 0.25
"""How often word is carried."""

_log: Final = logging.getLogger("fastapi_chain")

_MOMENT: Final = 0.5
"""Seconds from which on a run is told."""


class Post(Protocol):
    """What the courier needs of the database."""

    async def tell(self, rows: list[tuple[str, int, str]]) -> None:
        """Keep events."""

    async def report(self, id_: str, texts: list[str]) -> None:
        """Keep what a call has to report."""

    async def cancelled(self, runs: list[str]) -> dict[str, str]:
        """Return those of *runs* that are to end early, each with the reason."""


class Courier:
    """Carries word."""

    def __init__(
        self,
        post: Post,
        active: Callable[[], Iterable[Execution]],
        reports: Callable[[], Iterable[tuple[str, Reports]]],
    ) -> None:
        """Carry between *post*, the *active* runs, and calls for runs elsewhere with what they have to report."""
        self._post = post
        self._active = active
        self._reports = reports
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin, on the running loop."""
        self._task = asyncio.get_running_loop().create_task(self._run())

    async def stop(self) -> None:
        """End."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait((self._task,))

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(SECONDS)
            try:
                await self.carry()
            except EngineUnavailable:
                # As long as the database is away, word is kept.
                continue
            except Exception:  # noqa: BLE001
                # Whatever it is, the next word must be carried.
                _log.exception("word of runs could not be carried")

    async def carry(self) -> None:
        """Carry what there is."""
        active = list(self._active())
        for execution in active:
            if execution.age > _MOMENT:
                execution.journal.follow()
        await self.tell(active)
        for id_, reports in list(self._reports()):
            await self.report(id_, reports)
        stopped = await self._post.cancelled([execution.state.id for execution in active])
        for execution in active:
            reason = stopped.get(execution.state.id)
            if reason is not None:
                execution.stop(reason)

    async def report(self, id_: str, reports: Reports) -> None:
        """Tell the database what a call has to report."""
        async with reports.turn:
            events = list(reports.untold)
            if not events:
                return
            await self._post.report(id_, [dump_event(event) for event in events])
            del reports.untold[: len(events)]

    async def tell(self, executions: Iterable[Execution]) -> None:
        """Tell the database what has happened in *executions*."""
        told = [(one, list(one.journal.untold)) for one in executions if one.journal.untold]
        if not told:
            return
        await self._post.tell(
            [(execution.state.id, event.seq, dump_event(event)) for execution, events in told for event in events]
        )
        for execution, events in told:
            del execution.journal.untold[: len(events)]
