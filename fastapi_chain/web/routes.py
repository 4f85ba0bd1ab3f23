"""What the routes of the router have in common: problems instead of errors, and whose requests are taken."""

from collections.abc import Callable, Coroutine, Mapping
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import quote, urlsplit

from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from starlette.datastructures import Headers

from fastapi_chain.endpoint.problem import MEDIA_TYPE, ProblemResponse, Refusal
from fastapi_chain.errors import ChainError, EngineUnavailable, NothingToRetry, RunFinished, RunNotFinished

from .models import Problem

_SLUGS: Final[Mapping[type[ChainError], tuple[int, str]]] = {
    RunFinished: (409, "run-finished"),
    RunNotFinished: (409, "run-active"),
    NothingToRetry: (409, "nothing-to-retry"),
    EngineUnavailable: (503, "engine-unavailable"),
}
"""How our own errors are answered: status and slug."""

_OURS: Final = tuple(_SLUGS)

RETRY_AFTER: Final = {"Retry-After": "1"}


class ProblemRoute(APIRoute):
    """A route whose errors are problems, whatever handlers the app has."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return what handles a request."""
        handle = super().get_route_handler()

        async def guarded(request: Request) -> Response:
            try:
                return await handle(request)
            except Refusal as refusal:
                return ProblemResponse(refusal.status_code, refusal.slug, refusal.detail, refusal.headers)
            except RequestValidationError as error:
                return ProblemResponse(422, "request", _said(error))
            except _OURS as error:
                status, slug = next(known for cls, known in _SLUGS.items() if isinstance(error, cls))
                headers = RETRY_AFTER if status == HTTPStatus.SERVICE_UNAVAILABLE else None
                return ProblemResponse(status, slug, error.problem(), headers)

        return guarded


def _said(error: RequestValidationError) -> str:
    """Return what is wrong with a request, in one line."""
    return "; ".join(f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors())


def refuses(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return the problems that a route may answer, for OpenAPI."""
    schema = Problem.model_json_schema()
    return {
        status: {"description": HTTPStatus(status).phrase, "content": {MEDIA_TYPE: {"schema": schema}}}
        for status in statuses
    }


async def same_site(request: Request) -> None:
    """Refuse what a page of another site has made a browser send.

    A browser says so in `Sec-Fetch-Site`, which no page can set. Where it does not (it is old, or the app is served
    without TLS), the page's `Origin` must be one of the hosts by which the app was asked for. A program that is no
    browser sends neither.

    Raises:
        Refusal: It has.
    """
    if not _is_ours(request.headers):
        raise Refusal(403, "cross-site", "This request comes from a page of another site.")


def _is_ours(headers: Headers) -> bool:
    site, origin = headers.get("sec-fetch-site"), headers.get("origin")
    if site is not None:
        return site in {"same-origin", "none"}
    return origin is None or _is_host(origin, _hosts(headers))


def _hosts(headers: Headers) -> set[str]:
    """Return the hosts by which the client has asked for the app.

    A proxy may have put its own name for the app into `Host`, and the client's into `X-Forwarded-Host`. A page of
    another site can set neither: of the latter, a browser asks the app first (CORS).
    """
    given = [headers.get("host", ""), *headers.get("x-forwarded-host", "").split(",")]
    return {host.strip().lower() for host in given} - {""}


def _is_host(origin: str, hosts: set[str]) -> bool:
    try:
        page = urlsplit(origin.lower())
        # A host without a port: it is the usual one, or a proxy has left it out. Cookies know no ports, either.
        return page.netloc in hosts or page.netloc.removesuffix(f":{page.port}") in hosts
    except ValueError:
        # Not even an address.
        return False


def base_of(request: Request, tail: str) -> str:
    """Return the path of the router as the client sees it.

    Args:
        request: A request to one of its routes.
        tail: What its path has behind that of the router, or the beginning of it.
    """
    scope = request.scope
    root: str = scope.get("root_path", "")
    path: str = scope["path"]
    # Servers disagree on whether the path has it.
    whole = path if f"{path}/".startswith(f"{root}/") else root + path
    return quote(whole[: whole.rfind(tail)])
