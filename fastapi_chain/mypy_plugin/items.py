"""Fan-out: which parameter takes the item, and what an item is."""

from dataclasses import dataclass
from typing import Final

from mypy.maptype import map_instance_to_supertype
from mypy.nodes import Context
from mypy.subtypes import is_subtype
from mypy.typeops import make_simplified_union
from mypy.types import AnyType, Instance, TupleType, Type, TypeOfAny, UnionType, get_proper_type

from fastapi_chain.errors import PlanError, TypeMismatch, UnknownParameter
from fastapi_chain.spec import EMPTY

from .declared import Declared
from .flow import Flow
from .params import Param
from .upstream import Upstream
from .view import View, someone

_NO_LISTS: Final = ("builtins.str", "builtins.bytes", "builtins.bytearray", "builtins.memoryview", "typing.Mapping")
_MODEL: Final = "pydantic.main.BaseModel"


@dataclass(frozen=True, slots=True)
class Items:
    """Finds the parameter of a fan-out that takes the item."""

    view: View
    name: str
    """The name of the task."""
    declared: Declared
    over: Flow | None
    """The task whose items it runs for; None if not known."""
    upstream: Upstream
    at: Context

    def find(self, params: list[Param]) -> str | None:
        """Return the name of the parameter; None if it cannot be known, or there is a problem."""
        named, _ = self.declared.each
        give = self.over.own if self.over is not None else None
        item = item_type(self.view, give.type) if give is not None else _unknown()
        if named is not None:
            return self._named(named, params, item)
        if give is None or (item is not None and isinstance(get_proper_type(item), AnyType)):
            # Whatever is not filled otherwise may be the item.
            self.upstream.unknown = True
            return None
        found = [param.name for param in params if item is not None and self._takes(param, item)]
        if len(found) == 1:
            return found[0]
        if not self.upstream.open and not any(param.filler == "unknown" for param in params):
            self._ask(give.task, item, params, found)
        self.upstream.unknown = True
        return None

    def _named(self, name: str, params: list[Param], item: Type | None) -> str:
        """Check the parameter that `each={"line": lines}` names."""
        param = next((param for param in params if param.name == name), None)
        give = self.over.own if self.over is not None else None
        if param is None:
            names = tuple(param.name for param in params)
            task = someone(self.name)
            error = UnknownParameter(task=task, param=name, type=EMPTY, upstream=names, endpoint=None)
            self.view.say(error, self.at)
        elif param.filler in {"reference", "injected", "run"}:
            what = f"Parameter {name!r} of task {self.name!r} is to take the item, but something else fills it."
            fixes = [f"add a parameter for the item to {self.name!r}"]
            self.view.say(PlanError(what=what, fixes=fixes), self.at)
        elif give is not None and param.filler == "value":

            def mismatch(_: str, takes: str) -> TypeMismatch:
                task, text = someone(give.task), self.view.text(give.type)
                return TypeMismatch(
                    param=name, producer=task, returns=text, consumer=someone(self.name), takes=takes, via="item"
                )

            if item is None:
                self.view.say(mismatch("", self.view.text(param.plain.type)), param.at)
            else:
                self.view.fits(item, param.plain.type, mismatch, param.at)
        return name

    def _takes(self, param: Param, item: Type) -> bool:
        """Whether *param* can only be meant for the item: nothing else fills it, and its type certainly fits."""
        if param.filler != "value" or not param.required or not param.annotated or self.upstream.sources(param.name):
            return False
        return is_subtype(item, param.plain.type, options=self.view.api.options)

    def _ask(self, over: str, item: Type | None, params: list[Param], found: list[str]) -> None:
        """Report that the parameter is not clear."""
        open_ = [param.name for param in params if param.filler == "value" and param.required]
        what = f"Task {self.name!r} runs for each item of {over!r}, but "
        what += (
            f"{len(found)} of its parameters could take the item."
            if found
            else "none of its parameters certainly takes it."
        )
        fixes = [f'say which: each={{"{name}": {over}}}' for name in found or open_]
        if item is None:
            fixes = [f"return a list in {over!r}"]
        self.view.say(PlanError(what=what, fixes=fixes or [f"add a parameter for the item to {self.name!r}"]), self.at)


def _unknown() -> Type:
    return AnyType(TypeOfAny.special_form)


def item_type(view: View, typ: Type) -> Type | None:
    """Return the type of the items of a list; `Any` where it cannot be known, None if it is certainly no list."""
    proper = get_proper_type(typ)
    if isinstance(proper, UnionType):
        items = [item_type(view, member) for member in proper.items]
        known = [item for item in items if item is not None]
        return make_simplified_union(known) if len(known) == len(items) else None
    if isinstance(proper, TupleType):
        plain = proper.partial_fallback.type.fullname == "builtins.tuple"
        return make_simplified_union(proper.items) if plain and proper.items else _unknown()
    if not isinstance(proper, Instance):
        return _unknown() if isinstance(proper, AnyType) else None
    if any(proper.type.has_base(name) for name in (*_NO_LISTS, _MODEL)):
        return None
    iterable = view.info("typing.Iterable")
    if iterable is None or proper.type.fallback_to_any or proper.type.fullname == "builtins.object":
        return _unknown()
    if proper.type.has_base("typing.Iterable"):
        return map_instance_to_supertype(proper, iterable).args[0]
    return _unknown() if proper.type.get("__iter__") is not None else None
