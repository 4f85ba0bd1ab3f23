"""When a request is really over.

Since 0.118 FastAPI closes the dependencies of a request when the response has been sent *and its background tasks have
run*: a background task that counts on `session.commit()` in a dependency comes too early. Before, dependencies were
closed first, then came the response and its background tasks.

So there are two ways to begin after the commit: before 0.118 a background task; since then a callback on the stack that
encloses all dependencies, those of app, router and route included.
"""

from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from functools import cache
from types import TracebackType
from typing import Any, Final

from .parts import unexpected, version_numbers

OnExit = Callable[[BaseException | None], Awaitable[None]]
"""Learns with which exception, if any, something ended. It cannot stop the exception."""

_CLOSES_LAST: Final = (0, 118)


@cache
def commits_before_response() -> bool:
    """Tell whether the dependencies of a request are closed before its response is sent.

    If so, start runs in a background task: it does not run if anything failed. If not, use `on_request_end`.
    """
    return version_numbers() < _CLOSES_LAST


def on_request_end(scope: Mapping[str, Any], callback: OnExit) -> None:
    """Let *callback* run when the request is over: response sent, background tasks run, all dependencies closed.

    It learns of exceptions that leave the app's routes: of those raised in background tasks and at the exit of
    dependencies. An exception that was turned into a response it does not see: ask `on_endpoint_exit` as well.

    Only where `commits_before_response()` is False.

    Args:
        scope: The scope of the request, as the endpoint sees it.
        callback: Awaited in the task of the request.

    Raises:
        ChainError: FastAPI keeps its stack elsewhere.
    """
    _push(scope, "fastapi_middleware_astack", callback)


def on_endpoint_exit(scope: Mapping[str, Any], callback: OnExit) -> None:
    """Let *callback* run when the response has been sent, before the request's dependencies are closed.

    It learns of the exceptions of everything from here to there: the endpoint, the validation of its response,
    dependencies with `scope="function"`, the sending and the background tasks; even of those that a handler turns into
    a response afterwards.

    Arguments, errors and condition as for `on_request_end`.
    """
    _push(scope, "fastapi_inner_astack", callback)


def _push(scope: Mapping[str, Any], key: str, callback: OnExit) -> None:
    stack = scope.get(key)
    if not isinstance(stack, AsyncExitStack):
        raise unexpected(f"the scope of a request has no {key!r}")

    async def leave(_type: object, error: BaseException | None, _traceback: TracebackType | None) -> None:
        await callback(error)

    stack.push_async_exit(leave)
