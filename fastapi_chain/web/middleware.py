"""The outermost layer of an app with `install`: it sees the app begin and end, and every request really end."""

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Protocol

from fastapi_chain.engines.base import Engine
from fastapi_chain.engines.here import default_engine
from fastapi_chain.errors import EngineUnavailable

from .call import ERROR, SLOT, Call, Slot
from .problem import ProblemResponse

Message = MutableMapping[str, Any]
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]


class Host(Protocol):
    """What the layer needs of the runtime."""

    @property
    def engine(self) -> Engine:
        """Where runs run while the app is up."""

    @property
    def running(self) -> bool:
        """Whether runs may outlive their requests here: the app's lifespan has begun on this loop."""

    async def begin(self) -> None:
        """The app has started up: check all chains, take runs."""

    async def end(self) -> None:
        """The app is about to shut down: let runs come to their end."""

    def headers(self, call: Call) -> list[tuple[bytes, bytes]]:
        """Return what a response that starts a run says about it."""


class Exchange(Slot):
    """One request and its response."""

    __slots__ = ("_headers", "_send", "begun", "status")

    def __init__(self, engine: Engine, headers: Callable[[Call], list[tuple[bytes, bytes]]], send: Send) -> None:
        """Send the response to *send*, with *headers* about each of its runs."""
        super().__init__(engine)
        self.status = 500  # until there is a response
        self.begun = False
        self._headers = headers
        self._send = send

    async def send(self, message: Message) -> None:
        """Send a part of the response."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            if self.calls and self.status < ERROR:
                message = {**message, "headers": [*message.get("headers", ()), *await self._about_runs()]}
        self.begun = True
        await self._send(message)

    async def _about_runs(self) -> list[tuple[bytes, bytes]]:
        """Make the runs, and store them where they are to outlive this process; return what the response says about them."""
        headers: list[tuple[bytes, bytes]] = []
        for call in self.calls:
            run = call.claim()
            if run is not None:
                if self.engine.hold_soon is not None:
                    await self.engine.hold_soon(run, sure=call.sure)
                headers += self._headers(call)
        return headers


class Middleware:
    """Begins and ends the runtime, and starts the runs of each request when all of it is over."""

    def __init__(self, app: App, host: Host) -> None:
        """Stand around *app*."""
        self._app = app
        self._host = host

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one ASGI connection."""
        if scope["type"] == "lifespan":
            await self._lifespan(scope, receive, send)
        elif scope["type"] == "http" and SLOT not in scope:
            await self._request(scope, receive, send)
        else:
            # A mounted app with a runtime of its own: the outer one sees the end of the request.
            await self._app(scope, receive, send)

    async def _request(self, scope: Scope, receive: Receive, send: Send) -> None:
        host = self._host
        exchange = Exchange(host.engine if host.running else default_engine, host.headers, send)
        scope[SLOT] = exchange
        failed = True
        try:
            await self._app(scope, receive, exchange.send)
            failed = exchange.status >= ERROR
        except EngineUnavailable as error:
            if exchange.begun:
                raise
            # The run could not be stored, so the request has failed, and says when to try again.
            await ProblemResponse(503, "engine-unavailable", error.problem(), {"Retry-After": "5"})(scope, receive, send)
        finally:
            # They know the request, which knows the exchange: take them out of that circle.
            calls, exchange.calls = exchange.calls, []
            for call in calls:
                task = call.finish(failed=failed)
                if task is not None and not host.running:
                    # Nobody would wait for it at shutdown, so the request does.
                    await task

    async def _lifespan(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def hear() -> Message:
            message = await receive()
            if message["type"] == "lifespan.shutdown":
                # Before any code of the user's: what the runs need is still there.
                await self._host.end()
            return message

        async def say(message: Message) -> None:
            if message["type"] == "lifespan.startup.complete":
                # After all code of the user's. An error becomes `lifespan.startup.failed`, and the server does not start.
                await self._host.begin()
            await send(message)

        await self._app(scope, hear, say)
