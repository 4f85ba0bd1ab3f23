"""The one clock of the library: stamps, back-offs, deadlines and rates all ask it.

Tests put another one in its place, so that waiting costs nothing.
"""

import asyncio
import time
from collections.abc import Callable
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Final, Protocol


class Timer(Protocol):
    """A callback that waits for its time."""

    def cancel(self) -> None:
        """Do not call it."""


class Clock:
    """Real time."""

    monotonic: Callable[[], float] = staticmethod(time.perf_counter)
    """Seconds that never go back."""

    time: Callable[[], float] = staticmethod(time.time)
    """Seconds since 1970 (UTC)."""

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        await asyncio.sleep(seconds)

    def call_later(self, seconds: float, callback: Callable[[], object]) -> Timer:
        """Call *callback* on the running loop in *seconds*."""
        return asyncio.get_running_loop().call_later(seconds, callback)

    def limit(self, seconds: float, callback: Callable[[], object]) -> Timer:
        """Do the same for a time that had better not come, a deadline: a clock of tests does not hurry to it."""
        return self.call_later(seconds, callback)


REAL = Clock()
current_clock: Final[ContextVar[Clock]] = ContextVar("fastapi_chain_clock", default=REAL)
"""The clock that holds here."""


def use_clock(clock: Clock) -> Callable[[], None]:
    """Put *clock* in place for this context; the result puts the old one back."""
    token = current_clock.set(clock)
    return lambda: current_clock.reset(token)


def utc(seconds: float) -> datetime:
    """Return *seconds* since 1970 as an aware datetime."""
    return datetime.fromtimestamp(seconds, UTC)
