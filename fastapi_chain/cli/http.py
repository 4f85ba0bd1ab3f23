"""The runs of an app that runs, over its HTTP interface."""

import asyncio
import json
import time
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from http import HTTPStatus
from typing import IO, Final
from urllib.parse import quote, urlencode, urlsplit

from .source import Document, Wanted
from .stopping import Stop

_SECONDS: Final = 30.0
"""How long an answer may take."""

_APART: Final = 0.2
"""The shortest time between two looks at a run that is watched, in seconds."""

_PAGE: Final = "/runs/{run_id}"

_FOUND: Final = frozenset({HTTPStatus.FORBIDDEN, HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT})
"""What the app says about a run is something that was found; what it says about the question is not."""


class HttpRuns:
    """The runs behind a router that an app has included."""

    def __init__(self, url: str, headers: Sequence[str]) -> None:
        """Look at the app at *url*.

        Args:
            url: Where its router is, or its root: then its OpenAPI document says where the router is.
            headers: Headers of every request, each as `Name: value`.

        Raises:
            Stop: One of them is none.
        """
        parts = urlsplit(url)
        if parts.scheme not in {"http", "https"} or not parts.netloc:
            raise Stop(f"--url {url!r} is no address: --url http://127.0.0.1:8000")
        self._base = url.rstrip("/")
        self._headers = dict(map(_header, headers))
        self._found = False

    # --- what is asked of it

    async def page(self, wanted: Wanted) -> Document:
        """Return some runs."""
        query: list[tuple[str, str]] = [("limit", str(wanted.limit))]
        query += [("state", state) for state in wanted.states]
        query += [("tag", tag) for tag in wanted.tags]
        named = {"chain": wanted.chain, "q": wanted.text, "cursor": wanted.cursor}
        query += [(name, value) for name, value in named.items() if value is not None]
        if wanted.since is not None:
            query.append(("since", wanted.since.isoformat()))
        return await self._ask("GET", f"/runs?{urlencode(query)}")

    async def get(self, run: str) -> Document:
        """Return a run."""
        return await self._ask("GET", f"/runs/{quote(run, safe='')}")

    async def cancel(self, run: str) -> Document:
        """Cancel a run."""
        return await self._ask("POST", f"/runs/{quote(run, safe='')}/cancel")

    async def retry(self, run: str, from_: str) -> Document:
        """Let a run go on."""
        return await self._ask("POST", f"/runs/{quote(run, safe='')}/retry", {"from": from_})

    async def watch(self, run: str) -> AsyncIterator[Document]:
        """Yield a run each time that it has changed."""
        document = await self.get(run)
        yield document
        looked = time.monotonic()
        while not document["done"]:
            stream = await asyncio.to_thread(self._open, "GET", f"/runs/{quote(run, safe='')}/events", None)
            # A server closes a stream after a while; whoever wants to know more comes again.
            with stream:
                async for _ in _events(stream):
                    await asyncio.sleep(max(0.0, looked + _APART - time.monotonic()))
                    document, looked = await self.get(run), time.monotonic()
                    yield document
                    if document["done"]:
                        return
            document = await self.get(run)
            yield document

    # --- one request

    async def _ask(self, method: str, path: str, body: Mapping[str, object] | None = None) -> Document:
        """Return what the app answers.

        Raises:
            Stop: It refuses, or does not answer.
        """
        if not self._found:
            self._found = True
            self._base = await asyncio.to_thread(self._router)
        return await asyncio.to_thread(self._json, method, path, body)

    def _router(self) -> str:
        """Return where the router is: where we were told, unless an OpenAPI document there says otherwise."""
        try:
            with self._open("GET", "/openapi.json", None) as answer:
                paths = json.load(answer)["paths"]
        except (Stop, ValueError, LookupError, TypeError):
            return self._base
        found = next((path for path in paths if path.endswith(_PAGE)), None)
        return self._base if found is None else self._base + found.removesuffix(_PAGE)

    def _json(self, method: str, path: str, body: Mapping[str, object] | None) -> Document:
        with self._open(method, path, body) as answer:
            try:
                document: Document = json.load(answer)
            except ValueError:
                document = {}
        if not isinstance(document, dict) or not document:
            raise Stop(f"{self._base} is no app with fastapi_chain's router: give its address, prefix included")
        return document

    def _open(self, method: str, path: str, body: Mapping[str, object] | None) -> IO[bytes]:
        data = None if body is None else json.dumps(body).encode()
        headers = {"Accept": "*/*", "Sec-Fetch-Site": "none", **self._headers}
        if data is not None:
            headers["Content-Type"] = "application/json"
        request = urllib.request.Request(self._base + path, data=data, headers=headers, method=method)  # noqa: S310 - __init__ has looked
        try:
            answer: IO[bytes] = urllib.request.urlopen(request, timeout=_SECONDS)  # noqa: S310 - as above
        except urllib.error.HTTPError as error:
            with error:
                raise _refused(self._base, error.code, error.read()) from error
        except (urllib.error.URLError, OSError) as error:
            reason = getattr(error, "reason", error)
            raise Stop(f"{self._base} does not answer: {reason}") from error
        return answer


def _header(text: str) -> tuple[str, str]:
    name, colon, value = text.partition(":")
    if not colon or not name.strip():
        raise Stop(f"--header {text!r} is none: --header 'Authorization: Bearer ...'")
    return name.strip(), value.strip()


def _refused(base: str, status: int, body: bytes) -> Stop:
    """Return what to say of an answer that is none."""
    try:
        problem = json.loads(body)
        detail, ours = str(problem["detail"]), str(problem.get("type", "")).startswith("urn:fastapi-chain:")
    except (ValueError, LookupError, TypeError, AttributeError):
        detail, ours = "", False
    if status in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN} and not ours:
        return Stop(f"{base} refuses with {status}: give --header 'Authorization: ...'")
    if ours:
        return Stop(detail, 1 if status in _FOUND else 2)
    if status == HTTPStatus.NOT_FOUND:
        return Stop(f"{base} has no runs: give the address of fastapi_chain's router, prefix included")
    return Stop(f"{base} answers {status}{f': {detail}' if detail else ''}")


async def _events(stream: IO[bytes]) -> AsyncIterator[str]:
    """Yield the names of the events of a stream, as they come."""
    lines = iter(_lines(stream))
    while (name := await asyncio.to_thread(next, lines, None)) is not None:
        yield name


def _lines(stream: IO[bytes]) -> Iterator[str]:
    try:
        for line in stream:
            if line.startswith(b"event:"):
                yield line.partition(b":")[2].strip().decode()
    except (OSError, ValueError):
        # Cut off: whoever wants to know more comes again.
        return
