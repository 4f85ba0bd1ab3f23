"""Values by keyword, as `dataclass` has them, without what it costs to import: it compiles source for each class.

To type checkers a record is a frozen, keyword-only dataclass, and `dataclasses.fields`, `replace` and `asdict` take it
for one. That leaves the methods to be given, and those are the same for all records.
"""

from collections.abc import Callable
from dataclasses import MISSING, FrozenInstanceError, dataclass, field, fields
from typing import Any, NoReturn, TypeVar, overload

from typing_extensions import dataclass_transform

T = TypeVar("T")

_PLAN = "__record__"
"""Where a class keeps its names, its defaults and what makes the other defaults."""


@overload
def record(cls: type[T], /) -> type[T]: ...
@overload
def record(*, eq: bool = True, frozen: bool = True) -> Callable[[type[T]], type[T]]: ...
@dataclass_transform(kw_only_default=True, frozen_default=True, field_specifiers=(field,))
def record(cls: type[Any] | None = None, /, *, eq: bool = True, frozen: bool = True) -> object:
    """Make a class a record.

    Args:
        cls: The class, when the decorator stands bare.
        eq: Whether records of equal values are equal; if not, a record equals only itself.
        frozen: Whether its values are fixed once it is made.
    """

    def make(made: type[Any]) -> type[Any]:
        # Nothing of this compiles anything: dataclass only reads the annotations.
        dataclass(init=False, repr=False, eq=False, match_args=False)(made)
        own = fields(made)
        defaults = {f.name: f.default for f in own if f.default is not MISSING}
        factories = {f.name: f.default_factory for f in own if f.default_factory is not MISSING}
        setattr(made, _PLAN, (frozenset(f.name for f in own), defaults, factories))
        methods: dict[str, object] = {"__init__": _init}
        if "__repr__" not in made.__dict__ and not issubclass(made, BaseException):
            methods["__repr__"] = _repr
        if eq:
            methods |= {"__eq__": _eq, "__hash__": _hash}
        if frozen:
            methods |= {"__setattr__": _refuse, "__delattr__": _refuse}
        for name, method in methods.items():
            setattr(made, name, method)
        return made

    return make if cls is None else make(cls)


def _init(self: Any, /, **given: object) -> None:  # noqa: ANN401 - any record
    names, defaults, factories = getattr(self, _PLAN)
    values = self.__dict__
    if len(given) != len(names):
        for name, default in defaults.items():
            values[name] = default
        for name, factory in factories.items():
            if name not in given:
                values[name] = factory()
    values.update(given)
    if values.keys() != names:
        _complain(type(self), names, values)
    prepare = getattr(self, "__post_init__", None)
    if prepare is not None:
        prepare()


def _complain(cls: type, names: frozenset[str], values: dict[str, object]) -> NoReturn:
    unknown = [repr(name) for name in values if name not in names]
    missing = [repr(name) for name in sorted(names) if name not in values]
    what = f"has no {', '.join(unknown)}" if unknown else f"lacks {', '.join(missing)}"
    text = f"{cls.__name__}() {what}"
    raise TypeError(text)


def _repr(self: Any) -> str:  # noqa: ANN401 - any record
    shown = ", ".join(f"{f.name}={getattr(self, f.name)!r}" for f in fields(self) if f.repr)
    return f"{type(self).__qualname__}({shown})"


def _values(self: Any) -> tuple[object, ...]:  # noqa: ANN401 - any record
    return tuple(getattr(self, f.name) for f in fields(self) if f.compare)


def _eq(self: object, other: object) -> bool:
    return _values(self) == _values(other) if type(other) is type(self) else NotImplemented


def _hash(self: object) -> int:
    return hash((type(self), _values(self)))


def _refuse(self: object, name: str, value: object = None) -> NoReturn:  # noqa: ARG001 - the protocol's
    text = f"cannot change {name!r} of a {type(self).__name__}"
    raise FrozenInstanceError(text)
