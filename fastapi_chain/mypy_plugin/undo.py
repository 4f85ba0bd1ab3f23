"""`undo=`: the function that takes back what a task did gets its parameters as if it were a task right after it."""

from dataclasses import dataclass, replace

from mypy.types import Type

from fastapi_chain.errors import PlanError

from .callables import function_of
from .declared import Declared
from .filling import Filling
from .flow import Flow
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
        if expression is None:
            return
        function = function_of(self.view, self.view.type_of(expression), expression, expression)
        if function is None:
            return
        function = replace(function, registry=self.declared.registry)
        upstream = Upstream()
        upstream.add(self.flow)
        filling = Filling(self.view, function.name or "undo", upstream, self.flow)
        own = self.flow.own
        for param in function.params():
            to_itself = (
                param.filler == "reference" and param.reference is not None and param.reference.id == self.flow.id
            )
            if own is not None and (to_itself or (param.filler == "value" and param.name == own.name)):
                plain = own.fan or "succeeded" not in param.tolerance.outcomes
                filling.check(param.plain if plain else param, self.returned, own.task)
            elif param.filler != "reference":
                filling.fill(param)
            elif param.reference is not None and own is not None:
                what = f"Undo {filling.consumer!r} takes From(...) in {param.name!r}; "
                what += f"it can name only {own.task!r}, the task it undoes."
                self.view.say(PlanError(what=what, fixes=[f"take it by name: {own.name}"]), param.at)
