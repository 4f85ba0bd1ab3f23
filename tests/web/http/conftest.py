"""A client that speaks ASGI on the test's own loop: it can read a stream bit by bit, and go away."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest


class Answer:
    """A response, as far as it has come."""

    def __init__(self) -> None:
        self.status = 0
        self.raw: list[tuple[str, str]] = []
        self.body = b""
        self.over = False

    @property
    def headers(self) -> dict[str, str]:
        return dict(self.raw)

    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def slug(self) -> str:
        """The end of a problem's type."""
        assert self.headers["content-type"] == "application/problem+json"
        assert self.json()["status"] == self.status
        return self.json()["type"].rpartition(":")[2]


class Stream(Answer):
    """A response that is read while it comes."""

    def __init__(self) -> None:
        super().__init__()
        self._news = asyncio.Event()
        self._gone = asyncio.Event()
        self.reads = asyncio.Event()
        """Cleared by a client that does not read: the server waits, then."""
        self.reads.set()
        self.task: asyncio.Task[None]

    def take(self, message: dict[str, Any]) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self.raw = [(name.decode(), value.decode()) for name, value in message["headers"]]
        else:
            self.body += message.get("body", b"")
            self.over = not message.get("more_body", False)
        self._news.set()

    async def until(self, done: Callable[["Stream"], bool]) -> None:
        """Return when *done* holds."""
        while not done(self):
            self._news.clear()
            await asyncio.wait_for(self._news.wait(), 20)

    async def event(self, name: str) -> dict[str, Any]:
        """Return the data of the first event called *name* once it has come."""
        await self.until(lambda stream: any(kind == name for kind, _, _ in stream.events()))
        return next(data for kind, _, data in self.events() if kind == name)

    def events(self) -> list[tuple[str, int, dict[str, Any]]]:
        """Return name, number and data of every event so far."""
        found = []
        for block in self.body.decode().split("\n\n"):
            fields = dict(line.split(": ", 1) for line in block.splitlines() if not line.startswith(":"))
            if "data" in fields:
                found.append((fields["event"], int(fields["id"]), json.loads(fields["data"])))
        return found

    def names(self) -> list[str]:
        return [name for name, _, _ in self.events()]

    def leave(self) -> None:
        """Go away."""
        self._gone.set()

    async def receive(self) -> dict[str, Any]:
        await self._gone.wait()
        return {"type": "http.disconnect"}

    async def end(self) -> "Stream":
        """Return when the app has returned."""
        await asyncio.wait_for(self.task, 20)
        return self


class Client:
    """Sends requests to an app."""

    def __init__(self, app: Any, **scope: Any) -> None:
        self.app = app
        self.scope = scope

    def start(self, method: str, url: str, body: bytes = b"", **headers: str) -> Stream:
        """Begin a request."""
        path, _, query = url.partition("?")
        named = {"host": "shop", **{name.replace("_", "-"): value for name, value in headers.items()}}
        scope = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": "1.1",
            "method": method,
            "scheme": "http",
            "path": path,
            "raw_path": path.encode(),
            "root_path": "",
            "query_string": query.encode(),
            "headers": [(name.encode(), value.encode()) for name, value in named.items()],
            "client": ("127.0.0.1", 1),
            "server": ("shop", 80),
            **self.scope,
        }
        stream = Stream()
        sent = False

        async def receive() -> dict[str, Any]:
            nonlocal sent
            if sent:
                return await stream.receive()
            sent = True
            return {"type": "http.request", "body": body, "more_body": False}

        async def send(message: dict[str, Any]) -> None:
            await stream.reads.wait()
            stream.take(message)

        stream.task = asyncio.create_task(self.app(scope, receive, send))
        return stream

    async def get(self, url: str, **headers: str) -> Stream:
        return await self.start("GET", url, **headers).end()

    async def post(self, url: str, json_: Any = None, **headers: str) -> Stream:
        body = b"" if json_ is None else json.dumps(json_).encode()
        return await self.start("POST", url, body, **{"content_type": "application/json", **headers}).end()

    async def finished(self, url: str) -> dict[str, Any]:
        """Return the run at *url* when it has finished."""
        return (await self.get(url, prefer="wait=20")).json()


@asynccontextmanager
async def serving(app: Any, **scope: Any) -> AsyncIterator[Client]:
    """Start *app* up, give a client, and shut it down in the end."""
    orders: asyncio.Queue[Any] = asyncio.Queue()
    answers: asyncio.Queue[Any] = asyncio.Queue()
    living = asyncio.create_task(app({"type": "lifespan", "asgi": {}, "state": {}}, orders.get, answers.put))
    await orders.put({"type": "lifespan.startup"})
    answer = await answers.get()
    assert answer["type"] == "lifespan.startup.complete", answer
    try:
        yield Client(app, **scope)
    finally:
        await orders.put({"type": "lifespan.shutdown"})
        assert (await answers.get())["type"] == "lifespan.shutdown.complete"
        await living


@pytest.fixture(name="serving")
def _serving() -> Callable[..., Any]:
    """Return what serves an app."""
    return serving
