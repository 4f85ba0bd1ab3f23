"""The events of one run, kept for those who follow it: bounded, and read at each reader's own pace."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Iterable
from typing import Final

from .events import Event, RunFinished

KEPT: Final = 2000
"""How many events of a run are kept; a reader that falls behind further misses some and can see so by their numbers."""


class Stream:
    """A buffer of events that never waits for its readers."""

    __slots__ = ("_events", "_waiting")

    def __init__(self, past: Iterable[Event]) -> None:
        """Begin with what has happened already."""
        self._events: deque[Event] = deque(past, maxlen=KEPT)
        self._waiting: list[asyncio.Future[None]] = []

    def __call__(self, event: Event) -> None:
        """Take one more event: the stream is a sink."""
        self._events.append(event)
        waiting, self._waiting = self._waiting, []
        for future in waiting:
            if not future.done():
                future.set_result(None)

    @property
    def first(self) -> int:
        """The number of the oldest event that is kept; one more than the last where there is none."""
        return self._events[0].seq if self._events else 1

    async def read(self, after: int) -> AsyncIterator[Event]:
        """Yield the events with a greater number than *after*, up to the end of the run."""
        while True:
            fresh = [event for event in self._events if event.seq > after]
            for event in fresh:
                after = event.seq
                yield event
                if isinstance(event, RunFinished):
                    return
            if not fresh:
                future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
                self._waiting.append(future)
                await future
