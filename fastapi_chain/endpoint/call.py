"""One request to an endpoint that starts a chain: from its endpoint to the verdict.

A run begins when the request is over and committed. Three witnesses tell: the endpoint must have returned, FastAPI's
stacks must have closed without an exception, and the status must be below 400.
"""

import asyncio
from collections.abc import Awaitable, Generator, Mapping
from copy import copy
from typing import Final, Literal, Protocol

from starlette.background import BackgroundTask, BackgroundTasks
from starlette.requests import HTTPConnection
from starlette.responses import Response

from fastapi_chain._fastapi import Follower, commits_before_response, follow
from fastapi_chain._places import Place, Places
from fastapi_chain.engines.base import Engine, RunRequest
from fastapi_chain.engines.here import default_engine
from fastapi_chain.run import Run

from .once import Once, Payload, Recorder
from .promised import PromisedRun

SLOT: Final = "fastapi_chain"
"""Where in a request's scope the middleware of `install` leaves its `Slot`."""

ERROR: Final = 400
"""From this status on, a request has failed and starts nothing."""

COMMITS_FIRST: Final = commits_before_response()
"""Whether dependencies are closed before the response is sent: FastAPI before 0.118."""

Start = Literal["commit", "response"]
"""When a run begins."""


class _Nothing:
    """Can be awaited, and is over at once."""

    def __await__(self) -> Generator[None, None, None]:
        yield from ()


_NOTHING: Final = _Nothing()


class Site(Protocol):
    """What a request needs of the runtime of its app."""

    @property
    def base(self) -> str | None:
        """The path of its router within the app; None without one."""

    @property
    def places(self) -> Places:
        """The places for the runs of all chains together."""

    @property
    def installed(self) -> bool:
        """Whether the app has it by `install`; else a test client has lent it, and the app is served without."""


class Slot:
    """What the middleware of `install` knows of one request."""

    # What most requests do without is the class's until it is set.
    payload: Payload | None = None
    """The digest of its body, if it has an idempotency key."""
    recorder: Recorder | None = None
    """What keeps its answer, if it is the first one with its key."""

    def __init__(self, engine: Engine, site: Site, root: str) -> None:
        """Let the runs of this request run on *engine*.

        Args:
            engine: The engine.
            site: The runtime.
            root: The path under which clients see the app.
        """
        self.engine = engine
        self.site = site
        self.root = root
        self.calls: list[Call] = []

    def page(self, run: str) -> str | None:
        """Return the path of the status page of *run*; None without a router."""
        base = self.site.base
        return None if base is None else f"{self.root}{base}/runs/{run}"


class Starter(Protocol):
    """What a call needs of its chain."""

    @property
    def start_at(self) -> Start:
        """When its runs begin."""

    def open(self, call: "Call") -> None:
        """The endpoint is about to run; raise what must stop it."""

    def caller(self, values: Mapping[str, object]) -> str:
        """Return who has sent a request with these values; empty if the chain does not name that."""

    def promise(self) -> Run:
        """Return the run that the endpoint is given: it does not exist yet."""

    def order(self, call: "Call", values: Mapping[str, object], result: object) -> RunRequest | None:
        """Return what the run of *call* is made from, now that its endpoint has returned; None if it wants none."""


