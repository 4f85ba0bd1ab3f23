"""Fan-out: which parameter takes the item.

That is decided from the function alone: the one that nothing else fills and whose annotation certainly accepts it.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace

from fastapi_chain._record import record
from fastapi_chain._text import type_name
from fastapi_chain.declare.signature import strip_annotated
from fastapi_chain.errors import PlanError, TypeMismatch, UnknownParameter
from fastapi_chain.spec import EMPTY, NO_OUTCOME, SUCCEEDED_ONLY, Each, ParamSpec, Role, TaskSpec

from .compatible import compatible, item_type


def plain(param: ParamSpec) -> ParamSpec:
    """Return *param* as it is where there is no outcome to take: `Outcome[T]` is then a type like any other."""
    if not param.outcomes:
        return param
    annotation = strip_annotated(param.annotation)[0]
    return replace(param, type=annotation, accepts=SUCCEEDED_ONLY, outcomes=NO_OUTCOME, collects=False)


@record(eq=False)
class FanOutCheck:
    """The check of one task with `each=`."""

    spec: TaskSpec
    each: Each
    params: Sequence[ParamSpec]
    over: TaskSpec
    """The task that gives the list."""
    given: object
    """The type of that list."""
    is_filled: Callable[[str], bool]
    """Whether a task upstream gives a value of that name."""

    def find(self) -> ParamSpec | PlanError:
        """Return the parameter that takes the item, or why there is none."""
        name = self.each.param
        return self._find() if name is None else self._named(name)

    def _named(self, name: str) -> ParamSpec | PlanError:
        """Check the parameter that `each={"line": lines}` names."""
        param = next((param for param in self.params if param.name == name), None)
        if param is None:
            names = tuple(param.name for param in self.params)
            return UnknownParameter(task=self.spec.source, param=name, type=EMPTY, upstream=names, endpoint=None)
        if param.role is not Role.VALUE:
            what = f"Parameter {name!r} of task {self.spec.name!r} is to take the item, but something else fills it."
            return PlanError(what=what, rows=self._rows([name]), fixes=self._fixes())
        item = item_type(self.given)
        if item is None or compatible(item, plain(param).type) is False:
            return TypeMismatch(
                param=name,
                producer=self.over.source,
                returns=self.given,
                consumer=self.spec.source,
                takes=plain(param).type,
                via="item",
            )
        return plain(param)

    def _find(self) -> ParamSpec | PlanError:
        """Return the one parameter that can only be meant for the item."""
        item = item_type(self.given)
        found = [p for p in self._open() if item is not None and compatible(item, plain(p).type) is True]
        if len(found) == 1:
            return plain(found[0])
        what = f"Task {self.spec.name!r} runs for each item of {self.over.name!r}, but "
        what += (
            f"{len(found)} of its parameters could take the item."
            if found
            else "none of its parameters certainly takes it."
        )
        names = [param.name for param in found or self._open()]
        fixes = self._fixes(names) if item is not None else (f"return a list in {self.over.name!r}",)
        return PlanError(what=what, rows=self._rows(names), fixes=fixes)

    def _open(self) -> list[ParamSpec]:
        """Return the parameters that nothing else fills."""
        return [p for p in self.params if p.role is Role.VALUE and not p.has_default and not self.is_filled(p.name)]

    def _rows(self, names: Sequence[str]) -> tuple[tuple[str, str], ...]:
        shown = [f"{p.name}: {type_name(p.annotation)}".removesuffix(": ") for p in self.params if p.name in names]
        return (
            (f"{self.over.name}(...) -> {type_name(self.given)}".removesuffix(" -> "), self.over.source.at),
            (f"{self.spec.name}({', '.join(shown)})", self.spec.source.at),
        )

    def _fixes(self, names: Sequence[str] = ()) -> tuple[str, ...]:
        """Return one `each=` for each parameter that may be meant, at most three."""
        fixes = tuple(f'say which: each={{"{name}": {self.over.name}}}' for name in names[:3])
        return fixes or (f"add a parameter for the item to {self.spec.name!r}",)
