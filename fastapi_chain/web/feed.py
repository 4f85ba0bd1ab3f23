"""The events of one run for all who follow it over HTTP.

They are read once and put into words once, and each follower takes them at its own pace.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import takewhile
from typing import Final

from fastapi_chain.engines.base import KnownRun
from fastapi_chain.events import Event

from .words import Words

KEPT: Final = 2000
"""How many events are kept for those who are slow, or come back."""

_log: Final = logging.getLogger("fastapi_chain")


class _Entry:
    """An event, and what is sent for it once somebody wants it."""

    __slots__ = ("chunk", "event")

    def __init__(self, event: Event) -> None:
        self.event = event
        self.chunk: bytes | None = None


class Feed:
    """The events of one run."""

    def __init__(self, run: KnownRun, words: Words) -> None:
        """Read the events of *run*, and put them into *words*."""
        self.followers = 0
        self.ended = False
        """Whether no more events will come."""
        self.seq = 0
        """The number of the last event that has come."""
        self._run = run
        self._words = words
        self._entries: deque[_Entry] = deque(maxlen=KEPT)
        self._wakers: set[Callable[[], None]] = set()
        self._reader = asyncio.get_running_loop().create_task(self._read())

    async def _read(self) -> None:
        try:
            async for event in self._run.events(0):
                self._entries.append(_Entry(event))
                self.seq = event.seq
                self._wake()
        except Exception:  # noqa: BLE001 - see below
            # Its followers come back, and hear of it then.
            _log.exception("the events of run %s cannot be read", self._run.id[:8])
        finally:
            self.ended = True
            self._wake()

    def _wake(self) -> None:
        for waker in self._wakers:
            waker()

    def add(self, waker: Callable[[], None]) -> None:
        """Call *waker* whenever there is something new."""
        self._wakers.add(waker)

    def remove(self, waker: Callable[[], None]) -> None:
        """Do not call *waker* any more."""
        self._wakers.discard(waker)

    def after(self, seq: int) -> bytes | None:
        """Return what is sent for the events with a greater number than *seq*; None if some of them are gone."""
        new = self.seq - seq
        if new <= 0:
            return b""
        if new == 1:
            return self._chunk(self._entries[-1])
        fresh = list(takewhile(lambda entry: entry.event.seq > seq, reversed(self._entries)))
        return b"".join([self._chunk(entry) for entry in reversed(fresh)]) if len(fresh) == new else None

    def _chunk(self, entry: _Entry) -> bytes:
        if entry.chunk is None:
            entry.chunk = self._words.event(entry.event, self._run)
        return entry.chunk

    def close(self) -> None:
        """Nobody follows any more."""
        self._reader.cancel()


class Feeds:
    """The feeds of all runs that somebody follows here."""

    def __init__(self, words: Words) -> None:
        """Put events into *words*."""
        self._words = words
        self._feeds: dict[str, Feed] = {}

    @contextmanager
    def follow(self, run: KnownRun, waker: Callable[[], None]) -> Iterator[Feed]:
        """Give the feed of *run*, and call *waker* whenever it has something new."""
        feed = self._feeds.get(run.id)
        if feed is None or feed.ended:
            feed = self._feeds[run.id] = Feed(run, self._words)
        feed.followers += 1
        feed.add(waker)
        try:
            yield feed
        finally:
            feed.remove(waker)
            feed.followers -= 1
            if feed.followers == 0:
                feed.close()
                if self._feeds.get(run.id) is feed:
                    del self._feeds[run.id]
