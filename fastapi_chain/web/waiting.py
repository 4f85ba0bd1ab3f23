"""Waiting for a run over HTTP: ETags and long polls."""

import asyncio
import re
from collections.abc import Callable
from hashlib import blake2b
from typing import Final

from fastapi import Request, Response

from fastapi_chain.engines.base import KnownRun

from .encoding import json_of
from .feed import Feeds
from .models import RunModel
from .routes import RETRY_AFTER
from .sse import Bell
from .stopping import Stopping

LONGEST: Final = 30
"""How many seconds a request may wait."""

_WAIT: Final = re.compile(r"(?:^|[,;\s])wait\s*=\s*\"?(\d+)")


class Reader:
    """Answers with a run, perhaps only when it has changed."""

    def __init__(self, feeds: Feeds, stopping: Stopping) -> None:
        """Learn of changes from *feeds*, and of the end of the server from *stopping*."""
        self._feeds = feeds
        self._stopping = stopping

    async def answer(self, request: Request, run: KnownRun, show: Callable[[], RunModel]) -> Response:
        """Return the run as it stands, or 304 if the client knows that.

        Args:
            request: It may ask us to wait until there is something new.
            run: The run.
            show: Makes its model.
        """
        found = _WAIT.search(request.headers.get("prefer", ""))
        seconds = min(LONGEST, int(found[1])) if found else 0
        known = request.headers.get("if-none-match")
        model = show()
        if seconds and not model.done:
            model = await self._wait(run, show, model, known, seconds)
        body = json_of(model)
        tag = _tag(body)
        headers = {"ETag": tag, "Cache-Control": "no-cache", "Vary": "Prefer"}
        if found:
            headers["Preference-Applied"] = f"wait={seconds}"
        if not model.done:
            headers |= RETRY_AFTER
        if _matches(known, tag):
            return Response(status_code=304, headers=headers)
        return Response(body, media_type="application/json", headers=headers)

    async def _wait(
        self, run: KnownRun, show: Callable[[], RunModel], model: RunModel, known: str | None, seconds: int
    ) -> RunModel:
        """Return the run when it is not as the client knows it; for one that knows nothing, when it is done."""
        bell = Bell()
        loop = asyncio.get_running_loop()
        end = loop.time() + seconds
        timer = loop.call_at(end, bell.ring)
        self._stopping.add(bell.ring)
        try:
            with self._feeds.follow(run, bell.ring):
                while _waits(model, known) and loop.time() < end and not self._stopping.begun:
                    await bell.wait()
                    model = show()
        finally:
            timer.cancel()
            self._stopping.remove(bell.ring)
        return model


def _waits(model: RunModel, known: str | None) -> bool:
    """Whether there is nothing to tell yet."""
    if model.done:
        return False
    return known is None or _matches(known, _tag(json_of(model)))


def _tag(body: bytes) -> str:
    return f'"{blake2b(body, digest_size=10).hexdigest()}"'


def _matches(known: str | None, tag: str) -> bool:
    """Whether *tag* is among those of an `If-None-Match` header."""
    if known is None:
        return False
    return known.strip() == "*" or tag in {one.strip().removeprefix("W/") for one in known.split(",")}
