"""Problems: our own errors as answers to a request (RFC 9457)."""

from collections.abc import Mapping, MutableMapping
from http import HTTPStatus
from typing import Any, Final

from fastapi import HTTPException, Request
from starlette.responses import JSONResponse

MEDIA_TYPE: Final = "application/problem+json"
TYPE: Final = "urn:fastapi-chain:problem:"
"""What every `type` begins with; a slug that never changes follows."""


class ProblemResponse(JSONResponse):
    """A problem as a response."""

    media_type = MEDIA_TYPE

    def __init__(self, status: int, slug: str, detail: str, headers: Mapping[str, str] | None = None) -> None:
        """Answer with a problem.

        Args:
            status: The HTTP status.
            slug: What kind of problem it is, for programs: `chain-busy`.
            detail: What is wrong, for people.
            headers: More headers.
        """
        content = {"type": TYPE + slug, "title": HTTPStatus(status).phrase, "status": status, "detail": detail}
        super().__init__(content, status, headers=dict(headers or {}))


class Refusal(HTTPException):
    """A request that is refused before its endpoint runs.

    Its dependencies see an exception, as with any `HTTPException`, so that a session rolls back; a handler that the
    user has put up for its status is asked first.
    """

    def __init__(self, status: int, slug: str, detail: str, headers: Mapping[str, str] | None = None) -> None:
        """Refuse with a problem; arguments as for `ProblemResponse`."""
        super().__init__(status, detail, headers=dict(headers or {}))
        self.slug = slug


async def answer(_request: Request, refusal: Exception) -> ProblemResponse:
    """Turn a `Refusal` into its response."""
    assert isinstance(refusal, Refusal), "it is the handler of nothing else"
    return ProblemResponse(refusal.status_code, refusal.slug, refusal.detail, refusal.headers)


def handle_refusals(scope: MutableMapping[str, Any]) -> None:
    """Let the app of this request answer a `Refusal` as a problem, whether or not `install` has been called for it."""
    handlers, _ = scope.get("starlette.exception_handlers", ({}, {}))
    handlers.setdefault(Refusal, answer)
