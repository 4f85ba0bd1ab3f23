"""The runs and calls of tasks that run in this process."""

import asyncio
import contextlib
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
from .execution import Execution, performer
from .journal import Reports
from .link import Link
from .plans import Plans
from .prior import EndDoc, Prior
from .schema import Schema, StoredState
from .stored import RunDoc
from .telling import load_event

_LAST_WORDS: Final = 2.0
"""Seconds for telling the database what is known of runs that are left."""

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
        at_once: int,
    ) -> None:
        """Prepare.

        Args:
            link: The database.
            plans: The plans that are known here.
            desk: Knows the windows on runs.
            hop: Runs sync callables in a thread.
            fresh_state: Makes a run of which nothing has run: `fresh_state(schema, values, doc)`.
            at_once: How many runs run here at once.
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
        # A run may be here twice: taken away while this process was asleep, and taken up again by it.
        self._active: set[Execution] = set()
        self._calls: dict[Execution, tuple[str, Reports]] = {}
        # DBOS may hand over more: another worker may have told the queue of more room, which holds for all.
        self._room = asyncio.Semaphore(at_once)
        self._coming: set[asyncio.Task[object]] = set()
        self._left = False
        self._courier = Courier(self, self._active.copy, self._calls.values)

    @property
    def running(self) -> int:
        """How many runs run here, or are about to."""
        return len(self._active) + len(self._coming) + len(self.fresh)

    def start(self) -> None:
        """Begin to carry word, on the running loop."""
        self._courier.start()

    async def conclude(self) -> None:
        """Tell what is known of the runs that are about to be left; not for long, should the database be away."""
        active = self._active.copy()
        for execution in active:
            execution.journal.conclude()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_LAST_WORDS):
                await self._courier.tell(active)

    def leave(self) -> None:
        """Leave what runs to others, and what DBOS hands over from now on."""
        self._left = True
        for execution in [*self._active, *self._calls]:
            execution.leave()
        for task in self._coming:
            task.cancel()

    async def idle(self) -> None:
        """Return when nothing runs here any more."""
        while self.fresh or self._active or self._calls or self._coming:  # noqa: ASYNC110 - only tests wait for that
            await asyncio.sleep(_IDLE)

    async def stop(self) -> None:
        """End."""
        await self._courier.stop()
        await self.elsewhere.stop()

    # --- what DBOS hands over

    async def run(self, doc: RunDoc) -> EndDoc:
        """Run a run to its end, as soon as there is room for it."""
        me = performer()
        self._check_here()
        self._coming.add(me)
        try:
            async with self._room:
                return await self._run(doc, me)
        finally:
            self._coming.discard(me)

    def _check_here(self) -> None:
        if self._left:
            # Whoever takes over lets it begin again.
            raise asyncio.CancelledError

    async def _run(self, doc: RunDoc, me: "asyncio.Task[object]") -> EndDoc:
        run = workflow_id()
        backend = self.fresh.pop(run, None)
        if backend is not None:
            state, prior = backend.inner, Prior()
        else:
            prior = await self._link.surely(self._prior, run)
            state = self._carried(run, doc)
            for event in prior.logged:
                keep_line(state, event)
            backend = self._desk.known(run) or self._desk.window(state)
        execution = Execution(self, state, prior, names=doc["names"], values=doc["values"], deadline=doc["deadline"])
        if doc["deadline"] is not None and prior.started is None:
            await self._link.surely(self._carrying.begun, run, state.clock.time())
        backend.attach(execution)
        self._active.add(execution)
        self._coming.discard(me)
        ended = False
        try:
            end = await execution.perform(backend, Checkpoints(prior.kept))
            execution.journal.conclude()
            await self._courier.tell([execution])
            ended = True
        finally:
            self._active.discard(execution)
            if backend.execution is execution:
                backend.detach(ended=ended)
        return end

    def _prior(self, run: str) -> Prior:
        prior = self._carrying.prior(run)
        return replace(prior, kept=self._carrying.kept(run), recorded=self._carrying.recorded([run])[run])

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
        self._check_here()
        schema = self._known(doc["chain"], doc["task"])
        run = RunDoc(chain=doc["chain"], names=[], values=doc["values"], deadline=None, tags={}, started_by=None)
        state = self._carried(doc["run"], run)
        step = self.program(state).steps[schema.plan.index[doc["task"]]]
        unit = child_unit(state, step, self.hop, doc)
        reports = Reports()
        state.sinks, state.followed = (*state.sinks, reports), True
        execution = Execution(self, state, Prior(), names=[], values=doc["values"])
        id_ = workflow_id()
        self._calls[execution] = id_, reports
        try:
            outcome = await execution.call(unit, DurableRun(self._desk, state), Checkpoints())
            await self._courier.report(id_, reports)
        finally:
            del self._calls[execution]
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
        ids, calls = list(runs), {execution: id_ for execution, (id_, _) in self._calls.items()}
        revoked = await self._link(self._carrying.revoked, list(calls.values())) if calls else ()
        for execution, id_ in calls.items():
            if id_ in revoked:
                execution.leave()
        return await self._link(self._carrying.cancelled, ids) if ids else {}
