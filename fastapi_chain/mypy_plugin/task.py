"""A task: what flows to it and from it."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from mypy.erasetype import erase_typevars
from mypy.nodes import Decorator, Expression, StrExpr
from mypy.types import Type

from fastapi_chain.errors import PlanError

from .cycles import Circle, check_duplicate
from .declared import Declared, flows_of, items_of
from .filling import Filling
from .flow import Flow, Give
from .items import Items
from .params import Function, Param
from .undo import UndoCheck
from .upstream import Upstream
from .view import View

_WANTED: Final[dict[str, tuple[frozenset[str], frozenset[str]]]] = {
    "any_failed": (frozenset({"failed", "skipped"}), frozenset({"failed"})),
    "any_succeeded": (frozenset({"succeeded"}), frozenset({"succeeded"})),
}
"""What one of the tasks in `after` must have come to; and what is possible where no parameter asks for anything."""


@dataclass(slots=True)
class TaskCheck:
    """The check of one task."""

    view: View
    decorator: Decorator | None
    """The function with its decorators, if they make the task."""
    declared: Declared | None
    """What the decorator says; None if it cannot be seen."""
    function: Function
    name: str
    """The name of the task."""
    id: str
    """Its full name."""
    upstream: Upstream = field(default_factory=Upstream)

    @property
    def returned(self) -> Type:
        """What one call gives."""
        return erase_typevars(self.view.awaited(self.function.signature.ret_type))

    @property
    def _hidden(self) -> bool:
        """Whether its names cannot be seen."""
        return self.declared is None or self.declared.hidden or not self.name

    def flow(self) -> Flow:
        """Check the task and return what flows to and from it."""
        params = list(self.function.params())
        self._check_names(params)
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

    def _check_names(self, params: Sequence[Param]) -> None:
        """Look for another task of that name, and for a circle, which only a task that is named by text can close."""
        if self.decorator is None or self.declared is None:
            return
        check_duplicate(self.view, self.decorator, self.declared, self.name)
        written = (*items_of(self.declared.after), self.declared.each[1])
        if any(isinstance(reference, StrExpr) for reference in written) or any(param.by_text for param in params):
            Circle(self.view, self.decorator).check()

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
        unclear = self.upstream.unknown or self._hidden or self.function.vague
        flow = Flow(id=self.id, name=self.name, open=unclear)
        if self.declared is not None and not self._hidden:
            returned, fan = self.returned, self.declared.fans_out
            if fan:
                returned = self.view.api.named_generic_type("builtins.list", [returned])
            flow.gives[self.id] = Give(self.declared.output(self.name), self.name, self.id, returned, fan)
        for above in self.upstream.direct.values():
            flow.join(above)
        own = flow.own
        if own is not None:
            flow.needs = [replace(need, given_below=True) if need.name == own.name else need for need in flow.needs]
        return flow

    def _possible(self, after: Sequence[Flow | None], filling: Filling) -> None:
        """Report a task that can never run: its `run_if` and its parameters want outcomes that exclude each other."""
        run_if = (self.declared.text("run_if") if self.declared is not None else None) or ""
        one_of, otherwise = _WANTED.get(run_if, (None, frozenset()))
        if one_of is not None and not after:
            what = f"Task {self.name!r} has run_if={run_if!r}, which is about the tasks before it, and there are none."
            fix = f"name them: @task(after=[...], run_if={run_if!r})"
            self.view.say(PlanError(what=what, fixes=[fix]), self.function.at)
        accepted = filling.accepted
        never = [producer for producer, outcomes in accepted.items() if not outcomes]
        named = [flow.id for flow in after if flow is not None]
        known = one_of is not None and len(named) == len(after)
        if one_of is not None and known and not any(one_of & accepted.get(id_, otherwise) for id_ in named):
            never = named
        if never:
            name = filling.flow.gives[never[0]].task
            what = f"Task {self.name!r} can never run: it wants outcomes of {name!r} that exclude each other."
            fixes = [f"take Outcome[...] in {self.name!r} and look at what it is", "make two tasks of it"]
            self.view.say(PlanError(what=what, fixes=fixes), self.function.at)
