"""Tasks with workers of their own: `queue=`, and `limit=` and `rate=`, which hold for all workers together.

Such a task, or each item of it, is a workflow of its own on a queue of DBOS's, which knows how many may run and begin.
The run waits for it as for any other task, and keeps its outcome in the same place.
"""

import asyncio
import contextlib
from collections.abc import Mapping
from typing import Final, Protocol, TypedDict, cast

from fastapi_chain._serialize import codec_of
from fastapi_chain._state import Sink
from fastapi_chain._state.ledger import Ledger
from fastapi_chain._threads import Hopper, settle
from fastapi_chain.errors import EngineUnavailable
from fastapi_chain.events import Event
from fastapi_chain.execute.unit import Step, Unit
from fastapi_chain.plan import Node, Plan
from fastapi_chain.plan.nodes import MISSING
from fastapi_chain.spec import Rate, TaskSpec

from .documents import OutcomeDoc, dump_outcome, load_outcome
from .names import RUNS
from .schema import StoredState, StoredUnit
from .snapshot import Base, dump_base, load_base

LOOK: Final = 0.1
"""Seconds between two looks at what has become of tasks elsewhere."""


class ChildDoc(TypedDict):
    """What one call of a task is made from."""

    chain: str
    run: str
    task: str
    item: int | None
    value: str | None
    values: dict[str, str]
    base: Base
    own: OutcomeDoc


class TaskQueue(TypedDict):
    """A queue of tasks."""

    name: str
    together: int | None
    rate: Rate | None


def goes_elsewhere(spec: TaskSpec) -> bool:
    """Whether calls of a task go through a queue."""
    return spec.queue is not None or spec.limit is not None or spec.rate is not None


def queue_of(spec: TaskSpec) -> TaskQueue:
    """Return the queue of a task: that of its name, or one of its own where a limit is to be held."""
    alone = spec.limit is not None or spec.rate is not None
    name = f"{RUNS}.{spec.queue or 'task'}"
    return TaskQueue(name=f"{name}/{spec.name}" if alone else name, together=spec.limit, rate=spec.rate)


def queues_of(plan: Plan) -> dict[str, tuple[TaskQueue, str | None]]:
    """Return the queues of a plan's tasks by name, each with what its workers must have been told to work on.

    None: all do.
    """
    specs = [node.spec for node in plan.nodes if goes_elsewhere(node.spec)]
    return {queue["name"]: (queue, spec.queue) for spec in specs for queue in [queue_of(spec)]}


def child_id(run: str, round_: int, name: str) -> str:
    """Return the id of the workflow that is one call of a task.

    The same after a recovery, so that it is not called twice.
    """
    return f"{run}:{round_}:{name}"


def child_doc(state: StoredState, unit: Unit, values: dict[str, str]) -> ChildDoc:
    """Return what the call of *unit* is made from; *values* are the inputs of the run, as text."""
    node = state.plan.nodes[unit.step.index]
    whole = dump_base(state)
    taken = {state.plan.names[fill.slot] for fill in node.fills if fill.kind == "task"}
    return ChildDoc(
        chain=state.plan.chain,
        run=state.id,
        task=node.name,
        item=unit.item,
        value=None if unit.given is None else codec_of(_item_type(node)).dump(unit.given[1]),
        values=values,
        base=Base(
            tasks={name: doc for name, doc in whole["tasks"].items() if name in taken},
            items={name: docs for name, docs in whole["items"].items() if name in taken},
        ),
        # Its attempts go on counting.
        own=dump_outcome(unit.ledger, unit.i),
    )


def _item_type(node: Node) -> object:
    return next(fill.param.type for fill in node.fills if fill.kind == "item")


def child_unit(state: StoredState, step: Step, hop: Hopper, doc: ChildDoc) -> Unit:
    """Return what is to be executed, with all that it takes in *state*."""
    load_base(state, doc["base"])
    i, k = step.index, doc["item"]
    unit: Unit = StoredUnit(state, step, hop)
    if k is not None and doc["value"] is not None:
        # A fan-out of one, as far as this process knows; the item keeps its number.
        state.fans[i] = Ledger([0.0] * (k + 1), state.epoch)
        state.values[i] = [MISSING] * (k + 1)
        value = codec_of(_item_type(state.plan.nodes[i])).load(doc["value"])
        unit = StoredUnit.of_item(state, step, hop, k, value)
    load_outcome(unit.ledger, unit.i, doc["own"], name=unit.name, run=state.id)
    return unit


class Post(Protocol):
    """What waiting for calls elsewhere needs of the database."""

    async def call(self, id_: str, queue: str, doc: ChildDoc) -> None:
        """Store a call, unless it is there."""

    async def outcomes(self, ids: list[str]) -> dict[str, OutcomeDoc | str]:
        """Return the outcomes of those calls that have one; text where there will never be one."""

    async def reports(self, ids: list[str]) -> list[tuple[str, Event]]:
        """Return what calls have reported since the last time, each with the id of the call."""

    async def revoke(self, ids: list[str]) -> None:
        """Let calls not begin, or end, that nobody waits for any more."""


class Elsewhere:
    """Waits for the calls of all runs of this process together: one look at the database for all."""

    def __init__(self, post: Post) -> None:
        """Look through *post*."""
        self._post = post
        self._waiting: dict[str, tuple[asyncio.Future[OutcomeDoc | str], Sink]] = {}
        self._looker: asyncio.Task[None] | None = None

    async def call(self, id_: str, queue: str, doc: ChildDoc, sink: Sink) -> OutcomeDoc | str:
        """Have a task called by whoever works on *queue*; return its outcome, and tell *sink* what is reported."""
        await self._post.call(id_, queue, doc)
        future: asyncio.Future[OutcomeDoc | str] = asyncio.get_running_loop().create_future()
        self._waiting[id_] = future, sink
        if self._looker is None or self._looker.done():
            self._looker = asyncio.get_running_loop().create_task(self._look())
        try:
            return await future
        finally:
            del self._waiting[id_]

    async def _look(self) -> None:
        while self._waiting:
            await asyncio.sleep(LOOK)
            # While the database is away, nothing is heard.
            with contextlib.suppress(EngineUnavailable):
                await self._hear(self._waiting.copy())

    async def _hear(self, waiting: "Mapping[str, tuple[asyncio.Future[OutcomeDoc | str], Sink]]") -> None:
        # In this order: a call reports before it ends.
        outcomes = await self._post.outcomes(list(waiting))
        for id_, event in await self._post.reports(list(waiting)):
            waiting[id_][1](event)
        for id_, outcome in outcomes.items():
            settle(cast("asyncio.Future[object]", waiting[id_][0]), outcome, None)

    async def stop(self) -> None:
        """End."""
        if self._looker is not None:
            self._looker.cancel()
            await asyncio.wait((self._looker,))
