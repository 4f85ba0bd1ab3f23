"""TaskContext, Progress and current_task(): what a task may know and say about itself.

Outside a run they are harmless stand-ins, so that a task stays a plain function.
"""

import logging
from collections.abc import Iterable, Iterator, Sized
from contextvars import ContextVar
from math import isfinite
from typing import Final, Protocol, TypeVar

from .outcome import ProgressInfo

T = TypeVar("T")

_LONGEST: Final = 500
"""So much of the text of a progress is kept: a run keeps many of them for those who follow it."""

_OUTSIDE = logging.getLogger("fastapi_chain.task")


class TaskLink(Protocol):
    """What stands behind a `TaskContext`: one task, or one item of a fan-out, within one run."""

    @property
    def run_id(self) -> str: ...
    @property
    def task(self) -> str: ...
    @property
    def attempt(self) -> int: ...
    @property
    def max_attempts(self) -> int: ...
    @property
    def cancelled(self) -> bool: ...

    def time_left(self) -> float | None:
        """Return the seconds until the deadline of the run."""

    def report(self, progress: ProgressInfo) -> None:
        """Pass *progress* on; any thread may call it."""


class Outside:
    """The link of a task that is called as a plain function."""

    run_id = ""
    task = ""
    attempt = 1
    max_attempts = 1
    cancelled = False

    def time_left(self) -> float | None:
        """There is no deadline."""
        return None

    def report(self, progress: ProgressInfo) -> None:
        """Nobody is watching."""


class TaskContext:
    """The running task: `ctx: TaskContext` as a parameter, or `current_task()` anywhere below it.

    `TaskContext()` is the stand-in outside a run: attempt 1 of 1, never cancelled, no deadline.
    """

    __slots__ = ("_link",)

    def __init__(self, link: TaskLink | None = None) -> None:
        """Stand for *link*, or for no run at all."""
        self._link = link or Outside()

    @property
    def run_id(self) -> str:
        """The id of the run; empty outside one."""
        return self._link.run_id

    @property
    def task(self) -> str:
        """The task's name; an item of a fan-out is `ship[3]`; empty outside a run."""
        return self._link.task

    @property
    def attempt(self) -> int:
        """The number of this attempt, from 1."""
        return self._link.attempt

    @property
    def max_attempts(self) -> int:
        """How many attempts there may be: `retries` + 1."""
        return self._link.max_attempts

    @property
    def cancelled(self) -> bool:
        """Whether the run has been cancelled: a long `def` task should look now and then, and return."""
        return self._link.cancelled

    @property
    def idempotency_key(self) -> str:
        """A key for calls to other systems: the same over all attempts and recoveries of this task in this run."""
        return f"{self.run_id}:{self.task}"

    @property
    def logger(self) -> logging.Logger:
        """A standard logger named after the task; its records carry run, chain, task and attempt."""
        # One logger a task, not one an item: loggers live for ever.
        name = self.task.partition("[")[0]
        return _OUTSIDE.getChild(name) if name else _OUTSIDE

    def time_left(self) -> float | None:
        """Return the seconds until the run's deadline (0.0 when it has passed); None without one."""
        return self._link.time_left()

    def __repr__(self) -> str:
        return f"<TaskContext {self.task!r} attempt {self.attempt} of {self.max_attempts}>"


class Progress:
    """How far the running task has come: `progress: Progress` as a parameter.

    Any thread may report, as often as it likes: reports are thrown together and never wait for a reader.
    """

    __slots__ = ("_link",)

    def __init__(self, link: TaskLink | None = None) -> None:
        """Report to *link*, or to nobody."""
        self._link = link or Outside()

    def __call__(self, done: float, total: float | None = None, text: str = "") -> None:
        """Report that *done* of *total* units are done; nothing is reported if *done* is infinite or no number.

        Args:
            done: Units done so far.
            total: Units in all; None, or what is no finite number, if unknown.
            text: What is being done, for a person; of a long one the first 500 characters.
        """
        if isfinite(done):
            whole = float(total) if total is not None and isfinite(total) else None
            self._link.report(ProgressInfo(done=float(done), total=whole, text=str(text)[:_LONGEST]))

    def track(self, items: Iterable[T], total: float | None = None, text: str = "") -> Iterator[T]:
        """Yield *items* and report each one that is done.

        Args:
            items: What to walk through.
            total: How many there are; default `len(items)` where it has one.
            text: What is being done, for a person.
        """
        if total is None and isinstance(items, Sized):
            total = len(items)
        for done, item in enumerate(items, start=1):
            yield item
            self(done, total, text)


class Here(Protocol):
    """What runs in this context right now; the executor keeps it up to date."""

    def link(self) -> TaskLink:
        """Return the link of the running task."""


running: ContextVar[Here | None] = ContextVar("fastapi_chain_running", default=None)
"""Set once for each worker of a run, not for each task: see `engines/line.py`."""


def current_task() -> TaskContext:
    """Return the context of the task that runs here; a stand-in outside a run.

    It works anywhere below a task, in `async` and in threads that carry the context. In a background task of the user's
    own that outlives its task, it may name the task that came next.

    Example:
        >>> current_task().attempt
        1
    """
    here = running.get()
    return TaskContext(None if here is None else here.link())
