"""The `RunBackend` of the durable engine: a run that runs here, or elsewhere, or has not begun.

As long as it runs in this process, and after that, it shows the run itself, with the exceptions that were raised. Else
it shows what the database knows, read again when somebody looks and the last look is a moment old.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import datetime
from typing import Final, Protocol

from fastapi_chain._clock import utc
from fastapi_chain._state.ledger import SUCCEEDED
from fastapi_chain.engines.again import reopen
from fastapi_chain.engines.replay import replay
from fastapi_chain.engines.stream import Stream
from fastapi_chain.errors import EngineUnavailable, NothingToRetry, RunFinished, RunNotFinished
from fastapi_chain.events import Event
from fastapi_chain.events import RunFinished as Finished
from fastapi_chain.outcome import RunState as StateName
from fastapi_chain.outcome import TaskRecord

from .execution import Execution
from .schema import StoredState
from .stored import Order

FRESH: Final = 0.25
"""Seconds for which what the database has said is good enough."""

_LOOKS: Final = (0.02, 0.05, 0.1, 0.2, 0.3)
"""Seconds between looks at the database while somebody waits; the last one for all further ones."""


class Pages(Protocol):
    """Where the pages of runs are."""

    base: str | None
    """The path below which they are; None: there are none."""


class Home(Protocol):
    """What a run needs of its engine."""

    @property
    def kept(self) -> Pages:
        """Where the pages of runs are."""

    def look(self, run: str) -> StoredState | None:
        """Return the run as the database knows it; blocks."""

    async def look_soon(self, run: str) -> StoredState | None:
        """The same in a thread."""

    async def told(self, run: str, after: int) -> list[Event]:
        """Return its events with a greater number, as far as the database knows them."""

    async def cancel(self, run: str) -> str | None:
        """Order it to end; return its state if it has ended already."""

    async def reopen(self, state: StoredState, past: Sequence[Event]) -> bool:
        """Let it begin again as *state* says, after the events *past*; return whether it had finished."""


class DurableRun:
    """A window on a stored run."""

    discarded: bool = False
    trace_id: str | None = None
    """The trace of its request; that is not stored."""

    def __init__(self, home: Home, state: StoredState, order: Order | None = None) -> None:
        """Show *state*.

        Args:
            home: The engine.
            state: The run as it is known now.
            order: What it is stored from; None if it has been stored already.
        """
        self._home = home
        self._state = state
        self._seen = time.monotonic()
        self.id = state.id
        self.order = order
        self.stored = order is None
        self.local = order is not None
        """Whether this process knows it better than the database: it runs here, or is not stored yet."""
        self.execution: Execution | None = None
        self.performer: asyncio.Task[object] | None = None
        self.stream: Stream | None = None

    @property
    def inner(self) -> StoredState:
        """The run, as fresh as it has to be."""
        if not self.local and self._state.finished is None and time.monotonic() - self._seen > FRESH:
            try:
                found = self._home.look(self.id)
            except EngineUnavailable:
                # What was known last is better than nothing: whoever looks did not ask for the database.
                found = None
            self.show(found)
        return self._state

    def show(self, state: StoredState | None) -> None:
        """Show *state* from now on, if there is one, and unless the run has begun here in the meantime."""
        self._seen = time.monotonic()
        if state is not None and not self.local:
            self._state = state

    def settle(self, run: str) -> None:
        """It is stored, as *run*: another one if that has its key and came first."""
        self.stored = True
        if run != self.id:
            self.id = run
            self.away()

    def away(self) -> None:
        """From now on, the database knows it better than this process: unless it has begun here meanwhile."""
        if self.execution is None and self._state.finished is None:
            self.local = False
            self._seen = 0.0

    # --- it runs here

    def attach(self, execution: Execution) -> None:
        """Show a run that begins, or goes on, here."""
        self.execution, self.local, self.stored = execution, True, True
        self._state = execution.state
        self.stream = None
        self.performer = asyncio.current_task()
        assert self.performer is not None, "a run runs in an asyncio task"
        # Until its end is stored, only this window knows of it: whoever has seen the end must not see it run again.
        self.performer.add_done_callback(self._hold)

    def _hold(self, _performer: object) -> None:
        """Do nothing, but be there until then."""

    def detach(self, *, ended: bool) -> None:
        """It does not run here any more: it has *ended*, or others go on with it."""
        self.execution = None
        if self.stream is not None:
            self.stream.leave()
        if not ended:
            # Even if it had come to its end: nobody has stored that.
            self._state.finished = None
            self.local = False
            self._seen = 0.0

    # --- what it is

    @property
    def url(self) -> str | None:
        base = self._home.kept.base
        return None if base is None else f"{base}/runs/{self.id}"

    @property
    def seq(self) -> int:
        inner = self.inner
        told = inner.followed or (inner.seq and not self.local)
        if told or not (self.local or inner.finished is not None):
            # Of what happens elsewhere, no more than the database knows: else whoever follows it would miss something.
            return inner.seq
        return max(inner.seq, len(replay(inner)))

    @property
    def started_by(self) -> str | None:
        return self._state.started_by

    @property
    def chain(self) -> str:
        return self._state.plan.chain

    @property
    def state(self) -> StateName:
        return self.inner.state

    @property
    def reason(self) -> str | None:
        return self.inner.reason

    @property
    def created_at(self) -> datetime:
        return utc(self._state.created + self._state.epoch)

    @property
    def started_at(self) -> datetime | None:
        inner = self.inner
        return None if inner.started is None else utc(inner.started + inner.epoch)

    @property
    def finished_at(self) -> datetime | None:
        inner = self.inner
        return None if inner.finished is None else utc(inner.finished + inner.epoch)

    @property
    def tags(self) -> Mapping[str, str]:
        return self._state.tags

    @property
    def tasks(self) -> Mapping[str, TaskRecord]:
        return self.inner.records()

    @property
    def outputs(self) -> Mapping[str, object]:
        inner = self.inner
        pairs = zip(inner.plan.names, inner.ledger.states, inner.slots, strict=False)
        return {name: value for name, state, value in pairs if state == SUCCEEDED}

    @property
    def errors(self) -> Mapping[str, BaseException]:
        inner = self.inner
        return {inner.plan.names[i]: error for i, error in sorted(inner.ledger.errors.items())}

    def value(self, name: str) -> object:
        """Return the output of task *name*, or raise why there is none."""
        return self.inner.value(name)

    def raise_for_error(self) -> None:
        """Raise an `ExceptionGroup` of what failed."""
        self.inner.raise_for_error()

    # --- what users do with it

    def discard(self) -> None:
        """Start nothing."""
        self.discarded = True

    async def wait(self, timeout: float | None) -> None:
        """Return when the run has finished, and its end is stored."""
        async with asyncio.timeout(timeout):
            looks = iter(_LOOKS)
            pause = 0.0
            while True:
                if self.performer is not None:
                    # It ends when the end is stored.
                    await asyncio.wait((self.performer,))
                    self.performer = None
                if self.execution is None and self._state.finished is not None:
                    return
                pause = next(looks, pause)
                await asyncio.sleep(pause)
                if not self.local:
                    self.show(await self._home.look_soon(self.id))

    async def events(self, after: int) -> AsyncIterator[Event]:
        """Yield the events with a greater number than *after*."""
        while True:
            execution = self.execution
            if execution is not None:
                async for event in self._events_here(execution, self.follow(execution), after):
                    yield event
                    after = event.seq
                if self._state.finished is not None:
                    return
                continue
            try:
                over, told = await self._news(after)
            except EngineUnavailable:
                # Whoever follows a run can wait until the database is back.
                over, told = False, []
            for event in told:
                yield event
                after = event.seq
            if over:
                return
            await asyncio.sleep(FRESH)

    async def _news(self, after: int) -> tuple[bool, list[Event]]:
        """Return whether it is over elsewhere, and its events with a greater number than *after*."""
        # In this order: what is told between the two is read on the next turn.
        state = await self._home.look_soon(self.id)
        over = state is None or state.finished is not None
        told = await self._home.told(self.id, after)
        if not told and state is not None and over and not await self._home.told(self.id, 0):
            # Nobody has told them while it ran: it was over in a moment.
            told = [event for event in replay(state) if event.seq > after]
        return over, told

    async def _events_here(self, execution: Execution, stream: Stream, after: int) -> AsyncIterator[Event]:
        performer = self.performer
        # What happened before it was carried on here is in the database.
        earlier = execution.journal.before
        for event in await self._home.told(self.id, after) if after < earlier else ():
            if event.seq <= earlier:
                yield event
                after = event.seq
        async for event in stream.read(after):
            if isinstance(event, Finished) and performer is not None:
                # Whoever hears of its end may rely on it: it is stored.
                await asyncio.wait((performer,))
                if self._state.finished is None:
                    return
            yield event

    def follow(self, execution: Execution) -> Stream:
        """Return the stream of its events while *execution* runs it here; from now on they are all told."""
        if self.stream is None:
            self.stream = Stream(execution.journal.follow())
            execution.journal.listen(self.stream)
        return self.stream

    async def cancel(self) -> None:
        """Cancel the run."""
        ended = await self._home.cancel(self.id)
        if ended is not None:
            raise RunFinished(run=self.id, state=ended)
        if self.execution is not None:
            self.execution.stop("run_cancelled")
        else:
            self.detach(ended=False)

    async def retry(self, from_: str) -> None:
        """Run again in place."""
        state = await self._home.look_soon(self.id)
        if state is None or state.finished is None:
            raise RunNotFinished(run=self.id, state="running" if state is None else state.state)
        past = replay(state)
        if not reopen(state, from_):
            raise NothingToRetry(run=self.id)
        # Before it is let go: it may begin again in this very process before we hear of it.
        self._state, self.performer = state, None
        self.detach(ended=False)
        if not await self._home.reopen(state, past):
            raise RunNotFinished(run=self.id, state="running")
