"""A task: what flows to it and from it."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from mypy.nodes import Expression
from mypy.types import Type

from fastapi_chain.errors import PlanError

from .declared import Declared, flows_of
from .filling import Filling
from .flow import Flow, Give
from .items import Items
from .params import Function, Param
from .undo import UndoCheck
from .upstream import Upstream
from .view import View


@dataclass(slots=True)
class TaskCheck:
    """The check of one task."""

    view: View
    declared: Declared | None
    """What the decorator says; None if it cannot be seen."""
    function: Function
    name: str
    """The name of the task."""
    id: str
    """Its full name."""
    returned: Type
    """What one call gives."""
    upstream: Upstream = field(default_factory=Upstream)

    def flow(self) -> Flow:
        """Check the task and return what flows to and from it."""
        params = list(self.function.params())
        after = self._named(self.declared.after if self.declared else None)
        over = self._parents(params, after)
        item = None
        if self.declared is not None and self.declared.fans_out:
            items = Items(self.view, self.name, self.declared, over, self.upstream, self.function.at)
            item = items.find(params)
        flow = self._start()
        filling = Filling(self.view, self.name, self.upstream, flow)
        for param in params:
            if param.name != item:
                filling.fill(param)
        self._possible(after, filling)
        if self.declared is not None:
            UndoCheck(self.view, self.declared, flow, self.returned).check()
        return flow

    def _named(self, expression: Expression | None) -> list[Flow | None]:
        """Return the flows of the tasks that an option names; None stands for one that is not known."""
        return flows_of(self.view, expression, self.function.registry)

    def _parents(self, params: Sequence[Param], after: Sequence[Flow | None]) -> Flow | None:
        """Collect what comes before; return what `each=` names."""
        over = self._named(self.declared.each[1]) if self.declared is not None and self.declared.fans_out else []
        references = [param.reference for param in params if param.filler == "reference"]
        for flow in (*after, *over, *references):
            self.upstream.add(flow)
        self.upstream.unknown |= self.declared is None
        return over[0] if len(over) == 1 else None

    def _start(self) -> Flow:
        """Return what the task gives, and what flows through those before it."""
        hidden = self.declared is None or self.declared.hidden
        flow = Flow(id=self.id, name=self.name, open=self.upstream.unknown or hidden)
        if self.declared is not None and not hidden:
            returned, fan = self.returned, self.declared.fans_out
            if fan:
                returned = self.view.api.named_generic_type("builtins.list", [returned])
            flow.gives[self.id] = Give(self.declared.output(self.name), self.name, self.id, returned, fan)
        for above in self.upstream.direct.values():
            flow.join(above)
        return flow

    def _possible(self, after: Sequence[Flow | None], filling: Filling) -> None:
        """Report a task that can never run: its parameters want outcomes that exclude each other."""
        accepted = filling.accepted
        never = [id_ for id_, outcomes in accepted.items() if not outcomes]
        named = [flow.id for flow in after if flow is not None]
        run_if = self.declared.text("run_if") if self.declared is not None else None
        if len(named) == len(after) and named:
            wanted = {"any_failed": ({"failed", "skipped"}, "failed"), "any_succeeded": ({"succeeded"}, "succeeded")}
            some, otherwise = wanted.get(run_if or "", (set(), ""))
            if some and not any(some & accepted.get(id_, frozenset({otherwise})) for id_ in named):
                never = named
        if never:
            producer = self.upstream.direct.get(never[0])
            name = producer.name if producer is not None else filling.flow.gives[never[0]].task
            what = f"Task {self.name!r} can never run: it wants outcomes of {name!r} that exclude each other."
            fixes = [f"take Outcome[...] in {self.name!r} and look at what it is", "make two tasks of it"]
            self.view.say(PlanError(what=what, fixes=fixes), self.function.at)
