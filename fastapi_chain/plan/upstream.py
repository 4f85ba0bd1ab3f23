"""What comes before each task of a graph, and which of it gives a value of some name."""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import Final, TypeAlias

from fastapi_chain.spec import EMPTY, ParamSpec, Role, TaskSpec

from .graph import Graph, current, reading_of

_FEW: Final = 8
"""Up to how many parents a tuple is as quick as a set."""

_VALUE: Final = Role.VALUE  # in Python 3.11 it costs 0.2 µs to look up a member of an enum


class Upstream:
    """The graph by numbers: a task's number is its place in the topological order."""

    def __init__(self, graph: Graph) -> None:
        """Number *graph*."""
        self.parents: list[tuple[int, ...]] = [_numbers(parents, graph.index) for parents in graph.parents]
        self.children = _children(self.parents)
        self.outputs = [
            reading.signature.returns if spec.each is None else _results(reading.signature.returns)
            for spec, reading in zip(graph.order, graph.readings, strict=True)
        ]
        """The type that each task hands on."""
        self.direct: list[Collection[int]] = [p if len(p) <= _FEW else frozenset(p) for p in self.parents]
        """The same as `parents`, to look up whether one is among them."""
        self.only, self._several = _producers([spec.output for spec in graph.order])
        """The task that gives a value of that name, where there is but one."""
        self._graph = graph

    def _giving(self, name: str) -> Sequence[int]:
        """Return the tasks that give a value of that name, in order."""
        p = self.only.get(name)
        return self._several.get(name, ()) if p is None else (p,)

    @cached_property
    def _above(self) -> "Reach":
        """What comes before those tasks that take something which is not given directly before them.

        Found for all tasks at once, and only if there are any.
        """
        return Reach(self._giving, self._asked_above(), self.parents)

    @cached_property
    def _below(self) -> "Reach":
        """What comes after those tasks that must be given something which no task before them gives."""
        return Reach(self._giving, self._asked_below(), self.children, downwards=True)

    def _takers(self) -> Iterator[tuple[int, ParamSpec, bool]]:
        """Yield the parameters that bear the name of an output, each with its task, and whether it is the undo's."""
        graph = self._graph
        for i, spec in enumerate(graph.order):
            for param in graph.readings[i].signature.params:
                if param.role is _VALUE and self._giving(param.name):
                    yield i, param, False
            if spec.undo is not None:
                for param in reading_of(current(spec.undo)).signature.params:
                    if param.role is _VALUE and self._giving(param.name):
                        yield i, param, True

    def _asked_above(self) -> dict[int, set[str]]:
        """Return the names that tasks take, but are not given directly."""
        asked: dict[int, set[str]] = {}
        for i, param, undoes in self._takers():
            known = self._giving(param.name)
            # An undo takes a near and a far task for equals; in a circle, a task may stand before what it waits for.
            if known[0] < i and (undoes or not self._near(known, i)):
                asked.setdefault(i, set()).add(param.name)
        return asked

    def _asked_below(self) -> dict[int, set[str]]:
        """Return the names that tasks must be given, but that no task gives them."""
        asked: dict[int, set[str]] = {}
        for i, param, undoes in self._takers():
            if not param.has_default and not (self.sources_of_undo if undoes else self.sources)(param.name, i):
                asked.setdefault(i, set()).add(param.name)
        return asked

    def sources(self, name: str, i: int) -> "Sources":
        """Return the tasks that give *name* to task *i*: those directly before it, else those further up."""
        known = self._giving(name)
        return (self._near(known, i) or self._above.of(name, i)) if known else ()

    def _near(self, known: Sequence[int], i: int) -> Sequence[int]:
        """Return those of *known* that are directly before task *i*."""
        direct = self.direct[i]
        if len(known) <= len(direct):
            return [p for p in known if p in direct]
        name = self._graph.order[known[0]].output
        return sorted([p for p in direct if self._graph.order[p].output == name])

    def sources_of_undo(self, name: str, i: int) -> "Sources":
        """Return the tasks that give *name* to the undo of task *i*, apart from that task itself."""
        return self._above.of(name, i) if self._giving(name) else ()

    def elsewhere(self, name: str, i: int) -> int | None:
        """Return a task that gives *name* and could come before task *i*, but does not; None if there is none.

        Ask only where `sources` has found none.
        """
        if not self._giving(name):
            return None
        order, unsure = self._graph.order, self._graph.unsure
        return next((p for p in self._below.of(name, i).others if p != i and order[p] not in unsure), None)


