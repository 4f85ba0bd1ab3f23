"""What the tests of the web share: a client that sends many requests at once, on the test's own loop."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import pytest


@dataclass
class Answer:
    """A response."""

    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


class Server:
    """Calls an app as a server does, each request in a task of its own."""

    def __init__(self, app: Any) -> None:
        self.app = app

    async def post(self, url: str = "/", **headers: str) -> Answer:
        """Send a request; return when the app has returned from it."""
        path, _, query = url.partition("?")
        scope = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": "1.1",
            "method": "POST",
            "scheme": "http",
            "path": path,
            "raw_path": path.encode(),
            "root_path": "",
            "query_string": query.encode(),
            "headers": [(b"host", b"test"), *((name.encode(), value.encode()) for name, value in headers.items())],
            "client": ("127.0.0.1", 1),
            "server": ("test", 80),
        }
        answer = Answer(0, {}, b"")

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": b"", "more_body": False}

        async def send(message: dict[str, Any]) -> None:
            if message["type"] == "http.response.start":
                answer.status = message["status"]
                answer.headers = {name.decode(): value.decode() for name, value in message["headers"]}
            else:
                answer.body += message.get("body", b"")

        await asyncio.create_task(self.app(scope, receive, send))
        return answer

    @asynccontextmanager
    async def lifespan(self) -> AsyncIterator["Server"]:
        """Start the app up, and shut it down in the end."""
        orders: asyncio.Queue[Any] = asyncio.Queue()
        answers: asyncio.Queue[Any] = asyncio.Queue()
        living = asyncio.create_task(self.app({"type": "lifespan", "asgi": {}, "state": {}}, orders.get, answers.put))
        await orders.put({"type": "lifespan.startup"})
        assert (await answers.get())["type"] == "lifespan.startup.complete"
        yield self
        await orders.put({"type": "lifespan.shutdown"})
        assert (await answers.get())["type"] == "lifespan.shutdown.complete"
        await living


@pytest.fixture
def server() -> Callable[[Any], Server]:
    """Return what makes a server of an app."""
    return Server
