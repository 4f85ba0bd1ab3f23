"""Requests with an `Idempotency-Key`.

The endpoint runs once, and its answer is given again to whoever repeats the request.
"""

from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from hashlib import blake2b
from typing import Any, Final

from starlette.requests import HTTPConnection
from starlette.responses import Response

from fastapi_chain.engines.base import Answer, KeyStore

from .problem import Refusal

HEADER: Final = "idempotency-key"

LARGEST: Final = 64 * 1024
"""The largest body that is kept, in bytes."""

LONGEST: Final = 255
"""The longest key."""

_REPEATED: Final = frozenset({"content-type", "content-language", "location", "link", "x-chain-run", "etag"})
"""The headers of an answer that are given again."""

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]


def key_of(headers: Mapping[str, str]) -> str | None:
    """Return the key of a request; None without one."""
    return headers.get(HEADER, "").strip() or None


class Payload:
    """The digest of a request's body, made while the app reads it."""

    def __init__(self, receive: Receive) -> None:
        """Stand between *receive* and the app."""
        self._receive = receive
        self._digest = blake2b(digest_size=16)

    async def receive(self) -> Message:
        """Receive a part of the request."""
        message = await self._receive()
        self._digest.update(message.get("body", b""))
        return message

    def digest(self, request: HTTPConnection, caller: str) -> str:
        """Return what makes the request what it is: its method, its URL, its body and who has sent it.

        FastAPI reads the body before an endpoint begins, as far as any parameter is in it. What the endpoint itself
        reads is not in here.
        """
        whole = self._digest.copy()
        scope = request.scope
        for part in (scope["method"], scope["path"], scope.get("query_string", b"").decode("latin-1"), caller):
            whole.update(b"\0" + part.encode())
        return whole.hexdigest()


class Recorder:
    """Keeps the answer of the first request with a key."""

    def __init__(self, keys: KeyStore, chain: str, key: str) -> None:
        """Keep it in *keys*, under *key*, which has been claimed."""
        self._keys = keys
        self._chain = chain
        self._key = key
        self._status = 0
        self._headers: tuple[tuple[str, str], ...] = ()
        self._body: bytearray | None = bytearray()

    def note(self, message: Message) -> None:
        """Take note of a part of the answer."""
        if message["type"] == "http.response.start":
            self._status = message["status"]
            pairs = ((name.decode("latin-1").lower(), value.decode("latin-1")) for name, value in message["headers"])
            self._headers = tuple((name, value) for name, value in pairs if name in _REPEATED)
        elif self._body is not None:
            self._body += message.get("body", b"")
            if len(self._body) > LARGEST:
                self._body = None

    async def close(self, *, failed: bool) -> None:
        """The request is over: keep its answer, or let another one try."""
        if failed:
            await self._keys.free(self._chain, self._key)
            return
        body = None if self._body is None else bytes(self._body)
        answer = Answer(status=self._status, headers=self._headers, body=body)
        await self._keys.keep(self._chain, self._key, answer)


class Once:
    """One request with a key."""

    def __init__(self, request: HTTPConnection, keys: KeyStore, payload: Payload, *, chain: str, key: str) -> None:
        """Prepare to let it in once.

        Args:
            request: The request.
            keys: The keys that are known.
            payload: The digest of its body.
            chain: The chain, within which the key is the only one.
            key: The key.
        """
        self._request = request
        self._keys = keys
        self._payload = payload
        self._chain = chain
        self._key = key

    async def admit(self, caller: str) -> Response | Recorder:
        """Return the first answer; for the request that is to give it, what keeps it.

        Args:
            caller: Who has sent the request, where the chain names that.

        Raises:
            Refusal: 409, the first request is still on its way, or its answer was too large; 422, it was another one.
        """
        if len(self._key) > LONGEST:
            raise Refusal(422, "request", f"An Idempotency-Key has at most {LONGEST} characters.")
        digest = self._payload.digest(self._request, caller)
        kept = await self._keys.claim(self._chain, self._key, digest)
        if kept is None:
            return Recorder(self._keys, self._chain, self._key)
        if kept.payload != digest:
            text = "This Idempotency-Key has come with another request before."
            raise Refusal(422, "idempotency-key-reused", text)
        answer = kept.answer
        if answer is None:
            text = "The first request with this Idempotency-Key has not been answered yet."
            raise Refusal(409, "idempotency-in-flight", text, {"Retry-After": "1"})
        if answer.body is None:
            text = f"The answer to the first request was larger than {LARGEST} bytes, so it was not kept."
            raise Refusal(409, "idempotency-answer-not-kept", text)
        replay = Response(answer.body, answer.status, {"Idempotent-Replay": "true"})
        for name, value in answer.headers:
            replay.headers.append(name, value)
        return replay
