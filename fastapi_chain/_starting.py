"""How the requests to one endpoint become runs of its chain."""

import asyncio
from collections.abc import Mapping
from contextvars import Context
from typing import Any

from fastapi import HTTPException, Request, Response

from ._blueprint import Blueprint
from ._fastapi import input_kinds, snapshot_scope
from .run import Run
from .web.call import Call, Start
from .web.endpoint import Endpoint
from .web.promised import PromisedRun

_RETRY_AFTER = 1
"""Seconds after which a client may try again when the queue is full."""


class Starting:
    """The `Starter` of one endpoint."""

    def __init__(self, blueprint: Blueprint) -> None:
        """Start runs of *blueprint*; its endpoint is set once it is wrapped."""
        self._blueprint = blueprint
        self.endpoint: Endpoint | None = None
        self.wants_run = False

    @property
    def start_at(self) -> Start:
        """When runs begin."""
        return self._blueprint.options.start

    def open(self, call: Call) -> None:
        """Check the chain before its first endpoint runs; refuse the request if its queue is full.

        Raises:
            InvalidChain: Something is wrong with the chain.
            HTTPException: 429, the queue is full.
        """
        blueprint = self._blueprint
        if not blueprint.checked:
            self._learn(call.request)
            blueprint.plan()
        limit = blueprint.options.max_pending
        if limit is not None and call.engine.pending(blueprint.name) >= limit:
            detail = f"{limit} runs of chain {blueprint.name!r} are waiting or running; try again later"
            raise HTTPException(429, detail, headers={"Retry-After": str(_RETRY_AFTER)})
        if self.wants_run:
            call.run = Run(PromisedRun(chain=blueprint.name))

    def _learn(self, request: Request) -> None:
        """Take from the route what only FastAPI knows about the endpoint."""
        route: Any = request.scope.get("route")
        if self.endpoint is not None and hasattr(route, "dependant"):
            self.endpoint.kinds = input_kinds(route.dependant)
            self.endpoint.route = f"{request.method} {route.path}"

    def make(self, call: Call, values: Mapping[str, object], result: object, context: Context) -> bool:
        """Make the run of *call* from what its endpoint was given and has returned; return whether it wants one."""
        blueprint = self._blueprint
        promised = None if call.run is None else call.run._backend  # noqa: SLF001 - the window is ours
        if isinstance(promised, PromisedRun) and promised.discarded:
            return False
        assert self.endpoint is not None, "no request comes in before the endpoint is wrapped"
        if self.endpoint.returns is not None and not isinstance(result, Response):
            values = {**values, self.endpoint.returns: result}
        request = blueprint.request(self.endpoint, values)
        request.app = call.request.app
        request.context = context
        request.window = call.run
        if request.plan.injects:
            request.request_scope = snapshot_scope(call.request.scope)
        call.run = call.engine.take(request)
        return True

    def launch(self, call: Call) -> "asyncio.Task[None]":
        """Start the run of *call*."""
        assert call.run is not None, "it was made when the endpoint returned"
        return call.engine.start(call.run)

    def drop(self, call: Call) -> None:
        """Forget the run of *call*."""
        if call.made and call.run is not None:
            call.engine.drop(call.run)
