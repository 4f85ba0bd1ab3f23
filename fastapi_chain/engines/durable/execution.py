"""One run that runs in this process: the schedule of every engine, with a checkpoint for each task.

What ends a run early ends its tasks, not the workflow around it: that goes on to undo and to keep the end. What ends
the workflow (the process stops, or has lost the run) leaves the run as it is for whoever carries it on.
"""

import asyncio
import secrets
from collections.abc import Awaitable, Callable
from typing import Any, Final, Protocol, cast

from fastapi_chain._clock import Timer
from fastapi_chain._state.ledger import FAILED, PENDING, RUNNING, SKIPPED, SUCCEEDED
from fastapi_chain._threads import Hopper
from fastapi_chain.engines.fan import FanOutRun
from fastapi_chain.engines.program import Program
from fastapi_chain.engines.undo import undo
from fastapi_chain.errors import DeadlineExceeded, EngineError, RunError, UnserializableOutput
from fastapi_chain.events import (
    Event,
    RunFinished,
    RunStarted,
    TaskCancelled,
    TaskFailed,
    TaskSkipped,
    TaskStarted,
    TaskSucceeded,
)
from fastapi_chain.execute import execute
from fastapi_chain.execute.unit import Unit
from fastapi_chain.outcome import RunState as StateName
from fastapi_chain.plan.nodes import MISSING
from fastapi_chain.run import RunBackend
from fastapi_chain.schedule import PlanRun

from .children import Elsewhere, child_doc, child_id, goes_elsewhere, queue_of
from .documents import OutcomeDoc, dump_outcome, has_value, load_loss, load_outcome
from .journal import Journal
from .prior import EndDoc, Prior
from .schema import Numbers, StoredState, StoredUnit
from .snapshot import load_base

INTERRUPTED: Final = "interrupted"
"""The reason of a run that has met a task with `effect="once"` which had begun when its process died."""
Tell = Callable[..., None]
"""Makes an event of a class and its fields, and tells it."""
Checkpoint = Callable[[int, str, Callable[[], Awaitable[object]]], Awaitable[Any]]
"""Returns what is kept under a number; if there is nothing, does it and keeps it."""


def performer() -> "asyncio.Task[object]":
    """Return the task that runs a workflow, which is this one."""
    me = asyncio.current_task()
    assert me is not None, "DBOS runs it as a task"
    return me


class Home(Protocol):
    """What a run needs of its engine."""

    hop: Hopper
    elsewhere: Elsewhere

    async def revoke(self, ids: list[str]) -> None:
        """Let calls of tasks end that nobody waits for any more."""

    def program(self, state: StoredState) -> Program:
        """Return the compiled plan."""


