"""The events of one run, kept for those who follow it: bounded, and read at each reader's own pace."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Final

from fastapi_chain._threads import on_loop, settle
from fastapi_chain.events import Event, RunFinished

KEPT: Final = 2000
"""How many events of a run are kept at least; a reader that falls further behind misses some, as their numbers show."""


class Stream:
    """A buffer of events that never waits for its readers."""

    __slots__ = ("_events", "_over", "_waiting")

    def __init__(self, past: Sequence[Event] = ()) -> None:
        """Begin with what has happened already."""
        self._events: list[Event] = []  # numbered without gaps
        self._over = False  # the last of them is the end
        self._waiting: list[asyncio.Future[None]] = []
        self.begin(past)

    def begin(self, past: Sequence[Event]) -> None:
        """Take what happened before anybody followed."""
        self._events[:0] = past[-KEPT:]
        self._over = bool(self._events) and isinstance(self._events[-1], RunFinished)

    def reopen(self) -> None:
        """Expect more: the run is retried, and its end was not the last one."""
        self._over = False

    def leave(self) -> None:
        """Expect no more: the run goes on elsewhere."""
        self._over = True
        self._wake()

    def __call__(self, event: Event) -> None:
        """Take one more event: the stream is a sink."""
        self._events.append(event)
        self._over = isinstance(event, RunFinished)
        if len(self._events) > 2 * KEPT:
            del self._events[:KEPT]
        self._wake()

    def _wake(self) -> None:
        waiting, self._waiting = self._waiting, []
        for future in waiting:
            on_loop(future.get_loop(), settle, future, None, None)

    @property
    def first(self) -> int:
        """The number of the oldest event that is kept; 1 where there is none."""
        return self._events[0].seq if self._events else 1

    async def read(self, after: int) -> AsyncIterator[Event]:
        """Yield the events with a greater number than *after*, up to the end of the run, or of its last round."""
        while True:
            # What comes in while the reader is busy is met on the next turn.
            for event in self._events[max(0, after + 1 - self.first) :]:
                after = event.seq
                yield event
            if self._events and self._events[-1].seq > after:
                continue
            if self._over:
                return
            future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting.append(future)
            await future