Sources: TypeAlias = "Sequence[int] | Marked"
"""Tasks that give a value of some name, in order."""


class Marked:
    """Some of the tasks that give a value of one name. There may be thousands, for each of thousands of tasks."""

    __slots__ = ("_known", "_marks")

    def __init__(self, known: Sequence[int], marks: int) -> None:
        """Be those of *known* whose bit is in *marks*."""
        self._known = known
        self._marks = marks

    def __len__(self) -> int:
        return self._marks.bit_count()

    def __iter__(self) -> Iterator[int]:
        left = self._marks
        while left:
            low = left & -left
            yield self._known[low.bit_length() - 1]
            left ^= low

    @property
    def others(self) -> "Marked":
        """Those that give a value of that name and are not marked."""
        return Marked(self._known, ~self._marks & ((1 << len(self._known)) - 1))


class Reach:
    """Which tasks that give values of certain names lie above, or below, certain tasks.

    One pass over the graph, with a bit for each task that gives such a value: the bits of a task are those of its
    parents, and are dropped as soon as its last child has them.
    """

    def __init__(
        self,
        producers: Callable[[str], Sequence[int]],
        asked: Mapping[int, Iterable[str]],
        edges: Sequence[Sequence[int]],
        *,
        downwards: bool = False,
    ) -> None:
        """Look for what is *asked*.

        Args:
            producers: Returns the tasks that give a value of some name.
            asked: The names that each task asks about.
            edges: What comes directly above each task; below it, if *downwards*.
            downwards: Whether to look below.
        """
        self._producers = producers
        self._first: dict[str, int] = {}
        bit: dict[int, int] = {}
        for name in {name for names in asked.values() for name in names}:
            self._first[name] = len(bit)
            for p in producers(name):
                bit[p] = 1 << len(bit)
        self._reached = _reached(edges, bit, asked, downwards=downwards) if bit else {}

    def of(self, name: str, i: int) -> Marked:
        """Return the tasks that give *name* and lie on that side of task *i*; none if it has not asked."""
        known, first = self._producers(name), self._first.get(name)
        bits = 0 if first is None else self._reached.get(i, 0) >> first
        return Marked(known, bits & ((1 << len(known)) - 1))


def _reached(
    edges: Sequence[Sequence[int]], bit: Mapping[int, int], asked: Collection[int], *, downwards: bool
) -> dict[int, int]:
    """Return the bits of all tasks that each of *asked* reaches."""
    heirs = [0] * len(edges)
    for nexts in edges:
        for p in nexts:
            heirs[p] += 1
    bits = [0] * len(edges)
    found: dict[int, int] = {}
    for i in reversed(range(len(edges))) if downwards else range(len(edges)):
        mine = 0
        for p in edges[i]:
            if p != i and (p > i) is downwards:  # not the other way round, in a circle
                mine |= bits[p] | bit.get(p, 0)
            heirs[p] -= 1
            if not heirs[p]:
                bits[p] = 0
        if heirs[i]:
            bits[i] = mine
        if i in asked:
            found[i] = mine
    return found


def _numbers(parents: Sequence[TaskSpec | None], index: Mapping[TaskSpec, int]) -> tuple[int, ...]:
    """Return the numbers of *parents*, each once."""
    numbers = tuple([index[parent] for parent in parents if parent is not None])
    return tuple(dict.fromkeys(numbers)) if numbers[1:] and len(set(numbers)) < len(numbers) else numbers


def _producers(outputs: Sequence[str]) -> tuple[dict[str, int], dict[str, list[int]]]:
    """Return the tasks that are the only ones to give a value of their name, and the others, all by that name."""
    only = {name: i for i, name in enumerate(outputs)}
    if len(only) == len(outputs):
        return only, {}
    known: dict[str, list[int]] = {}
    for i, name in enumerate(outputs):
        known.setdefault(name, []).append(i)
    several = {name: tasks for name, tasks in known.items() if len(tasks) > 1}
    return {name: i for name, i in only.items() if name not in several}, several


def _children(parents: Sequence[tuple[int, ...]]) -> list[tuple[int, ...]]:
    """Return the tasks that wait for each task."""
    children: list[list[int]] = [[] for _ in parents]
    for i, above in enumerate(parents):
        for p in above:
            children[p].append(i)
    return [tuple(below) for below in children]


def _results(returns: object) -> object:
    """Return the type that a fan-out hands on: the list of its results."""
    return returns if returns is EMPTY else list[returns]  # type: ignore[valid-type]  # a type that is known only now
