"""Rules about classes: inheritance, arguments in brackets, tuples, `TypedDict`, protocols."""

import collections.abc as cabc
import inspect
import sys
import typing
from collections.abc import Iterable
from typing import Any, Final, TypeVar, Union, get_args, get_origin

import typing_extensions as te

from ._verdict import NEXT, Fits, Verdict, every

_PROMOTIONS: Final = ((int, float), (int, complex), (float, complex), (bytearray, bytes), (memoryview, bytes))
_SHAPELESS: Final = ("builtins", "collections", "collections.abc")
"""Modules whose generic classes carry no `__orig_bases__`."""
_STRUCTURAL: Final = ("collections.abc", "contextlib", "os")
"""Modules whose abstract classes type checkers take for protocols."""
_YIELDED: Final[dict[object, int]] = {cabc.Generator: 0, cabc.AsyncGenerator: 0, cabc.Coroutine: 2}
"""Which argument of these is the one of their bases with one argument."""


def derived_from_any(a: object, b: object, _: Fits) -> object:
    """A class with `Any` among its bases may be anything."""
    if not isinstance(a, type) or Any not in a.__mro__:
        return NEXT
    return True if isinstance(b, type) and b in a.__mro__ else None


def typed_dicts(a: object, b: object, fits: Fits) -> object:
    """By their keys; between a `TypedDict` and a plain dict annotations cannot tell."""
    if te.is_typeddict(a) and te.is_typeddict(b):
        return _keys(a, b, fits)
    if te.is_typeddict(a):
        want = get_origin(b) or b
        fixed = isinstance(want, type) and want is not cabc.Hashable and not issubclass(dict, want)
        return False if fixed else None
    if te.is_typeddict(b):
        have = get_origin(a) or a
        if not isinstance(have, type):
            return None
        return None if issubclass(have, cabc.Mapping) or issubclass(dict, have) else False
    return NEXT


def _keys(a: Any, b: Any, fits: Fits) -> Verdict:  # noqa: ANN401 - a TypedDict class has no type of its own
    have, want = te.get_type_hints(a), te.get_type_hints(b)
    if not b.__required_keys__ <= have.keys():
        return False
    # A key that is optional on one side only, or that is not declared and may be there all the same, with any value.
    unclear = (a.__required_keys__ ^ b.__required_keys__) | (want.keys() - have.keys())
    return every(None if key in unclear else fits(have[key], want[key]) for key in want)


def protocols(a: object, b: object, _: Fits) -> object:
    """By the names of their members."""
    have, want = get_origin(a) or a, get_origin(b) or b
    if not getattr(want, "_is_protocol", False) or want.__module__ in {"typing", "collections.abc"}:
        return NEXT
    if not isinstance(have, type) or not isinstance(want, type) or issubclass(have, type):
        return None
    if want in have.__mro__:
        return None if get_args(b) else True
    members = te.get_protocol_members(want)
    if not members <= {name for cls in have.__mro__ for name in _names_of(cls)}:
        return None if _is_dynamic(have) else False
    return None if get_args(b) or not all(callable(getattr(want, name, None)) for name in members) else True


def _names_of(cls: type) -> Iterable[str]:
    """Return the attributes that a class has or declares, or that its methods may set on `self`."""
    yield from inspect.get_annotations(cls)
    for name, member in vars(cls).items():
        yield name
        yield from getattr(getattr(member, "__code__", None), "co_names", ())


def _is_dynamic(cls: type) -> bool:
    """Whether instances may have attributes that nobody can see."""
    root = cls.__module__.partition(".")[0]
    hooks = [
        base
        for base in cls.__mro__
        if base.__module__.partition(".")[0] not in {"builtins", "pydantic"}
        and vars(base).keys() & {"__getattr__", "__getattribute__"}
    ]
    return bool(hooks) or (root != "builtins" and root in sys.stdlib_module_names)


def classes(a: object, b: object, fits: Fits) -> object:
    """By inheritance, then by their arguments."""
    have, want = get_origin(a) or a, get_origin(b) or b
    verdict = by_class(generic_origin(have), generic_origin(want))
    return _by_arguments(a, b, fits) if verdict else verdict


def generic_origin(cls: object) -> object:
    """Return `Page` for pydantic's `Page[int]`, which is a class of its own."""
    return (getattr(cls, "__pydantic_generic_metadata__", None) or {}).get("origin") or cls


def by_class(have: object, want: object) -> Verdict:
    """Whether one class is another."""
    if not isinstance(have, type) or not isinstance(want, type):
        return None
    if issubclass(have, want):
        return True
    if any(issubclass(have, small) and issubclass(large, want) for small, large in _PROMOTIONS):
        return True
    elsewhere = _is_defined_in_stubs(have) or _is_defined_in_stubs(want)
    return (
        None if elsewhere or (want.__module__ in _STRUCTURAL and _is_dynamic(have)) or want is cabc.Hashable else False
    )


