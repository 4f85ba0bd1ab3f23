"""An exception as a page shows it: what it says, and where, with the lines around; the user's frames in the open."""

import linecache
import sys
import sysconfig
import traceback
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import Final, NamedTuple

from fastapi_chain._state.ledger import RAISED_BY
from fastapi_chain.errors import TaskFailed
from fastapi_chain.spec import Source

_PACKAGE: Final = str(Path(__file__).parent.parent)
_LIBRARIES: Final = tuple({*sysconfig.get_paths().values(), sys.prefix, sys.base_prefix, _PACKAGE})
_BEFORE: Final = 3
"""Lines shown before the one that raised."""
_AFTER: Final = 1
_LONGEST: Final = 8
"""How many errors are shown that are caused by each other."""
_MEMBERS: Final = 20
"""How many members of an exception group are named."""


class Line(NamedTuple):
    """A line of code."""

    number: int
    text: str
    hot: bool
    """Whether it is the one."""


class Frame(NamedTuple):
    """A call."""

    place: str
    """`shop/tasks.py:12`."""
    function: str
    lines: tuple[Line, ...]


class Frames(NamedTuple):
    """Calls that belong together: the user's own, or those of libraries between them."""

    own: bool
    frames: tuple[Frame, ...]
    packages: str
    """Where they belong to."""


class Failure(NamedTuple):
    """An exception."""

    type: str
    message: str
    notes: tuple[str, ...]
    frames: tuple[Frames, ...]
    members: tuple[str, ...]
    """What a group consists of, one line each."""
    link: str
    """How it led to the one before: empty for the first."""
    stored: str
    """Where it was raised, as Python prints it, of one that another process has raised: its calls are not at hand."""


def failures(error: BaseException) -> list[Failure]:
    """Return *error* and what caused it, in this order."""
    found: list[Failure] = []
    link = ""
    seen: set[int] = set()
    current: BaseException | None = error
    while current is not None and id(current) not in seen and len(found) < _LONGEST:
        seen.add(id(current))
        found.append(_failure(current, link))
        if current.__cause__ is not None:
            link, current = "caused by", current.__cause__
        else:
            link, current = "while handling", None if current.__suppress_context__ else current.__context__
            if current is not None and _is_attempt(current):
                # What an earlier attempt raised is no part of this one.
                break
    return found


def _is_attempt(error: BaseException) -> bool:
    return any(str(note).startswith(RAISED_BY) for note in getattr(error, "__notes__", ()))


def _failure(error: BaseException, link: str) -> Failure:
    members = error.exceptions if isinstance(error, BaseExceptionGroup) else ()
    return Failure(
        type=type(error).__name__,
        message=_text(error),
        notes=tuple(map(str, getattr(error, "__notes__", ()))),
        frames=tuple(_frames(error)),
        members=tuple(f"{type(member).__name__}: {_text(member)}" for member in members[:_MEMBERS]),
        link=link,
        stored=(error.traceback or "").strip() if isinstance(error, TaskFailed) else "",
    )


def _text(error: BaseException) -> str:
    try:
        return str(error)
    except Exception:  # noqa: BLE001 - the user's own `__str__` may fail as well
        return "(its text cannot be made)"


def _frames(error: BaseException) -> Iterator[Frames]:
    stack = traceback.StackSummary.extract(traceback.walk_tb(error.__traceback__), lookup_lines=False)
    for own, group in groupby(stack, key=lambda frame: _is_own(frame.filename)):
        frames = list(group)
        packages = ", ".join(dict.fromkeys(_package(frame.filename) for frame in frames))
        yield Frames(own, tuple(_frame(frame, own=own) for frame in frames), packages)


def _is_own(file: str) -> bool:
    return not file.startswith((*_LIBRARIES, "<frozen"))


def _package(file: str) -> str:
    """Return the library that *file* belongs to."""
    if file.startswith(_PACKAGE):
        return "fastapi_chain"
    _, found, inside = file.rpartition("site-packages/")
    return inside.partition("/")[0].removesuffix(".py") if found else "Python"


def _frame(frame: traceback.FrameSummary, *, own: bool) -> Frame:
    number = frame.lineno or 0
    place = Source(name=frame.name, file=frame.filename, line=number).at
    return Frame(place, frame.name, tuple(_lines(frame.filename, number)) if own else ())


def _lines(file: str, number: int) -> Iterator[Line]:
    """Yield the lines around *number*, without the indentation that all of them share."""
    numbers = range(max(1, number - _BEFORE), number + _AFTER + 1)
    texts = {n: text for n in numbers if (text := linecache.getline(file, n).rstrip())}
    margin = min((len(text) - len(text.lstrip()) for text in texts.values()), default=0)
    for n, text in texts.items():
        yield Line(n, text[margin:].expandtabs(4), n == number)
