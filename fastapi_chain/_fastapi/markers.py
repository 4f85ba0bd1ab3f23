"""Is this parameter FastAPI's?"""

import sys
from collections.abc import Sequence

from .parts import parts


def injection_marker(annotation: object, metadata: Sequence[object], default: object) -> object | None:
    """Return what makes FastAPI fill a parameter; None if it does not.

    That is a `Depends`, `Security`, `Header`, `Query`, … object, or a type that belongs to the request (`Request`,
    `Response`, `BackgroundTasks`, …). FastAPI's own rules: of several objects in `Annotated` the last one counts.

    Does not import FastAPI: as long as nobody has, no such object exists.

    Args:
        annotation: The parameter's annotation without `Annotated`.
        metadata: What stood in `Annotated`.
        default: The parameter's default.
    """
    if "starlette" not in sys.modules:
        return None
    found = parts()
    # The default comes first: FastAPI refuses the two together and says so, whichever we name.
    marker: object = next((item for item in (default, *reversed(metadata)) if isinstance(item, found.markers)), None)
    if marker is not None:
        return marker
    return annotation if isinstance(annotation, type) and issubclass(annotation, found.objects) else None


def is_injected(annotation: object, metadata: Sequence[object], default: object) -> bool:
    """Tell whether FastAPI fills a parameter; see `injection_marker`."""
    return injection_marker(annotation, metadata, default) is not None
