"""One stream of events per run: frozen values in the order in which things happened.

History, server-sent events, logging, tracing and the dashboard are readers of this stream; nothing else tells them.
"""

from datetime import datetime
from typing import ClassVar

from ._record import record
from .outcome import ErrorInfo, ProgressInfo, RunState


@record
class Event:
    """Something that happened in a run."""

    kind: ClassVar[str] = "event"
    """The event's name, as in `task.started`."""

    run_id: str
    """The run."""
    chain: str
    """The name of its chain."""
    seq: int
    """Sequence number within the run, from 1, without gaps."""
    at: datetime
    """When it happened (UTC)."""


@record
class RunStarted(Event):
    """The run began."""

    kind: ClassVar[str] = "run.started"


@record
class RunFinished(Event):
    """The run ended; the last event of the stream, unless it is retried."""

    kind: ClassVar[str] = "run.finished"

    state: RunState
    """How."""
    reason: str | None = None
    """Why, where the tasks alone do not say."""


@record
class TaskEvent(Event):
    """Something that happened to a task."""

    kind: ClassVar[str] = "task"

    task: str
    """The task's name; an item of a fan-out is `ship[3]`."""


@record
class TaskStarted(TaskEvent):
    """An attempt began."""

    kind: ClassVar[str] = "task.started"

    attempt: int
    """Its number, from 1."""
    max_attempts: int
    """How many there may be."""


@record
class TaskSucceeded(TaskEvent):
    """The task returned."""

    kind: ClassVar[str] = "task.succeeded"

    attempt: int
    """The attempt that did."""


@record
class TaskRetrying(TaskEvent):
    """An attempt failed and another one follows."""

    kind: ClassVar[str] = "task.retrying"

    attempt: int
    """The attempt that failed."""
    max_attempts: int
    """How many there may be."""
    error: ErrorInfo
    """What went wrong."""
    delay: float
    """Seconds until the next attempt."""
    exception: BaseException | None = None
    """The exception itself, where it is at hand."""


@record
class TaskFailed(TaskEvent):
    """The last attempt failed."""

    kind: ClassVar[str] = "task.failed"

    attempt: int
    """The attempt that failed."""
    error: ErrorInfo
    """What went wrong."""
    seconds: float
    """Time since the first attempt began, in seconds."""
    exception: BaseException | None = None
    """The exception itself, where it is at hand."""


@record
class TaskSkipped(TaskEvent):
    """The task did not run, or raised `Skip`."""

    kind: ClassVar[str] = "task.skipped"

    reason: str
    """`skip: <text>`, `upstream_skipped: <task>`, `upstream_failed: <task>` or `condition`."""


@record
class TaskCancelled(TaskEvent):
    """The task was cancelled, or never began because the run was."""

    kind: ClassVar[str] = "task.cancelled"

    reason: str
    """`run_cancelled`, `deadline` or `shutdown`."""


@record
class TaskUndone(TaskEvent):
    """The task's undo ended."""

    kind: ClassVar[str] = "task.undone"

    error: ErrorInfo | None = None
    """What went wrong; None if it worked."""


@record
class TaskProgressed(TaskEvent):
    """The task reported progress."""

    kind: ClassVar[str] = "task.progress"

    progress: ProgressInfo
    """How far it has come."""


@record
class TaskLogged(TaskEvent):
    """The task wrote to the log."""

    kind: ClassVar[str] = "task.log"

    attempt: int
    """The attempt that did."""
    level: str
    """`INFO`, `WARNING`, …"""
    text: str
    """The formatted message."""
