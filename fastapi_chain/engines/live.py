"""One run of the memory engine, from queued to finished and, if somebody says so, again."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Mapping
from datetime import datetime
from typing import Protocol

from fastapi_chain._clock import Timer, utc
from fastapi_chain._ledger import CANCELLED, SUCCEEDED
from fastapi_chain._program import Program
from fastapi_chain._replay import replay
from fastapi_chain._state import RunState, Sink
from fastapi_chain._stream import Stream
from fastapi_chain._threads import Hopper
from fastapi_chain._undo import undo
from fastapi_chain._again import reopen
from fastapi_chain.errors import DeadlineExceeded, NothingToRetry, RunCancelled, RunFinished, RunNotFinished
from fastapi_chain.events import Event, RunFinished as RunEnded, RunStarted, TaskCancelled
from fastapi_chain.outcome import RunState as State, TaskRecord

from .base import RunRequest
from .line import Line


class Home(Protocol):
    """What a run needs of its engine."""

    hop: Hopper
    heed: tuple[Sink, ...]

    def run_tasks(self, live: "LiveRun") -> Awaitable[None]:
        """Run the tasks."""

    def program(self, state: RunState) -> Program:
        """Return the compiled plan."""

    def reopen(self, live: "LiveRun") -> None:
        """Start a run that had finished."""

    def forget(self, live: "LiveRun") -> None:
        """Count a run as pending no longer."""


class LiveRun:
    """A run in this process; the `RunBackend` of the memory engine."""

    # What most runs do without is the class's until it is set.
    line: Line | None = None
    """The fast path, while it runs there."""
    stream: Stream | None = None
    """Its events, once somebody follows."""
    discarded: bool = False
    takers: int = 1
    """How many requests share it."""
    task: "asyncio.Task[None] | None" = None
    """The task that the engine has made for it."""
    _waiting: "tuple[asyncio.Future[None], ...]" = ()
    """Who waits for its end."""
    performer: "asyncio.Task[object] | None" = None
    """The task that performs it, whoever made that."""

    def __init__(self, engine: Home, inner: RunState, request: RunRequest) -> None:
        """Begin queued."""
        self.engine = engine
        self.inner = inner
        self.request = request
        inner.heed = engine.heed
        self._surround(request)

    def _surround(self, request: RunRequest) -> None:
        """Take down where the run comes from."""
        inner = self.inner
        if request.app is not None or request.tags:
            inner.app = request.app
            inner.request_scope = request.request_scope
            inner.tags = request.tags

    def serve(self, request: RunRequest) -> None:
        """Be made from *request* instead of the one that took it first: that one may have come to nothing."""
        self.request = request
        self.inner.fill(request.values)
        self._surround(request)

    # --- what it is

    @property
    def id(self) -> str:
        return self.inner.id

    @property
    def url(self) -> str | None:
        return self.inner.url

    @property
    def chain(self) -> str:
        return self.inner.plan.chain

    @property
    def state(self) -> State:
        return self.inner.state

    @property
    def reason(self) -> str | None:
        return self.inner.reason

    @property
    def created_at(self) -> datetime:
        return utc(self.inner.created + self.inner.epoch)

    @property
    def started_at(self) -> datetime | None:
        return self._at(self.inner.started)

    @property
    def finished_at(self) -> datetime | None:
        return self._at(self.inner.finished)

    def _at(self, moment: float | None) -> datetime | None:
        return None if moment is None else utc(moment + self.inner.epoch)

    @property
    def tags(self) -> Mapping[str, str]:
        return self.inner.tags

    @property
    def tasks(self) -> Mapping[str, TaskRecord]:
        return {record.name: record for record in self.inner.records()}

    @property
    def outputs(self) -> Mapping[str, object]:
        inner = self.inner
        inner.settle()
        pairs = zip(inner.plan.names, inner.ledger.states, inner.slots, strict=False)
        return {name: value for name, state, value in pairs if state == SUCCEEDED}

    @property
    def errors(self) -> Mapping[str, BaseException]:
        names = self.inner.plan.names
        return {names[i]: error for i, error in sorted(self.inner.ledger.errors.items())}

    def value(self, name: str) -> object:
        """Return the output of task *name*, or raise why there is none."""
        return self.inner.value(name)

    def raise_for_error(self) -> None:
        """Raise an `ExceptionGroup` of what failed."""
        inner = self.inner
        if inner.finished is None:
            raise RunNotFinished(run=inner.id, state=inner.state)
        if inner.state == "cancelled":
            raise RunCancelled(run=inner.id, reason=inner.reason)
        if inner.state == "failed":
            counting = [error for i, error in sorted(inner.ledger.errors.items()) if inner.counts(i)]
            if inner.error is not None:
                counting.append(inner.error)
            text = f"run {inner.id[:8]} of chain {inner.plan.chain!r} failed"
            raise BaseExceptionGroup(text, counting)

    # --- its life

    async def perform(self) -> None:
        """Run the tasks, then undo them if that is due, and put the end down.

        Raises:
            asyncio.CancelledError: The task that waits here was cancelled; the run has ended, as `cancelled`.
        """
        inner = self.inner
        if inner.finished is not None:
            # Cancelled while it was queued.
            return
        inner.open(self)
        if inner.followed:
            inner.tell(RunStarted)
        timer = None if self.request.deadline is None else self._limit(self.request.deadline)
        stopped: BaseException | None = None
        try:
            await self.engine.run_tasks(self)
        except BaseException as error:  # noqa: BLE001 - raised again, once the run has come to its end
            stopped = error
            inner.cancel_reason = inner.cancel_reason or "run_cancelled"
        finally:
            if timer is not None:
                timer.cancel()
        if inner.cancel_reason is None and (inner.spotless or not (inner.ledger.failed and inner.ledger.errors)):
            self._end("succeeded")
        else:
            self._end(await self._wind_up())
        if stopped is not None:
            raise stopped

    def _limit(self, seconds: float) -> Timer:
        """Set the deadline."""
        inner = self.inner
        inner.deadline_at = (inner.started or 0.0) + seconds
        return inner.clock.call_later(seconds, self._deadline)

    def _deadline(self) -> None:
        inner = self.inner
        inner.error = DeadlineExceeded(chain=self.chain, seconds=self.request.deadline or 0.0, run=inner.id)
        self.stop("deadline")

    def stop(self, reason: str) -> None:
        """End the run early."""
        inner = self.inner
        if inner.cancel_reason is None and inner.finished is None:
            inner.cancel_reason = inner.reason = reason
            if self.line is not None:
                self.line.stop()
            elif self.performer is not None:
                self.performer.cancel()

    async def _wind_up(self) -> State:
        """Put down what never began, and undo what was done if the run ends badly; return how it ends."""
        inner = self.inner
        for i, state in enumerate(inner.ledger.states):
            if state < SUCCEEDED:
                reason = inner.cancel_reason or "run_cancelled"
                inner.ledger.states[i] = CANCELLED
                inner.ledger.reasons[i] = reason
                inner.tell(TaskCancelled, task=inner.plan.names[i], reason=reason)
        ends_as = self._ends_as()
        if ends_as != "succeeded":
            await undo(inner, self.engine.program(inner), self.engine.hop)
        return ends_as

    def _ends_as(self) -> State:
        inner = self.inner
        if inner.cancel_reason is not None:
            return "failed" if inner.cancel_reason == "deadline" else "cancelled"
        return "failed" if any(inner.counts(i) for i in inner.ledger.errors) else "succeeded"

    def _end(self, state: State) -> None:
        """Put down that the run has ended, and let everybody know."""
        inner = self.inner
        inner.close(state)
        if self.request.counted:
            self.engine.forget(self)
        if inner.followed or state != "succeeded":
            inner.reason = inner.cancel_reason
            inner.tell(RunEnded, state=state, reason=inner.reason)
        for future in self._waiting:
            if not future.done():
                future.set_result(None)

    # --- what users do with it

    def discard(self) -> None:
        """Start nothing."""
        self.discarded = True

    async def wait(self, timeout: float | None) -> None:  # noqa: ASYNC109 - part of the public contract
        """Return when the run has finished."""
        if self.inner.finished is not None:
            return
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting = (*self._waiting, future)
        async with asyncio.timeout(timeout):
            await future

    async def events(self, after: int) -> AsyncIterator[Event]:
        """Yield the events with a greater number than *after*."""
        async for event in self.follow().read(after):
            yield event

    def follow(self) -> Stream:
        """Return the stream of this run's events; from now on they are all told."""
        inner = self.inner
        if self.stream is None:
            past = replay(inner)
            inner.seq = len(past)
            inner.followed = True
            self.stream = Stream(past)
            inner.sinks = (*inner.sinks, self.stream)
        return self.stream

    async def cancel(self) -> None:
        """Cancel the run."""
        if self.inner.finished is not None:
            raise RunFinished(run=self.id, state=self.state)
        self.stop("run_cancelled")
        if self.inner.state == "queued":
            # Nobody performs it yet, and whoever does will find it ended.
            self._end("cancelled")

    async def retry(self, from_: str) -> None:
        """Run again in place."""
        inner = self.inner
        if inner.finished is None:
            raise RunNotFinished(run=self.id, state=self.state)
        # A thread of the last round may still be in a task that is to run again.
        await inner.alone()
        if not reopen(inner, from_):
            raise NothingToRetry(run=self.id)
        self.task = None
        self.engine.reopen(self)
