"""One run of the memory engine, from queued to finished and, if somebody says so, again."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import replace
from datetime import datetime
from functools import partial
from typing import Protocol

from fastapi_chain._clock import Timer, utc
from fastapi_chain._fastapi import without_secrets
from fastapi_chain._state import RunState
from fastapi_chain._state.ledger import SUCCEEDED
from fastapi_chain._state.telling import Heed
from fastapi_chain._threads import Hopper, finish, on_loop, settle
from fastapi_chain._trace import trace_of
from fastapi_chain.engines.again import reopen
from fastapi_chain.engines.program import Program
from fastapi_chain.engines.replay import replay
from fastapi_chain.engines.stream import Stream
from fastapi_chain.engines.undo import undo
from fastapi_chain.errors import DeadlineExceeded, NothingToRetry, RunFinished, RunNotFinished
from fastapi_chain.events import Event, RunStarted
from fastapi_chain.events import RunFinished as RunEnded
from fastapi_chain.outcome import RunState as State
from fastapi_chain.outcome import TaskRecord

from .base import RunRequest


class Path(Protocol):
    """How the tasks of a run are run."""

    def stop(self) -> None:
        """End what is under way: the run's `cancel_reason` says why."""

    def take_over(self) -> None:
        """Start whatever else may run: the task that the run is at waits."""

    def listen(self, begin: Callable[[], None]) -> None:
        """Call *begin* at a moment at which nothing changes; from then on everything is told."""


class Home(Protocol):
    """What a run needs of its engine."""

    hop: Hopper
    heed: tuple[Heed, ...]

    @property
    def kept(self) -> "Kept | None":
        """Where runs are remembered; None: nowhere."""

    def run_tasks(self, live: "LiveRun") -> Awaitable[None]:
        """Run the tasks."""

    def program(self, state: RunState) -> Program:
        """Return the compiled plan."""

    def reopen(self, live: "LiveRun") -> None:
        """Start a run that had finished."""

    def forget(self, live: "LiveRun") -> None:
        """Count a run as pending no longer."""


class Kept(Protocol):
    """Where runs are remembered."""

    base: str | None
    """The path below which their pages are; None: they have none."""

    def end(self, live: "LiveRun") -> None:
        """A run has finished."""


