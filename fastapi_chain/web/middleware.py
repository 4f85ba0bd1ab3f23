"""The outermost layer of an app with `install`: it sees the app begin and end, and every request really end."""

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Protocol

from .call import ERROR, SLOT, Call

Message = MutableMapping[str, Any]
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]


class Host(Protocol):
    """What the layer needs of the runtime."""

    @property
    def running(self) -> bool:
        """Whether runs may outlive their requests here: the app's lifespan has begun on this loop."""

    def begin(self) -> None:
        """The app has started up: check all chains, take runs."""

    async def end(self) -> None:
        """The app is about to shut down: let runs come to their end."""

    def headers(self, call: Call) -> list[tuple[bytes, bytes]]:
        """Return what a response that starts a run says about it."""


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
        calls: list[Call] = []
        scope[SLOT] = calls
        status = 500

        async def watch(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                if calls and status < ERROR:
                    extra = [pair for call in calls if call.made for pair in self._host.headers(call)]
                    message = {**message, "headers": [*message.get("headers", ()), *extra]}
            await send(message)

        failed = True
        try:
            await self._app(scope, receive, watch)
            failed = status >= ERROR
        finally:
            for call in calls:
                task = call.finish(failed=failed)
                if task is not None and not self._host.running:
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
                self._host.begin()
            await send(message)

        await self._app(scope, hear, say)
