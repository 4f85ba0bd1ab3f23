"""2. PLAN: the tasks of a chain, in order, with the source of every parameter.

A `Plan` is made once, at start-up, from declarations alone: no clock, no network, no framework. It is immutable and shared by
all runs. Whatever is wrong is found here, all of it at once.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field


from ._graph import Collector
from ._wiring import Fill, InputSpec, Wiring
from .declare import Registry
from .errors import InvalidChain
from .spec import Signature, TaskSpec


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class UndoNode:
    """The compensation of a task: what to call and with what."""

    spec: TaskSpec
    """The function and its options."""
    fills: tuple[Fill, ...]
    """Where each parameter comes from."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Node:
    """One task in its place in a plan."""

    index: int
    """Its place in the topological order, and its slot in a run."""
    spec: TaskSpec
    """What was declared."""
    signature: Signature
    """What the function takes and returns."""
    fills: tuple[Fill, ...]
    """Where each parameter comes from."""
    parents: tuple[int, ...]
    """All it waits for."""
    after: tuple[int, ...]
    """Those named in `after=`, about which `run_if` speaks."""
    over: int | None
    """The task whose items it is called for; None without `each=`."""
    undo: UndoNode | None
    """What takes its effect back."""
    children: tuple[int, ...]
    """All that wait for it."""

    @property
    def name(self) -> str:
        """The task's name."""
        return self.spec.name

    @property
    def undo_fills(self) -> tuple[Fill, ...]:
        """Where the parameters of its undo come from."""
        return () if self.undo is None else self.undo.fills

    @property
    def conditional(self) -> bool:
        """Whether it may be decided not to run it although all upstream has succeeded."""
        if self.spec.run_if == "any_failed":
            return True
        return any("succeeded" not in fill.param.accepts for fill in self.fills if fill.kind == "task")

    @property
    def max_attempts(self) -> int:
        """How many attempts it may make, as far as its own options say."""
        return self.spec.retries + 1


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, weakref_slot=True)
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
    names: tuple[str, ...] = field(init=False)
    """The names of the tasks, in order."""
    children: tuple[tuple[int, ...], ...] = field(init=False)
    """The tasks that wait for each one."""
    indegrees: tuple[int, ...] = field(init=False)
    """How many tasks each one waits for."""
    input_names: tuple[str, ...] = field(init=False)
    """The names of the inputs, in the order of their slots."""
    defaults: tuple[object, ...] = field(init=False)
    """Their defaults."""
    injects: bool = field(init=False)
    """Whether FastAPI gives any of the parameters."""
    conditional: bytes = field(init=False)
    """1 for each task that may be decided not to run although all upstream has succeeded."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "names", tuple(node.spec.name for node in self.nodes))
        object.__setattr__(self, "input_names", tuple(item.name for item in self.inputs))
        object.__setattr__(self, "defaults", tuple(item.default for item in self.inputs))
        object.__setattr__(self, "children", tuple(node.children for node in self.nodes))
        object.__setattr__(self, "indegrees", tuple(len(node.parents) for node in self.nodes))
        fills = (fill for node in self.nodes for fill in (*node.fills, *node.undo_fills))
        object.__setattr__(self, "injects", any(fill.kind == "injected" for fill in fills))
        object.__setattr__(self, "conditional", bytes(node.conditional for node in self.nodes))

    @property
    def required(self) -> tuple[str, ...]:
        """The names of the inputs without which it cannot run."""
        return tuple(item.name for item in self.inputs if item.required)

    @property
    def provides(self) -> tuple[str, ...]:
        """The names under which results flow, in order."""
        return tuple(node.spec.output for node in self.nodes)

    def provides_to(self, task: str) -> tuple[str, ...]:
        """Return the names that *task* can take from upstream, in order."""
        if task not in self.index:
            return ()
        seen: set[int] = set()
        todo = list(self.nodes[self.index[task]].parents)
        while todo:
            i = todo.pop()
            if i not in seen:
                seen.add(i)
                todo.extend(self.nodes[i].parents)
        return tuple(self.nodes[i].spec.output for i in sorted(seen))


def make_plan(
    chain: str,
    targets: Sequence[TaskSpec],
    registries: Sequence[Registry],
    *,
    given: Sequence[str] = (),
) -> Plan:
    """Plan *targets* and everything upstream of them.

    Args:
        chain: The chain's name, for errors.
        targets: The tasks that the chain names.
        registries: Where names are looked up after the task's own registry.
        given: Names that every endpoint of the chain gives: such a name is an input even if a task elsewhere bears it.

    Raises:
        InvalidChain: Something is wrong; all of it is in `.problems`.
    """
    graph = Collector(chain, registries).collect(targets)
    if graph.problems:
        # Sources of parameters make no sense in a graph that is not there.
        raise InvalidChain(chain=chain, problems=tuple(graph.problems))
    wiring = Wiring(graph, registries, frozenset(given))
    rows = [wiring.wire(spec) for spec in graph.order]
    if wiring.problems:
        raise InvalidChain(chain=chain, problems=tuple(wiring.problems))
    children = _children([row.parents for row in rows])
    nodes = tuple(
        Node(
            index=i,
            spec=spec,
            signature=row.signature,
            fills=row.fills,
            parents=row.parents,
            after=row.after,
            over=row.over,
            undo=None if row.undo is None else UndoNode(spec=row.undo[0], fills=row.undo[1]),
            children=children[i],
        )
        for i, (spec, row) in enumerate(zip(graph.order, rows, strict=True))
    )
    place = {node.spec.name: node.index for node in nodes}
    wanted = tuple(dict.fromkeys(place[spec.name] for spec in targets))
    return Plan(chain=chain, nodes=nodes, inputs=wiring.inputs(), targets=wanted, index=place)


def _children(parents: Sequence[tuple[int, ...]]) -> list[tuple[int, ...]]:
    children: list[list[int]] = [[] for _ in parents]
    for i, above in enumerate(parents):
        for parent in above:
            children[parent].append(i)
    return [tuple(below) for below in children]
