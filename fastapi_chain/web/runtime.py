"""install(): the app-wide part."""

import asyncio
import logging
from collections.abc import Iterator, Sequence
from importlib import import_module
from typing import Any, Final
from weakref import WeakKeyDictionary

from fastapi import APIRouter
from fastapi.params import Depends
from starlette.applications import Starlette

from fastapi_chain._fastapi import ApiRoute, api_routes, wrap_app
from fastapi_chain._places import Places
from fastapi_chain._state import Sink
from fastapi_chain._text import counted
from fastapi_chain._threads import ThreadPool
from fastapi_chain.chains import Chain, chains_by_name
from fastapi_chain.engines.base import Engine
from fastapi_chain.engines.here import set_engine
from fastapi_chain.engines.history import History
from fastapi_chain.engines.memory import MemoryEngine
from fastapi_chain.engines.select import make_engine
from fastapi_chain.errors import DeclarationError
from fastapi_chain.execute.retry import prepare
from fastapi_chain.observe.tasklog import TaskLogs
from fastapi_chain.plan import Plan

from .access import Visible, Withdrawn
from .checking import chains_of, check_chains, endpoints_of
from .directory import Directory
from .middleware import Middleware
from .openapi import annotate
from .stopping import Stopping
from .workers import address, siblings

_PAGE: Final = "/runs/{run_id}"

_log: Final = logging.getLogger("fastapi_chain")
_server_log: Final = logging.getLogger("uvicorn.error")


