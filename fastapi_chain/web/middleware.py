"""The outermost layer of an app with `install`: it sees the app begin and end, and every request really end."""

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Final, Protocol

from fastapi_chain.endpoint.call import ERROR, SLOT, Site, Slot
from fastapi_chain.endpoint.once import HEADER, Payload
from fastapi_chain.endpoint.problem import ProblemResponse
from fastapi_chain.engines.base import Engine
from fastapi_chain.errors import EngineUnavailable

from .access import Withdrawn

Message = MutableMapping[str, Any]
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]
Headers = list[tuple[bytes, bytes]]

ACCEPTED: Final = 202

IDEMPOTENCY_KEY: Final = HEADER.encode()


class Host(Site, Protocol):
    """What the layer needs of the runtime."""

    @property
    def here(self) -> Engine:
        """Where runs run on this loop: while the app is up, and where its lifespan never begins."""

    @property
    def withdrawn(self) -> Withdrawn:
        """The runs that came to nothing."""

    @property
    def running(self) -> bool:
        """Whether runs may outlive their requests here: the app's lifespan has begun on this loop."""

    async def begin(self) -> None:
        """The app has started up: check all chains, take runs."""

    async def end(self) -> None:
        """The app is about to shut down: let runs come to their end."""


class Exchange(Slot):
    """One request and its response."""

    status: int = 500
    """Its status: this one until there is a response."""
    begun: bool = False
    """Whether any of it has been sent."""

    def __init__(self, engine: Engine, site: Site, root: str, send: Send) -> None:
        """Send the response to *send*; the other arguments as for `Slot`."""
        super().__init__(engine, site, root)
        self._send = send

    def send(self, message: Message) -> Awaitable[None]:
        """Send a part of the response.

        No coroutine: where nothing has to be stored first, there is nothing to await but the sending itself.
        """
        if message["type"] == "http.response.start":
            self.status = message["status"]
            if self.calls and self.status < ERROR:
                if self.engine.hold_soon is not None:
                    return self._send_stored(message, self.engine.hold_soon)
                message = self._about_runs(message)
        return self._pass_on(message)

    def _pass_on(self, message: Message) -> Awaitable[None]:
        self.begun = True
        if self.recorder is not None:
            self.recorder.note(message)
        return self._send(message)

    async def _send_stored(self, message: Message, hold_soon: Callable[..., Awaitable[None]]) -> None:
        """Send the start of the response when the runs are stored where they outlive this process."""
        for call in self.calls:
            run = call.claim()
            if run is not None:
                await hold_soon(run, sure=call.sure)
        await self._pass_on(self._about_runs(message))

    def _about_runs(self, message: Message) -> Message:
        """Make the runs; return the start of the response with what it says about them."""
        headers: Headers = list(message.get("headers", ()))
        for call in self.calls:
            run = call.claim()
            if run is not None:
                headers.append((b"x-chain-run", run.id.encode()))
                page = self.page(run.id) if self.status == ACCEPTED else None
                if page is not None:
                    headers += _links(page, {name.lower() for name, _ in headers})
        return {**message, "headers": headers}


def _links(page: str, given: set[bytes]) -> Headers:
    """Return where the run with this status page is watched; what is *given* already is left alone."""
    link = f'<{page}>; rel="status", <{page}/events>; rel="monitor"; type="text/event-stream"'
    headers: Headers = [(b"link", link.encode())]
    if b"location" not in given:
        headers.append((b"location", page.encode()))
    if b"retry-after" not in given:
        headers.append((b"retry-after", b"1"))
    return headers


class Middleware:
    """Begins and ends the runtime, and starts the runs of each request when all of it is over."""

    def __init__(self, app: App, host: Host) -> None:
        """Stand around *app*."""
        self._app = app
        self._host = host

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        """Handle one ASGI connection."""
        if scope["type"] == "http" and SLOT not in scope:
            return self._request(scope, receive, send)
        if scope["type"] == "lifespan":
            return self._lifespan(scope, receive, send)
        # A mounted app with a runtime of its own: the outer one sees the end of the request.
        return self._app(scope, receive, send)

    async def _request(self, scope: Scope, receive: Receive, send: Send) -> None:
        host = self._host
        exchange = Exchange(host.here, host, scope.get("root_path", ""), send)
        scope[SLOT] = exchange
        for name, _ in scope["headers"]:
            if name == IDEMPOTENCY_KEY:
                exchange.payload = Payload(receive)
                receive = exchange.payload.receive
        failed = True
        try:
            await self._app(scope, receive, exchange.send)
            failed = exchange.status >= ERROR
        except EngineUnavailable as error:
            if exchange.begun:
                raise
            # The run could not be stored, so the request has failed, and says when to try again.
            await ProblemResponse(503, "engine-unavailable", error.problem(), {"Retry-After": "5"})(
                scope, receive, send
            )
        finally:
            # They know the request, which knows the exchange: take them out of that circle.
            calls, exchange.calls = exchange.calls, []
            if exchange.recorder is not None:
                await exchange.recorder.close(failed=failed or any(call.failed for call in calls))
            for call in calls:
                task = call.finish(failed=failed)
                if task is None:
                    if call.run is not None and (failed or call.failed):
                        host.withdrawn.add(call.run.id)
                elif not host.running:
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
                # After all code of the user's. An error becomes `lifespan.startup.failed`, and the server does not
                # start.
                await self._host.begin()
            await send(message)

        await self._app(scope, hear, say)
