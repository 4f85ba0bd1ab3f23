"""Requests without a client or sockets: the app is called as a server calls it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

_SCOPE: Final = {
    "type": "http",
    "asgi": {"version": "3.0", "spec_version": "2.3"},
    "http_version": "1.1",
    "method": "GET",
    "scheme": "http",
    "query_string": b"",
    "root_path": "",
    "headers": [(b"host", b"127.0.0.1")],
    "client": ("127.0.0.1", 1),
    "server": ("127.0.0.1", 80),
    "extensions": {},
}


async def get(app: Any, path: str) -> None:
    """Make one request; its background tasks have ended when this returns.

    Raises:
        AssertionError: The status is not 200.
    """
    status = 0

    async def receive() -> dict[str, object]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: dict[str, Any]) -> None:
        nonlocal status
        if message["type"] == "http.response.start":
            status = message["status"]

    await app({**_SCOPE, "path": path, "raw_path": path.encode()}, receive, send)
    if status != 200:
        text = f"GET {path} answered {status}"
        raise AssertionError(text)


@asynccontextmanager
async def lifespan(app: Any) -> AsyncIterator[None]:
    """Start *app* up and shut it down again, as a server does.

    Raises:
        RuntimeError: It does not start.
    """
    orders: asyncio.Queue[dict[str, str]] = asyncio.Queue()
    answers: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
    living = asyncio.create_task(
        app({"type": "lifespan", "asgi": _SCOPE["asgi"], "state": {}}, orders.get, answers.put)
    )
    for order in ("startup", "shutdown"):
        await orders.put({"type": f"lifespan.{order}"})
        answer = await answers.get()
        if answer["type"] != f"lifespan.{order}.complete":
            raise RuntimeError(answer.get("message", order))
        if order == "startup":
            yield
    await living
