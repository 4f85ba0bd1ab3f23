"""One run as its pages see it: what its engine keeps, read without making more of it than is shown.

`Run.tasks` would make a record for each of ten thousand items. Both engines keep the same `RunState`, whose ledgers are
flat arrays: to count states in them costs nothing, and records are made of what is on the page.
"""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cached_property
from typing import Final

from fastapi_chain._clock import utc
from fastapi_chain._state.ledger import STATES, Ledger
from fastapi_chain.engines.base import KnownRun
from fastapi_chain.outcome import RunState as RunStateName
from fastapi_chain.outcome import TaskRecord, TaskState
from fastapi_chain.plan import Node, Plan
from fastapi_chain.plan.nodes import MISSING

ORDER: Final[tuple[TaskState, ...]] = (
    "failed",
    "running",
    "retrying",
    "succeeded",
    "skipped",
    "cancelled",
    "pending",
)
"""The states in the order in which they matter to a reader."""

_ITEM: Final = re.compile(r"(?P<name>.*)\[(?P<number>\d+)\]")


@dataclass(frozen=True, slots=True)
class Part:
    """A task of a run, or one item of a fan-out."""

    index: int
    """The task's number."""
    item: int | None = None
    """The item's number."""


class Subject:
    """A run, read at one moment."""

    def __init__(self, run: KnownRun, now: datetime | None = None) -> None:
        """Read *run* as it stands *now*."""
        self.run: Final = run
        self.now: Final = now or datetime.now(UTC)
        self.state: Final = self.run.inner
        self.state.settle()

    @property
    def plan(self) -> Plan:
        """Its tasks."""
        return self.state.plan

    @property
    def name(self) -> RunStateName:
        """The state of the run."""
        return self.state.state

    @property
    def done(self) -> bool:
        """Whether it has finished."""
        return self.state.finished is not None

    @cached_property
    def ledger(self) -> Ledger:
        """What has become of its tasks."""
        return self.state.ledger

    def node(self, part: Part) -> Node:
        """Return what was declared."""
        return self.plan.nodes[part.index]

    def title(self, part: Part) -> str:
        """Return what it is called: `ship`, or `ship[3]`."""
        name = self.plan.names[part.index]
        return name if part.item is None else f"{name}[{part.item}]"

    def find(self, title: str) -> Part | None:
        """Return the task or item that is called *title*; None if there is none."""
        index = self.plan.index.get(title)
        if index is not None:
            return Part(index)
        match = _ITEM.fullmatch(title)
        index = None if match is None else self.plan.index.get(match["name"])
        if match is None or index is None:
            return None
        item, fan = int(match["number"]), self.fan(index)
        return Part(index, item) if fan is not None and item < len(fan.states) else None

    def fan(self, index: int) -> Ledger | None:
        """Return what has become of the items of task *index*; None unless it is a fan-out that has begun."""
        return self.state.fans.get(index)

    def state_of(self, part: Part) -> TaskState:
        """Return where it stands."""
        ledger, i = self._cell(part)
        return STATES[ledger.states[i]]

    def record(self, part: Part) -> TaskRecord:
        """Return how it stands, its items left out."""
        ledger, i = self._cell(part)
        node, names = self.node(part), self.plan.names
        record = ledger.record(
            i,
            self.title(part),
            after=tuple(names[parent] for parent in node.parents),
            max_attempts=node.max_attempts,
            optional=node.spec.optional,
        )
        fan = self.fan(part.index) if part.item is None else None
        if fan is not None:
            record = replace(record, undo_error=fan.undo_error)
        progress = self.state.progress.get(record.name)
        return record if progress is None else replace(record, progress=progress)

    def error(self, part: Part) -> BaseException | None:
        """Return what it raised last; None where nothing was, or where the exception itself was not kept."""
        ledger, i = self._cell(part)
        return ledger.errors.get(i)

    def _cell(self, part: Part) -> tuple[Ledger, int]:
        if part.item is None:
            return self.ledger, part.index
        return self.state.fans[part.index], part.item

    def items(self, index: int, state: TaskState | None = None) -> Sequence[int]:
        """Return the numbers of the items of fan-out *index* that are in *state*; of all without one."""
        fan = self.fan(index)
        return () if fan is None else _numbers(fan, state)

    def indices(self, state: TaskState) -> Sequence[int]:
        """Return the numbers of the tasks that are in *state*."""
        return _numbers(self.ledger, state)

    def parts(self) -> list[Part]:
        """Return all tasks, in order."""
        return [Part(i) for i in range(len(self.plan.nodes))]

    def counts(self) -> list[tuple[TaskState, int]]:
        """Return how many tasks are in which state, what matters most first."""
        return counted_states(self.ledger)

    def first_failed(self) -> Part | None:
        """Return the task that failed first, of those whose failure counts; None if there is none."""
        failed = [part for part in self.parts() if self.state_of(part) == "failed" and self.state.counts(part.index)]
        return min(failed, key=lambda part: self.ledger.ended[part.index], default=None)

    def since_start(self, moment: datetime) -> float:
        """Return how many seconds after the run's start it was."""
        return (moment - (self.run.started_at or self.run.created_at)).total_seconds()

    def decided_at(self, part: Part) -> datetime:
        """Return when it was clear that a task would not run: when the last one that it waited for had ended."""
        ended = [self.ledger.ended[parent] for parent in self.node(part).parents]
        return utc(max([moment for moment in ended if moment], default=self.state.created) + self.state.epoch)

    @property
    def started_by(self) -> str | None:
        """The request that started it: `POST /orders`; None where none did, or none is known."""
        return self.run.started_by

    @property
    def seconds(self) -> float:
        """How long it has run, or ran."""
        started = self.run.started_at
        return 0.0 if started is None else ((self.run.finished_at or self.now) - started).total_seconds()

    def inputs(self) -> Mapping[str, object]:
        """Return what the run was given, as far as it was."""
        slots = self.state.slots
        given = {item.name: slots[item.slot] for item in self.plan.inputs}
        return {name: value for name, value in given.items() if value is not MISSING}


def counted_states(ledger: Ledger) -> list[tuple[TaskState, int]]:
    """Return how many tasks or items of *ledger* are in which state, what matters most first."""
    counts: Counter[str] = Counter()
    for number in set(ledger.states):
        counts[STATES[number]] = ledger.states.count(number)
    return [(state, counts[state]) for state in ORDER if counts[state]]


def _numbers(ledger: Ledger, state: TaskState | None) -> Sequence[int]:
    if state is None:
        return range(len(ledger.states))
    wanted, found = STATES.index(state), []
    i = ledger.states.find(wanted)
    while i >= 0:
        found.append(i)
        i = ledger.states.find(wanted, i + 1)
    return found
