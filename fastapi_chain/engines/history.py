"""The runs that this process remembers: those that go on, and the last ones that have finished."""

import base64
from collections import deque
from contextlib import suppress
from typing import Final

from fastapi_chain._clock import current_clock

from .base import KnownRun, Page, RunFilter
from .live import LiveRun

AGE: Final = 7 * 24 * 3600.0
"""Seconds after which a finished run is forgotten, however few there are."""


class History:
    """Runs by id, in the order in which they were made."""

    def __init__(self, limit: int) -> None:
        """Keep the last *limit* finished runs."""
        self.base: str | None = None
        """The path below which the pages of runs are; None: they have none."""
        self._limit = limit
        self._runs: dict[str, LiveRun] = {}
        self._finished: deque[LiveRun] = deque()
        self._now = current_clock.get().monotonic

    @property
    def open(self) -> int:
        """How many runs are queued or running."""
        return len(self._runs) - len(self._finished)

    def begin(self, live: LiveRun) -> None:
        """A run was made, or runs again."""
        # A new one is not among those that have finished.
        if live.id in self._runs:
            self._unfinish(live)
        self._runs[live.id] = live

    def end(self, live: LiveRun) -> None:
        """A run has finished."""
        if live.inner.id in self._runs:
            if live.stream is not None:
                live.rest()
            finished = self._finished
            finished.append(live)
            if len(finished) > self._limit:
                self._forget_first()

    def _unfinish(self, live: LiveRun) -> None:
        """Take *live* from those that have finished, if it is one: that is looked for, for it happens seldom."""
        with suppress(ValueError):
            self._finished.remove(live)

    def _forget_old(self) -> None:
        while self._finished and self._is_old(self._finished[0]):
            self._forget_first()

    def _is_old(self, live: LiveRun) -> bool:
        finished = live.inner.finished
        return finished is not None and self._now() - finished > AGE

    def _forget_first(self) -> None:
        del self._runs[self._finished.popleft().id]

    def drop(self, live: LiveRun) -> None:
        """A run came to nothing: its request has failed."""
        self._runs.pop(live.id, None)
        self._unfinish(live)

    def get(self, run: str) -> LiveRun | None:
        """Return the run with that id."""
        self._forget_old()
        return self._runs.get(run)

    def search(self, wanted: RunFilter, limit: int, cursor: str | None) -> Page:
        """Return at most *limit* runs, the newest first; arguments as for `RunStore.search`.

        Raises:
            ValueError: The cursor is none of ours.
        """
        self._forget_old()
        before = None if cursor is None else _place(cursor)
        found: list[LiveRun] = []
        for live in reversed(self._runs.values()):
            if (before is None or (live.inner.created, live.id) < before) and wanted.admits(live):
                if len(found) == limit:
                    return Page(runs=found, cursor=_cursor(found[-1]))
                found.append(live)
        return Page(runs=found)


class Remembering:
    """A `RunStore` of the runs that a history knows."""

    kept: History | None = None
    """The history; None: nothing is remembered."""

    async def find(self, run: str) -> KnownRun | None:
        """Return the run with that id; None if it is not known, or not any more."""
        return None if self.kept is None else self.kept.get(run)

    async def search(self, wanted: RunFilter, limit: int, cursor: str | None) -> Page:
        """Return at most *limit* runs, the newest first; arguments and errors as for `RunStore.search`."""
        return Page(runs=()) if self.kept is None else self.kept.search(wanted, limit, cursor)


def _cursor(live: LiveRun) -> str:
    """Return the cursor of what was made before *live*."""
    return base64.urlsafe_b64encode(f"{live.inner.created!r} {live.id}".encode()).decode().rstrip("=")


def _place(cursor: str) -> tuple[float, str]:
    text = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode()
    created, _, run = text.partition(" ")
    return float(created), run
