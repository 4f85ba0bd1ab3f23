"""Rules about types that are no classes: `Any`, unions, literals, `NewType`, functions, class objects."""

import collections.abc as cabc
import enum
import inspect
import types
import typing
from typing import Any, Final, ForwardRef, Literal, NewType, ParamSpec, TypeVar, Union, get_args, get_origin

import typing_extensions as te

from ._classes import by_class
from ._verdict import NEXT, Fits, Verdict, every, some

_NEVER: Final = (typing.Never, typing.NoReturn, te.Never)
_UNKNOWABLE: Final = (str, ForwardRef, TypeVar, te.TypeVar, ParamSpec, te.ParamSpec, te.TypeVarTuple)


def same(a: object, b: object, _: Fits) -> object:
    return True if a is b or a == b else NEXT


def top_and_bottom(a: object, b: object, _: Fits) -> object:
    """`Any` both ways; everything is an object; `Never` never comes."""
    return True if a is Any or b is Any or b is object or a in _NEVER else NEXT


def unknowable(a: object, b: object, fits: Fits) -> object:
    """What stands for any type is unknown, except where its bound decides."""
    if isinstance(a, TypeVar) and a.__bound__ is not None:
        return True if fits(a.__bound__, b) else None
    if isinstance(b, TypeVar) and b.__bound__ is not None:
        return False if fits(a, b.__bound__) is False else None
    if any(isinstance(t, _UNKNOWABLE) or t is inspect.Parameter.empty for t in (a, b)):
        return None
    return NEXT


def unions(a: object, b: object, fits: Fits) -> object:
    """Every member that may come must be wanted by some member."""
    if is_union(a):
        return every(fits(member, b) for member in get_args(a))
    if is_union(b):
        return some(fits(a, member) for member in get_args(b))
    return NEXT


def is_union(annotation: object) -> bool:
    return get_origin(annotation) in {Union, types.UnionType}


def literals(a: object, b: object, fits: Fits) -> object:
    """A literal is an instance of its class; a class is a literal only if it has no other value."""
    if get_origin(a) is Literal and get_origin(b) is Literal:
        allowed = [(type(value), value) for value in get_args(b)]
        return all((type(value), value) in allowed for value in get_args(a))
    if get_origin(a) is Literal:
        return every(fits(type(value), b) for value in get_args(a))
    if get_origin(b) is not Literal:
        return NEXT
    cls = get_origin(a) or a
    if not isinstance(cls, type):
        return None
    if not any(isinstance(value, cls) for value in get_args(b)):
        return False
    # `bool` and enums may be spelled out in full.
    return None if issubclass(cls, bool | enum.Enum) or cls not in (str, int, bytes) else False


def new_types(a: object, b: object, fits: Fits) -> object:
    """A `NewType` is what it was made from, never the other way round."""
    while isinstance(a, NewType):
        if a is b:
            return True
        a = a.__supertype__
        if not isinstance(a, NewType) and not isinstance(b, NewType):
            return fits(a, b)
    return False if isinstance(b, NewType) else NEXT


def callables(a: object, b: object, fits: Fits) -> object:
    """Functions by their parameters and result; instances are callable if their class says how."""
    have, want = get_origin(a) or a, get_origin(b) or b
    if have is cabc.Callable and want is cabc.Callable:
        return _signatures(get_args(a), get_args(b), fits)
    if have is cabc.Callable:
        return None if getattr(want, "_is_protocol", False) else by_class(cabc.Callable, want)
    if want is not cabc.Callable:
        return NEXT
    if not isinstance(have, type) or have is type or getattr(have, "_is_protocol", False):
        return None
    return None if any("__call__" in vars(cls) for cls in have.__mro__) else False


def _signatures(have: tuple[Any, ...], want: tuple[Any, ...], fits: Fits) -> Verdict:
    """`Callable[[A], R]` against `Callable[[B], S]`."""
    if not have or not want:
        return True
    result = fits(have[-1], want[-1])
    if not isinstance(have[0], list) or not isinstance(want[0], list):
        return every((result, True if ... in (have[0], want[0]) else None))
    if len(have[0]) != len(want[0]):
        # More parameters than given are wrong unless they have defaults, which `Callable` cannot say.
        return False
    return every((result, *(fits(b, a) for a, b in zip(have[0], want[0], strict=True))))


def class_objects(a: object, b: object, fits: Fits) -> object:
    """`type[A]` against `type[B]`, `type` or a metaclass."""
    have, want = get_origin(a) or a, get_origin(b) or b
    if have is not type or not isinstance(want, type):
        return NEXT
    if want is type:
        args = get_args(a), get_args(b)
        return not args[1] or (fits(args[0][0], args[1][0]) if args[0] else None)
    return None if issubclass(want, type) or getattr(want, "_is_protocol", False) else by_class(type, want)
