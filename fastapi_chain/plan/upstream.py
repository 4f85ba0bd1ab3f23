"""What comes before each task of a graph, and which of it gives a value of some name."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import cached_property
from typing import Final

from fastapi_chain.spec import EMPTY, Role, TaskSpec

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
        self._producers: dict[str, list[int]] = {}
        for i, spec in enumerate(graph.order):
            self._producers.setdefault(spec.output, []).append(i)
        self.only = {name: known[0] for name, known in self._producers.items() if len(known) == 1}
        """The task that gives a value of that name, where there is but one."""
        self._graph = graph
        self._above: dict[int, frozenset[int]] = {}

    @cached_property
    def _reached(self) -> set[tuple[int, int]]:
        """The pairs `(i, p)` in which task *p* gives something that task *i* takes, and stands somewhere above it.

        Found for all tasks at once, and only if any takes something that is not given directly before it.
        """
        return reached(self.parents, self._asked())

    def _asked(self) -> dict[int, set[int]]:
        """Return, for each task, those that give something it takes but that are not directly before it."""
        asked: dict[int, set[int]] = {}
        graph, producers = self._graph, self._producers
        for i, spec in enumerate(graph.order):
            params = graph.readings[i].signature.params
            if spec.undo is not None:
                params += reading_of(current(spec.undo)).signature.params
            direct = self.direct[i]
            for param in params:
                known = producers.get(param.name)
                if known is None or param.role is not _VALUE or (len(known) == 1 and known[0] in direct):
                    continue
                far = [p for p in known if p < i and p not in direct]
                if far:
                    asked.setdefault(i, set()).update(far)
        return asked

    def sources(self, name: str, i: int) -> Sequence[int]:
        """Return the tasks that give *name* to task *i*: those directly before it, else those further up."""
        known = self._producers.get(name)
        if known is None:
            return ()
        direct = self.direct[i]
        if len(known) == 1 and known[0] in direct:
            return known
        near = [p for p in known if p in direct]
        return near or [p for p in known if (i, p) in self._reached]

    def sources_of_undo(self, name: str, i: int) -> Sequence[int]:
        """Return the tasks that give *name* to the undo of task *i*, apart from that task itself."""
        known = self._producers.get(name, ())
        return [p for p in known if p in self.direct[i] or (i, p) in self._reached]

    def elsewhere(self, name: str, i: int) -> int | None:
        """Return a task that gives *name* and could come before task *i*, but does not; None if there is none."""
        return next((p for p in self._producers.get(name, ()) if p != i and i not in self.above(p)), None)

    def above(self, i: int) -> frozenset[int]:
        """Return all tasks that come before task *i*."""
        known = self._above.get(i)
        if known is None:
            seen: set[int] = set()
            todo = list(self.parents[i])
            while todo:
                p = todo.pop()
                if p not in seen:
                    seen.add(p)
                    todo += self.parents[p]
            known = self._above[i] = frozenset(seen)
        return known


def _numbers(parents: Sequence[TaskSpec | None], index: Mapping[TaskSpec, int]) -> tuple[int, ...]:
    """Return the numbers of *parents*, each once."""
    numbers = tuple([index[parent] for parent in parents if parent is not None])
    return numbers if len(set(numbers)) == len(numbers) else tuple(dict.fromkeys(numbers))


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


def reached(parents: Sequence[Sequence[int]], asked: Mapping[int, Iterable[int]]) -> set[tuple[int, int]]:
    """Return the pairs `(i, p)` of *asked* in which task *p* is somewhere above task *i*.

    One pass over the graph, with a bit for each task that is asked about: the bits of a task are those of its parents,
    and are dropped as soon as its last child has them.
    """
    pairs: set[tuple[int, int]] = set()
    if not asked:
        return pairs
    wanted = sorted({p for ps in asked.values() for p in ps})
    bit = {p: 1 << k for k, p in enumerate(wanted)}
    heirs = [0] * len(parents)
    for above in parents:
        for p in above:
            heirs[p] += 1
    bits = [0] * len(parents)
    for i in range(wanted[0], max(asked) + 1):
        for p in parents[i]:
            bits[i] |= bits[p] | bit.get(p, 0)
            heirs[p] -= 1
            if not heirs[p]:
                bits[p] = 0
        pairs.update((i, p) for p in asked.get(i, ()) if bits[i] & bit[p])
    return pairs
