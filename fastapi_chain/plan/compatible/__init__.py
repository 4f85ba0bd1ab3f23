"""Whether a value of one annotation may be handed to a parameter of another: yes, certainly no, or unknown.

Only a certain no is ever an error, so whatever annotations alone cannot decide (type variables, names that do not
resolve, the types of a protocol's data, ...) is unknown. Containers are read as covariant: a value that is handed on is
not written to through its producer's type. mypy is stricter there.

The rules are asked in order; the first with an opinion decides, and the last always has one. A rule gets the two
annotations, stripped, and the way to ask about their parts.
"""

import collections.abc as cabc
import inspect
import typing
from typing import Any, Final, NewType, get_args, get_origin

from ._classes import arguments_as, classes, derived_from_any, generic_origin, join, protocols, typed_dicts
from ._forms import callables, class_objects, is_union, literals, new_types, same, top_and_bottom, unions, unknowable
from ._verdict import NEXT, Verdict, strip

__all__ = ["compatible", "item_type", "strip"]

_RULES: Final = (
    same,
    top_and_bottom,
    unknowable,
    unions,
    derived_from_any,
    literals,
    new_types,
    callables,
    class_objects,
    typed_dicts,
    protocols,
    classes,
)
_DEPTH: Final = 24
"""How deep types may be nested; deeper is a recursive alias."""
_NO_LISTS: Final = (str, bytes, bytearray, memoryview, cabc.Mapping)


def compatible(produced: object, wanted: object) -> Verdict:
    """Say whether a value annotated *produced* may be given to a parameter annotated *wanted*.

    Returns:
        True if it fits, False if it certainly does not, None if the annotations cannot tell. Never raises.
    """
    try:
        return _fits(produced, wanted, frozenset())
    except Exception:  # noqa: BLE001 - annotations are objects of anybody's making: what breaks here is unknown
        return None


def item_type(annotation: object) -> object | None:
    """Return the type of the items of a list-like annotation (`list[T]`, `tuple[T, ...]`, `Iterable[T]`, ...).

    Returns:
        `Any` where it cannot be known, None if the annotation is certainly no list: a string, a mapping, a model, or a
        list that may be missing.
    """
    try:
        return _item_type(strip(annotation))
    except Exception:  # noqa: BLE001 - as in `compatible`
        return Any


def _fits(produced: object, wanted: object, seen: frozenset[tuple[int, int]]) -> Verdict:
    """Ask the rules.

    Args:
        produced: What there is.
        wanted: What is asked for.
        seen: The pairs about which we are being asked, by identity: all of them are alive.
    """
    pair = (id(produced), id(wanted))
    if pair in seen or len(seen) > _DEPTH:
        return None
    produced, wanted = strip(produced), strip(wanted)
    verdicts = (rule(produced, wanted, lambda a, b: _fits(a, b, seen | {pair})) for rule in _RULES)
    return typing.cast("Verdict", next(verdict for verdict in verdicts if verdict is not NEXT))


def _item_type(annotation: Any) -> object | None:  # noqa: ANN401 - any annotation
    """Say what iterating over it gives."""
    while isinstance(annotation, NewType):
        annotation = strip(annotation.__supertype__)
    if is_union(annotation):
        items = [item_type(member) for member in get_args(annotation)]
        return None if None in items else join(items)
    cls = generic_origin(get_origin(annotation) or annotation)
    if not isinstance(cls, type) or cls in {object, Any, inspect.Parameter.empty}:
        return Any
    own = getattr(cls, "__iter__", None)
    of_model = getattr(own, "__module__", "").partition(".")[0] == "pydantic"  # it yields the fields
    if of_model or issubclass(cls, _NO_LISTS) or not issubclass(cls, cabc.Iterable):
        return None
    found = arguments_as(annotation, typing.cast("type", cabc.Iterable))
    return found[0] if found and len(found) == 1 else Any
