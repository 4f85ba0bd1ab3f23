"""Chains that start by themselves: every worker looks at the clock, and one of them is first."""

from collections.abc import Callable, Iterable
from datetime import datetime

from croniter import croniter  # type: ignore[import-untyped]  # it has no stubs

from fastapi_chain._clock import REAL, utc
from fastapi_chain.plan import Plan


class Crons:
    """Starts each chain once for each of its times."""

    def __init__(self, crons: Callable[[], Iterable[tuple[Plan, str]]], start: Callable[[Plan, str], None]) -> None:
        """Begin with the times from now on.

        Args:
            crons: Tells the plans, each with its times as cron writes them (UTC).
            start: Starts a run of a plan with a key that says for which time it is, unless another process has done so.
        """
        self._crons = crons
        self._start = start
        self._since = utc(REAL.time())

    def __call__(self) -> None:
        """Start what has come due since the last look; of several times that one of a chain has missed, the last."""
        now = utc(REAL.time())
        for plan, times in self._crons():
            due = croniter(times, now, ret_type=datetime).get_prev()
            if due > self._since:
                self._start(plan, f"cron {due.isoformat()}")
        self._since = now
