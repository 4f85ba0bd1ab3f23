"""Where the value of every parameter comes from.

The order is that of the documentation: `From`, what FastAPI injects, special types, the output of a task upstream (one that
is directly upstream before one further up) or an input of the chain, the default.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from ._compatible import compatible, item_type
from ._graph import Graph, index_of, signature_of
from ._text import closest, type_name
from .declare import Registry
from .errors import AmbiguousProducer, NotUpstream, PlanError, TypeMismatch, UnknownParameter
from .spec import EMPTY, ParamSpec, Role, Signature, Source, TaskSpec

FillKind = Literal["task", "input", "item", "injected", "run", "context", "progress"]
"""Who gives a parameter its value."""

_BY_ROLE: Mapping[Role, FillKind] = {
    Role.INJECTED: "injected",
    Role.RUN: "run",
    Role.CONTEXT: "context",
    Role.PROGRESS: "progress",
}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Fill:
    """Where one parameter of a task comes from."""

    param: ParamSpec
    """The parameter."""
    kind: FillKind
    """Who gives it."""
    slot: int = -1
    """Where in a run's slots it lies: the task's index, or the input's."""


class Need(NamedTuple):
    """A parameter that an input fills."""

    param: ParamSpec
    task: Source


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class InputSpec:
    """A value that a run is given from outside."""

    name: str
    """Its name: a parameter of the endpoint, the chain's `returns=`, or a keyword of `start()`."""
    slot: int
    """Where in a run's slots it lies."""
    default: object = EMPTY
    """What stands in for it when it is not given; `EMPTY`: it must be given."""
    needs: list[Need] = field(default_factory=list)
    """The parameters that take it."""

    @property
    def required(self) -> bool:
        """Whether a run cannot start without it."""
        return self.default is EMPTY


class Row(NamedTuple):
    """The wiring of one task."""

    signature: Signature
    fills: tuple[Fill, ...]
    parents: tuple[int, ...]
    after: tuple[int, ...]
    over: int | None
    undo: tuple[TaskSpec, tuple[Fill, ...]] | None


def output_type(spec: TaskSpec) -> object:
    """Return the type that a task hands on: for a fan-out the list of its results."""
    returns = signature_of(spec).returns
    if spec.each is None or returns is EMPTY:
        return returns
    return list[returns]  # type: ignore[valid-type]  # a type that is known only now


