"""`undo=`: the function that takes back what a task did gets its parameters as if it were a task right after it."""

from dataclasses import dataclass

from mypy.nodes import Decorator, Expression, FuncDef, RefExpr
from mypy.subtypes import find_member
from mypy.types import CallableType, Instance, ProperType, Type, get_proper_type

from fastapi_chain.errors import PlanError

from .declared import Declared
from .filling import Filling
from .flow import Flow, flow_of
from .params import Function
from .upstream import Upstream
from .view import View


@dataclass(frozen=True, slots=True)
class UndoCheck:
    """The check of the undo of one task."""

    view: View
    declared: Declared
    flow: Flow
    """The flow of the task."""
    returned: Type
    """What one call of the task gives."""

    def check(self) -> None:
        """Check where the parameters of the undo come from."""
        expression = self.declared.option("undo")
        found = callable_of(self.view, expression) if expression is not None else None
        if expression is None or found is None:
            return
        signature, node = found
        name = node.name if node is not None else signature.name or "undo"
        home = self.view.metadata.module_of(node.fullname) if node is not None else ""
        at = node if node is not None and home == self.view.tree.fullname else expression
        function = Function(self.view, signature, node, home, at, self.declared.registry)
        task = flow_of(self.view.type_of(expression))
        upstream = Upstream()
        upstream.add(self.flow)
        filling = Filling(self.view, task.name if task is not None else name, upstream, self.flow)
        own = self.flow.own
        for param in function.params():
            to_itself = (
                param.filler == "reference" and param.reference is not None and param.reference.id == self.flow.id
            )
            if own is not None and (to_itself or (param.filler == "value" and param.name == own.name)):
                filling.check(param, self.returned, own.task)
            elif param.filler != "reference":
                filling.fill(param)
            elif param.reference is not None and own is not None:
                what = f"Undo {filling.consumer!r} takes From(...) in {param.name!r}; "
                what += f"it can name only {own.task!r}, the task it undoes."
                self.view.say(PlanError(what=what, fixes=[f"take it by name: {own.name}"]), param.at)


def callable_of(view: View, expression: Expression) -> tuple[CallableType, FuncDef | None] | None:
    """Return the signature of what an expression stands for, and its function; None if it cannot be called."""
    node = expression.node if isinstance(expression, RefExpr) else None
    proper: ProperType | None = get_proper_type(view.type_of(expression))
    if isinstance(proper, Instance):
        proper = get_proper_type(find_member("__call__", proper, proper, is_operator=True))
    if not isinstance(proper, CallableType):
        return None
    if isinstance(node, Decorator):
        node = node.func
    return proper, node if isinstance(node, FuncDef) else None
