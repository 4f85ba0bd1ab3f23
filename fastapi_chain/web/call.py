"""One request to an endpoint that starts a chain: from the first dependency to the verdict.

A run begins when the request is over and committed. Three witnesses tell: the endpoint must have returned, FastAPI's stacks must have
closed without an exception, and the status must be below 400.
"""

import asyncio
from collections.abc import Mapping
from contextvars import Context, copy_context
from typing import Final, Literal, Protocol

from starlette.background import BackgroundTask, BackgroundTasks
from starlette.requests import Request
from starlette.responses import Response

from fastapi_chain._fastapi import commits_before_response, on_endpoint_exit, on_request_end
from fastapi_chain.engines.base import Engine
from fastapi_chain.engines.here import engine_here
from fastapi_chain.run import Run

SLOT: Final = "fastapi_chain"
"""Where in a request's scope the middleware of `install` leaves the list of its calls."""

ERROR: Final = 400
"""From this status on, a request has failed and starts nothing."""

Start = Literal["commit", "response"]
"""When a run begins."""


class Starter(Protocol):
    """What a call needs of its chain."""

    start_at: Start
    """`commit` or `response`."""

    def open(self, call: "Call") -> None:
        """A request has come in; raise what must stop it before its endpoint runs."""

    def make(self, call: "Call", values: Mapping[str, object], result: object, context: Context) -> bool:
        """The endpoint has returned: make the run of the call; return whether there is one."""

    def launch(self, call: "Call") -> "asyncio.Task[None]":
        """Start the run of the call."""

    def drop(self, call: "Call") -> None:
        """The request starts nothing."""


class Call:
    """One request, as its chain sees it."""

    __slots__ = ("_failed", "_status", "_task", "background", "engine", "made", "request", "response", "run", "slot", "starter")

    def __init__(self, starter: Starter, request: Request, response: Response, background: BackgroundTasks | None) -> None:
        """Watch *request* from here on.

        Args:
            starter: The chain.
            request: The request.
            response: FastAPI's own, in which the endpoint may set a status.
            background: The request's background tasks, where the run begins there.
        """
        self.starter = starter
        self.request = request
        self.response = response
        self.background = background
        self.engine: Engine = engine_here()
        self.run: Run | None = None
        self.made = False  # the endpoint has returned, and there is a run to start
        self.slot: list[Call] | None = request.scope.get(SLOT)
        self._failed = False
        self._status = 0
        self._task: asyncio.Task[None] | None = None
        if self.slot is not None:
            self.slot.append(self)
        if not commits_before_response():
            on_endpoint_exit(request.scope, self._leave)
            on_request_end(request.scope, self._end)

    @property
    def watched(self) -> bool:
        """Whether the end of the request is seen whatever happens; before FastAPI 0.118 only a runtime sees it."""
        return self.slot is not None or not commits_before_response()

    # --- while the request goes on

    def returned(self, values: Mapping[str, object], result: object) -> object:
        """Take note that the endpoint has returned *result*; return what to answer.

        Called in the endpoint's own context, which may be a thread's.
        """
        self._status = self._status_of(result)
        if self._status < ERROR:
            self.made = self.starter.make(self, values, result, copy_context())
        if self.background is not None:
            self._join_background(result)
        return result

    def _join_background(self, result: object) -> None:
        """Begin as the first of the request's background tasks; without a runtime, let the last one wait for the run."""
        assert self.background is not None, "asked for when the endpoint was registered"
        first = BackgroundTask(self._respond)
        last = [BackgroundTask(self._wait)] if self.slot is None else []
        if isinstance(result, Response) and result.background is not None:
            # FastAPI drops its own background tasks for those of a response that brings some.
            result.background = BackgroundTasks([first, *self.background.tasks, result.background, *last])
        else:
            self.background.tasks[:] = [first, *self.background.tasks, *last]

    async def _respond(self) -> None:
        """The response is out."""
        if self.made and (self.starter.start_at == "response" or self.slot is None):
            self._task = self.starter.launch(self)

    async def _wait(self) -> None:
        if self._task is not None:
            await self._task

    def _status_of(self, result: object) -> int:
        """Return the status of the response, as far as the endpoint and its route say."""
        if isinstance(result, Response):
            return result.status_code
        declared: int | None = getattr(self.request.scope.get("route"), "status_code", None)
        return self.response.status_code or declared or 200

    # --- when it is over

    async def _leave(self, error: BaseException | None) -> None:
        self._failed |= error is not None

    async def _end(self, error: BaseException | None) -> None:
        """All dependencies are closed; without a runtime, that is when the run begins, and is waited for."""
        self._failed |= error is not None
        if self.slot is None:
            task = self.finish(failed=False)
            if task is not None:
                await task

    def finish(self, *, failed: bool) -> "asyncio.Task[None] | None":
        """The request is over: start the run if it has earned it; return its task."""
        if self._task is None:
            if self.made and not failed and not self._failed:
                self._task = self.starter.launch(self)
            else:
                self.starter.drop(self)
        return self._task
