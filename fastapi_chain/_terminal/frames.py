"""The lines of the user's own code in a traceback: what one looks at first."""

import linecache
import sysconfig
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from fastapi_chain.spec import Source

from .styled import Line, Span

_OURS: Final = str(Path(__file__).parent.parent)
_LIBRARIES: Final = tuple({sysconfig.get_path(name) for name in ("stdlib", "purelib", "platlib")})


def own_frames(error: BaseException) -> Iterator[Line]:
    """Yield the place and the source of each frame of the user's own code, the outermost first."""
    frames = [
        (Source(name=frame.f_code.co_name, file=frame.f_code.co_filename, line=line).at, frame.f_code.co_filename, line)
        for frame, line in traceback.walk_tb(error.__traceback__)
        if _is_own(frame.f_code.co_filename)
    ]
    width = max((len(place) for place, _, _ in frames), default=0)
    for place, file, line in frames:
        yield (Span(f"  {place:<{width}}", "dim"), Span(f"   {linecache.getline(file, line).strip()}"))


def _is_own(file: str) -> bool:
    """Whether *file* is the user's: it is no library, and it is not ours."""
    return not file.startswith((_OURS, *_LIBRARIES))
