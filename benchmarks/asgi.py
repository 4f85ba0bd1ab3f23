"""Requests without a client or sockets: the app is called as a server calls it."""

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
