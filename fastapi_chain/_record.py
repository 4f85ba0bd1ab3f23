"""Values, as `dataclass` has them, without what it costs to import: it compiles half a dozen functions for each class.

To type checkers a record is a frozen, keyword-only dataclass, and `dataclasses.fields`, `replace` and `asdict` take it
for one. That leaves the methods to be given: nearly all are the same for all records, and `__init__` is compiled when
the first record of a class is made.
"""

from collections.abc import Callable
from dataclasses import MISSING, Field, FrozenInstanceError, dataclass, field, fields
from typing import Any, NoReturn, TypeVar, overload

from typing_extensions import dataclass_transform

T = TypeVar("T")


@overload
def record(cls: type[T], /) -> type[T]: ...
@overload
def record(
    *, eq: bool = True, frozen: bool = True, kw_only: bool = True, slots: bool = False
) -> Callable[[type[T]], type[T]]: ...
@dataclass_transform(kw_only_default=True, frozen_default=True, field_specifiers=(field,))
def record(
    cls: type[Any] | None = None,
    /,
    *,
    eq: bool = True,
    frozen: bool = True,
    kw_only: bool = True,
    slots: bool = False,
) -> object:
    """Make a class a record.

    Args:
        cls: The class, when the decorator stands bare.
        eq: Whether records of equal values are equal; if not, a record equals only itself.
        frozen: Whether its values are fixed once it is made.
        kw_only: Whether values are given by keyword only; if not, they are matched by place as well.
        slots: Whether it has room for its values and nothing else.
    """

    def make(given: type[Any]) -> type[Any]:
        # Nothing of this compiles anything: dataclass only reads the annotations.
        made: type[Any] = dataclass(
            init=False, repr=False, eq=False, match_args=not kw_only, kw_only=kw_only, slots=slots
        )(given)
        methods: dict[str, object] = {"__init__": _waiting(made, frozen=frozen, kw_only=kw_only)}
        if "__repr__" not in made.__dict__ and not issubclass(made, BaseException):
            methods["__repr__"] = _repr
        if eq:
            methods |= {"__eq__": _eq, "__hash__": _hash}
        if frozen:
            methods |= {"__setattr__": _refuse, "__delattr__": _refuse}
            if slots:
                methods["__setstate__"] = _restore
        for name, method in methods.items():
            setattr(made, name, method)
        return made

    return make if cls is None else make(cls)


def _waiting(made: type[Any], *, frozen: bool, kw_only: bool) -> Callable[..., None]:
    """Return the `__init__` of *made* until there is a first record: it makes way for one of the class's own."""

    def __init__(self: object, /, *args: object, **given: object) -> None:  # noqa: N807 - what it is
        made.__init__ = compiled = _compiled(made, frozen=frozen, kw_only=kw_only)
        compiled(self, *args, **given)

    return __init__


def _compiled(made: type[Any], *, frozen: bool, kw_only: bool) -> Callable[..., None]:
    """Compile what `dataclass` would: Python itself matches the arguments, faster than any code of ours."""
    known: dict[str, Any] = {"_put": object.__setattr__, "_NEW": MISSING}
    own = fields(made)
    parameters = [_parameter(one, known) for one in own]
    values = [(one.name, _value(one, known)) for one in own]
    lines = [f"_put(self, {name!r}, {value})" if frozen else f"self.{name} = {value}" for name, value in values]
    if hasattr(made, "__post_init__"):
        lines.append("self.__post_init__()")
    only = ["*"] if kw_only and own else []
    head = f"def __init__({', '.join(['self', *only, *parameters])}):"
    exec("\n ".join([head, *lines, "return"]), known)  # noqa: S102 - made of the names of our own fields
    init: Callable[..., None] = known["__init__"]
    init.__qualname__ = f"{made.__qualname__}.__init__"  # what Python's errors call it
    return init


def _parameter(one: "Field[Any]", known: dict[str, Any]) -> str:
    """Return the parameter for a field; its default is put into *known*, the globals of the function."""
    if one.default is not MISSING:
        known[f"_default_{one.name}"] = one.default
        return f"{one.name}=_default_{one.name}"
    return one.name if one.default_factory is MISSING else f"{one.name}=_NEW"


def _value(one: "Field[Any]", known: dict[str, Any]) -> str:
    """Return the value of a field; what makes one that is not given is put into *known*."""
    if one.default_factory is MISSING:
        return one.name
    known[f"_make_{one.name}"] = one.default_factory
    return f"_make_{one.name}() if {one.name} is _NEW else {one.name}"


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


def _restore(self: object, state: tuple[None, dict[str, object]]) -> None:
    """Take over what the copy or pickle of a record with slots holds: it cannot be set by name."""
    for name, value in state[1].items():
        object.__setattr__(self, name, value)
