"""An app's lifespan without a server: for test clients and workers."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any


@asynccontextmanager
async def lifespan(app: Any) -> AsyncIterator[dict[str, Any]]:  # noqa: ANN401 - any ASGI app
    """Start *app* up, yield its lifespan state, and shut it down, as a server does.

    Raises:
        RuntimeError: It does not start up, and does not say by an exception why.
        Exception: What its start-up or its shutdown has raised.
    """
    inbox: asyncio.Queue[dict[str, str]] = asyncio.Queue()
    outbox: asyncio.Queue[Any] = asyncio.Queue()
    state: dict[str, Any] = {}
    scope = {"type": "lifespan", "asgi": {"version": "3.0", "spec_version": "2.0"}, "state": state}

    async def serve() -> None:
        try:
            await app(scope, inbox.get, outbox.put)
        finally:
            await outbox.put(None)

    serving = asyncio.create_task(serve())
    await inbox.put({"type": "lifespan.startup"})
    await _answer(await outbox.get(), serving)
    try:
        yield state
    finally:
        await inbox.put({"type": "lifespan.shutdown"})
        await _answer(await outbox.get(), serving)
        await serving


async def _answer(message: Any, serving: "asyncio.Task[None]") -> None:  # noqa: ANN401 - an ASGI message, or None at the end
    """Raise what has gone wrong if *message* says so."""
    if message is None or message["type"].endswith(".failed"):
        await serving
        text = (message or {}).get("message") or "the app has no lifespan"
        raise RuntimeError(text)
