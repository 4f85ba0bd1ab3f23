"""How many calls of a task at once, and how many starts in a time."""

import asyncio
import math
from collections import deque
from threading import Lock
from typing import Final

from fastapi_chain._clock import Clock
from fastapi_chain._threads import on_loop, settle
from fastapi_chain.spec import Rate, TaskSpec

_NEARLY: Final = 1.0 - 1e-9
"""A whole token, as a sum of fractions."""


class _Waiter:
    """Somebody who wants to be let in."""

    __slots__ = ("clock", "future", "loop", "run")

    def __init__(self, clock: Clock, run: object) -> None:
        self.clock = clock
        self.loop = asyncio.get_running_loop()
        self.future: asyncio.Future[None] = self.loop.create_future()
        # Somebody who has no other calls to make is a run of its own.
        self.run = self if run is None else run


class Gate:
    """`limit=` and `rate=` of one task, over all runs of this process.

    Runs take turns: one that has ten thousand calls to make lets each other run in between. Waiting holds nothing: no
    place, no start; and whoever waits for a retry has left before.
    """

    def __init__(self, limit: int | None, rate: Rate | None = None) -> None:
        """Let at most *limit* be inside, and start at most *rate*."""
        self._free = math.inf if limit is None else limit
        # A token bucket that is refilled when somebody looks; its burst is one second's worth, at least one start.
        self._per_second = math.inf if rate is None else rate.count / rate.seconds
        self._burst = max(1.0, self._per_second)
        self._tokens = self._burst
        self._filled: float | None = None
        self._waiting: dict[object, deque[_Waiter]] = {}  # by run; whose turn is next stands first
        self._alarm: asyncio.AbstractEventLoop | None = None  # on which loop a timer runs for the next start
        # A process may have several loops, and a thread gives its place back itself.
        self._lock = Lock()

    async def enter(self, clock: Clock, run: object = None) -> None:
        """Wait for a place and for a start.

        Args:
            clock: Tells the time.
            run: Whose turn it is; None: that of somebody who has no other calls to make.
        """
        with self._lock:
            if not self._waiting and self._take(clock) == 0:
                return
            waiter = _Waiter(clock, run)
            self._waiting.setdefault(waiter.run, deque()).append(waiter)
        self._serve()
        try:
            await waiter.future
        except asyncio.CancelledError:
            self._withdraw(waiter)
            raise

    def leave(self) -> None:
        """Give the place back. Any thread may call this."""
        with self._lock:
            self._free += 1
        self._serve()

    def _withdraw(self, waiter: _Waiter) -> None:
        """Wait no longer; pass on what was given in the very moment of being cancelled."""
        with self._lock:
            queue = self._waiting.get(waiter.run, deque())
            if waiter in queue:
                queue.remove(waiter)
                if not queue:
                    del self._waiting[waiter.run]
                return
            self._tokens += 1.0
        self.leave()

    def _take(self, clock: Clock) -> float:
        """Take a place and a start if both are there.

        Return the seconds until a start is there; infinite, if it is a place that lacks.
        """
        if self._free < 1:
            return math.inf
        if self._per_second < math.inf:
            now = clock.monotonic()
            if self._filled is not None:
                # Different clocks may tell the time here, so it may seem to go back.
                self._tokens = min(self._burst, self._tokens + max(0.0, now - self._filled) * self._per_second)
            self._filled = now
            if self._tokens < _NEARLY:
                return (1.0 - self._tokens) / self._per_second
            self._tokens -= 1.0
        self._free -= 1
        return 0.0

    def _serve(self) -> None:
        """Let in whoever can be let in, by turns."""
        while True:
            with self._lock:
                waiter, delay = self._next()
            if waiter is None:
                return
            if delay > 0:
                on_loop(waiter.loop, waiter.clock.call_later, delay, self._again)
                return
            on_loop(waiter.loop, settle, waiter.future, None, None)

    def _next(self) -> tuple[_Waiter | None, float]:
        """Return who may come in; or for whom to come again, and in how many seconds. The lock is held."""
        while self._waiting:
            run = next(iter(self._waiting))
            queue = self._waiting[run]
            waiter = queue[0]
            # A loop that was closed has forgotten whoever waited on it.
            delay = 0.0 if waiter.loop.is_closed() else self._take(waiter.clock)
            if delay > 0:
                armed = self._alarm is not None and not self._alarm.is_closed()
                if delay == math.inf or armed:
                    return None, 0.0
                self._alarm = waiter.loop
                return waiter, delay
            queue.popleft()
            del self._waiting[run]
            if queue:
                self._waiting[run] = queue
            if not waiter.loop.is_closed():
                return waiter, 0.0
        return None, 0.0

    def _again(self) -> None:
        """The time for the next start has come."""
        self._alarm = None
        self._serve()


def gate_of(spec: TaskSpec) -> Gate | None:
    """Return a new gate for *spec*; None if it needs none."""
    return None if spec.limit is None and spec.rate is None else Gate(spec.limit, spec.rate)
