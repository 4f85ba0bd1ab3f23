"""A run as a stream of server-sent events.

It is written by hand: FastAPI's own begins with 0.135, and neither that nor Starlette's `StreamingResponse` ends when
the server is to stop. A stream lives for a minute at most, then the client comes back by itself and says what it has
seen last.
"""

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Final

from starlette.responses import Response

from fastapi_chain.engines.base import KnownRun

from .feed import Feed, Feeds
from .stopping import Stopping
from .words import HEARTBEAT, RETRY, Words

HEARTBEAT_SECONDS: Final = 15.0
"""How long a stream may be quiet."""

AGE: Final = 60.0
"""How many seconds a stream lives."""

HEADERS: Final = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}

Message = MutableMapping[str, Any]


class Bell:
    """Wakes one who waits, whoever rings; what it was for, everybody sees for themselves."""

    def __init__(self) -> None:
        """Begin quiet."""
        self._rung = False
        self._future: asyncio.Future[None] | None = None

    def ring(self) -> None:
        """Wake whoever waits, or will."""
        if not self._rung:
            self._rung = True
            if self._future is not None and not self._future.done():
                self._future.set_result(None)

    async def wait(self) -> None:
        """Return when somebody has rung since the last time."""
        if not self._rung:
            self._future = asyncio.get_running_loop().create_future()
            await self._future
        self._rung = False


class EventStream(Response):
    """A run from now on, or from the event that the client has seen last."""

    media_type = "text/event-stream"

    def __init__(
        self, run: KnownRun, base: str, *, words: Words, feeds: Feeds, stopping: Stopping, after: int | None
    ) -> None:
        """Prepare to stream *run*.

        Args:
            run: The run.
            base: The path of the router, for links.
            words: Puts the run into words.
            feeds: Where its events come from.
            stopping: Tells when the server is about to stop.
            after: The number of the event that the client has seen last; None: it has seen none.
        """
        super().__init__(headers=HEADERS)
        del self.headers["content-length"]
        self._run = run
        self._base = base
        self._words = words
        self._feeds = feeds
        self._stopping = stopping
        self._seen = after
        self._bell = Bell()
        self._gone = False
        """Whether the client has gone."""
        self._quiet = False
        """Whether it is time to show that we are still here."""
        self._old = False
        """Whether the stream has lived long enough."""
        self._end = 0.0
        self._timer: asyncio.TimerHandle | None = None

    async def __call__(
        self,
        scope: MutableMapping[str, Any],  # noqa: ARG002 - it is an ASGI app
        receive: Callable[[], Awaitable[Message]],
        send: Callable[[Message], Awaitable[None]],
    ) -> None:
        """Stream."""
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        listening = asyncio.ensure_future(self._listen(receive))
        self._stopping.add(self._bell.ring)
        self._tick()
        try:
            with self._feeds.follow(self._run, self._bell.ring) as feed:
                await self._stream(feed, send)
            if not self._gone:
                await send({"type": "http.response.body", "body": b"", "more_body": False})
        except OSError:
            # What some servers raise when the client has gone.
            pass
        finally:
            self._stopping.remove(self._bell.ring)
            listening.cancel()
            assert self._timer is not None, "time goes by as soon as the stream begins"
            self._timer.cancel()

    async def _listen(self, receive: Callable[[], Awaitable[Message]]) -> None:
        """Find out when the client goes."""
        while (await receive())["type"] != "http.disconnect":
            pass
        self._gone = True
        self._bell.ring()

    async def _stream(self, feed: Feed, send: Callable[[Message], Awaitable[None]]) -> None:
        fresh = RETRY
        while not (self._gone or self._old or self._stopping.begun):
            fresh += self._news(feed)
            if fresh:
                await send({"type": "http.response.body", "body": fresh, "more_body": True})
                # More may have happened meanwhile.
                fresh = b""
            elif feed.ended:
                return
            else:
                await self._bell.wait()
                if self._quiet:
                    self._quiet, fresh = False, HEARTBEAT

    def _news(self, feed: Feed) -> bytes:
        """Return what the client has not seen yet."""
        seen = self._seen
        fresh = None if seen is None else feed.after(seen)
        if fresh is not None:
            self._seen = max(seen or 0, feed.seq)
            return fresh
        run = self._run
        seq = max(run.seq, feed.seq)
        self._seen = seq - 1 if run.finished_at is not None else seq
        return self._words.snapshot(run, self._base, seq)

    def _tick(self) -> None:
        """Time goes by. There is one timer, whatever is sent: one for each event would cost more than to send it."""
        loop = asyncio.get_running_loop()
        if self._timer is None:
            self._end = loop.time() + AGE
        else:
            self._quiet = True
            self._bell.ring()
        left = self._end - loop.time()
        self._old = left <= 0
        if not self._old:
            self._timer = loop.call_later(min(left, HEARTBEAT_SECONDS), self._tick)
