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

PATIENCE: Final = 0.5
"""How many seconds a client that does not read has for what is on its way to it, once its stream is to end."""

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
        self._patience: asyncio.TimerHandle | None = None
        self._task: asyncio.Task[Any] | None = None
        self._stuck = False
        """Whether we have given up a client that does not read: sending waits for that."""

    async def __call__(
        self,
        scope: MutableMapping[str, Any],  # noqa: ARG002 - it is an ASGI app
        receive: Callable[[], Awaitable[Message]],
        send: Callable[[Message], Awaitable[None]],
    ) -> None:
        """Stream."""
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        self._task = task = asyncio.current_task()
        listening = asyncio.ensure_future(self._listen(receive))
        self._stopping.add(self._end_soon)
        self._tick()
        try:
            with self._feeds.follow(self._run, self._bell.ring) as feed:
                await self._stream(feed, send)
            if not self._gone:
                await send({"type": "http.response.body", "body": b"", "more_body": False})
        except OSError:
            # What some servers raise when the client has gone.
            pass
        except asyncio.CancelledError:
            assert task is not None, "it was cancelled"
            if not self._stuck or task.uncancel() > 0:
                # The server has its own reasons.
                raise
        finally:
            self._stopping.remove(self._end_soon)
            listening.cancel()
            for timer in (self._timer, self._patience):
                if timer is not None:
                    timer.cancel()

    def _end_soon(self) -> None:
        """End the stream, even if its client does not read."""
        self._bell.ring()
        self._patience = self._patience or asyncio.get_running_loop().call_later(PATIENCE, self._give_up)

    def _give_up(self) -> None:
        # A stream that is to end and has not ended waits for nothing else than for its client to read.
        assert self._task is not None, "a stream that is over has put its timers off"
        self._stuck = True
        self._task.cancel()

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
        if self._old:
            self._end_soon()
        else:
            self._timer = loop.call_later(min(left, HEARTBEAT_SECONDS), self._tick)
