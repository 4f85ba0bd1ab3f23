"""Where the value of every parameter comes from.

The order is that of the documentation: `From`, what FastAPI injects, special types, the output of a task upstream (one
that is directly upstream before one further up) or an input of the chain, the default.
"""

from collections.abc import Mapping, Sequence
from inspect import Parameter
from itertools import islice
from typing import Final, Literal, TypeAlias

from fastapi_chain.declare import Registry
from fastapi_chain.errors import AmbiguousProducer, ChainError, PlanError, TypeMismatch
from fastapi_chain.spec import EMPTY, ParamSpec, Role, TaskSpec
from fastapi_chain.tasks import AnyTask

from .compatible import compatible
from .conditions import impossible
from .graph import Graph, current, reading_of
from .items import FanOutCheck, plain
from .nodes import Fill, FillKind, InputSpec, Need, Node, UndoNode
from .upstream import Sources, Upstream

_Via: TypeAlias = Literal["task", "fan-out"]
"""How a task's output travels, see `TypeMismatch`."""

_MOST: Final = 20
"""How many tasks are named that give one parameter: there may be thousands, for each of thousands of parameters."""

_VALUE: Final = Role.VALUE  # in Python 3.11 it costs 0.2 µs to look up a member of an enum

_BY_ROLE: Final[Mapping[Role, FillKind]] = {
    Role.INJECTED: "injected",
    Role.RUN: "run",
    Role.CONTEXT: "context",
    Role.PROGRESS: "progress",
}


