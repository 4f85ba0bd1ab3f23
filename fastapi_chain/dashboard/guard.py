"""Who may see the pages, and what a browser may do with them."""

import os
from collections.abc import Callable, Coroutine, Iterable, Mapping
from typing import Any, Final
from weakref import WeakKeyDictionary

from fastapi import HTTPException, Request, Response
from fastapi.routing import APIRoute

from fastapi_chain._fastapi import api_routes
from fastapi_chain.errors import ChainError, EngineUnavailable

HEADERS: Final[Mapping[str, str]] = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}
"""On every response: no code but our own files runs, nothing is asked of other machines, nobody frames a page."""


def page_route(unavailable: Callable[[Request, EngineUnavailable], Response]) -> type[APIRoute]:
    """Return a class of routes whose responses carry `HEADERS`.

    Args:
        unavailable: Makes the response where the engine's database does not answer.
    """

    class PageRoute(APIRoute):
        """A route of the dashboard."""

        def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
            """Return what handles a request."""
            handle = super().get_route_handler()

            async def guarded(request: Request) -> Response:
                try:
                    response = await handle(request)
                except EngineUnavailable as error:
                    response = unavailable(request, error)
                for name, value in HEADERS.items():
                    response.headers.setdefault(name, value)
                response.headers.setdefault("Cache-Control", "no-store")
                return response

            return guarded

    return PageRoute


class Protection:
    """Refuses to serve pages that nothing protects, outside development."""

    def __init__(self, *, allow_anonymous: bool) -> None:
        """Begin without pages.

        Args:
            allow_anonymous: Whether the user says that something else protects them.
        """
        self._anonymous = allow_anonymous
        self._pages: list[Callable[..., object]] = []
        self._own: set[object] = set()
        self._known: WeakKeyDictionary[Any, bool] = WeakKeyDictionary()

    def watch(self, pages: Iterable[Callable[..., object]], own: Iterable[object]) -> None:
        """Ask about *pages*; the dependencies *own* are ours and protect nothing."""
        self._pages = list(pages)
        self._own = set(own)

    def path(self, app: Any) -> str | None:  # noqa: ANN401 - any Starlette app
        """Return where the first of the pages is in *app*; None if they are not included in it."""
        return next((route.path for route in api_routes(app) if route.endpoint in self._pages), None)

    def check(self, app: Any) -> None:  # noqa: ANN401 - any Starlette app
        """Check that every page included in *app* has a dependency of the user's.

        Raises:
            ChainError: One has none.
        """
        if self._anonymous or os.environ.get("FASTAPI_ENV") == "development":
            return
        for route in api_routes(app):
            if route.endpoint in self._pages and not self._is_protected(route.dependant):
                raise _unprotected(route.path)

    def _is_protected(self, dependant: Any) -> bool:  # noqa: ANN401 - FastAPI's own
        return any(dependency.call not in self._own for dependency in dependant.dependencies)

    async def __call__(self, request: Request) -> None:
        """Refuse a request to unprotected pages: without a lifespan nobody has checked them at start-up.

        Raises:
            HTTPException: 403, they are unprotected.
        """
        app = request.app
        if app not in self._known:
            try:
                self.check(app)
            except ChainError as error:
                raise HTTPException(403, str(error)) from error
            self._known[app] = True


def _unprotected(path: str) -> ChainError:
    return ChainError(
        what="The dashboard is included without dependencies, so everybody could see and retry every run.",
        rows=[("included at", path)],
        fixes=[
            "app.include_router(runtime.dashboard(), prefix=..., dependencies=[Depends(require_admin)])",
            "set FASTAPI_ENV=development, as `fastapi dev` does",
            "runtime.dashboard(allow_anonymous=True), where something else protects it",
        ],
    )
