"""Lines of text in which each piece says what it means; whoever prints it chooses the colours, if any."""

from collections.abc import Iterable
from typing import Literal, NamedTuple, TypeAlias

Style: TypeAlias = Literal["", "strong", "dim", "good", "bad", "busy", "waiting", "type"]
"""What a piece of text means."""


class Span(NamedTuple):
    """A piece of a line."""

    text: str
    """What it says."""
    style: Style = ""
    """What it means."""


Line: TypeAlias = tuple[Span, ...]
"""A line of text."""


def plain(lines: Iterable[Line]) -> str:
    """Return *lines* without styles."""
    return "".join("".join(span.text for span in line).rstrip() + "\n" for line in lines)
