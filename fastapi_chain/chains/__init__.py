"""Chain: some tasks and everything upstream of them, to be put on an endpoint or started by hand."""

import sys
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from importlib import import_module
from itertools import count
from typing import Any, Final, Generic, Literal, TypeVar
from weakref import WeakSet

from fastapi_chain.declare.signature import local_names
from fastapi_chain.endpoint import Endpoint, wrap
from fastapi_chain.engines.base import Engine, RunRequest
from fastapi_chain.engines.here import engine_here
from fastapi_chain.errors import DeclarationError, EngineError, QueueFull
from fastapi_chain.plan import Draft, Plan
from fastapi_chain.run import Run
from fastapi_chain.spec import Source

from .blueprint import Blueprint
from .options import ChainOptions, Target, check_options, check_targets
from .starting import RETRY_AFTER, Starting
from .targets import Targets

F = TypeVar("F", bound=Callable[..., object])
Flow_co = TypeVar("Flow_co", covariant=True)

all_chains: "WeakSet[Chain]" = WeakSet()
"""Every chain there is: `install` looks here for those that should have been on an endpoint of its app."""

_count = count()

_ABOVE: Final = "put @chain(...) directly above the `def` of an endpoint, below @app.post(...)"


class Chain:
    """Some tasks and everything upstream of them; made by `chain(...)`.

    As a decorator it goes directly above the endpoint's `def`, below `@app.post(...)`: every successful request then
    starts a run. One chain may decorate several endpoints.
    """

    def __init__(self, blueprint: Blueprint) -> None:
        """Be the chain of *blueprint*."""
        self._blueprint = blueprint
        self.number: int = next(_count)
        """How many chains were made before it."""
        # An endpoint refers to the blueprint of its chain: so the chain lives as long as the endpoint, named or not.
        blueprint.chain = self
        all_chains.add(self)

    @property
    def name(self) -> str:
        """Its name: the one given, else its first endpoint's, else its targets'."""
        return self._blueprint.name

    @property
    def options(self) -> ChainOptions:
        """What `chain(...)` was given."""
        return self._blueprint.options

    @property
    def source(self) -> Source:
        """Where it is written."""
        return self._blueprint.source

    @property
    def endpoints(self) -> tuple[Endpoint, ...]:
        """The endpoints that it decorates."""
        return tuple(self._blueprint.endpoints)

    @property
    def plan(self) -> Plan:
        """The tasks in order, each parameter with its source; made and checked when first asked for.

        Raises:
            InvalidChain: Something is wrong with the chain.
        """
        return self._blueprint.plan()

    def check(self, *, engine: str | None = None) -> None:
        """Check everything that can be known before it runs.

        Args:
            engine: The name of the engine on which it is to run (`memory`, `sqlite`, …); None: what only some engines
                can do is not looked at.

        Raises:
            InvalidChain: Something is wrong; all of it is in `.problems`.
        """
        self._blueprint.plan(engine)

    def __call__(self, fn: F, /) -> F:
        """Let every successful request to the endpoint *fn* start a run.

        Raises:
            StreamingEndpoint: The endpoint is a generator.
            DeclarationError: It has a chain already, or is no function.
        """
        _check_callable(fn, self.source)
        starting = Starting(self._blueprint)
        wrapper, endpoint = wrap(fn, starting, self.options.returns, local_names(fn))
        starting.endpoint = endpoint
        self._blueprint.endpoints.append(endpoint)
        return wrapper

    async def run(self, /, **inputs: object) -> Run:
        """Run the chain here, and return the finished run.

        Failures of tasks are in the run (`run.errors`, `run.raise_for_error()`), they are not raised.

        Args:
            **inputs: The inputs of the chain.

        Raises:
            InvalidChain: Something is wrong with the chain.
            MissingInput: An input is missing.
            UnknownInput: A keyword is no input.
            QueueFull: `max_pending` runs are waiting or running.
        """
        engine = engine_here()
        run = engine.take(self._request(engine, inputs))
        rest = engine.begin(run)
        if rest is not None:
            await rest
        return run

    async def start(self, /, *, session: object = None, **inputs: object) -> Run:
        """Start a run at once, and return it without waiting for its end.

        It does not wait for the commit of a surrounding request. Without `install` it is a task of the running loop
        that nobody waits for at shutdown. On a durable engine it is stored when this returns.

        Args:
            session: A session or connection of SQLAlchemy's, sync or async, to the database of a durable engine: the
                run is stored in its transaction, and starts if that is committed.
            **inputs: The inputs of the chain.

        Raises:
            EngineError: A session is given, and the engine is not durable.
            EngineUnavailable: The database of the engine does not answer.
            InvalidChain, MissingInput, UnknownInput, QueueFull: As for `run()`; `InvalidChain` also where the chain has
                an input called `session`.
        """
        engine = engine_here()
        self._blueprint.start_by_hand(engine.name, in_transaction=session is not None)
        if session is not None and engine.enlist is None:
            raise EngineError(
                what=f"Engine {engine.name!r} cannot store a run in a session's transaction.",
                fixes=('install(app, engine="sqlite:///chains.db")', "leave out session=..."),
            )
        run = engine.take(self._request(engine, inputs))
        if session is not None and engine.enlist is not None:
            await engine.enlist(run, session)
            return run
        task = engine.start(run)
        if engine.hold_soon is not None:
            await task
        return run

    def _request(self, engine: Engine, inputs: Mapping[str, object]) -> RunRequest:
        request = self._blueprint.asked(engine.name, inputs)
        if request.counted:
            limit = self.options.max_pending
            if limit is not None and engine.pending(self.name) + self._blueprint.places.held >= limit:
                raise QueueFull(chain=self.name, max_pending=limit, retry_after=RETRY_AFTER)
        limit = engine.max_pending
        if limit is not None and engine.pending(None) >= limit:
            raise QueueFull(chain=None, max_pending=limit, retry_after=RETRY_AFTER)
        return request

    def altered(self, change: Callable[[Plan], Plan]) -> AbstractContextManager[None]:
        """Run by what *change* makes of the plan within the block, as before after it; for tests."""
        return self._blueprint.altered(change)

    def to_mermaid(self) -> str:
        """Return the graph as Mermaid text."""
        text: str = _drawing("mermaid").mermaid(self.plan)
        return text

    def to_svg(self) -> str | None:
        """Return the graph as an SVG, light or dark as its reader has it; None without `fastapi-chain[dashboard]`."""
        svg: str | None = _drawing("picture").picture_of(self.plan).alone
        return svg

    def _repr_svg_(self) -> str | None:
        """Let notebooks show the graph."""
        return self.to_svg()

    def __repr__(self) -> str:
        return f"<Chain {self.name!r} {self.source.at}>"


