"""2. PLAN: the tasks of a chain, in order, with the source of every parameter.

A `Plan` is made once, at start-up, from declarations alone: no clock, no network, no framework. It is immutable and
shared by all runs. Whatever is wrong is found here, all of it at once.
"""

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import NamedTuple

from fastapi_chain._record import record
from fastapi_chain.declare import Registry
from fastapi_chain.errors import ChainError, InvalidChain
from fastapi_chain.spec import TaskSpec

from .graph import Collector
from .nodes import MISSING, Fill, InputSpec, Node, UndoNode
from .wiring import Wiring

__all__ = ["Draft", "Node", "Plan", "UndoNode", "draft_plan", "make_plan"]


@record(eq=False)
class Plan:
    """A chain, ready to be run."""

    chain: str
    """The chain's name."""
    nodes: tuple[Node, ...]
    """The tasks in topological order."""
    inputs: tuple[InputSpec, ...]
    """What a run must or may be given; their slots follow those of the tasks."""
    targets: tuple[int, ...]
    """The tasks that the chain names."""
    index: Mapping[str, int]
    """The place of each task, by name."""
    injects: bool
    """Whether FastAPI gives any of the parameters."""

    # What a run counts in, by the numbers of the tasks.

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The names of the tasks, in order."""
        return tuple([node.spec.name for node in self.nodes])

    @cached_property
    def children(self) -> tuple[tuple[int, ...], ...]:
        """The tasks that wait for each one."""
        return tuple([node.children for node in self.nodes])

    @cached_property
    def indegrees(self) -> tuple[int, ...]:
        """How many tasks each one waits for."""
        return tuple([len(node.parents) for node in self.nodes])

    @cached_property
    def conditional(self) -> bytes:
        """1 for each task that may be decided not to run although all upstream has succeeded."""
        return bytes([node.conditional for node in self.nodes])

    @cached_property
    def input_names(self) -> tuple[str, ...]:
        """The names of the inputs, in the order of their slots."""
        return tuple(item.name for item in self.inputs)

    @cached_property
    def blank(self) -> "Blank":
        """What each of its runs begins with."""
        return Blank(self)

    @property
    def required(self) -> tuple[str, ...]:
        """The names of the inputs without which it cannot run."""
        return tuple(item.name for item in self.inputs if item.required)

    def provides_to(self, i: int) -> tuple[str, ...]:
        """Return the names that task *i*, or its undo, can take from upstream, in order."""
        seen: set[int] = set()
        todo = [*self.nodes[i].parents]
        while todo:
            p = todo.pop()
            if p not in seen:
                seen.add(p)
                todo += self.nodes[p].parents
        return tuple(self.nodes[p].spec.output for p in sorted(seen))

    def edges(self) -> Iterator[tuple[str, str, list[str]]]:
        """Yield every task that another one waits for, that other one, and its parameters that take the output."""
        for node in self.nodes:
            for parent, params in node.incoming().items():
                yield self.names[parent], node.name, params

    def taken(self) -> Iterator[tuple[TaskSpec, Fill]]:
        """Yield the parameters that a task upstream fills by name, each with its task or undo."""
        for node in self.nodes:
            yield from ((node.spec, fill) for fill in node.fills if _by_name(fill))
            if node.undo is not None:
                yield from ((node.undo.spec, fill) for fill in node.undo.fills if _by_name(fill))


def _by_name(fill: Fill) -> bool:
    return fill.kind == "task" and fill.param.reference is None


class Blank:
    """What each run of a plan begins with: every run makes itself copies of it."""

    __slots__ = ("ended", "given", "slots")

    def __init__(self, plan: Plan) -> None:
        """Lay out a run of *plan*."""
        size = len(plan.nodes)
        self.ended = [0.0] * size
        """When each task ended."""
        self.slots: list[object] = [*[MISSING] * size, *(item.default for item in plan.inputs), MISSING, None]
        """The values of the tasks, then of the inputs. The last slot is for the run itself: what a task takes from its
        surroundings, it finds there. The one before is for the item of a fan-out, whose calls get a copy each."""
        self.given = tuple(enumerate(plan.input_names, size))
        """The slots of the inputs."""

    def filled(self, values: Mapping[str, object]) -> list[object]:
        """Return the slots of a run that is given *values*; what is no input is left out."""
        slots = self.slots.copy()
        for slot, name in self.given:
            if name in values:
                slots[slot] = values[name]
        return slots


class Draft(NamedTuple):
    """A plan and what is wrong with it; it can be run if nothing is."""

    plan: Plan
    problems: tuple[ChainError, ...] = ()
    sure: bool = True
    """Whether everything that is named is there; if not, an input that seems not to be wanted may be."""


def draft_plan(chain: str, targets: Sequence[TaskSpec], registries: Sequence[Registry]) -> Draft:
    """Plan *targets* and everything upstream of them.

    Args:
        chain: The chain's name, for errors.
        targets: The tasks that the chain names.
        registries: Where names are looked up after the task's own registry.
    """
    graph = Collector(chain, registries).collect(targets)
    wiring = Wiring(graph, registries)
    nodes = tuple([wiring.wire(i) for i in range(len(graph.order))])
    plan = Plan(
        chain=chain,
        nodes=nodes,
        inputs=wiring.inputs,
        targets=tuple(dict.fromkeys(graph.index[spec] for spec in targets)),
        index={spec.name: i for i, spec in enumerate(graph.order)},
        injects=wiring.injects,
    )
    return Draft(plan, (*graph.problems, *wiring.problems), sure=not graph.unsure)


def make_plan(chain: str, targets: Sequence[TaskSpec], registries: Sequence[Registry]) -> Plan:
    """Plan *targets* and everything upstream of them; arguments as for `draft_plan`.

    Raises:
        InvalidChain: Something is wrong; all of it is in `.problems`.
    """
    draft = draft_plan(chain, targets, registries)
    if draft.problems:
        raise InvalidChain(chain=chain, problems=draft.problems)
    return draft.plan
