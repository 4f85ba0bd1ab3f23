"""What is told about a run: events, in the order in which things happen, from whatever thread."""

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from functools import cached_property, partial
from os import urandom
from typing import Any, Final, Protocol

from fastapi_chain._clock import Clock, utc
from fastapi_chain._threads import on_loop
from fastapi_chain.events import Event, TaskProgressed, TaskStarted
from fastapi_chain.outcome import ProgressInfo
from fastapi_chain.plan import Plan

_log: Final = logging.getLogger("fastapi_chain")

PROGRESS_SECONDS: Final = 0.1
"""The shortest time between two events of one task's progress: a loop that reports each row floods nobody."""

_NOT_AFTER_PROGRESS: Final = {TaskStarted, TaskProgressed}


class Heed(Protocol):
    """Who is told only what is told anyway, and not even all of that."""

    def wants(self, kind: type[Event]) -> bool:
        """Whether it would do anything with an event of that class now."""

    def __call__(self, event: Event) -> None:
        """Take *event*."""


class Telling:
    """The part of a run that tells of it."""

    plan: Plan
    clock: Clock
    created: float
    loop: asyncio.AbstractEventLoop | None = None
    finished: float | None = None
    sinks: tuple[Callable[[Event], None], ...] = ()
    heed: tuple[Heed, ...] = ()
    """Who is told only what is told anyway: what goes wrong."""
    followed: bool = False
    """Whether anybody wants to know of more than what goes wrong."""
    seq: int = 0
    _id: str | None = None
    _epoch: float | None = None

    @property
    def id(self) -> str:
        """128 random bits in hexadecimal, made when first asked for."""
        # No cached property: to make its value, that takes a lock and looks into `__dict__`.
        if self._id is None:
            self._id = urandom(16).hex()
        return self._id

    @id.setter
    def id(self, value: str) -> None:
        self._id = value

    @property
    def epoch(self) -> float:
        """What the monotonic clock lacks to the time of day; found out once, so that all stamps of a run agree."""
        if self._epoch is None:
            self._epoch = self.clock.time() - self.clock.monotonic()
        return self._epoch

    def now(self) -> float:
        """Return the monotonic time."""
        return self.clock.monotonic()

    @cached_property
    def progress(self) -> dict[str, ProgressInfo]:
        """The last progress of each task or item that reported any."""
        return {}

    @cached_property
    def _inbox(self) -> deque[partial[None]]:
        """What threads have told and the loop has not passed on yet."""
        return deque()

    @cached_property
    def _reported(self) -> dict[str, float]:
        """When the progress of each was last told."""
        return {}

    @cached_property
    def _untold(self) -> set[str]:
        """Those whose progress is still to be told."""
        return set()

    def tell(self, kind: type[Event], moment: float | None = None, /, **fields: object) -> None:
        """Make an event and hand it to every sink. Call it on the loop only.

        Args:
            kind: The class of the event.
            moment: When it happened, on the monotonic clock; None: now.
            **fields: What the class wants to know besides.
        """
        if self.followed:
            # What a thread has told comes before what follows from it.
            self._flush()
        elif self.unheard(kind):
            return
        self._tell(kind, self.now() if moment is None else moment, **fields)

    def unheard(self, kind: type[Event]) -> bool:
        """Whether nobody would be told of an event of that class: then it is counted, and need not be made."""
        if self.followed or self.sinks:
            return False
        for one in self.heed:
            if one.wants(kind):
                return False
        self.seq += 1
        return True

    def _tell(self, kind: type[Event], moment: float, /, **fields: object) -> None:
        if self.followed and kind not in _NOT_AFTER_PROGRESS:
            # What a task has reported last comes before its end.
            self._tell_progress(fields.get("task"))
        self.seq += 1
        at = utc(moment + self.epoch)
        event = kind(run_id=self.id, chain=self.plan.chain, seq=self.seq, at=at, **fields)
        hearers: tuple[Callable[[Event], None], ...] = (*self.heed, *self.sinks)
        for sink in hearers:
            try:
                sink(event)
            except Exception:  # noqa: BLE001 - whatever is wrong with a sink is no business of the run
                _log.exception("a sink failed; the run goes on")

    def tell_from_anywhere(self, kind: type[Event], **fields: object) -> None:
        """Do the same from any thread, unless the run has ended by then: the loop makes the event."""
        if self.loop is not None:
            self._inbox.append(partial(self._tell, kind, self.now(), **fields))
            on_loop(self.loop, self._flush)

    def _flush(self) -> None:
        while self._inbox:
            tell = self._inbox.popleft()
            if self.finished is None:
                tell()

    def report(self, name: str, progress: ProgressInfo) -> None:
        """Keep the progress of a task or item; tell it before long if somebody follows. Any thread may call this."""
        self.progress[name] = progress
        if self.followed and self.loop is not None and name not in self._untold:
            self._untold.add(name)
            on_loop(self.loop, self._report, name)

    def _report(self, name: str) -> None:
        """Tell the progress of *name*, at once if that was last done long enough ago."""
        wait = self._reported.get(name, self.created - PROGRESS_SECONDS) + PROGRESS_SECONDS - self.now()
        if wait > 0:
            self.clock.call_later(wait, partial(self._tell_progress, name))
        else:
            self._tell_progress(name)

    def _tell_progress(self, name: Any) -> None:  # noqa: ANN401 - a name, or nothing
        if name in self._untold and self.finished is None:
            # In this order: what a thread reports from now on is told another time.
            self._untold.discard(name)
            now = self._reported[name] = self.now()
            self._tell(TaskProgressed, now, task=name, progress=self.progress[name])
