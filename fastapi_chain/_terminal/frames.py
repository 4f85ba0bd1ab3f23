"""The lines of the user's own code in a traceback: what one looks at first."""

import linecache
import re
import sysconfig
import traceback
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from fastapi_chain.spec import Source

from .styled import Line, Span

_OURS: Final = str(Path(__file__).parent.parent)
_LIBRARIES: Final = tuple({sysconfig.get_path(name) for name in ("stdlib", "purelib", "platlib")})
_LIBRARIES_ELSEWHERE: Final = re.compile(
    r"[/\\](site-packages|dist-packages|lib[/\\]python3[.\d]*)[/\\]", re.IGNORECASE
)

_HEAD: Final = "Traceback (most recent call last):\n"
_FRAME: Final = re.compile(r'^  File "(?P<file>.+)", line (?P<line>\d+), in .+\n(?:    (?P<code>.*)\n)?', re.MULTILINE)


def own_frames(error: BaseException) -> Iterator[Line]:
    """Yield the place and the source of each frame of the user's own code, the outermost first."""
    return _lines(
        [
            (frame.f_code.co_filename, line, linecache.getline(frame.f_code.co_filename, line).strip())
            for frame, line in traceback.walk_tb(error.__traceback__)
        ]
    )


def own_frames_of(text: str) -> Iterator[Line]:
    """Yield the same of a traceback as Python prints it, of another process or another machine.

    Where it tells of causes too, they stand first: only the frames of the last exception are taken.
    """
    last = text.rpartition(_HEAD)[2]
    return _lines([(frame["file"], int(frame["line"]), frame["code"] or "") for frame in _FRAME.finditer(last)])


def _lines(frames: Sequence[tuple[str, int, str]]) -> Iterator[Line]:
    own = [(Source(name="", file=file, line=line).at, code) for file, line, code in frames if _is_own(file)]
    width = max((len(place) for place, _ in own), default=0)
    for place, code in own:
        yield (Span(f"  {place:<{width}}", "dim"), Span(f"   {code}"))


def _is_own(file: str) -> bool:
    """Whether *file* is the user's: it is no library, here or elsewhere, and it is not ours."""
    return not file.startswith((_OURS, *_LIBRARIES)) and _LIBRARIES_ELSEWHERE.search(file) is None
