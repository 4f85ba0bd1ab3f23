"""Run: one run of a chain, as users hold it.

A `Run` is a thin, typed window on a `RunBackend`, the part that an engine gives: the memory engine's is the run itself,
a durable engine's is a row that any process can read.
"""

from collections.abc import AsyncIterator, Coroutine, Mapping
from datetime import datetime
from typing import Any, Protocol, TypeVar, overload

from .events import Event
from .outcome import RunState, TaskRecord
from .tasks import AnyTask, FanOut, Task

T = TypeVar("T")


class RunBackend(Protocol):
    """What an engine gives for one run."""

    @property
    def id(self) -> str: ...
    @property
    def url(self) -> str | None: ...
    @property
    def chain(self) -> str: ...
    @property
    def state(self) -> RunState: ...
    @property
    def reason(self) -> str | None: ...
    @property
    def created_at(self) -> datetime: ...
    @property
    def started_at(self) -> datetime | None: ...
    @property
    def finished_at(self) -> datetime | None: ...
    @property
    def tags(self) -> Mapping[str, str]: ...
    @property
    def tasks(self) -> Mapping[str, TaskRecord]: ...
    @property
    def outputs(self) -> Mapping[str, object]: ...
    @property
    def errors(self) -> Mapping[str, BaseException]: ...

    def value(self, name: str) -> object:
        """Return the output of task *name*, or raise why there is none."""

    def raise_for_error(self) -> None:
        """Raise an `ExceptionGroup` of what failed."""

    def discard(self) -> None:
        """Start nothing: the run was made for a request that wants none."""

    async def wait(self, timeout: float | None) -> None:
        """Return when the run has finished."""

    def events(self, after: int) -> AsyncIterator[Event]:
        """Yield the events after sequence number *after*, ending with the run."""

    async def cancel(self) -> None:
        """Cancel the run."""

    async def retry(self, from_: str) -> None:
        """Run again in place."""


class Run:
    """One run of a chain.

    In an endpoint, a parameter `run: Run` is the run that this request will start; in a task, the run it belongs to.
    """

    __slots__ = ("__weakref__", "_backend")

    def __init__(self, backend: RunBackend) -> None:
        """Open a window on *backend*."""
        self._backend = backend

    @property
    def id(self) -> str:
        """Its id: 128 random bits in hexadecimal."""
        return self._backend.id

    @property
    def url(self) -> str | None:
        """The path of its status page; None unless the app includes `runtime.router()`."""
        return self._backend.url

    @property
    def chain(self) -> str:
        """The name of its chain."""
        return self._backend.chain

    @property
    def state(self) -> RunState:
        """`queued`, `running`, `succeeded`, `failed` or `cancelled`."""
        return self._backend.state

    @property
    def done(self) -> bool:
        """Whether it has finished."""
        return self._backend.finished_at is not None

    @property
    def reason(self) -> str | None:
        """Why it failed or was cancelled, where the tasks alone do not say: `deadline`, `run_cancelled`, `shutdown`."""
        return self._backend.reason

    @property
    def created_at(self) -> datetime:
        """When it was made (UTC)."""
        return self._backend.created_at

    @property
    def started_at(self) -> datetime | None:
        """When it started (UTC)."""
        return self._backend.started_at

    @property
    def finished_at(self) -> datetime | None:
        """When it finished (UTC)."""
        return self._backend.finished_at

    @property
    def tags(self) -> Mapping[str, str]:
        """The tags of `chain(tags=...)`, filled in."""
        return self._backend.tags

    @property
    def tasks(self) -> Mapping[str, TaskRecord]:
        """Every task by name, as it stands now."""
        return self._backend.tasks

    @property
    def outputs(self) -> Mapping[str, object]:
        """The outputs of all tasks that have succeeded, by task name."""
        return self._backend.outputs

    @property
    def errors(self) -> Mapping[str, BaseException]:
        """The exceptions of all tasks that have failed, by task name."""
        return self._backend.errors

    @overload
    def __getitem__(self, task: FanOut[..., Coroutine[Any, Any, T]]) -> list[T]: ...
    @overload
    def __getitem__(self, task: FanOut[..., T]) -> list[T]: ...
    @overload
    def __getitem__(self, task: Task[..., Coroutine[Any, Any, T]]) -> T: ...
    @overload
    def __getitem__(self, task: Task[..., T]) -> T: ...
    @overload
    def __getitem__(self, task: str) -> object: ...
    def __getitem__(self, task: AnyTask | str) -> object:
        """Return the output of *task*.

        Raises:
            KeyError: The run has no such task.
            TaskSkipped: It was skipped.
            TaskCancelled: It was cancelled.
            RunNotFinished: It has not ended yet.
            Exception: It failed: its own exception, or `TaskFailed` where that was not kept.
        """
        return self._backend.value(task if isinstance(task, str) else task.name)

    def raise_for_error(self) -> None:
        """Raise an `ExceptionGroup` of the exceptions of all failed tasks; do nothing if the run succeeded.

        Raises:
            ExceptionGroup: The run failed.
            RunCancelled: The run was cancelled.
            RunNotFinished: The run has not finished.
        """
        self._backend.raise_for_error()

    def discard(self) -> None:
        """Start nothing for this request. Without effect once the run has started."""
        self._backend.discard()

    async def wait(self, timeout: float | None = None) -> "Run":
        """Return when the run has finished.

        Args:
            timeout: Seconds to wait at most; None waits for ever.

        Raises:
            TimeoutError: It has not finished by then; the run goes on.
        """
        await self._backend.wait(timeout)
        return self

    async def events(self, after: int = 0) -> AsyncIterator[Event]:
        """Yield what happens in the run, from its beginning to its end.

        Args:
            after: Yield only events with a greater sequence number.
        """
        async for event in self._backend.events(after):
            yield event

    async def cancel(self) -> None:
        """Cancel the run: `async` tasks at once; a running `def` task goes on, but nothing starts after it.

        Raises:
            RunFinished: It has finished already.
        """
        await self._backend.cancel()

    async def retry(self, from_: "AnyTask | str" = "failed") -> None:
        """Run again in place; what is not after it is kept unless it was undone, attempts go on counting.

        Args:
            from_: `"failed"`: what failed (of a fan-out, those items) and all after it, even what had succeeded
                with that failure as its input; `"start"`: everything; a task or its name: that task and all after it.

        Raises:
            RunNotFinished: It has not finished yet.
            NothingToRetry: Nothing failed.
        """
        await self._backend.retry(from_ if isinstance(from_, str) else from_.name)

    def __repr__(self) -> str:
        return f"<Run {self.id[:8]} of {self.chain!r}: {self.state}>"
