"""The graph of a chain: which tasks belong to it, what waits for what, and in which order they stand.

Only explicit edges count here: `after=`, `From(...)` and `each=`. Nothing recurses: a chain of 100,000 tasks is fine.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Final, Literal, NamedTuple, TypeAlias
from weakref import WeakKeyDictionary

from fastapi_chain.declare import Registry
from fastapi_chain.declare.signature import is_resolved, read
from fastapi_chain.errors import CalledInsteadOfNamed, ChainError, CycleError, DuplicateTask, PlanError, UnknownTask
from fastapi_chain.spec import SUCCEEDED_ONLY, Role, Signature, TaskSpec
from fastapi_chain.tasks import AnyTask, called_name

Option: TypeAlias = Literal["after", "each", "From"]
"""Where a task names another one."""

_MOST_CYCLES: Final = 20
"""How many cycles are reported: in a tangle there may be more than tasks."""


class Link(NamedTuple):
    """One task names another."""

    reference: TaskSpec | str
    """What it names."""
    option: Option
    """Where."""
    why: str
    """How that is written: `after=[clean]`, or `needs 'order'` for a value."""
    param: str | None = None
    """The parameter that has the `From(...)`."""


class Reading(NamedTuple):
    """What a task says of itself."""

    signature: Signature
    links: tuple[Link, ...]
    tolerant: bool
    """Whether a parameter takes anything but what has succeeded."""
    specs: tuple[TaskSpec, ...] | None
    """The tasks that it names; None if it names any by a string, which means different tasks in different chains."""


_readings: "WeakKeyDictionary[TaskSpec, Reading]" = WeakKeyDictionary()


def reading_of(spec: TaskSpec) -> Reading:
    """Return what a task says of itself; it is read when first asked for, so that later names are known by then."""
    reading = _readings.get(spec)
    if reading is None:
        signature = read(spec.fn, spec.namespace)
        links = tuple(_links(spec, signature))
        specs = tuple(link.reference for link in links if isinstance(link.reference, TaskSpec))
        tolerant = any(param.accepts is not SUCCEEDED_ONLY for param in signature.params)
        reading = Reading(signature, links, tolerant, specs if len(specs) == len(links) else None)
        if is_resolved(signature):
            _readings[spec] = reading
    return reading


def _links(spec: TaskSpec, signature: Signature) -> Iterator[Link]:
    """Yield what *spec* names, in the order in which it is written; a task may come up under several options."""
    taken = {param.name for param in signature.params if param.role is Role.VALUE}
    for reference in spec.after:
        name = named(reference)
        output = reference if isinstance(reference, str) else reference.output
        yield Link(reference, "after", f"needs {output!r}" if output in taken else f"after=[{name}]")
    if spec.each is not None:
        yield Link(spec.each.over, "each", f"each={named(spec.each.over)}")
    for param in signature.params:
        if param.reference is not None:
            yield Link(param.reference, "From", f"needs {param.name!r}", param.name)


def named(reference: TaskSpec | str) -> str:
    """Return the name of the task that is referred to."""
    return reference if isinstance(reference, str) else reference.name


def current(spec: TaskSpec) -> TaskSpec:
    """Return what stands in the place of *spec* now: a reload may have put something else there."""
    home = spec.registry
    return home.current(spec) if isinstance(home, Registry) else spec


class Graph:
    """The tasks of a chain in topological order; all else by the same numbers."""

    def __init__(self) -> None:
        """Begin without any."""
        self.order: list[TaskSpec] = []
        """The tasks, each after all it waits for."""
        self.readings: list[Reading] = []
        """What each one says of itself."""
        self.parents: list[Sequence[TaskSpec | None]] = []
        """What each one waits for, link by link; None where there is no such task."""
        self.index: dict[TaskSpec, int] = {}
        """The number of each task."""
        self.unsure: set[TaskSpec] = set()
        """The tasks about whose upstream something is wrong: of what they seem to lack, nothing is to be said."""
        self.problems: list[ChainError] = []
        """What is wrong."""

    def named(self, i: int, option: Option, param: str | None = None) -> list[int]:
        """Return the numbers of the tasks that task *i* names in *option*, for `From` in the parameter *param*."""
        pairs = zip(self.readings[i].links, self.parents[i], strict=True)
        return [
            self.index[parent]
            for link, parent in pairs
            if parent is not None and link.option == option and param in (None, link.param)
        ]


class _Open(NamedTuple):
    """A task whose upstream is being walked."""

    spec: TaskSpec
    reading: Reading
    parents: Sequence[TaskSpec | None]
    rest: Iterator[TaskSpec | None]
    """Those that have not been visited yet."""


class Collector:
    """Collects a graph from its targets upwards."""

    def __init__(self, chain: str, registries: Sequence[Registry]) -> None:
        """Look names up in the task's own registry, then in *registries*."""
        self._chain = chain
        self._registries = registries
        self._graph = Graph()
        self._path: dict[TaskSpec, _Open] = {}  # from a target to the task that is being walked
        self._trail: list[_Open] = []  # the same, in order
        self._cycles: set[frozenset[TaskSpec]] = set()
        # Made when first needed, and not anew for each of thousands of names.
        self._by_output: dict[Registry, Mapping[str, Sequence[AnyTask]]] = {}
        self._names: dict[tuple[Registry, ...], tuple[str, ...]] = {}

    def collect(self, targets: Sequence[TaskSpec]) -> Graph:
        """Walk up from *targets*, depth first, each task after all it waits for."""
        index, path = self._graph.index, self._path
        for target in targets:
            here = None if target in index else self._enter(target)
            while here is not None:
                for parent in here.rest:
                    if parent in path:
                        self._cycle(parent)
                    elif parent is not None and parent not in index:
                        here = self._enter(parent)
                        break
                else:
                    here = self._leave(here)
        self._duplicates()
        return self._graph

    def _enter(self, spec: TaskSpec) -> _Open:
        reading = reading_of(spec)
        parents: Sequence[TaskSpec | None]
        if reading.specs is not None and not Registry.reloads:
            parents = reading.specs
        else:
            parents = [self._parent(spec, link) for link in reading.links]
        opened = self._path[spec] = _Open(spec, reading, parents, iter(parents))
        self._trail.append(opened)
        return opened

    def _leave(self, done: _Open) -> _Open | None:
        """Put a task down; return the one because of which it was entered."""
        graph, path = self._graph, self._path
        graph.index[done.spec] = len(graph.order)
        graph.order.append(done.spec)
        graph.readings.append(done.reading)
        graph.parents.append(done.parents)
        path.popitem()
        self._trail.pop()
        return self._trail[-1] if self._trail else None

    def _parent(self, spec: TaskSpec, link: Link) -> TaskSpec | None:
        """Return the task that *spec* names; None, and a problem, if there is none."""
        found = self._find(spec, link, link.reference) if isinstance(link.reference, str) else current(link.reference)
        if isinstance(found, TaskSpec):
            return found
        self._graph.problems.append(found)
        self._graph.unsure.add(spec)
        return None

    def _find(self, spec: TaskSpec, link: Link, name: str) -> TaskSpec | ChainError:
        """Return the task called *name*, for `each=` the one whose output is called so; else the problem."""
        places = dict.fromkeys([spec.registry, *self._registries])
        registries = [place for place in places if isinstance(place, Registry)]
        for registry in registries:
            found = self._outputs(registry).get(name, []) if link.option == "each" else []
            found = found or [task for task in [registry.get(name)] if task is not None]
            if found:
                return found[0].spec if len(found) == 1 else _several(spec, name, found)
        called = called_name(name)
        if called is not None:
            return CalledInsteadOfNamed(task=spec.source, option=link.option, called=called)
        known = self._known(tuple(registries))
        return UnknownTask(task=spec.source, wanted=name, option=link.option, known=known, chain=self._chain)

    def _outputs(self, registry: Registry) -> Mapping[str, Sequence[AnyTask]]:
        """Return the tasks of *registry* by the name of their output."""
        if registry not in self._by_output:
            self._by_output[registry] = registry.by_output()
        return self._by_output[registry]

    def _known(self, registries: tuple[Registry, ...]) -> tuple[str, ...]:
        """Return the names of all tasks of *registries*."""
        if registries not in self._names:
            self._names[registries] = tuple(dict.fromkeys(name for registry in registries for name in registry.tasks))
        return self._names[registries]

    def _cycle(self, start: TaskSpec) -> None:
        """Report the tasks from *start* to the end of the path: each waits for the next one, the last for *start*."""
        path = self._trail[self._trail.index(self._path[start]) :]
        tasks = frozenset(step.spec for step in path)
        self._graph.unsure |= tasks
        if tasks in self._cycles or len(self._cycles) == _MOST_CYCLES:
            return
        self._cycles.add(tasks)
        rows = []
        for step, following in zip(path, [*path[1:], path[0]], strict=True):
            number = step.parents.index(following.spec)
            rows.append((step.spec.source, step.reading.links[number].why))
        self._graph.problems.append(CycleError(path=tuple(rows)))

    def _duplicates(self) -> None:
        """Report tasks of one name that come from two registries."""
        if len({spec.name for spec in self._graph.order}) == len(self._graph.order):
            return
        first: dict[str, TaskSpec] = {}
        for spec in self._graph.order:
            known = first.setdefault(spec.name, spec)
            if known is not spec:
                where = f"chain {self._chain!r}"
                error = DuplicateTask(name=spec.name, first=known.source, second=spec.source, where=where)
                self._graph.problems.append(error)


def _several(spec: TaskSpec, output: str, found: Sequence[AnyTask]) -> PlanError:
    return PlanError(
        what=f"{len(found)} tasks provide {output!r}, and each= of task {spec.name!r} does not say which one it means.",
        rows=(
            ("declared at", spec.name, spec.source.at),
            *(("provided by", task.name, task.spec.source.at) for task in found),
        ),
        fixes=tuple(f"@task(each={task.name})" for task in found),
    )
