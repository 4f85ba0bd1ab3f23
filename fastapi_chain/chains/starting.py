"""How the requests to one endpoint become runs of its chain."""

from collections.abc import Mapping
from contextvars import copy_context
from functools import partial
from typing import Final, NoReturn

from starlette.responses import Response

from fastapi_chain._fastapi import api_routes, endpoint_ids, input_kinds, snapshot_scope
from fastapi_chain._places import BothPlaces, Places
from fastapi_chain.endpoint import Endpoint
from fastapi_chain.endpoint.call import Call, Slot, Start
from fastapi_chain.endpoint.once import Once, key_of
from fastapi_chain.endpoint.problem import Refusal, handle_refusals
from fastapi_chain.endpoint.promised import PromisedRun
from fastapi_chain.engines.base import RunRequest
from fastapi_chain.errors import EngineError, QueueFull
from fastapi_chain.run import Run

from .blueprint import Blueprint

RETRY_AFTER: Final = 1.0
"""Seconds after which a client may try again when the queue is full."""


class Starting:
    """The `Starter` of one endpoint."""

    def __init__(self, blueprint: Blueprint) -> None:
        """Start runs of *blueprint*; its endpoint is set once it is wrapped."""
        self._blueprint = blueprint
        self.endpoint: Endpoint | None = None

    @property
    def start_at(self) -> Start:
        """When runs begin."""
        return self._blueprint.options.start

    def open(self, call: Call) -> None:
        """Check the chain before its first endpoint runs; refuse the request if its queue is full.

        Raises:
            InvalidChain: Something is wrong with the chain.
            EngineError: It has an option for which nothing is installed.
            Refusal: 429, the queue is full.
        """
        blueprint = self._blueprint
        if not blueprint.checked:
            self._learn(call)
            blueprint.plan(call.engine.name)
        slot = call.slot
        if blueprint.selective:
            self._select(call, slot)
        limit = call.engine.max_pending
        if limit is not None and slot is not None:
            self._take_place(call, slot.site.places, limit)
        if blueprint.options.idempotent and slot is not None:
            self._once(call, slot)

    def _select(self, call: Call, slot: Slot | None) -> None:
        """Look at what may keep a request to this chain from its endpoint, or the endpoint from working at all."""
        blueprint = self._blueprint
        if slot is None or not slot.site.installed:
            self._check_alone()
        limit = blueprint.options.max_pending
        if limit is not None:
            call.place = blueprint.places.get(limit, partial(call.engine.pending, blueprint.name))
            if call.place is None:
                full = QueueFull(chain=blueprint.name, max_pending=limit, retry_after=RETRY_AFTER)
                self._refuse(call, full)

    def _check_alone(self) -> None:
        """Refuse the options that count on something that outlives the request, where there is no runtime.

        Raises:
            EngineError: The chain has one of them.
        """
        options, name = self._blueprint.options, self._blueprint.name
        if options.key is not None:
            what = f"Chain {name!r} has key=, which needs install(): that keeps the runs, each under its key."
        elif options.idempotent:
            what = f"Chain {name!r} is idempotent, which needs install(): that keeps the answers."
        else:
            return
        raise EngineError(what=what, fixes=("install(app)",))

    @staticmethod
    def _refuse(call: Call, full: QueueFull) -> NoReturn:
        if call.place is not None:
            call.place.free()
        handle_refusals(call.request.scope)
        raise Refusal(429, "chain-busy", full.problem(), {"Retry-After": f"{RETRY_AFTER:.0f}"})

    def _take_place(self, call: Call, places: Places, limit: int) -> None:
        """Take a place among those of the whole app as well."""
        place = places.get(limit, partial(call.engine.pending, None))
        if place is None:
            self._refuse(call, QueueFull(chain=None, max_pending=limit, retry_after=RETRY_AFTER))
        call.place = place if call.place is None else BothPlaces(call.place, place)

    def _once(self, call: Call, slot: Slot) -> None:
        """Let a request with an idempotency key in once."""
        request = call.request
        key = key_of(request.headers)
        if key is not None and slot.payload is not None:
            handle_refusals(request.scope)
            call.once = Once(request, call.engine.keys, slot.payload, chain=self._blueprint.name, key=key)

    def caller(self, values: Mapping[str, object]) -> str:
        """Return who has sent a request with these values; empty if the chain does not name that."""
        named = self._blueprint.options.idempotent
        return named.format(**values) if isinstance(named, str) else ""

    def _learn(self, call: Call) -> None:
        """Take from its route what only FastAPI knows about the endpoint."""
        endpoint = self._wrapped
        for route in api_routes(call.request.app):
            if id(endpoint.wrapper) in endpoint_ids(route.endpoint):
                endpoint.kinds = input_kinds(route.dependant)
                endpoint.route = f"{route.methods[0]} {route.path}"

    @property
    def _wrapped(self) -> Endpoint:
        assert self.endpoint is not None, "no request comes in before the endpoint is wrapped"
        return self.endpoint

    def promise(self) -> Run:
        """Return the run that the endpoint is given."""
        return Run(PromisedRun(chain=self._blueprint.name))

    def order(self, call: Call, values: Mapping[str, object], result: object) -> RunRequest | None:
        """Return what the run of *call* is made from; None if its endpoint wants none."""
        if call.promised is not None and discarded(call.promised):
            return None
        endpoint = self._wrapped
        if endpoint.returns is not None and not isinstance(result, Response):
            values = {**values, endpoint.returns: result}
        request = self._blueprint.request(endpoint, values)
        scope = call.request.scope
        request.app = scope["app"]
        request.context = copy_context()
        request.started_by = endpoint.route
        if call.promised is not None:
            request.window = call.promised
        if request.plan.injects:
            request.request_scope = snapshot_scope(scope)
        return request


def discarded(run: Run) -> bool:
    """Whether the endpoint has refused the run that it was promised."""
    promised = run._backend  # noqa: SLF001 - the window is ours
    return isinstance(promised, PromisedRun) and promised.discarded
