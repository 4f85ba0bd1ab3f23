"""How many calls of a task at once, and how many starts in a time."""

import asyncio
from collections import deque
from typing import Final

from ._clock import Clock
from .spec import Rate, TaskSpec

_NOW: Final = 0.0


class Gate:
    """`limit=` and `rate=` of one task, over all runs of this process; first come, first served.

    Waiting holds nothing: whoever waits for a retry has left the gate before.
    """

    def __init__(self, limit: int | None, rate: Rate | None) -> None:
        """Let at most *limit* be inside, and start at most *rate*."""
        self._free = limit
        self._rate = rate
        self._waiting: deque[asyncio.Future[None]] = deque()
        # A token bucket that is refilled when somebody looks; its burst is one second's worth, at least one start.
        self._per_second = 0.0 if rate is None else rate.count / rate.seconds
        self._burst = max(1.0, self._per_second)
        self._tokens = self._burst
        self._filled: float | None = None

    async def enter(self, clock: Clock) -> None:
        """Wait for a place, then for a start."""
        if self._free is not None:
            await self._place()
        if self._rate is not None:
            try:
                await self._start(clock)
            except BaseException:
                self.leave()
                raise

    async def _place(self) -> None:
        if self._free and not self._waiting:
            self._free -= 1
            return
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(future)
        try:
            await future
        except asyncio.CancelledError:
            if future.cancelled():
                self._waiting.remove(future)
            else:
                # The place was given to us in the very moment in which we were cancelled: pass it on.
                self.leave()
            raise

    async def _start(self, clock: Clock) -> None:
        delay = self._take(clock.monotonic())
        if delay > _NOW:
            await clock.sleep(delay)

    def _take(self, now: float) -> float:
        """Take one token; return how long it takes until it is there (tokens may be owed: that keeps the order)."""
        if self._filled is not None:
            self._tokens = min(self._burst, self._tokens + (now - self._filled) * self._per_second)
        self._filled = now
        self._tokens -= 1.0
        return 0.0 if self._tokens >= 0.0 else -self._tokens / self._per_second

    def leave(self) -> None:
        """Give the place back."""
        if self._free is None:
            return
        while self._waiting:
            future = self._waiting.popleft()
            if not future.done():
                future.set_result(None)
                return
        self._free += 1


def gate_of(spec: TaskSpec) -> Gate | None:
    """Return a new gate for *spec*; None if it needs none."""
    return None if spec.limit is None and spec.rate is None else Gate(spec.limit, spec.rate)