class LiveRun:
    """A run in this process; the `RunBackend` of the memory engine."""

    # What most runs do without is the class's until it is set.
    path: Path | None = None
    """How its tasks are run, while they are."""
    stream: Stream | None = None
    """Its events, once somebody follows."""
    begun: bool = False
    """Whether somebody performs it."""
    takers: int = 1
    """How many requests share it."""
    task: "asyncio.Task[None] | None" = None
    """The task that the engine has made for it."""
    _waiting: "tuple[asyncio.Future[None], ...]" = ()
    """Who waits for its end."""
    _ending: bool = False
    """Whether nothing can change any more how it ends."""

    def __init__(self, engine: Home, inner: RunState, request: RunRequest) -> None:
        """Begin queued."""
        self.engine = engine
        self.inner = inner
        self.request = request
        # Read by every run: quicker here than on the class.
        self.begun = False
        self._waiting = ()
        inner.heed = engine.heed
        if request.app is not None or request.tags:
            self._surround(request)
        if inner.followed:
            # The numbers of its events are given out from the first on.
            self.follow()

    def _surround(self, request: RunRequest) -> None:
        """Take down where the run comes from."""
        inner = self.inner
        inner.app = request.app
        inner.request_scope = request.request_scope
        if request.tags:
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
        kept = self.engine.kept
        base = None if kept is None else kept.base
        return self.inner.url or (None if base is None else f"{base}/runs/{self.id}")

    @property
    def seq(self) -> int:
        inner = self.inner
        return inner.seq if inner.followed else max(inner.seq, len(replay(inner)))

    @property
    def started_by(self) -> str | None:
        return self.request.started_by

    @property
    def trace_id(self) -> str | None:
        return trace_of(self.request.context)

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
        return self.inner.records()

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
        self.inner.raise_for_error()

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
            if inner.cancel_reason is None:
                await self.engine.run_tasks(self)
        except BaseException as error:  # noqa: BLE001 - raised again, once the run has come to its end
            stopped = error
            inner.cancel_reason = inner.cancel_reason or "run_cancelled"
        finally:
            if timer is not None:
                timer.cancel()
        if inner.cancel_reason is None and (inner.spotless or not (inner.ledger.failed and inner.ledger.errors)):
            self._end("succeeded")
            return
        try:
            await self._wind_up()
        except BaseException as error:  # noqa: BLE001 - likewise
            stopped = stopped or error
        self._end(self._ends_as())
        if stopped is not None:
            raise stopped

    def spread(self) -> None:
        """Start whatever else may run: the task that it is at waits."""
        assert self.path is not None, "only a task waits on the line"
        self.path.take_over()

    def _limit(self, seconds: float) -> Timer:
        """Set the deadline."""
        inner = self.inner
        inner.deadline_at = (inner.started or 0.0) + seconds
        return inner.clock.limit(seconds, self._deadline)

    def _deadline(self) -> None:
        inner = self.inner
        if inner.cancel_reason is None:
            inner.error = DeadlineExceeded(chain=self.chain, seconds=self.request.deadline or 0.0, run=inner.id)
            self.stop("deadline")

    def stop(self, reason: str) -> None:
        """End the run early, unless it is about to end anyway."""
        inner = self.inner
        if inner.cancel_reason is not None or self._ending:
            return
        inner.cancel_reason = inner.reason = reason
        if inner.state == "queued" and inner.spotless:
            self.give_up()
        elif self.path is not None:
            self.path.stop()
        # What is queued to run again is run: only to undo what it has done before.

    def give_up(self) -> None:
        """End a run that nobody performs, and that has done nothing."""
        inner = self.inner
        inner.cancel_reason = inner.cancel_reason or "run_cancelled"
        self._call_off()
        self._end("cancelled")

    def _call_off(self) -> None:
        """Put down what never began."""
        self._ending = True
        inner = self.inner
        for i, state in enumerate(inner.ledger.states):
            if state < SUCCEEDED:
                inner.call_off(inner.ledger, i, inner.plan.names[i])

    async def _wind_up(self) -> None:
        """Put down what never began, and undo what was done if the run ends badly.

        Raises:
            asyncio.CancelledError: The task that waits here was cancelled; the undo has come to its end all the same.
        """
        self._call_off()
        program = self.engine.program(self.inner)
        if program.undos and self._ends_as() != "succeeded":
            # In an asyncio task of its own: the one that performs the run may have been cancelled.
            await finish(asyncio.ensure_future(undo(self.inner, program, self.engine.hop)))

    def _ends_as(self) -> State:
        inner = self.inner
        if inner.cancel_reason is not None:
            return "failed" if inner.cancel_reason == "deadline" else "cancelled"
        return "failed" if any(inner.counts(i) for i in inner.ledger.errors) else "succeeded"

    def _end(self, state: State) -> None:
        """Put down that the run has ended, and let everybody know."""
        inner = self.inner
        inner.close(state)
        if inner.request_scope is not None:
            # Runs are kept, but not what clients have sent in confidence.
            self.request.request_scope = inner.request_scope = without_secrets(inner.request_scope)
        self._ending = True
        self.path = None
        if self.request.counted:
            self.engine.forget(self)
        if inner.followed or state != "succeeded":
            inner.reason = inner.cancel_reason
            inner.tell(RunEnded, state=state, reason=inner.reason)
        for future in self._waiting:
            on_loop(future.get_loop(), settle, future, None, None)
        kept = self.engine.kept
        if kept is not None:
            kept.end(self)

    def rest(self) -> None:
        """Let go of its events: they can be told again from what is known of its tasks. Who reads them now reads on."""
        stream = self.stream
        if stream is not None:
            self.inner.sinks = tuple(sink for sink in self.inner.sinks if sink is not stream)
            self.stream = None

    # --- what users do with it

    def discard(self) -> None:
        """Do nothing: it is too late. As long as a request can refuse its run, that is only promised."""

    async def wait(self, timeout: float | None) -> None:
        """Return when the run has finished."""
        if self.inner.finished is not None:
            return
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting = (*self._waiting, future)
        try:
            async with asyncio.timeout(timeout):
                await future
        finally:
            self._waiting = tuple(other for other in self._waiting if other is not future)

    async def events(self, after: int) -> AsyncIterator[Event]:
        """Yield the events with a greater number than *after*."""
        async for event in self.follow().read(after):
            yield event

    def follow(self) -> Stream:
        """Return the stream of this run's events; from now on they are all told."""
        stream = self.stream
        if stream is None:
            stream = self.stream = Stream()
            if self.path is None:
                self._listen(stream)
            else:
                self.path.listen(partial(self._listen, stream))
        return stream

    def _listen(self, stream: Stream) -> None:
        inner = self.inner
        past = replay(inner)
        told = inner.seq - len(past)
        if told > 0:
            # What has been told before, under higher numbers, cannot be told again in full: the last number stays the
            # last.
            past = [replace(event, seq=event.seq + told) for event in past]
        stream.begin(past)
        inner.seq = max(inner.seq, len(past))
        inner.followed = True
        inner.sinks = (*inner.sinks, stream)

    async def cancel(self) -> None:
        """Cancel the run."""
        inner = self.inner
        if inner.finished is not None:
            raise RunFinished(run=self.id, state=self.state)
        # A `def` task may cancel its run from a loop of its own.
        on_loop(inner.loop or asyncio.get_running_loop(), self.stop, "run_cancelled")

    async def retry(self, from_: str) -> None:
        """Run again in place."""
        inner = self.inner
        if inner.finished is not None:
            # A thread of the last round may still be in a task that is to run again.
            await inner.lingering.end()
        if inner.finished is None:
            # Perhaps because somebody else was faster.
            raise RunNotFinished(run=self.id, state=self.state)
        if not reopen(inner, from_):
            raise NothingToRetry(run=self.id)
        self.task = None
        self._ending = False
        if self.stream is not None:
            self.stream.reopen()
        self.engine.reopen(self)