class Runtime:
    """What `install` makes: the engine of an app from start-up to shutdown, and what is seen of it over HTTP."""

    installed: bool = True
    """Whether `install` has made it."""

    def __init__(
        self,
        app: Any,  # noqa: ANN401 - any Starlette app
        engine: Engine,
        history: History,
        *,
        drain_timeout: float,
        expose_errors: bool,
        expose_values: bool,
    ) -> None:
        """Belong to *app*.

        Args:
            app: The app.
            engine: Where runs run while the app is up.
            history: The runs that this process remembers.
            drain_timeout: Seconds for which a shutdown waits for runs.
            expose_errors: Whether classes and texts of errors are shown to clients.
            expose_values: Whether results are shown to clients.
        """
        self.app = app
        self.engine = engine
        self.history = history
        self.drain_timeout = drain_timeout
        self.expose_errors = expose_errors
        self.expose_values = expose_values
        self.places: Places = Places()
        self.withdrawn: Withdrawn = Withdrawn()
        self.directory: Directory = Directory(lambda: ((chain, route.name) for chain, route in self.started()))
        self.serving = True
        """Whether this process serves the app; a command only runs its chains."""
        self.stopping: Stopping = Stopping()
        self._logs = TaskLogs()
        # For an app whose lifespan never begins: its runs end with their requests, and are remembered all the same.
        self._spare = MemoryEngine(kept=history)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._watching: Any = None
        self._dashboards: list[Any] = []
        self._base: str | None = None
        self._searched = False

    # --- its life

    @property
    def running(self) -> bool:
        """Whether the app's lifespan has begun on the running loop."""
        return self._loop is asyncio.get_running_loop()

    @property
    def here(self) -> Engine:
        """Where runs run on this loop: while the app is up, and where its lifespan never begins."""
        return self.engine if self._loop is asyncio.get_running_loop() else self._spare

    async def begin(self) -> None:
        """Check all chains of the app, and take runs from now on.

        Raises:
            InvalidChain: Something is wrong with a chain; the problems of all chains are in it.
            EngineUnavailable: The engine's database does not answer.
        """
        self.check()
        prepare(node.spec for chain in self.chains() for node in chain.plan.nodes)
        self._warn()
        await self.engine.open()
        self._searched = False
        self.directory.refresh()
        base = self.base
        self.history.base = None if base is None else f"{getattr(self.app, 'root_path', '')}{base}"
        self.stopping.begin(self.engine.hurry)
        self._logs.begin()
        self._loop = asyncio.get_running_loop()
        set_engine(self._loop, self.engine)
        self._greet()

    def _greet(self) -> None:
        """Say where the dashboard is: in our log, or in that of the server, which shows it without being told to."""
        log = _log if _log.isEnabledFor(logging.INFO) else _server_log
        for path in (dashboard.path(self.app) for dashboard in self._dashboards):
            if path is not None and self.serving:
                where = f"{address()}{getattr(self.app, 'root_path', '')}{path}"
                log.info("fastapi_chain: %s, dashboard at %s", counted(len(self.chains()), "chain"), where)

    def _warn(self) -> None:
        workers = siblings()
        if self.engine.name == "memory" and workers > 1:
            _log.warning(
                "%d workers serve this app, and each knows only its own runs: "
                "a status page asked of another one is not found. "
                'Fix: install(app, engine="sqlite:///chains.db")',
                workers,
            )

    async def end(self) -> None:
        """Let the runs come to their end, for at most `drain_timeout` seconds; then cancel them."""
        if self._loop is None:
            return
        if not self.stopping.begun:
            self.stopping.stop()
        await self.engine.drain(self.drain_timeout)
        set_engine(self._loop, None)
        self._loop = None
        self._logs.end()
        self.stopping.end()

    # --- its chains

    def plan(self, name: str) -> Plan | None:
        """Return the plan of the chain called *name*: of one of this app's endpoints, else of the last of that name."""
        known = chains_by_name() | {chain.name: chain for chain in self.chains()}
        found = known.get(name)
        return None if found is None else found.plan

    def crons(self) -> list[tuple[Plan, str]]:
        """Return the plans of all chains that start by themselves, each with the times at which."""
        return [(chain.plan, chain.options.cron) for chain in chains_by_name().values() if chain.options.cron]

    def chains(self) -> list[Chain]:
        """Return the chains that are on an endpoint of the app, in the order of its routes."""
        return chains_of(self.app)

    def started(self) -> Iterator[tuple[Chain, ApiRoute]]:
        """Yield the chains of the app, each with every route that starts it."""
        for chain, _, route in endpoints_of(self.app):
            yield chain, route

    def check(self) -> None:
        """Check every chain of the app.

        Raises:
            InvalidChain: Something is wrong; the problems of all chains are in it.
            ChainError: A dashboard is included without dependencies.
        """
        check_chains(self.app, self.engine)
        if self.serving:
            self.check_pages()

    def check_pages(self) -> None:
        """Check that somebody protects the dashboard.

        Raises:
            ChainError: It is included without dependencies.
        """
        for dashboard in self._dashboards:
            dashboard.check(self.app)

    # --- over HTTP

    @property
    def base(self) -> str | None:
        """The path of the router within the app; None as long as it is not included."""
        if not self._searched:
            self._searched = True
            handlers = [] if self._watching is None else self._watching.pages
            paths = (route.path for route in api_routes(self.app) if route.endpoint in handlers)
            found = next(paths, None)
            self._base = None if found is None else found.removesuffix(_PAGE)
        return self._base

    def router(
        self, *, visible: Visible | None = None, dependencies: Sequence[Depends] = (), tags: Sequence[str] = ("runs",)
    ) -> APIRouter:
        """Return the routes under which runs are watched, cancelled and retried, and chains are looked up.

        Example:
            app.include_router(runtime.router(), prefix="/chains", dependencies=[Depends(current_user)])

        Args:
            visible: `visible(request, run)` says whether a request may see a run; it may be `async`. Hidden runs are
                not listed, and not found. Default None: whoever may call the routes may see all runs.
            dependencies: Dependencies of all routes; `include_router` takes them as well.
            tags: The tags of the routes in OpenAPI.
        """
        if self._watching is None:
            # Loaded here: models take a while, and not every app shows its runs.
            self._watching = import_module("fastapi_chain.web.watching").Watching(self)
        self._searched = False
        router: APIRouter = self._watching.router(visible=visible, dependencies=dependencies, tags=tags)
        return router

    def dashboard(self, *, allow_anonymous: bool = False) -> APIRouter:
        """Return the pages on which runs are watched, retried and cancelled.

        Example:
            app.include_router(runtime.dashboard(), prefix="/chains/ui", dependencies=[Depends(require_admin)])

        Args:
            allow_anonymous: Whether they may be included without dependencies, because something else protects them.
                Default False: the app does not start then, unless `FASTAPI_ENV` is `development`.

        Raises:
            ChainError: Jinja2 is not installed.
        """
        # It needs packages that are an extra, and lies in a layer above this one.
        pages: Any = import_module("fastapi_chain.dashboard")
        made = pages.Dashboard(self, allow_anonymous=allow_anonymous)
        self._dashboards.append(made)
        router: APIRouter = made.router
        return router