class Call(Follower):
    """One request, as its chain sees it."""

    # What most requests do without is the class's until it is set.
    sure: bool = True
    """Whether nothing has to be closed, and so to be committed, after the response."""
    promised: Run | None = None
    """The run that the endpoint was given."""
    run: Run | None = None
    """The run, as soon as it exists."""
    place: Place | None = None
    """The place that becomes the run, where their number is limited."""
    once: Once | None = None
    """What lets it in, if it has an idempotency key."""
    _order: RunRequest | None = None
    _task: "asyncio.Task[None] | None" = None
    _failed: bool = False

    def __init__(
        self, starter: Starter, request: HTTPConnection, response: Response, background: BackgroundTasks | None
    ) -> None:
        """Watch *request* from here on.

        Args:
            starter: The chain.
            request: The request.
            response: FastAPI's own, in which endpoint and dependencies may set a status.
            background: The request's background tasks, where the run begins or ends there.

        Raises:
            InvalidChain: Something is wrong with the chain.
            Refusal: The request must not reach its endpoint.
        """
        scope = request.scope
        self.request = request
        self._starter = starter
        self._response = response
        self._background = background
        slot: Slot | None = scope.get(SLOT)
        self.slot = slot
        if slot is None:
            self.engine: Engine = default_engine
        else:
            self.engine = slot.engine
            self.waits = False
            slot.calls.append(self)
        if not COMMITS_FIRST and not follow(scope, self):
            self.sure = False
        starter.open(self)

    # --- while the endpoint runs, perhaps in a thread

    def promise(self) -> Run:
        """Return the run that will be, for the endpoint."""
        self.promised = self._starter.promise()
        if self.slot is not None:
            promised = self.promised._backend  # noqa: SLF001 - the window is ours
            assert isinstance(promised, PromisedRun), "there is no run yet"
            promised.url = self.slot.page(promised.id)
        return self.promised

    async def admit(self, values: Mapping[str, object]) -> Response | None:
        """Return what this request is answered with instead of by its endpoint, which has answered it before.

        Raises:
            Refusal: It must not reach its endpoint, for it is on its way already, or another one has its key.
        """
        once, slot = self.once, self.slot
        assert once is not None, "only a request with a key is to be admitted"
        assert slot is not None, "keys need a runtime"
        admitted = await once.admit(self._starter.caller(values))
        if isinstance(admitted, Recorder):
            slot.recorder = admitted
            return None
        return admitted

    def returned(self, values: Mapping[str, object], result: object) -> object:
        """Take note that the endpoint was given *values* and has returned *result*; return what FastAPI is to be given.

        Call it in the endpoint's own context: that is what its tasks see.
        """
        if self._status(result) < ERROR:
            self._order = self._starter.order(self, values, result)
            if self._background is not None:
                return self._attached(self._background, result)
        return result

    def _status(self, result: object) -> int:
        """Return the status of the response, as far as endpoint, dependencies and route say."""
        if isinstance(result, Response):
            return result.status_code
        declared: int | None = getattr(self.request.scope.get("route"), "status_code", None)
        return self._response.status_code or declared or 200

    def _attached(self, background: BackgroundTasks, result: object) -> object:
        """Have ourselves called when the response is out, with the user's background tasks; return the response."""
        own = result.background if isinstance(result, Response) else None
        # For a response with a background task of its own, FastAPI drops all others.
        tasks: list[BackgroundTask] = background.tasks if own is None else [own]
        if COMMITS_FIRST and self.slot is None:
            ours = [BackgroundTask(self._accompany, list(tasks))]
        elif self._starter.start_at == "response":
            ours = [BackgroundTask(self._begin), *tasks]
        else:
            return result
        if isinstance(result, Response):
            # A copy: an endpoint may give the same response to every request.
            result = copy(result)
            result.background = BackgroundTasks(ours)
        else:
            background.tasks[:] = ours
        return result

    # --- when it is over, on the loop

    def claim(self) -> Run | None:
        """Make the run, if there is to be one: somebody is about to hear of it."""
        order = self._order
        if self.run is None and order is not None and not self._failed:
            place = self.place
            self.run = self.engine.take(order) if place is None else place.become(lambda: self.engine.take(order))
        return self.run

    def verdict(self, *, failed: bool) -> Run | None:
        """The request is over: return its run if it has earned it and nobody has started it yet."""
        run = None
        if self._task is None:
            if not failed and not self._failed:
                run = self.claim()
            elif self.run is not None:
                self.engine.drop(self.run)
        if self.place is not None:
            self.place.free()
        return run

    def finish(self, *, failed: bool) -> "asyncio.Task[None] | None":
        """The request is over: start the run if it has earned it; return its task."""
        run = self.verdict(failed=failed)
        if run is not None:
            self._task = self.engine.start(run, self._order)
        return self._task

    async def _begin(self) -> None:
        """The response is out."""
        run = self.claim()
        if run is not None and not self._failed:
            self._task = self.engine.start(run, self._order)

    async def _accompany(self, tasks: list[BackgroundTask]) -> None:
        """Run the user's background tasks; where nobody else says so, the request is over after them."""
        if self._starter.start_at == "response":
            await self._begin()
        error: BaseException | None = None
        try:
            for task in tasks:
                await task()
        except BaseException as failure:
            error = failure
            raise
        finally:
            self._note(error)
            await self._close()

    def _close(self) -> Awaitable[None]:
        """The request is over, and nobody else would wait for its run: return what does."""
        run, order = self.verdict(failed=False), self._order
        if run is not None and order is not None:
            return self.engine.begin(run, order, order.context) or _NOTHING
        return self._task or _NOTHING

    @property
    def failed(self) -> bool:
        """Whether something has gone wrong, even if it shows nowhere else."""
        return self._failed

    def fail(self, _error: BaseException) -> None:
        """Something has gone wrong that may show nowhere else."""
        self._failed = True

    def end(self, error: BaseException | None) -> Awaitable[None] | None:
        """All dependencies are closed; without a runtime, that is when the run begins, and is waited for."""
        self._note(error)
        return self._close() if self.slot is None else None

    def _note(self, error: BaseException | None) -> None:
        """Take note of what leaves the routes."""
        if error is not None:
            self._failed = True
            if self._task is not None and isinstance(error, asyncio.CancelledError):
                # The server waits no longer, and so neither does a run that has begun with the response.
                self._task.cancel()
