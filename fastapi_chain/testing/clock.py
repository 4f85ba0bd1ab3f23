"""Virtual time: back-offs and rates cost nothing, and deadlines come when a test says so."""

import asyncio
import heapq
import itertools
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Final

from fastapi_chain._clock import REAL, Clock
from fastapi_chain._threads import settle

_PATIENCE: Final = 20
"""How many turns a loop gets before time jumps, where it does not tell whether it has anything left to do."""


class _Alarm:
    """A callback that waits for its time."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, when: float, callback: Callable[[], object], *, awaited: bool
    ) -> None:
        self.loop = loop
        self.when = when
        self.callback: Callable[[], object] | None = callback
        self.awaited = awaited

    def cancel(self) -> None:
        """Do not call it."""
        self.callback = None

    def ring(self) -> None:
        """Call it, on its loop."""
        callback, self.callback = self.callback, None
        if callback is not None and not self.loop.is_closed():
            self.loop.call_soon_threadsafe(callback)


class ChainClock(Clock):
    """Time that stands still while tasks work, and jumps to the next back-off or start when they all wait.

    Whatever a run waits for by itself (back-offs, `rate=`, `RetryAfter`) then takes no time at all, in the right order,
    with the right stamps. A deadline passes when those waits go beyond it, or by `advance`. By `advance` the times
    of `cron=` come, too: a durable engine looks at them every few seconds. What a task waits for in its own code,
    `asyncio.sleep` or a time-out of an attempt, stays real.

    The fixture `chain_clock` puts one in place for a test.
    """

    def __init__(self) -> None:
        """Start at the present time."""
        self._time = time.time()
        self._monotonic = time.perf_counter()
        self._elapsed = 0.0
        self._alarms: list[tuple[float, int, _Alarm]] = []
        self._number = itertools.count()
        self._pumping = False
        self._watching: Counter[asyncio.AbstractEventLoop] = Counter()
        self.sleeps: list[float] = []
        """Every wait between two attempts, in seconds, in the order in which they began."""

    @property
    def elapsed(self) -> float:
        """Seconds that have passed."""
        return self._elapsed

    def monotonic(self) -> float:
        """Return seconds that never go back."""
        return self._monotonic + self._elapsed

    def time(self) -> float:
        """Return seconds since 1970 (UTC)."""
        return self._time + self._elapsed

    async def sleep(self, seconds: float) -> None:
        """Wait for *seconds* of virtual time; a task may use it to pretend to be slow."""
        self.sleeps.append(seconds)
        future: asyncio.Future[object] = asyncio.get_running_loop().create_future()
        alarm = self._set(seconds, partial(settle, future, None, None), awaited=True)
        try:
            await future
        finally:
            alarm.cancel()

    def call_later(self, seconds: float, callback: Callable[[], object]) -> _Alarm:
        """Call *callback* on the running loop in *seconds*, which somebody waits for."""
        return self._set(seconds, callback, awaited=True)

    def limit(self, seconds: float, callback: Callable[[], object]) -> _Alarm:
        """Call *callback* on the running loop in *seconds*, if that much time passes at all."""
        return self._set(seconds, callback, awaited=False)

    async def advance(self, seconds: float) -> None:
        """Let *seconds* pass: what is due by then happens, in order, and what follows from it begins."""
        # What has just been started begins now, not later.
        await self._quiet(asyncio.get_running_loop())
        target = self._elapsed + seconds
        while self._alarms and self._alarms[0][0] <= target:
            self._jump(self._alarms[0][0])
            await self._quiet(asyncio.get_running_loop())
        self._elapsed = target
        await self._quiet(asyncio.get_running_loop())

    def _set(self, seconds: float, callback: Callable[[], object], *, awaited: bool) -> _Alarm:
        loop = asyncio.get_running_loop()
        alarm = _Alarm(loop, self._elapsed + max(0.0, seconds), callback, awaited=awaited)
        heapq.heappush(self._alarms, (alarm.when, next(self._number), alarm))
        if awaited and not self._pumping:
            self._pumping = True
            loop.create_task(self._pump()).add_done_callback(self._pumped)
        return alarm

    async def _pump(self) -> None:
        """Let time jump to the next thing that is waited for, whenever nothing else can be done."""
        loop = asyncio.get_running_loop()
        while True:
            await self._quiet(loop)
            due = [when for when, _, alarm in self._alarms if alarm.awaited and alarm.callback is not None]
            if not due:
                return
            # What is due before that, a deadline, comes first.
            self._jump(min(when for when, _, alarm in self._alarms if alarm.callback is not None))

    def _pumped(self, _task: "asyncio.Task[None]") -> None:
        self._pumping = False

    def _jump(self, when: float) -> None:
        """Let the time *when* come, and all that is due by then happen."""
        self._elapsed = max(self._elapsed, when)
        while self._alarms and self._alarms[0][0] <= self._elapsed:
            heapq.heappop(self._alarms)[2].ring()

    async def _quiet(self, loop: asyncio.AbstractEventLoop) -> None:
        """Return when *loop* has nothing left to do but to wait, and perhaps others who wait for that as well."""
        ready = getattr(loop, "_ready", ())
        turns = 0
        self._watching[loop] += 1
        try:
            while turns < _PATIENCE or len(ready) >= self._watching[loop]:
                await asyncio.sleep(0)
                turns += 1
        finally:
            self._watching[loop] -= 1

    @contextmanager
    def in_place(self) -> Iterator["ChainClock"]:
        """Be the clock of every chain of this process within the block: in every thread, and whatever the context."""
        names = ("monotonic", "time", "sleep", "call_later", "limit")
        vars(REAL).update({name: getattr(self, name) for name in names})
        try:
            yield self
        finally:
            for name in names:
                del vars(REAL)[name]
