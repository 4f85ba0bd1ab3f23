"""Pure strings: type names, aligned columns, the picture of a cycle, the closest match."""

import types
from collections.abc import Callable, Iterable, Sequence
from inspect import Parameter
from operator import itemgetter
from typing import Annotated, Final, ForwardRef, Literal, TypeAlias, Union, get_args, get_origin

Row: TypeAlias = tuple[str, ...]
"""The cells of one line."""

_GAP: Final = "   "

_LISTED: Final = 50
"""How many names are listed."""


def columns(rows: Iterable[Row]) -> list[str]:
    """Return one line per row, each column as wide as its widest cell; rows may differ in length."""
    table = list(rows)
    widths: list[int] = []
    for row in table:
        widths += [0] * (len(row) - len(widths))
        widths[: len(row)] = [max(width, len(cell)) for width, cell in zip(widths, row, strict=False)]
    return [_GAP.join(cell.ljust(width) for cell, width in zip(row, widths, strict=False)).rstrip() for row in table]


def cycle(rows: Sequence[Row]) -> list[Row]:
    """Put the picture of a closed circle in front of *rows*; a single row needs none."""
    if len(rows) == 1:
        return list(rows)
    marks = ["╭─>", *["│"] * (len(rows) - 2), "╰─<"]
    return [(mark, *row) for mark, row in zip(marks, rows, strict=True)]


def closest(name: str, known: Iterable[str]) -> str | None:
    """Return the one of *known* that *name* was most likely meant to be; None if none is near.

    Near is what a slip of the finger makes: one letter more, less, wrong or swapped in three, two at most. Neither
    `order` nor `user_id` is near `order_id`: these are other things.
    """
    most = min(2, len(name) // 3)
    letters = set(name)
    # A slip changes two letters at most: that is seen at once of nearly all of ten thousand names.
    likely = (other for other in known if abs(len(other) - len(name)) <= most and len(letters ^ set(other)) <= 2 * most)
    near = [(slips, other) for other in likely if (slips := _slips(name, other)) <= most]
    return min(near, key=itemgetter(0))[1] if near else None


def _slips(one: str, other: str) -> int:
    """Return how many slips make *other* out of *one* (the optimal string alignment distance)."""
    before: list[int] = []
    last = list(range(len(other) + 1))
    for i, a in enumerate(one):
        row = [i + 1]
        for j, b in enumerate(other):
            slips = min(last[j + 1] + 1, row[j] + 1, last[j] + (a != b))
            if i and j and (a, one[i - 1]) == (other[j - 1], b):
                slips = min(slips, before[j - 1] + 1)
            row.append(slips)
        before, last = last, row
    return last[-1]


def quoted(names: Iterable[str]) -> str:
    """Return `'a'`, `'a' and 'b'` or `'a', 'b' and 'c'`."""
    *others, last = map(repr, names)
    return f"{', '.join(others)} and {last}" if others else last


def listed(names: Iterable[str]) -> str:
    """Return `a, b, c`, or `nothing`; of very many names the first, and how many more there are."""
    every = tuple(names)
    if len(every) > _LISTED:
        return f"{', '.join(every[:_LISTED])} and {len(every) - _LISTED} more"
    return ", ".join(every) or "nothing"


def counted(count: int, noun: str) -> str:
    """Return `1 task` or `3 tasks`."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def seconds(value: float) -> str:
    """Return `30 s` or `0.5 s`: three digits, or as many as are before the point."""
    digits = max(3, len(f"{value:.0f}"))
    return f"{value:.{digits}g} s"


def declared(name: str, annotation: str) -> str:
    """Return `name: annotation`, or only the name without an annotation."""
    return f"{name}: {annotation}" if annotation else name


def shortened(text: str, width: int = 60) -> str:
    """Return *text* on one line of at most *width* characters, its middle left out if need be."""
    line = " ".join(text.split())
    if len(line) <= width:
        return line
    half = (width - 1) // 2
    return f"{line[: width - 1 - half]}…{line[-half:]}"


def readable(text: str) -> str:
    """Return *text* as UTF-8 can say it: half characters, as from a file name that is no text, become question marks.

    Example:
        >>> readable("caf" + chr(0xDCE9) + ".txt")
        'caf?.txt'
    """
    return text.encode(errors="replace").decode()


def short_repr(value: object, width: int = 60) -> str:
    """Return the `repr` of *value*, shortened; only its type if it has a `repr` that raises."""
    try:
        text = repr(value)
    except Exception:  # noqa: BLE001 - the user's __repr__ may raise anything; the error at hand matters more
        return f"<{type_name(type(value))} object>"
    return shortened(text, width)


def type_name(annotation: object) -> str:
    """Return *annotation* as its user would write it, with short names; empty for no annotation at all.

    Example:
        >>> type_name(list[int] | None)
        'list[int] | None'
    """
    return _written(annotation, _short)


def type_names(*annotations: object) -> tuple[str, ...]:
    """Return each of *annotations* as `type_name` does, but with the module where two classes share a short name."""
    full_names: dict[str, set[str]] = {}

    def note(cls: type) -> str:
        full_names.setdefault(_short(cls), set()).add(_full(cls))
        return ""

    def unmistakable(cls: type) -> str:
        return _full(cls) if len(full_names[_short(cls)]) > 1 else _short(cls)

    for annotation in annotations:
        _written(annotation, note)
    return tuple(_written(annotation, unmistakable) for annotation in annotations)


def _short(cls: type) -> str:
    return cls.__qualname__.rpartition("<locals>.")[2]


def _full(cls: type) -> str:
    return f"{cls.__module__}.{cls.__qualname__}"


def _written(annotation: object, name: Callable[[type], str]) -> str:
    """Write *annotation*, each class in it as *name* says."""
    origin = get_origin(annotation)
    if origin is Annotated:
        return _written(get_args(annotation)[0], name)
    if origin is Union or origin is types.UnionType:
        return " | ".join(_written(arg, name) for arg in get_args(annotation))
    if origin is Literal:
        return f"Literal[{', '.join(map(repr, get_args(annotation)))}]"
    if origin is not None:
        return _generic(annotation, origin, name)
    if isinstance(annotation, type):
        return _class(annotation, name)
    return _other(annotation, name)


def _generic(annotation: object, origin: object, name: Callable[[type], str]) -> str:
    """Write `list[int]`, `tuple[()]`, `Callable[[int], str]` and the like."""
    args = get_args(annotation)
    if not args and not isinstance(annotation, types.GenericAlias):
        return _written(origin, name)  # a bare `typing.List` has an origin and no arguments
    inside = ", ".join(_written(arg, name) for arg in args) or "()"
    return f"{_written(origin, name)}[{inside}]"


def _class(cls: type, name: Callable[[type], str]) -> str:
    if cls is Parameter.empty:
        return ""
    return "None" if cls is types.NoneType else name(cls)


def _other(annotation: object, name: Callable[[type], str]) -> str:
    """Write what is neither a class nor a generic: `...`, forward references, type variables, aliases."""
    if isinstance(annotation, str):
        return annotation
    if isinstance(annotation, ForwardRef):
        return annotation.__forward_arg__
    if isinstance(annotation, list):  # the parameters of Callable[[int, str], None]
        return f"[{', '.join(_written(arg, name) for arg in annotation)}]"
    if annotation is None or annotation is ...:
        return "None" if annotation is None else "..."
    return str(getattr(annotation, "__name__", None) or annotation).removeprefix("typing.")
