"""The static files: read once, compressed once, and named by their content so that browsers may keep them."""

import gzip
import hashlib
from functools import cache
from importlib.resources import files
from typing import Final, NamedTuple

from starlette.requests import Request
from starlette.responses import Response

TYPES: Final = {
    "app.css": "text/css; charset=utf-8",
    "app.js": "text/javascript; charset=utf-8",
    "htmx.min.js": "text/javascript; charset=utf-8",
    "hx-sse.min.js": "text/javascript; charset=utf-8",
    "icon.svg": "image/svg+xml",
}
"""What there is, and what it is."""


class Asset(NamedTuple):
    """A static file."""

    body: bytes
    packed: bytes
    """The same, compressed."""
    version: str
    """What changes with its content."""
    type: str


@cache
def asset(name: str) -> Asset:
    """Return the file called *name*, which is one of `TYPES`."""
    body = files(__package__).joinpath("static", name).read_bytes()
    return Asset(body, gzip.compress(body, 9, mtime=0), hashlib.sha256(body).hexdigest()[:12], TYPES[name])


def respond(request: Request, name: str) -> Response | None:
    """Return the response with the file called *name*; None if there is none."""
    if name not in TYPES:
        return None
    found = asset(name)
    packed = "gzip" in request.headers.get("accept-encoding", "")
    headers = {
        # Who may see the pages may see these; no proxy keeps them for others.
        "Cache-Control": "private, max-age=31536000, immutable",
        "Vary": "Accept-Encoding",
        **({"Content-Encoding": "gzip"} if packed else {}),
    }
    return Response(found.packed if packed else found.body, media_type=found.type, headers=headers)
