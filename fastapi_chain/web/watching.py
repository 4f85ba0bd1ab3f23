"""How runs are watched over HTTP: everything that is loaded with the first `runtime.router()`, and not before.

Models and words are a tenth of what it takes to import the package, and many an app shows its runs to nobody.
"""

from collections.abc import Sequence
from typing import Protocol

from fastapi import APIRouter
from fastapi.params import Depends

from .access import Access, HasEngine, Visible
from .directory import Directory
from .feed import Feeds
from .render import Renderer
from .router import Routes, make_router
from .stopping import Stopping
from .words import Words


class Host(HasEngine, Protocol):
    """What is shown: the runtime of an app."""

    directory: Directory
    """The chains of the app."""
    stopping: Stopping
    """Tells when the server is about to stop."""
    expose_errors: bool
    """Whether classes and texts of errors are shown."""
    expose_values: bool
    """Whether results are shown of chains that do not say so themselves."""


class Watching:
    """The routers of one app, and what they share."""

    def __init__(self, host: Host) -> None:
        """Show what *host* has."""
        self._host = host
        self._renderer = Renderer(expose_errors=host.expose_errors)
        self.feeds = Feeds(Words(self._renderer))
        """The events of runs that somebody follows."""
        self.pages: list[object] = []
        """The handlers that show a run, one for each router."""

    def router(self, *, visible: Visible | None, dependencies: Sequence[Depends], tags: Sequence[str]) -> APIRouter:
        """Return one more router; arguments as for `Runtime.router`."""
        routes = Routes(
            access=Access(self._host, visible),
            directory=self._host.directory,
            renderer=self._renderer,
            feeds=self.feeds,
            stopping=self._host.stopping,
            expose_values=self._host.expose_values,
        )
        self.pages.append(routes.get_run)
        return make_router(routes, dependencies=dependencies, tags=tags)
