"""The project's goals, P1 to P17, and what each feature costs.

Each module has a coroutine generator `measure(effort)` that yields findings. A goal that cannot be measured (yet) is
reported with the reason; the others go on.
"""

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Final, TypeAlias

from benchmarks.timing import Effort


@dataclass(frozen=True, slots=True)
class Finding:
    """One measured number."""

    goal: str
    """`P1` to `P17`; empty for a number that no goal speaks about."""
    what: str
    """What was measured."""
    value: float
    """The number."""
    unit: str
    """Its unit: `×` (against the reference), `µs`, `ms`, `s`, `B`."""
    limit: float | None = None
    """The number must not exceed it; None: it is only told."""
    note: str = ""
    """More numbers, for the reader."""

    @property
    def met(self) -> bool:
        """Whether the number is within its limit."""
        return self.limit is None or self.value <= self.limit


@dataclass(frozen=True, slots=True)
class NotMeasured:
    """A goal without a number."""

    goal: str
    what: str
    reason: str


Measure: TypeAlias = Callable[[Effort], AsyncIterator[Finding | NotMeasured]]

SUBJECTS: Final = ("running", "planning", "features", "endpoint", "stall", "imports", "pages", "durable")
"""The modules of this package, in the order in which they run."""