def _drawing(module: str) -> Any:  # noqa: ANN401 - a module
    # Loaded when somebody looks at a chain: nothing that runs needs it.
    return import_module(f"fastapi_chain._drawing.{module}")


def _check_callable(endpoint: object, chain: Source) -> None:
    if not callable(endpoint):
        what = f"@chain got {endpoint!r}, which is no endpoint."
        raise DeclarationError(what=what, rows=(("declared at", chain.at),), fixes=(_ABOVE,))


def chains_by_name() -> dict[str, Chain]:
    """Return every chain there is by its name.

    Of several of one name the last that was made: the others are left from a notebook's cell that was run again, say.
    """
    return {chain.name: chain for chain in sorted(all_chains, key=lambda chain: chain.number)}


class FlowChain(Chain, Generic[Flow_co]):
    """A `Chain` as the mypy plugin knows it."""


def draft_of(chain: Chain) -> Draft:
    """Return the plan of *chain* as far as it goes, with what is wrong with it; its endpoints are not looked at."""
    return chain._blueprint.draft()  # noqa: SLF001 - of this module


def chain(
    *targets: Target,
    name: str | None = None,
    returns: str | None = None,
    start: Literal["commit", "response"] = "commit",
    deadline: float | None = None,
    key: str | None = None,
    idempotent: bool | str = False,
    tags: Mapping[str, str] | None = None,
    max_pending: int | None = None,
    expose_result: bool = False,
    delay: float | None = None,
    priority: int | None = None,
    cron: str | None = None,
) -> Chain:
    """Chain *targets* and everything upstream of them.

    Example:
        >>> from fastapi_chain import Registry
        >>> math = Registry("math")
        >>> @math.task
        ... async def double(x: int) -> int:
        ...     return 2 * x
        >>> @math.task(after=[double])
        ... async def plus_one(double: int) -> int:
        ...     return double + 1
        >>> import asyncio
        >>> run = asyncio.run(chain(plus_one).run(x=4))
        >>> run[plus_one]
        9

    Args:
        *targets: Tasks, their names, or whole registries; none: the whole default registry.
        name: Its name, unique in an app; default: the first endpoint's, else the targets' joined by `+`.
        returns: The name under which the endpoint's return value is an input.
        start: `commit` (default): a run begins when the response is sent and every dependency of the request has been
            closed without an exception. `response`: right after the response.
        deadline: Seconds for a whole run, from its start; then it fails with `DeadlineExceeded`. Default None: no
            limit.
        key: One run per key: a template over the chain's inputs, `"order-{order.id}"`. A second start gives the same
            run, for as long as that is kept. An endpoint with a key needs `install`, which keeps runs.
        idempotent: Honour the `Idempotency-Key` header of requests; a template over the endpoint's parameters,
            `"{user.id}"`, does so and names the caller, where several share the endpoint. It needs `install`.
        tags: Words to find runs by: templates like `key`.
        max_pending: How many runs of this chain may be queued or running; beyond, an endpoint answers 429 and
            `start()` raises `QueueFull`. Default None: no limit.
        expose_result: Whether `GET /runs/{id}/result` may show the targets' outputs.
        delay: Seconds between the request and the start; needs a durable engine.
        priority: Runs with a lower number start first; needs a durable engine.
        cron: When the chain starts by itself; needs a durable engine.

    Raises:
        BadOption: A target or an option makes no sense.
        CalledInsteadOfNamed: `chain(save())` was written for `chain(save)`.
    """
    frame = sys._getframe(1)  # noqa: SLF001 - the documented way to the caller's place
    source = Source(name=name or "chain", file=frame.f_code.co_filename, line=frame.f_lineno)
    options = ChainOptions(
        returns=returns,
        start=start,
        deadline=deadline,
        key=key,
        idempotent=idempotent,
        tags=tags or {},
        max_pending=max_pending,
        expose_result=expose_result,
        delay=delay,
        priority=priority,
        cron=cron,
    )
    check_options(source, name, options)
    return Chain(Blueprint(name, Targets(check_targets(source, targets), source), options, source))
