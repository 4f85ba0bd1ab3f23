"""How everything is printed: in colour on a terminal, as plain text elsewhere, as JSON where that is asked for."""

import json
import os
import sys
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from typing import Any, Final

from rich.console import Console
from rich.live import Live
from rich.text import Text

from fastapi_chain._terminal import Line, Style, plain

_COLOURS: Final[Mapping[Style, str]] = {
    "": "",
    "strong": "bold",
    "dim": "bright_black",
    "good": "green",
    "bad": "red",
    "busy": "blue",
    "waiting": "yellow",
    "type": "cyan",
}

_PER_SECOND: Final = 8
"""How often a drawing that changes is drawn."""


def _console() -> Console:
    return Console(highlight=False, soft_wrap=True)


def colourful() -> bool:
    """Whether to print in colour: on a terminal that has not been told otherwise."""
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def say(lines: Iterable[Line]) -> None:
    """Print *lines*."""
    if colourful():
        _console().print(_coloured(lines))
    else:
        sys.stdout.write(plain(lines))


def say_text(text: str) -> None:
    """Print *text* as it is, on lines of its own."""
    sys.stdout.write(text if text.endswith("\n") else f"{text}\n")


def say_json(value: object) -> None:
    """Print *value* as JSON."""
    say_text(json.dumps(value, ensure_ascii=False, indent=2, default=str))


def warn(text: str) -> None:
    """Print a line beside the output: what is piped on is not disturbed by it."""
    sys.stderr.write(f"fastapi-chain: {text}\n")


def _coloured(lines: Iterable[Line]) -> Text:
    parts: list[tuple[str, str]] = []
    for line in lines:
        parts += [(span.text, _COLOURS[span.style]) for span in line]
        parts.append(("\n", ""))
    return Text.assemble(*parts[:-1], no_wrap=True, overflow="ignore")


async def follow(changes: AsyncIterator[Any], draw: Callable[[Any], list[Line]]) -> Any:  # noqa: ANN401 - what changes
    """Draw the last of *changes* again and again, until there are no more; return it.

    On a terminal the drawing stays in its place; elsewhere only the last one is printed.
    """
    last: Any = None
    if not colourful():
        async for change in changes:
            last = change
        say(draw(last))
        return last
    with Live(console=_console(), get_renderable=lambda: _shown(last, draw), refresh_per_second=_PER_SECOND) as live:
        async for change in changes:
            last = change
        live.refresh()
    return last


def _shown(last: Any, draw: Callable[[Any], list[Line]]) -> Text:  # noqa: ANN401 - as above
    return Text() if last is None else _coloured(draw(last))
