"""What happened to a task: the outcome as a value, its attempts, its states."""

from collections.abc import Mapping
from dataclasses import field
from datetime import datetime
from typing import Generic, Literal, TypeAlias, TypeVar

from ._record import record

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)

RunState = Literal["queued", "running", "succeeded", "failed", "cancelled"]
"""The states of a run."""

TaskState = Literal["pending", "running", "retrying", "succeeded", "failed", "skipped", "cancelled"]
"""The states of a task; the last four are terminal."""

AttemptState = Literal["running", "succeeded", "failed", "timed_out", "skipped", "cancelled"]
"""The states of one attempt."""


@record(kw_only=False, slots=True)
class ErrorInfo:
    """An error in words, as it can be stored and shown."""

    type: str
    """The exception's class name."""
    message: str
    """Its text."""

    def __str__(self) -> str:
        return f"{self.type}: {self.message}" if self.message else self.type


@record(kw_only=False, slots=True)
class Succeeded(Generic[T_co]):
    """The outcome of a task that returned."""

    value: T_co
    """What it returned."""


@record(kw_only=False, slots=True)
class Failed:
    """The outcome of a task whose last attempt failed."""

    task: str
    """The task's name."""
    error: ErrorInfo
    """What went wrong, in words."""
    attempts: int
    """How many attempts were made."""
    raised: BaseException | None = field(default=None, repr=False, compare=False)

    def exception(self) -> BaseException | None:
        """Return the exception itself; None where it was not kept (after a restart of a durable engine)."""
        return self.raised


@record(kw_only=False, slots=True)
class Skipped:
    """The outcome of a task that did not run, or that raised `Skip`."""

    reason: str
    """`skip: <text>`, `upstream_skipped: <task>`, `upstream_failed: <task>` or `condition`."""


Outcome: TypeAlias = Succeeded[T] | Failed | Skipped
"""How a task ended, as a parameter type: `Outcome[Charge]` takes whatever happened."""


@record
class Attempt:
    """One attempt of a task."""

    n: int
    """Its number, from 1."""
    state: AttemptState
    """How it ended, or `running`."""
    started_at: datetime
    """When it began (UTC)."""
    finished_at: datetime | None = None
    """When it ended (UTC); None while it runs."""
    error: ErrorInfo | None = None
    """What went wrong; None if nothing did."""
    backoff: float | None = None
    """Seconds waited before it began; None for the first."""


@record
class TaskRecord:
    """A task within one run, as it stood when asked."""

    name: str
    """The task's name; an item of a fan-out is `ship[3]`."""
    state: TaskState
    """Where it stands."""
    after: tuple[str, ...] = ()
    """The tasks that came first."""
    attempts: tuple[Attempt, ...] = ()
    """Every attempt, in order."""
    max_attempts: int = 1
    """How many attempts it may make."""
    optional: bool = False
    """Whether its failure leaves the run succeeded."""
    skip_reason: str | None = None
    """Why it did not run; None unless it is `skipped`."""
    cancel_reason: str | None = None
    """`run_cancelled`, `deadline` or `shutdown`; None unless it is `cancelled`."""
    progress: "ProgressInfo | None" = None
    """The progress it last reported."""
    next_attempt_at: datetime | None = None
    """When the next attempt begins (UTC), while it is `retrying`."""
    items: Mapping[str, "TaskRecord"] = field(default_factory=dict)
    """The items of a fan-out, by name."""
    undone: bool = False
    """Whether its undo has run."""
    undo_error: ErrorInfo | None = None
    """What went wrong with its undo; of a fan-out, with the first undo of an item that failed."""

    @property
    def error(self) -> ErrorInfo | None:
        """What went wrong in the last attempt."""
        return self.attempts[-1].error if self.attempts else None

    @property
    def started_at(self) -> datetime | None:
        """When the first attempt began (UTC)."""
        return self.attempts[0].started_at if self.attempts else None

    @property
    def finished_at(self) -> datetime | None:
        """When the last attempt ended (UTC)."""
        return self.attempts[-1].finished_at if self.attempts else None


@record
class ProgressInfo:
    """How far a task has come, in its own units."""

    done: float
    """Units done."""
    total: float | None = None
    """Units in all; None if unknown."""
    text: str = ""
    """What it is doing."""
