"""install(): the app-wide part."""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final
from weakref import WeakKeyDictionary

from fastapi_chain._fastapi import api_routes, endpoint_ids, input_kinds, wrap_app
from fastapi_chain._state import Sink
from fastapi_chain._threads import ThreadPool
from fastapi_chain.chains import Chain, all_chains
from fastapi_chain.engines.here import set_engine
from fastapi_chain.engines.base import Engine
from fastapi_chain.engines.select import make_engine
from fastapi_chain.errors import ChainError, DecoratorOrder, DuplicateChain, InvalidChain
from fastapi_chain.plan import Plan

from .call import Call
from .endpoint import Endpoint
from .middleware import App, Middleware


class Runtime:
    """What `install` makes: the engine of an app, from its start-up to its shutdown."""

    def __init__(self, app: Any, engine: Engine, drain_timeout: float) -> None:  # noqa: ANN401 - any Starlette app
        """Belong to *app*."""
        self.app = app
        self.engine = engine
        self.drain_timeout = drain_timeout
        self._loop: asyncio.AbstractEventLoop | None = None

    @property
    def running(self) -> bool:
        """Whether the app's lifespan has begun on the running loop."""
        return self._loop is asyncio.get_running_loop()

    async def begin(self) -> None:
        """Check all chains of the app, and take runs from now on.

        Raises:
            InvalidChain: Something is wrong with a chain; the problems of all chains are in it.
            EngineUnavailable: The engine's database does not answer.
        """
        self.check()
        await self.engine.open()
        self._loop = asyncio.get_running_loop()
        set_engine(self._loop, self.engine)

    async def end(self) -> None:
        """Let the runs come to their end, for at most `drain_timeout` seconds; then cancel them."""
        if self._loop is not None:
            await self.engine.drain(self.drain_timeout)
            set_engine(self._loop, None)
            self._loop = None

    def headers(self, call: Call) -> list[tuple[bytes, bytes]]:
        """Return what a response that starts a run says about it."""
        return [] if call.run is None else [(b"x-chain-run", call.run.id.encode())]

    def plan(self, name: str) -> Plan | None:
        """Return the plan of the chain called *name*: of one of this app's endpoints, else of any there is."""
        found = [chain for chain in (*self.chains(), *all_chains) if chain.name == name]
        return found[0].plan if found else None

    def crons(self) -> list[tuple[Plan, str]]:
        """Return the plans of all chains that start by themselves, each with the times at which."""
        return [(chain.plan, chain.options.cron) for chain in all_chains if chain.options.cron is not None]

    def chains(self) -> list[Chain]:
        """Return the chains that are on an endpoint of the app, in the order of its routes."""
        return [chain for chain, _, _ in self._endpoints()]

    def check(self) -> None:
        """Check every chain of the app.

        Raises:
            InvalidChain: Something is wrong; the problems of all chains are in it.
        """
        problems: list[ChainError] = [*self._order()]
        found: dict[Chain, None] = {}
        for chain, endpoint, route in self._endpoints():
            endpoint.kinds = input_kinds(route.dependant)
            endpoint.route = f"{route.methods[0]} {route.path}"
            found[chain] = None
        by_name: dict[str, Chain] = {}
        for chain in found:
            first = by_name.setdefault(chain.name, chain)
            if first is not chain:
                problems.append(DuplicateChain(name=chain.name, first=_place(first), second=_place(chain)))
            try:
                chain.check(engine=self.engine.name)
                problems += self.engine.check(chain.plan)
            except InvalidChain as error:
                problems += error.problems
        if problems:
            # One task in many chains is wrong once.
            unique = {str(problem): problem for problem in problems}
            raise InvalidChain(chain=None, problems=tuple(unique.values()))

    def _endpoints(self) -> Iterator[tuple[Chain, Endpoint, Any]]:
        """Yield the endpoints of the app that have a chain, each with its chain and route."""
        known = {id(endpoint.wrapper): (chain, endpoint) for chain in all_chains for endpoint in chain.endpoints}
        for route in api_routes(self.app):
            for layer in endpoint_ids(route.endpoint):
                if layer in known:
                    yield *known[layer], route

    def _order(self) -> Iterator[DecoratorOrder]:
        """Yield the endpoints whose chain stands above the route, which has registered the bare function."""
        bare = {id(endpoint.fn): endpoint for chain in all_chains for endpoint in chain.endpoints}
        wrappers = {id(endpoint.wrapper) for endpoint in bare.values()}
        for route in api_routes(self.app):
            layers = list(endpoint_ids(route.endpoint))
            if not wrappers.intersection(layers):
                for layer in layers:
                    if layer in bare:
                        endpoint = bare[layer]
                        yield DecoratorOrder(
                            endpoint=endpoint.source,
                            route=f"{route.methods[0]} {route.path}",
                            is_async=asyncio.iscoroutinefunction(endpoint.fn),
                        )


_installed: "WeakKeyDictionary[Any, Runtime]" = WeakKeyDictionary()


def runtime_of(app: object) -> Runtime | None:
    """Return what `install` has made for *app*; None if it was not called."""
    return _installed.get(app)


def _place(chain: Chain) -> Any:  # noqa: ANN401
    return chain.endpoints[0].source if chain.endpoints else chain.source


def install(  # noqa: PLR0913 - each option has a default that is right for most
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
    """Give *app* a runtime: runs outlive their requests, are drained at shutdown, kept in a history and checked at start-up."""
    made = make_engine(
        engine,
        plans=lambda name: runtime.plan(name),
        crons=lambda: runtime.crons(),
        app=app,
        worker=worker,
        pool=ThreadPool(threads),
        sinks=tuple(sinks),
        max_running=max_running,
        history=history,
    )
    runtime = Runtime(app, made, drain_timeout)
    wrap_app(app, lambda inner: Middleware(inner, runtime))
    _installed[app] = runtime
    return runtime