class Wiring:
    """Finds the sources of all parameters of a graph."""

    def __init__(self, graph: Graph, registries: Sequence[Registry], given: frozenset[str]) -> None:
        """Prepare for the tasks of *graph*; *given* are the names that every endpoint gives."""
        self.problems: list[PlanError] = []
        self._order = graph.order
        self._edges = graph.edges
        self._index = index_of(graph.order)
        self._given = given
        self._parents = [
            tuple(dict.fromkeys(self._index[e.parent] for e in graph.edges[spec])) for spec in graph.order
        ]
        self._producers: dict[str, list[int]] = {}
        for i, spec in enumerate(graph.order):
            self._producers.setdefault(spec.output, []).append(i)
        self._inputs: dict[object, InputSpec] = {}
        self._registries = registries

    def inputs(self) -> tuple[InputSpec, ...]:
        """Return the inputs found so far, in the order of their slots."""
        return tuple(self._inputs.values())

    def wire(self, spec: TaskSpec) -> Row:
        """Find the source of every parameter of *spec*."""
        i = self._index[spec]
        signature = signature_of(spec)
        after = tuple(dict.fromkeys(self._index[e.parent] for e in self._edges[spec] if e.option == "after"))
        over = next((self._index[e.parent] for e in self._edges[spec] if e.option == "each"), None)
        item = None if over is None else self._item(spec, over)
        fills = []
        for param in signature.params:
            fill = self._fill(spec, param, item, i, self._parents[i])
            if fill is not None:
                fills.append(fill)
        self._possible(spec, fills, after)
        return Row(signature, tuple(fills), self._parents[i], after, over, self._undo(spec, i))

    def _fill(
        self, spec: TaskSpec, param: ParamSpec, item: str | None, below: int, direct: tuple[int, ...]
    ) -> Fill | None:
        """Return where *param* comes from; None where its own default does, or where there is a problem."""
        if param.name == item:
            return Fill(param=param, kind="item")
        if param.role in _BY_ROLE:
            return Fill(param=param, kind=_BY_ROLE[param.role])
        if param.role is Role.REFERENCE:
            producer = next(self._index[e.parent] for e in self._edges[spec] if _is(e.parent, param.reference))
            return self._from(spec, param, producer)
        producers = self._upstream(param.name, below, direct)
        if len(producers) > 1:
            sources = tuple(self._order[p].source for p in producers)
            self.problems.append(AmbiguousProducer(task=spec.source, param=param.name, producers=sources))
            return None
        if producers:
            return self._from(spec, param, producers[0])
        return self._input(spec, param)

    def _from(self, spec: TaskSpec, param: ParamSpec, producer: int) -> Fill:
        """Take *param* from a task, if its type allows."""
        source = self._order[producer]
        gives = output_type(source)
        if param.collects and source.each is not None:
            gives = signature_of(source).returns
        if compatible(gives, param.type) is False:
            self.problems.append(
                TypeMismatch(
                    param=param.name,
                    producer=source.source,
                    returns=gives,
                    consumer=spec.source,
                    takes=param.type,
                )
            )
        return Fill(param=param, kind="task", slot=producer)

    def _upstream(self, name: str, below: int, direct: tuple[int, ...]) -> list[int]:
        """Return the tasks upstream that provide *name*: those directly upstream, else those further up."""
        candidates = self._producers.get(name)
        if not candidates:
            return []
        near = [p for p in candidates if p in direct]
        if near:
            return near
        wanted = {p for p in candidates if p < below}
        return sorted(wanted & self._reach(direct, min(wanted))) if wanted else []

    def _reach(self, start: Iterable[int], least: int) -> set[int]:
        """Return all tasks from *start* upwards; a task below index *least* cannot lead to one that is wanted."""
        seen: set[int] = set()
        todo = [p for p in start if p >= least]
        while todo:
            i = todo.pop()
            if i not in seen:
                seen.add(i)
                todo.extend(p for p in self._parents[i] if p >= least)
        return seen

    def _input(self, spec: TaskSpec, param: ParamSpec) -> Fill | None:
        """Make *param* an input of the chain, unless it bears the name of a task that should have come first."""
        if not param.has_default and param.name not in self._given:
            elsewhere = self._elsewhere(param.name)
            if elsewhere is not None:
                self.problems.append(NotUpstream(task=spec.source, producer=elsewhere.source, param=param.name))
                return None
        key = (spec, param.name) if param.has_default else param.name
        known = self._inputs.get(key)
        if known is None:
            slot = len(self._order) + len(self._inputs)
            known = self._inputs[key] = InputSpec(name=param.name, slot=slot, default=param.default)
        known.needs.append(Need(param, spec.source))
        return Fill(param=param, kind="input", slot=known.slot)

    def _elsewhere(self, name: str) -> TaskSpec | None:
        """Return the task that provides *name* but does not come first: in this graph, or registered only."""
        if name in self._producers:
            return self._order[self._producers[name][0]]
        return next((t.spec for r in self._registries for t in r.tasks.values() if t.output == name), None)

    def _item(self, spec: TaskSpec, over: int) -> str | None:
        """Return the parameter that takes the item of a fan-out."""
        params = signature_of(spec).params
        if spec.each is not None and spec.each.param is not None:
            if spec.each.param in {p.name for p in params}:
                return spec.each.param
            self.problems.append(
                UnknownParameter(
                    task=spec.source,
                    param=spec.each.param,
                    type=EMPTY,
                    upstream=tuple(p.name for p in params),
                    endpoint=None,
                )
            )
            return None
        item = item_type(output_type(self._order[over]))
        found = [p.name for p in params if item is not None and self._takes_item(p, item, over, spec)]
        if len(found) == 1:
            return found[0]
        self.problems.append(self._which_item(spec, over, found))
        return None

    def _takes_item(self, param: ParamSpec, item: object, over: int, spec: TaskSpec) -> bool:
        """Whether *param* can only be meant for the item: nothing else fills it, and its type certainly fits."""
        if param.role is not Role.VALUE or param.has_default:
            return False
        i = self._index[spec]
        if self._upstream(param.name, i, (*self._parents[i], over)):
            return False
        return compatible(item, param.type) is True

    def _which_item(self, spec: TaskSpec, over: int, found: list[str]) -> PlanError:
        source = self._order[over]
        open_ = [p.name for p in signature_of(spec).params if p.role is Role.VALUE and not p.has_default]
        what = f"Task {spec.name!r} runs for each item of {source.name!r}, but "
        what += f"{len(found)} of its parameters could take the item." if found else "none of its parameters certainly takes it."
        rows = (
            (f"{source.name}(...) -> {type_name(output_type(source))}", source.source.at),
            (f"{spec.name}({', '.join(found or open_)})", spec.source.at),
        )
        fixes = tuple(f'say which: each={{"{name}": {source.name}}}' for name in (found or open_)[:2])
        return PlanError(what=what, rows=rows, fixes=fixes or ("add a parameter for the item",))

    def _possible(self, spec: TaskSpec, fills: Sequence[Fill], after: tuple[int, ...]) -> None:
        """Report a task that can never run: its parameters want outcomes that exclude each other."""
        accepted: dict[int, frozenset[str]] = {}
        for fill in fills:
            if fill.kind == "task":
                accepted[fill.slot] = accepted.get(fill.slot, fill.param.accepts) & fill.param.accepts
        never = [slot for slot, outcomes in accepted.items() if not outcomes]
        if spec.run_if == "any_failed" and after:
            wants = [accepted.get(p, frozenset({"failed"})) for p in after]
            if not any("failed" in outcomes or "skipped" in outcomes for outcomes in wants):
                never = list(after)
        if spec.run_if == "any_succeeded" and after:
            wants = [accepted.get(p, frozenset({"succeeded"})) for p in after]
            if not any("succeeded" in outcomes for outcomes in wants):
                never = list(after)
        if never:
            self.problems.append(self._impossible(spec, never[0], [f.param for f in fills if f.slot in never]))

    def _impossible(self, spec: TaskSpec, slot: int, params: list[ParamSpec]) -> PlanError:
        producer = self._order[slot]
        what = f"Task {spec.name!r} can never run: it wants outcomes of {producer.name!r} that exclude each other."
        rows = [(f"takes {p.name}: {type_name(p.annotation)}", spec.source.at) for p in params if p.role is not None]
        if spec.run_if != "all_succeeded":
            rows.append((f"run_if={spec.run_if!r}", spec.source.at))
        fixes = (f"take Outcome[...] in {spec.name!r} and look at what it is", "make two tasks of it")
        return PlanError(what=what, rows=(*rows, (producer.name, producer.source.at)), fixes=fixes)

    def _undo(self, spec: TaskSpec, i: int) -> tuple[TaskSpec, tuple[Fill, ...]] | None:
        """Wire the compensation of *spec*: as if it were a task right after it."""
        undo = spec.undo
        if undo is None:
            return None
        fills = []
        for param in signature_of(undo).params:
            own = param.role is Role.VALUE and param.name == spec.output
            if own or (param.role is Role.REFERENCE and _is(spec, param.reference)):
                fills.append(self._own_output(undo, spec, param, i))
            elif param.role is Role.REFERENCE:
                self.problems.append(self._undo_reference(undo, spec, param))
            else:
                fill = self._fill(undo, param, None, i + 1, (i,))
                if fill is not None:
                    fills.append(fill)
        return undo, tuple(fills)

    def _own_output(self, undo: TaskSpec, spec: TaskSpec, param: ParamSpec, i: int) -> Fill:
        """Give the undo what its task returned; for a fan-out, what the call for that item returned."""
        gives = signature_of(spec).returns
        if compatible(gives, param.type) is False:
            self.problems.append(
                TypeMismatch(
                    param=param.name, producer=spec.source, returns=gives, consumer=undo.source, takes=param.type
                )
            )
        return Fill(param=param, kind="item" if spec.each is not None else "task", slot=i)

    def _undo_reference(self, undo: TaskSpec, spec: TaskSpec, param: ParamSpec) -> PlanError:
        what = f"Undo {undo.name!r} takes From(...) in {param.name!r}; it can name only {spec.name!r}, the task it undoes."
        rows = ((undo.name, undo.source.at), (spec.name, spec.source.at))
        near = closest(param.name, [s.output for s in self._order])
        return PlanError(what=what, rows=rows, fixes=(f"take it by name: {near or spec.output}",))


def _is(spec: TaskSpec, reference: TaskSpec | str | None) -> bool:
    """Whether *reference* names *spec* (a reload may have put another object in its place)."""
    return spec.name == (reference if isinstance(reference, str) or reference is None else reference.name)
