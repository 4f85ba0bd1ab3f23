"""The runs and calls of tasks that run in this process."""

import asyncio
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Final

from fastapi_chain._threads import Hopper
from fastapi_chain.engines.program import Program
from fastapi_chain.errors import EngineError
from fastapi_chain.events import Event
from fastapi_chain.observe.tasklog import keep_line

from .adapter import Checkpoints, workflow_id
from .backend import DurableRun
from .carrying import Carrying
from .children import ChildDoc, Elsewhere, child_unit
from .courier import Courier
from .desk import Desk
from .documents import OutcomeDoc
from .execution import Execution
from .journal import Reports
from .link import Link
from .plans import Plans
from .prior import EndDoc, Prior
from .schema import Schema, StoredState
from .stored import RunDoc
from .telling import load_event

_IDLE: Final = 0.02
"""Seconds between two looks at whether anything runs."""


class Runner:
    """Runs what DBOS hands it, and carries word between that and the database."""

    def __init__(
        self,
        link: Link,
        plans: Plans,
        desk: Desk,
        hop: Hopper,
        fresh_state: Callable[..., StoredState],
        *,
        max_running: int | None,
    ) -> None:
        """Prepare.

        Args:
            link: The database.
            plans: The plans that are known here.
            desk: Knows the windows on runs.
            hop: Runs sync callables in a thread.
            fresh_state: Makes a run of which nothing has run: `fresh_state(schema, values, doc)`.
            max_running: How many runs run here at once; None: any number.
        """
        self.hop = hop
        self.elsewhere = Elsewhere(self)
        self.fresh: dict[str, DurableRun] = {}
        """The runs that begin right here: nothing of them can be in the database."""
        self._link = link
        self._plans = plans
        self._desk = desk
        self._fresh_state = fresh_state
        self._carrying = Carrying(link)
        self._active: dict[str, Execution] = {}
        self._calls: dict[str, Execution] = {}
        self._reports: dict[str, Reports] = {}
        # DBOS may hand over more: another worker may have told the queue of more room, which holds for all.
        self._room = asyncio.Semaphore(max_running or sys.maxsize)
        self._waiting: set[asyncio.Task[object]] = set()
        self._courier = Courier(self, self._active.values, self._reports.items)

    @property
    def running(self) -> int:
        """How many runs run here, or are about to."""
        return len(self._active) + len(self.fresh)

    def start(self) -> None:
        """Begin to carry word, on the running loop."""
        self._courier.start()

    def leave(self) -> None:
        """Leave what runs to others."""
        for execution in [*self._active.values(), *self._calls.values()]:
            execution.leave()
        for task in self._waiting:
            task.cancel()

    async def idle(self) -> None:
        """Return when nothing runs here any more."""
        while self.fresh or self._active or self._calls or self._waiting:  # noqa: ASYNC110 - only tests wait for that
            await asyncio.sleep(_IDLE)

    async def stop(self) -> None:
        """End."""
        await self._courier.stop()
        await self.elsewhere.stop()

    # --- what DBOS hands over

    async def run(self, doc: RunDoc) -> EndDoc:
        """Run a run to its end, as soon as there is room for it."""
        me = asyncio.current_task()
        assert me is not None, "DBOS runs it as a task"
        self._waiting.add(me)
        try:
            await self._room.acquire()
        finally:
            self._waiting.discard(me)
        try:
            return await self._run(doc)
        finally:
            self._room.release()

    async def _run(self, doc: RunDoc) -> EndDoc:
        run = workflow_id()
        backend = self.fresh.pop(run, None)
        if backend is not None:
            state, prior = backend.inner, Prior()
        else:
            prior = await self._link.surely(self._prior, run, doc)
            state = self._carried(run, doc)
            for event in prior.logged:
                keep_line(state, event)
            backend = self._desk.known(run) or self._desk.window(state)
        execution = Execution(self, state, prior, names=doc["names"], values=doc["values"], deadline=doc["deadline"])
        if doc["deadline"] is not None and prior.started is None:
            await self._link.surely(self._carrying.begun, run, state.clock.time())
        backend.attach(execution)
        self._active[run] = execution
        ended = False
        try:
            end = await execution.perform(backend, Checkpoints())
            execution.journal.conclude()
            await self._courier.tell([execution])
            ended = True
        finally:
            del self._active[run]
            backend.detach(ended=ended)
        return end

    def _prior(self, run: str, doc: RunDoc) -> Prior:
        prior = self._carrying.prior(run)
        begun, deadline = prior.started, doc["deadline"]
        late = begun is not None and deadline is not None and time.time() > begun + deadline
        if prior.cancel is None and not late:
            return prior
        # It is to end before anything else runs: what had been done must be known all the same.
        return replace(prior, recorded=self._carrying.recorded(run))

    def _carried(self, run: str, doc: RunDoc) -> StoredState:
        """Return a run that comes from the database, with nothing of it run."""
        schema = self._known(doc["chain"])
        state = self._fresh_state(schema, schema.load_inputs(doc["values"]), doc)
        state.id = run
        return state

    def _known(self, chain: str, task: str | None = None) -> Schema:
        schema = self._plans.of(chain)
        if schema is None or (task is not None and task not in schema.plan.index):
            raise EngineError(
                what=f"No chain of this app is called {chain!r}, or it has no such task.",
                fixes=("deploy its code to all workers, then: await run.retry()",),
            )
        return schema

    async def call_here(self, doc: ChildDoc) -> OutcomeDoc:
        """Make one call of a task for which a run waits, here or elsewhere."""
        schema = self._known(doc["chain"], doc["task"])
        run = RunDoc(chain=doc["chain"], names=[], values=doc["values"], deadline=None, tags={}, started_by=None)
        state = self._carried(doc["run"], run)
        step = self.program(state).steps[schema.plan.index[doc["task"]]]
        unit = child_unit(state, step, self.hop, doc)
        reports = Reports()
        state.sinks, state.followed = (*state.sinks, reports), True
        execution = Execution(self, state, Prior(), names=[], values=doc["values"])
        id_ = workflow_id()
        self._calls[id_], self._reports[id_] = execution, reports
        try:
            outcome = await execution.call(unit, DurableRun(self._desk, state), Checkpoints())
            await self._courier.report(id_, reports)
        finally:
            del self._calls[id_], self._reports[id_]
        return outcome

    # --- what they need in their turn

    def program(self, state: StoredState) -> Program:
        """Return the compiled plan."""
        return self._plans.program(state)

    async def call(self, id_: str, queue: str, doc: ChildDoc) -> None:
        """Store a call of a task, unless it is there."""
        await self._link.surely(self._carrying.call, id_, queue, doc)

    async def outcomes(self, ids: list[str]) -> dict[str, OutcomeDoc | str]:
        """Return the outcomes of those calls that have one; text where there will never be one."""
        return await self._link(self._carrying.outcomes, ids)

    async def report(self, id_: str, texts: list[str]) -> None:
        """Keep what a call has to report."""
        await self._link.surely(self._carrying.report, id_, texts)

    async def reports(self, ids: list[str]) -> list[tuple[str, Event]]:
        """Return what calls have reported since the last time, each with the id of the call."""
        return [(id_, load_event(text)) for id_, text in await self._link(self._carrying.reports, ids)]

    async def revoke(self, ids: list[str]) -> None:
        """Let calls of tasks end that nobody waits for any more."""
        await self._link(self._carrying.revoke, ids)

    async def tell(self, rows: list[tuple[str, int, str]]) -> None:
        """Keep events: run, number and text of each."""
        await self._link.surely(self._carrying.told, rows)

    async def cancelled(self, runs: Iterable[str]) -> dict[str, str]:
        """Return those of *runs* that are to end early, each with the reason; calls for others end here."""
        ids, calls = list(runs), list(self._calls)
        for id_ in await self._link(self._carrying.revoked, calls) if calls else ():
            if id_ in self._calls:
                self._calls[id_].leave()
        return await self._link(self._carrying.cancelled, ids) if ids else {}
