"""The routes of the dashboard, behind one guard."""

from collections.abc import Callable
from typing import Any, Final

from fastapi import APIRouter, Depends
from fastapi.responses import HTMLResponse

from fastapi_chain.web.routes import same_site

from .guard import Protection, page_route
from .host import Host
from .pages import environment
from .site import Pages


class Dashboard:
    """A dashboard, made but not yet included."""

    def __init__(self, host: Host, *, allow_anonymous: bool) -> None:
        """Prepare the pages of *host*.

        Args:
            host: The runtime of an app.
            allow_anonymous: Whether they may be included without dependencies.

        Raises:
            ChainError: Jinja2 is not installed.
        """
        environment()
        pages = Pages(host)
        self._protection: Final = Protection(allow_anonymous=allow_anonymous)
        self.router: Final = APIRouter(
            route_class=page_route(pages.unavailable),
            dependencies=[Depends(self._protection)],
            include_in_schema=False,
            default_response_class=HTMLResponse,
        )
        self._own: Final[list[Callable[..., Any]]] = []
        self._get("/", pages.list_runs)
        self._get("/runs/{run_id}", pages.show_run)
        self._get("/runs/{run_id}/events", pages.stream_ticks)
        self._get("/chains", pages.list_chains)
        self._get("/chains/{name:path}", pages.show_chain)
        self._get("/tasks", pages.list_tasks)
        self._get("/tasks/{name:path}", pages.show_task)
        self._get("/static/{name}", pages.static_file)
        self._post("/runs/{run_id}/cancel", pages.cancel)
        self._post("/runs/{run_id}/retry", pages.retry)
        self._post("/runs/{run_id}/again", pages.run_again)
        self._protection.watch(self._own, [self._protection, same_site])

    def _get(self, path: str, handler: Callable[..., Any]) -> None:
        self._own.append(handler)
        self.router.add_api_route(path, handler, methods=["GET"], response_model=None)

    def _post(self, path: str, handler: Callable[..., Any]) -> None:
        self._own.append(handler)
        self.router.add_api_route(
            path, handler, methods=["POST"], response_model=None, dependencies=[Depends(same_site)]
        )

    def check(self, app: Any) -> None:  # noqa: ANN401 - any Starlette app
        """Check that somebody protects the pages, wherever they are included in *app*.

        Raises:
            ChainError: Nobody does.
        """
        self._protection.check(app)

    def path(self, app: Any) -> str | None:  # noqa: ANN401 - any Starlette app
        """Return where the list of runs is in *app*; None if the pages are not included in it."""
        return self._protection.path(app)