class Wiring:
    """Finds the sources of all parameters of a graph."""

    def __init__(self, graph: Graph, registries: Sequence[Registry]) -> None:
        """Prepare for *graph*; tasks that are not in it are looked up in *registries*."""
        self.problems: list[ChainError] = []
        self.injects = False
        self.upstream = Upstream(graph)
        self._graph = graph
        self._order = graph.order
        self._registries = registries
        self._inputs: dict[object, InputSpec] = {}
        self._elsewhere: dict[tuple[object, str], TaskSpec | None] = {}
        self._by_output: dict[Registry, Mapping[str, Sequence[AnyTask]]] = {}
        self._verdicts: dict[tuple[object, object], bool | None] = {}
        self._unsure = self._all_unsure()

    @property
    def inputs(self) -> tuple[InputSpec, ...]:
        """The inputs found so far, in the order of their slots."""
        return tuple(self._inputs.values())

    def _all_unsure(self) -> list[bool]:
        """Return for each task whether something about its upstream is wrong: what it lacks may be there then."""
        if not self._graph.unsure:
            return [False] * len(self._order)
        unsure: list[bool] = []
        for spec, parents in zip(self._order, self.upstream.parents, strict=True):
            unsure.append(spec in self._graph.unsure or any(unsure[p] for p in parents if p < len(unsure)))
        return unsure

    def wire(self, i: int) -> Node:
        """Find the source of every parameter of task *i*."""
        spec, reading = self._order[i], self._graph.readings[i]
        parents = self.upstream.parents[i]
        after = parents if len(reading.links) == len(spec.after) else self._after(i)
        over = None if spec.each is None else next(iter(self._graph.named(i, "each")), None)
        item = None if over is None else self._item(i, over)
        fills = self._fills(i, reading.signature.params, item)
        special = reading.tolerant or spec.run_if != "all_succeeded"
        return Node(
            index=i,
            spec=spec,
            signature=reading.signature,
            fills=fills,
            parents=parents,
            after=after,
            over=over,
            undo=None if spec.undo is None else self._undo(i, current(spec.undo)),
            children=self.upstream.children[i],
            conditional=special and self._is_conditional(i, fills, after),
        )

    def _is_conditional(self, i: int, fills: Sequence[Fill], after: Sequence[int]) -> bool:
        """Whether task *i* may have to be left out; report it if it can never run at all."""
        spec = self._order[i]
        taken = [(fill.param, fill.slot) for fill in fills if fill.kind == "task"]
        problem = None if self._unsure[i] else impossible(spec, taken, after, self._order)
        if problem is not None:
            self.problems.append(problem)
        return spec.run_if == "any_failed" or any("succeeded" not in param.accepts for param, _ in taken)

    def _after(self, i: int) -> tuple[int, ...]:
        """Return the tasks in `after=`; where there are none, those in `From`, which stands for it."""
        return tuple(dict.fromkeys(self._graph.named(i, "after" if self._order[i].after else "From")))

    def _item(self, i: int, over: int) -> ParamSpec | None:
        """Return the parameter that takes the item of a fan-out."""
        spec = self._order[i]
        assert spec.each is not None, "it has an edge that says so"
        found = FanOutCheck(
            spec=spec,
            each=spec.each,
            params=self._graph.readings[i].signature.params,
            over=self._order[over],
            given=self.upstream.outputs[over],
            is_filled=lambda name: bool(self.upstream.sources(name, i)),
        ).find()
        if isinstance(found, ParamSpec):
            return found
        if not self._unsure[i]:
            self.problems.append(found)
            # What it seems to lack may be the item.
            self._unsure[i] = True
        return None

    # --- one parameter

    def _fills(self, i: int, params: Sequence[ParamSpec], item: ParamSpec | None) -> tuple[Fill, ...]:
        """Return where *params* of task *i* come from, without those that have a problem; *item* as for `_fill`."""
        upstream = self.upstream
        only, outputs, direct = upstream.only, upstream.outputs, upstream.direct[i]
        fills: list[Fill] = []
        for param in params:
            p = only.get(param.name)
            # By far the most are what one task gives that is directly before, and of just that type: no more to ask.
            if (
                p is not None
                and outputs[p] is param.type
                and param.role is _VALUE
                and p in direct
                and not param.collects
                and (item is None or item.name != param.name)
            ):
                fills.append(Fill(param, "task", p))
            elif (fill := self._fill(i, param, item)) is not None:
                fills.append(fill)
        return tuple(fills)

    def _fill(self, i: int, param: ParamSpec, item: ParamSpec | None) -> Fill | None:
        """Return where *param* of task *i* comes from; None where there is a problem.

        Args:
            i: The number of the task.
            param: One of its parameters.
            item: The one that takes the item, if it is a fan-out.
        """
        if item is not None and item.name == param.name:
            return Fill(item, "item")
        if param.role is _VALUE:
            return self._by_name(i, self._order[i], param, self.upstream.sources(param.name, i))
        if param.role is not Role.REFERENCE:
            return self._given(self._order[i], param)
        producers = self._graph.named(i, "From", param.name)
        return self._from(self._order[i], param, producers[0]) if producers else None

    def _given(self, spec: TaskSpec, param: ParamSpec) -> Fill:
        """Let FastAPI, or the run, fill *param*."""
        self.injects = self.injects or param.role is Role.INJECTED
        if param.role is Role.INJECTED and param.kind is Parameter.POSITIONAL_ONLY:
            what = (
                f"Parameter {param.name!r} of task {spec.name!r} is positional-only, but FastAPI gives values by name."
            )
            fixes = (f"leave out the `/` behind it in {spec.name!r}",)
            self.problems.append(PlanError(what=what, rows=(("declared at", spec.source.at),), fixes=fixes))
        return Fill(param, _BY_ROLE[param.role])

    def _by_name(self, i: int, spec: TaskSpec, param: ParamSpec, sources: Sources) -> Fill | None:
        """Return where *param* of *spec*, task *i* or its undo, comes from; *sources* are those that give its name."""
        if not sources:
            return None if self._unsure[i] else self._input(i, spec, param)
        if len(sources) == 1:
            return self._from(spec, param, next(iter(sources)))
        if not self._unsure[i]:
            producers = tuple(self._order[p].source for p in islice(sources, _MOST))
            more = len(sources) - len(producers)
            error = AmbiguousProducer(task=spec.source, param=param.name, producers=producers, more=more)
            self.problems.append(error)
        return None

    def _from(self, spec: TaskSpec, param: ParamSpec, producer: int) -> Fill:
        """Take *param* from a task, if its type allows."""
        source = self._order[producer]
        if param.collects and source.each is None:
            param = plain(param)  # a list of outcomes that some task has made itself
        one = self._graph.readings[producer].signature.returns
        gives = one if param.collects else self.upstream.outputs[producer]
        if gives is not param.type and self._verdict(gives, param.type) is False:
            self._mismatch(source, one, spec, param, "task" if gives is one else "fan-out")
        return Fill(param, "task", producer)

    def _mismatch(self, source: TaskSpec, gives: object, spec: TaskSpec, param: ParamSpec, via: _Via = "task") -> None:
        name, at, takes = param.name, spec.source, param.type
        error = TypeMismatch(param=name, producer=source.source, returns=gives, consumer=at, takes=takes, via=via)
        self.problems.append(error)

    def _verdict(self, gives: object, takes: object) -> bool | None:
        """Return whether the one type fits the other; most chains ask about the same few pairs."""
        try:
            known = self._verdicts.get((gives, takes), EMPTY)
        except TypeError:  # an annotation that cannot be hashed
            return compatible(gives, takes)
        if known is EMPTY:
            known = self._verdicts[gives, takes] = compatible(gives, takes)
        return known  # type: ignore[return-value]  # EMPTY is none of the verdicts

    def _input(self, i: int, spec: TaskSpec, param: ParamSpec) -> Fill:
        """Make *param* an input of the chain; those with a default are an input each, for each has its own."""
        key = (spec, param.name) if param.has_default else param.name
        known = self._inputs.get(key)
        if known is None:
            slot = len(self._order) + len(self._inputs)
            known = self._inputs[key] = InputSpec(name=param.name, slot=slot, default=param.default)
        param = plain(param)
        elsewhere = None if param.has_default else self._find_elsewhere(spec, param.name, i)
        known.needs.append(Need(param, spec.source, i, None if elsewhere is None else elsewhere.source))
        return Fill(param, "input", known.slot)

    def _find_elsewhere(self, spec: TaskSpec, name: str, i: int) -> TaskSpec | None:
        """Return a task that gives *name*, but does not come before task *i*: of this graph, or registered only."""
        inside = self.upstream.elsewhere(name, i)
        if inside is not None:
            return self._order[inside]
        key = (spec.registry, name)
        if key not in self._elsewhere:
            registries = [home for home in (spec.registry, *self._registries) if isinstance(home, Registry)]
            found = (task.spec for registry in registries for task in self._outputs(registry).get(name, ()))
            self._elsewhere[key] = next((other for other in found if other not in self._graph.index), None)
        return self._elsewhere[key]

    def _outputs(self, registry: Registry) -> Mapping[str, Sequence[AnyTask]]:
        """Return the tasks of *registry* by the name of their output."""
        if registry not in self._by_output:
            self._by_output[registry] = registry.by_output()
        return self._by_output[registry]

    # --- undo

    def _undo(self, i: int, undo: TaskSpec) -> UndoNode:
        """Wire the undo of task *i*, as if it were a task right after it."""
        fills = [self._undo_fill(i, undo, param) for param in reading_of(undo).signature.params]
        return UndoNode(spec=undo, fills=tuple(fill for fill in fills if fill is not None))

    def _undo_fill(self, i: int, undo: TaskSpec, param: ParamSpec) -> Fill | None:
        spec = self._order[i]
        if param.role is _VALUE and param.name != spec.output:
            return self._by_name(i, undo, param, self.upstream.sources_of_undo(param.name, i))
        if param.role is _VALUE or _refers_to(spec, param.reference):
            return self._own_output(i, undo, param)
        if param.role is not Role.REFERENCE:
            return self._given(undo, param)
        what = f"Undo {undo.name!r} takes From(...) in {param.name!r}; "
        what += f"it can name only {spec.name!r}, the task it undoes."
        rows = ((undo.name, undo.source.at), (spec.name, spec.source.at))
        self.problems.append(PlanError(what=what, rows=rows, fixes=(f"take it by name: {spec.output}",)))
        return None

    def _own_output(self, i: int, undo: TaskSpec, param: ParamSpec) -> Fill:
        """Give the undo what its task returned; for a fan-out, what the call for that item returned."""
        spec, gives = self._order[i], self._graph.readings[i].signature.returns
        if spec.each is not None or "succeeded" not in param.outcomes:
            param = plain(param)
        if self._verdict(gives, param.type) is False:
            self._mismatch(spec, gives, undo, param)
        return Fill(param, "task" if spec.each is None else "item", i)


def _refers_to(spec: TaskSpec, reference: TaskSpec | str | None) -> bool:
    """Whether *reference* names *spec*, or what a reload has put in its place."""
    return reference is not None and spec.name == (reference if isinstance(reference, str) else reference.name)
