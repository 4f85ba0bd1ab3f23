"""The graph of a chain: which tasks belong to it, what waits for what, and in which order they stand.

Only explicit edges count here: `after=`, `From(...)` and `each=`. Nothing recurses, so a chain of 100,000 tasks is fine.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from weakref import WeakKeyDictionary

from ._signature import read
from .declare import Registry
from .errors import CycleError, DuplicateTask, PlanError, UnknownTask
from .spec import Role, Signature, TaskSpec

_signatures: "WeakKeyDictionary[TaskSpec, Signature]" = WeakKeyDictionary()


def signature_of(spec: TaskSpec) -> Signature:
    """Return the signature of a task; it is read once, when first asked for, so that later names are known by then."""
    signature = _signatures.get(spec)
    if signature is None:
        signature = _signatures[spec] = read(spec.fn, spec.namespace)
    return signature


@dataclass(frozen=True, slots=True)
class Edge:
    """One task waits for another."""

    parent: TaskSpec
    """What comes first."""
    why: str
    """How the user wrote it: `after=[clean]`."""
    option: str
    """`after`, `From` or `each`."""


@dataclass(slots=True)
class Graph:
    """The tasks of a chain in topological order, each with its edges."""

    order: list[TaskSpec] = field(default_factory=list)
    edges: dict[TaskSpec, list[Edge]] = field(default_factory=dict)
    problems: list[PlanError | DuplicateTask] = field(default_factory=list)


class Collector:
    """Collects a graph from its targets upwards."""

    def __init__(self, chain: str, registries: Sequence[Registry]) -> None:
        """Look names up in the task's own registry, then in *registries*."""
        self._chain = chain
        self._registries = registries
        self._graph = Graph()
        self._cyclic: set[frozenset[TaskSpec]] = set()

    def collect(self, targets: Sequence[TaskSpec]) -> Graph:
        """Walk up from *targets*, depth first, each task after all it waits for."""
        graph = self._graph
        done: set[TaskSpec] = set()
        open_: dict[TaskSpec, int] = {}  # the tasks on the way down to the current one, in order
        for target in targets:
            stack: list[tuple[TaskSpec, Iterator[Edge]]] = []
            if target not in done:
                self._enter(target, stack, open_)
            while stack:
                spec, edges = stack[-1]
                edge = next(edges, None)
                if edge is None:
                    stack.pop()
                    open_.pop(spec)
                    done.add(spec)
                    graph.order.append(spec)
                elif edge.parent in open_:
                    self._cycle(list(open_)[open_[edge.parent] :])
                elif edge.parent not in done:
                    self._enter(edge.parent, stack, open_)
        self._duplicates()
        return graph

    def _enter(
        self, spec: TaskSpec, stack: list[tuple[TaskSpec, Iterator[Edge]]], open_: dict[TaskSpec, int]
    ) -> None:
        edges = self._graph.edges[spec] = list(self._edges(spec))
        open_[spec] = len(open_)
        stack.append((spec, iter(edges)))

    def _edges(self, spec: TaskSpec) -> Iterator[Edge]:
        """Yield what *spec* waits for, in the order in which it is written; a task may come up under several options."""
        for option, reference, why in _references(spec):
            parent = self.resolve(spec, reference, option)
            if parent is not None:
                yield Edge(parent, why, option)

    def resolve(self, spec: TaskSpec, reference: TaskSpec | str, option: str) -> TaskSpec | None:
        """Return the task that *spec* names; None, and a problem, if there is none."""
        registry = spec.registry
        places = [registry, *self._registries] if isinstance(registry, Registry) else list(self._registries)
        if isinstance(reference, TaskSpec):
            home = reference.registry
            return home.current(reference) if isinstance(home, Registry) else reference
        for place in places:
            found = place.get(reference)
            if found is not None:
                return found.spec
        if option == "each":
            # `each=` may name the output rather than the task.
            for place in places:
                for task in place.tasks.values():
                    if task.output == reference:
                        return task.spec
        known = tuple(dict.fromkeys(name for place in places for name in place.tasks))
        self._graph.problems.append(
            UnknownTask(task=spec.source, wanted=reference, option=option, known=known, chain=self._chain)
        )
        return None

    def _cycle(self, path: list[TaskSpec]) -> None:
        """Report the tasks of *path*, each of which waits for the next and the last for the first."""
        key = frozenset(path)
        if key in self._cyclic:
            return
        self._cyclic.add(key)
        edges = self._graph.edges
        rows = []
        for spec, parent in zip(path, [*path[1:], path[0]], strict=True):
            why = next(edge.why for edge in edges[spec] if edge.parent is parent)
            rows.append((spec.source, why))
        self._graph.problems.append(CycleError(path=tuple(rows)))

    def _duplicates(self) -> None:
        """Report tasks of one name that come from two registries."""
        first: dict[str, TaskSpec] = {}
        for spec in self._graph.order:
            known = first.setdefault(spec.name, spec)
            if known is not spec:
                where = f"chain {self._chain!r}"
                self._graph.problems.append(
                    DuplicateTask(name=spec.name, first=known.source, second=spec.source, where=where)
                )


def _references(spec: TaskSpec) -> Iterator[tuple[str, TaskSpec | str, str]]:
    """Yield what *spec* names: the option, the reference, and how it was written."""
    params = signature_of(spec).params
    taken = {param.name for param in params if param.role is Role.VALUE}
    for reference in spec.after:
        name = _named(reference)
        output = name if isinstance(reference, str) else reference.output
        yield "after", reference, f"needs {output!r}" if output in taken else f"after=[{name}]"
    if spec.each is not None:
        yield "each", spec.each.over, f"each={_named(spec.each.over)}"
    for param in params:
        if param.reference is not None:
            yield "From", param.reference, f"needs {_named(param.reference)!r}"


def _named(reference: TaskSpec | str) -> str:
    return reference if isinstance(reference, str) else reference.name


def index_of(order: Sequence[TaskSpec]) -> Mapping[TaskSpec, int]:
    """Return the place of each task in the order."""
    return {spec: i for i, spec in enumerate(order)}