def _is_defined_in_stubs(cls: type) -> bool:
    """Whether type checkers see another class here: for them `StringIO` is a `TextIO`, `EmailStr` is a `str`."""
    root = cls.__module__.partition(".")[0]
    return root in {"typing", "typing_extensions"} or (root == "pydantic" and cls.__name__ != "BaseModel")


def _by_arguments(a: object, b: object, fits: Fits) -> Verdict:
    """Compare what stands in the brackets."""
    want = typing.cast("type", generic_origin(get_origin(b) or b))
    wanted = _arguments(b)
    if not wanted:
        return True
    if want is tuple:
        return _tuples(_tuple_items(a), wanted, fits)
    given = arguments_as(a, want)
    if given is None or len(given) != len(wanted):
        return None
    known = want.__module__ in {*_SHAPELESS, "typing"}
    return every(_argument(x, y, fits, covariant=known) for x, y in zip(given, wanted, strict=True))


def _argument(x: object, y: object, fits: Fits, *, covariant: bool) -> Verdict:
    """Compare one argument; the variance of a user's class is unknown: both directions must agree."""
    forth = fits(x, y)
    return forth if covariant or forth is fits(y, x) else None


def _arguments(annotation: object) -> tuple[object, ...]:
    """Return what stands in the brackets of a parametrized class."""
    metadata = getattr(annotation, "__pydantic_generic_metadata__", None)
    return tuple(metadata["args"]) if metadata else get_args(annotation)


def arguments_as(annotation: object, want: type) -> tuple[object, ...] | None:
    """Return the arguments with which *annotation*, a class or a parametrized one, is a *want*; None if not known."""
    args = _arguments(annotation)
    have: Any = generic_origin(get_origin(annotation) or annotation)
    if have is want:
        return args or None
    if not issubclass(have, want):
        return None
    plain = _shapeless_arguments(have, args, want)
    if plain is not None:
        return plain
    metadata: dict[str, Any] = getattr(have, "__pydantic_generic_metadata__", {})
    given = dict(zip(metadata.get("parameters", getattr(have, "__parameters__", ())), args, strict=False))
    for base in te.get_original_bases(have):
        found = arguments_as(base, want)
        if found is not None:
            return tuple(_substituted(argument, given) for argument in found)
    return None


def _substituted(argument: Any, given: dict[object, object]) -> object:  # noqa: ANN401 - indexed by what it holds
    """Put what was given for type variables into an argument; one that nobody gave is `Any`."""
    if isinstance(argument, TypeVar):
        return given.get(argument, Any)
    free = getattr(argument, "__parameters__", ())
    return argument[tuple(given.get(param, Any) for param in free)] if free else argument


def _shapeless_arguments(have: type, args: tuple[object, ...], want: type) -> tuple[object, ...] | None:
    """Return the arguments as which a class of the standard library is another: `dict[K, V]` is an `Iterable[K]`."""
    if have in {str, bytes, bytearray, range}:
        return (str,) if have is str else (int,)
    if have is tuple and args:
        return (join(item for item in args if item is not ...),)
    if have.__module__ not in _SHAPELESS or not args:
        return None
    if have in _YIELDED and len(args) > 1 and want not in _YIELDED:
        return (args[_YIELDED[have]],)
    if issubclass(have, cabc.Mapping) and len(args) > 1 and not issubclass(want, cabc.Mapping):
        return args[:1]
    return args


def join(items: Iterable[object]) -> object:
    return Union[tuple(items)]  # noqa: UP007 - made of as many members as there are


def _tuples(have: tuple[object, ...] | None, want: tuple[object, ...], fits: Fits) -> Verdict:
    """Item by item; `tuple[T, ...]` has an unknown number of them."""
    if have is None or any(_is_unpacked(item) for item in (*have, *want)):
        return None
    if want[-1] is ...:
        return every(fits(item, want[0]) for item in have if item is not ...)
    if have[-1] is ...:
        return every((None, *(fits(have[0], item) for item in want)))
    if len(have) != len(want):
        return False
    return every(fits(x, y) for x, y in zip(have, want, strict=True))


def _is_unpacked(item: object) -> bool:
    return get_origin(item) is te.Unpack or getattr(item, "__unpacked__", False)


def _tuple_items(annotation: object) -> tuple[object, ...] | None:
    fields = getattr(annotation, "_fields", None)
    if fields is None:
        return arguments_as(annotation, tuple)
    hints = te.get_type_hints(annotation)
    return tuple(hints.get(name, Any) for name in fields) or None