_installed: "WeakKeyDictionary[Any, Runtime]" = WeakKeyDictionary()


def runtime_of(app: object) -> Runtime | None:
    """Return what `install` has made for *app*; None if it was not called."""
    # A router, which is no app, could not even be looked up.
    return _installed.get(app) if isinstance(app, Starlette) else None


def install(
    app: Any,  # noqa: ANN401 - any Starlette app
    *,
    engine: str | Engine = "memory",
    worker: bool = True,
    drain_timeout: float = 10.0,
    history: int = 1000,
    max_running: int | None = None,
    threads: int = 16,
    max_pending: int | None = None,
    expose_errors: bool = False,
    expose_values: bool = False,
    sinks: Sequence[Sink] = (),
) -> Runtime:
    """Give *app* a runtime: runs outlive their requests, are drained at shutdown and kept in a history.

    Every chain of the app is checked when it starts up.

    Args:
        app: The app; call it before the app has started.
        engine: `memory` (default), `sqlite:///chains.db`, `postgresql://…`, or an engine of one's own.
        worker: Whether runs run in this process; without, a durable engine only takes them here. Default True.
        drain_timeout: Seconds for which a shutdown waits for runs before it cancels them, or leaves them to others.
            Default 10.
        history: How many finished runs are kept. Default 1000.
        max_running: How many runs run at once in this process; the others are queued. Default None: any number.
        threads: How many `def` tasks run at once in this process. Default 16.
        max_pending: How many runs may be queued or running, over all chains; beyond, endpoints answer 429 and
            `start()` raises `QueueFull`. Default None: any number.
        expose_errors: Whether clients are shown the classes and texts of errors. Default False.
        expose_values: Whether clients are shown the results of all chains. Default False.
        sinks: Callables that are told every event of every run.

    Raises:
        DeclarationError: The app has started already, has a runtime already, or is no app.
        EngineNotInstalled: The engine needs a package that is not there.
    """
    if runtime_of(app) is not None:
        raise DeclarationError(what="install() was called twice for one app.", fixes=("call install(app) once",))
    kept = History(history)
    made = make_engine(
        engine,
        plans=lambda name: runtime.plan(name),  # noqa: PLW0108 - there is no runtime yet
        crons=lambda: runtime.crons(),  # noqa: PLW0108 - as above
        app=app,
        worker=worker,
        pool=ThreadPool(threads),
        sinks=tuple(sinks),
        max_running=max_running,
        history=history,
        kept=kept,
    )
    made.max_pending = max_pending
    runtime = Runtime(
        app, made, kept, drain_timeout=drain_timeout, expose_errors=expose_errors, expose_values=expose_values
    )
    wrap_app(app, lambda inner: Middleware(inner, runtime))
    annotate(app, runtime.started, lambda: None if runtime.base is None else f"{runtime.base}{_PAGE}")
    _installed[app] = runtime
    return runtime