class Execution:
    """A run, from its first task here to its end."""

    def __init__(
        self,
        home: Home,
        state: StoredState,
        prior: Prior,
        *,
        names: list[str],
        values: dict[str, str],
        deadline: float | None = None,
    ) -> None:
        """Prepare to run *state*, of which nothing has run in this process.

        Args:
            home: The engine.
            state: The run.
            names: The tasks of the plan when the run was made, in its order.
            values: Its inputs, as text.
            deadline: Seconds for the whole run.
            prior: What has been before.
        """
        self.state = state
        self._home = home
        self._values = values
        self._deadline = deadline
        self._prior = prior
        self._numbers = Numbers(names, state.plan, prior.round)
        self._program = home.program(state)
        self._checkpoint: Checkpoint
        self._token = secrets.token_hex(8)
        self._marks: dict[int, str] = {}
        self.journal = Journal(state, prior.seq)
        self._tasks: PlanRun | None = None
        self._performer: asyncio.Task[object]

    async def perform(self, backend: RunBackend, checkpoint: Checkpoint) -> EndDoc:
        """Run to the end, and return how it ended.

        Args:
            backend: What windows on the run show.
            checkpoint: Keeps outcomes.

        Raises:
            asyncio.CancelledError: The process stops; the run is left as it is.
        """
        self._checkpoint = checkpoint
        self._performer = performer()
        timer = self._begin(backend)
        try:
            if self.state.cancel_reason is None:
                self._tasks = PlanRun(self.state, self._task)
                await self._tasks.go()
            else:
                self._recall()
        finally:
            if timer is not None:
                timer.cancel()
        return self._end(await self._wind_up())

    @property
    def age(self) -> float:
        """Seconds since the run began here."""
        began = self.state.started
        return 0.0 if began is None else self.state.now() - began

    def leave(self) -> None:
        """Stop here, and leave the run to others."""
        self._performer.cancel()

    def stop(self, reason: str) -> None:
        """End the run early."""
        state = self.state
        if state.cancel_reason is None and state.finished is None:
            state.cancel_reason = state.reason = reason
            if self._tasks is not None:
                self._tasks.stop()

    # --- from begin to end

    def _begin(self, backend: RunBackend) -> Timer | None:
        state, prior = self.state, self._prior
        state.open(backend)
        if prior.started is not None:
            state.started = prior.started - state.epoch
        if prior.base is not None:
            load_base(state, prior.base)
        if prior.seq:
            state.seq = prior.seq
            self.journal.follow()
        if state.followed:
            self._tell_once(state.tell, RunStarted)
        if prior.cancel is not None:
            state.cancel_reason = state.reason = prior.cancel
        return None if self._deadline is None else self._limit(self._deadline)

    def _limit(self, seconds: float) -> Timer | None:
        """Give the run *seconds* from its start, wherever that was."""
        state = self.state
        state.deadline_at = (state.started or 0.0) + seconds
        left = state.deadline_at - state.now()
        if left > 0:
            return state.clock.limit(left, self._out_of_time)
        self._out_of_time()
        return None

    def _out_of_time(self) -> None:
        state = self.state
        state.error = DeadlineExceeded(chain=state.plan.chain, seconds=self._deadline or 0.0, run=state.id)
        self.stop("deadline")

    def _recall(self) -> None:
        """Put down what is kept of a run that is to end before anything else runs."""
        state, recorded = self.state, self._prior.recorded
        for i, node in enumerate(state.plan.nodes):
            doc = recorded.get(self._numbers.task(i))
            if doc is not None and state.ledger.states[i] == PENDING:
                self._restore(StoredUnit(state, self._program.steps[i], self._home.hop), doc)
            elif node.over is not None and state.slots[node.over] is not MISSING:
                self._recall_items(i, cast("list[object]", state.slots[node.over]))

    def _recall_items(self, i: int, items: list[object]) -> None:
        fan = FanOutRun(self.state, self._program.steps[i], self._home.hop, self.state.plan.nodes[i].over or 0)
        fan.prepare()
        for k, item in enumerate(items):
            doc = self._prior.recorded.get(self._numbers.item(i, k))
            if doc is not None and self.state.fans[i].states[k] == PENDING:
                self._restore(StoredUnit.of_item(self.state, self._program.steps[i], self._home.hop, k, item), doc)
        if all(state >= SUCCEEDED for state in self.state.fans[i].states):
            fan.conclude()

    async def _wind_up(self) -> StateName:
        """Put down what never began, and undo what was done if the run ends badly; return how it ends."""
        state = self.state
        if state.cancel_reason is None and not state.ledger.errors:
            return "succeeded"
        for i, stands in enumerate(state.ledger.states):
            if stands < SUCCEEDED:
                state.call_off(state.ledger, i, state.plan.names[i])
        ends_as = self._ends_as()
        # Whether an interrupted effect has happened nobody knows: what to do about it is for people to say.
        if ends_as != "succeeded" and state.cancel_reason != INTERRUPTED:
            await undo(state, self._program, self._home.hop, self._undo)
        return ends_as

    def _ends_as(self) -> StateName:
        state = self.state
        if state.cancel_reason is not None:
            return "failed" if state.cancel_reason in {"deadline", INTERRUPTED} else "cancelled"
        return "failed" if any(state.counts(i) for i in state.ledger.errors) else "succeeded"

    def _end(self, ends_as: StateName) -> EndDoc:
        state = self.state
        state.reason = state.cancel_reason
        state.close(ends_as)
        if state.followed or ends_as != "succeeded":
            self._tell_once(state.tell, RunFinished, state=ends_as, reason=state.reason)
        doc = EndDoc(
            state=ends_as,
            started=state.wall(state.started) or 0.0,
            finished=state.wall(state.finished) or 0.0,
            tasks=[dump_outcome(state.ledger, i) for i in range(len(state.plan.nodes))],
            fans={state.plan.names[i]: len(ledger.states) for i, ledger in state.fans.items()},
            names=list(state.plan.names),
            round=self._prior.round,
        )
        if state.reason is not None:
            doc["reason"] = state.reason
        return doc

    # --- one task

    async def _task(self, i: int) -> None:
        state, step, over = self.state, self._program.steps[i], self.state.plan.nodes[i].over
        if over is None:
            await self._perform(StoredUnit(state, step, self._home.hop))
        else:
            await FanOutRun(state, step, self._home.hop, over, unit=StoredUnit, perform=self._perform)()

    async def _perform(self, unit: Unit) -> None:
        """Run a task or an item to its outcome, unless that is kept already."""
        number = self._number(unit)
        kept = self._prior.recorded.get(number)
        if kept is not None:
            # At once: what ends the run early must not find it waiting for what is known.
            self._restore(unit, kept, self.journal.tell if goes_elsewhere(unit.step.spec) else None)
            if kept.get("reason") == INTERRUPTED:
                self.stop(INTERRUPTED)
            return
        if goes_elsewhere(unit.step.spec):
            await self._elsewhere(unit, number)
            return
        if unit.step.spec.effect == "once":
            await self._mark(unit)

        async def body() -> OutcomeDoc:
            if self._marks.get(number, self._token) != self._token:
                self._interrupted(unit)
            else:
                await execute(unit)
            return dump_outcome(unit.ledger, unit.i, getattr(unit, "text", None))

        # What was kept when the run began here was restored above, and nobody else adds to it: the body runs.
        doc = await self._checkpoint(number, unit.name, body)
        if doc.get("reason") == INTERRUPTED:
            self.stop(INTERRUPTED)

    async def _elsewhere(self, unit: Unit, number: int) -> None:
        """Have a task or an item called by whoever works on its queue."""
        state, spec = self.state, unit.step.spec
        id_ = child_id(state.id, self._prior.round, unit.name)

        async def body() -> object:
            doc = child_doc(state, unit, self._values)
            try:
                return await self._home.elsewhere.call(id_, queue_of(spec)["name"], doc, self.journal.relay)
            except asyncio.CancelledError:
                # If only this process stops, whoever carries the run on waits for the same call.
                if state.cancel_reason is not None:
                    await self._home.revoke([id_])
                raise

        unit.ledger.states[unit.i], unit.ledger.began[unit.i] = RUNNING, state.now()
        fields = {"task": unit.name, "attempt": unit.attempt, "max_attempts": unit.max_attempts}
        self._tell_once(self.journal.tell, TaskStarted, **fields)
        try:
            doc = await self._checkpoint(number, unit.name, body)
        except asyncio.CancelledError:
            if state.cancel_reason is not None:
                state.call_off(unit.ledger, unit.i, unit.name)
            raise
        if isinstance(doc, str):
            unit.fail(EngineError(what=f"Task {unit.name!r} did not come to its end: {doc}."))
            return
        self._restore(unit, doc, self.journal.tell)
        if doc.get("reason") == INTERRUPTED:
            self.stop(INTERRUPTED)

    def _number(self, unit: Unit) -> int:
        i, k = unit.step.index, unit.item
        return self._numbers.task(i) if k is None else self._numbers.item(i, k)

    async def call(self, unit: Unit, backend: RunBackend, checkpoint: Checkpoint) -> OutcomeDoc:
        """Run one call of a task that is not part of a run here, and return its outcome."""
        self._checkpoint = checkpoint
        self._performer = performer()
        self.state.open(backend)
        if unit.step.spec.effect == "once":
            await self._mark(unit)
        if self._marks.get(self._number(unit), self._token) != self._token:
            self._interrupted(unit)
        else:
            await execute(unit)
        return dump_outcome(unit.ledger, unit.i, getattr(unit, "text", None))

    async def _mark(self, unit: Unit) -> None:
        """Keep that *unit* is about to begin, and by whose hand."""
        number = self._number(unit)
        token = self._token

        async def body() -> str:
            return token

        i, k = unit.step.index, unit.item
        mark = self._numbers.mark(i) if k is None else self._numbers.item_mark(i, k)
        self._marks[number] = await self._checkpoint(mark, f"{unit.name} begins", body)

    def _interrupted(self, unit: Unit) -> None:
        """Put down that *unit* had begun when its process died, and may or may not have taken effect."""
        unit.begin()
        unit.fail(
            # With effect="once" it is not started again by itself.
            RunError(
                what=f"Task {unit.name!r} had begun when its process died, and may or may not have taken effect.",
                rows=(("declared at", unit.step.spec.source.at),),
                fixes=("find out whether it has taken effect, then: await run.retry()",),
            )
        )
        unit.ledger.reasons[unit.i] = INTERRUPTED

    def _restore(self, unit: Unit, doc: OutcomeDoc, tell: Tell | None = None) -> None:
        """Put down an outcome that is kept, and *tell* it; None: whoever follows the run."""
        state = self.state
        load_outcome(unit.ledger, unit.i, doc, name=unit.name, run=state.id)
        if has_value(doc) and unit.kept is not None:
            try:
                unit.kept[unit.i] = state.schema.load(unit.step.index, doc["value"])
            except UnserializableOutput as error:
                load_loss(unit.ledger, unit.i, error)
        if state.followed:
            self._retell(unit, tell or state.tell)

    def _retell(self, unit: Unit, tell: Tell) -> None:
        """Tell an outcome if the process in which it happened did not come to tell it."""
        stands = unit.ledger.states[unit.i]
        if stands == SUCCEEDED:
            self._tell_once(tell, TaskSucceeded, task=unit.name, attempt=unit.attempt)
        elif stands == FAILED:
            last = unit.ledger.over(unit.i)[-1]
            self._tell_once(tell, TaskFailed, task=unit.name, attempt=last.n, error=last.error, seconds=0.0)
        else:
            kind = TaskSkipped if stands == SKIPPED else TaskCancelled
            self._tell_once(tell, kind, task=unit.name, reason=unit.ledger.reasons[unit.i])

    def _tell_once(self, tell: Tell, kind: type[Event], **fields: object) -> None:
        if (kind.kind, fields.get("task", "")) not in self._prior.told:
            tell(kind, **fields)

    async def _undo(self, unit: Unit) -> None:
        """Run an undo to its outcome, unless that is kept already."""
        i, k = unit.step.index, unit.item
        number = self._numbers.undo(i) if k is None else self._numbers.item_undo(i, k)
        name = self.state.plan.names[i] if k is None else f"{self.state.plan.names[i]}[{k}]"
        ran = False

        async def body() -> OutcomeDoc:
            nonlocal ran
            ran = True
            await execute(unit)
            return dump_outcome(unit.ledger, unit.i)

        doc = await self._checkpoint(number, f"undo {name}", body)
        if not ran:
            load_outcome(unit.ledger, unit.i, doc, name=unit.name, run=self.state.id)
