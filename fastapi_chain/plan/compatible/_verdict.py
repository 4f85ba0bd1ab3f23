"""Three-valued answers, and what an annotation is without its wrappers."""

import typing
from collections.abc import Callable, Iterable
from typing import Annotated, Any, Final, ForwardRef, TypeAlias, TypeVar, get_args, get_origin

import typing_extensions as te

Verdict: TypeAlias = bool | None
"""True: it fits. False: it certainly does not. None: annotations cannot tell."""

Fits: TypeAlias = Callable[[object, object], Verdict]
"""How a rule asks about the parts of what it was asked about."""

UNRESOLVED: Final = ForwardRef("unresolved")
NEXT: Final = object()
"""What a rule says that has no opinion."""

_ALIASES: Final = (te.TypeAliasType, getattr(typing, "TypeAliasType", te.TypeAliasType))
_PLAIN: Final = ((None, type(None)), (te.LiteralString, str), (typing.LiteralString, str))
_LAYERS: Final = 32
"""How many aliases may stand before a type."""


def every(verdicts: Iterable[Verdict]) -> Verdict:
    """No if one says no; unknown if one is unknown."""
    found = set(verdicts)
    return False if False in found else None if None in found else True


def some(verdicts: Iterable[Verdict]) -> Verdict:
    """Yes if one says yes; unknown if one is unknown."""
    found = set(verdicts)
    return True if True in found else None if None in found else False


def strip(annotation: object) -> object:
    """Return *annotation* without `Annotated` and aliases; what cannot be resolved becomes a `ForwardRef`."""
    for _ in range(_LAYERS):
        origin = get_origin(annotation)
        if origin is Annotated:
            annotation = get_args(annotation)[0]
        elif isinstance(annotation, _ALIASES):
            annotation = annotation.__value__
        elif isinstance(origin, _ALIASES):
            annotation = _applied(origin, get_args(annotation))
        else:
            return next((plain for written, plain in _PLAIN if annotation is written), annotation)
    return UNRESOLVED


def _applied(alias: te.TypeAliasType, args: tuple[object, ...]) -> object:
    """Return the value of a generic alias with its parameters replaced: `Pair[int]` is `tuple[int, int]`."""
    given = dict(zip(alias.__type_params__, args, strict=False))
    value: Any = alias.__value__
    free = getattr(value, "__parameters__", ())
    if isinstance(value, str) or any(param not in given or not isinstance(param, TypeVar) for param in free):
        return UNRESOLVED
    return value[tuple(given[param] for param in free)] if free else value
