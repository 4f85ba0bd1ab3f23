"""The threads that a run has turned away from, for lack of time or because it was cancelled: they cannot be stopped."""

import asyncio
from collections.abc import Callable
from typing import Final, NamedTuple

from fastapi_chain._threads import look

Effect = tuple[int, int | None]
"""Whose effect it is: the number of the task, and that of the item of a fan-out."""


class Late(NamedTuple):
    """What came of a call after its run was cancelled."""

    moment: float
    """When it returned, on the monotonic clock."""
    value: object
    """What it returned."""


class Lingering:
    """The threads of one run that nobody waits for, until the run is to be undone or retried."""

    def __init__(self, now: Callable[[], float]) -> None:
        """Begin without any; *now* tells the time."""
        self._now: Final = now
        self._work: dict[asyncio.Future[object], Effect | None] = {}
        self.late: dict[Effect, Late] = {}
        """The calls that have taken effect all the same."""

    def add(self, work: "asyncio.Future[object]", effect: Effect | None) -> None:
        """Remember *work*, the future of a thread; *effect* is None if what it does is of no account any more."""
        self._work[work] = effect
        work.add_done_callback(self._returned)

    def _returned(self, work: "asyncio.Future[object]") -> None:
        effect = self._work.pop(work)
        look(work)
        if effect is not None and not work.cancelled() and work.exception() is None:
            self.late[effect] = Late(self._now(), work.result())

    async def end(self) -> None:
        """Return when all of them have."""
        while self._work:
            await asyncio.wait(tuple(self._work))
