"""When a request is really over.

Since 0.118 FastAPI closes the dependencies of a request when the response has been sent *and its background tasks have
run*: a background task that counts on `session.commit()` in a dependency comes too early. Before, dependencies were
closed first, then came the response and its background tasks.

So there are two ways to begin after the commit: before 0.118 a background task; since then a callback on the stack that
encloses all dependencies, those of app, router and route included.
"""

import logging
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Awaitable, Mapping
from contextlib import AbstractContextManager, AsyncExitStack
from functools import cache
from types import TracebackType
from typing import Any, Final

from .parts import unexpected, version_numbers

_CLOSES_LAST: Final = (0, 118)

_log: Final = logging.getLogger("fastapi_chain")


class Follower(ABC):
    """Follows a request to its end."""

    waits: bool = True
    """Whether the request is to wait for what `end` returns."""

    @abstractmethod
    def fail(self, error: BaseException) -> None:
        """Something of the request has ended with *error*, whatever becomes of that; it may be said more than once."""

    @abstractmethod
    def end(self, error: BaseException | None) -> Awaitable[None] | None:
        """The request is over, and *error* leaves its routes. Return something to be awaited if it `waits`."""

    def leave(
        self, _type: object, error: BaseException | None, _traceback: TracebackType | None, /
    ) -> Awaitable[None] | None:
        """Be what an exit stack calls at its end."""
        return self.end(error)


@cache
def commits_before_response() -> bool:
    """Tell whether the dependencies of a request are closed before its response is sent.

    If so, start runs in a background task: it does not run if anything failed. If not, use `follow`.
    """
    return version_numbers() < _CLOSES_LAST


def follow(scope: Mapping[str, Any], follower: Follower) -> bool:
    """Tell *follower* when the request is over: response sent, background tasks run, all dependencies closed.

    It also learns of the exceptions that nobody outside hears of: a handler may turn that of an endpoint, of the
    validation of its response or of `Depends(scope="function")` into a response, and a dependency may swallow that of
    another one.

    Call it when all dependencies are open, and only where `commits_before_response()` is False.

    Args:
        scope: The scope of the request, as the endpoint sees it.
        follower: It cannot stop an exception.

    Returns:
        Whether there is nothing to close: then nothing but a background task can fail once the response is out.

    Raises:
        ChainError: FastAPI keeps its stacks elsewhere.
    """
    stack = _stack(scope, "fastapi_inner_astack")
    if function_stack := scope.get("fastapi_function_astack"):
        # Dependencies with `scope="function"` have a stack of their own since 0.121.
        _stand_between(function_stack, follower)
    callbacks = _callbacks_of(stack)
    if callbacks is not None and not callbacks:
        # Most requests have nothing to close: then the end of this stack is the end of all. This is what `push` and
        # `push_async_exit` come to, after they have looked closely at what they are given.
        callbacks.append((not follower.waits, follower.leave))
        return True
    _stand_between(stack, follower)
    stack.push(_Failure(follower))
    outer: Any = _stack(scope, "fastapi_middleware_astack")
    (outer.push_async_exit if follower.waits else outer.push)(follower.leave)
    return False


class _Failure(AbstractContextManager[None]):
    """What tells a follower of exceptions further in."""

    def __init__(self, follower: Follower) -> None:
        self._follower = follower

    def __exit__(self, _type: object, error: BaseException | None, _traceback: TracebackType | None, /) -> None:
        if error is not None:
            self._follower.fail(error)


def _stand_between(stack: AsyncExitStack, follower: Follower) -> None:
    """Stand between any two callbacks of *stack*: an exception of the inner one may be swallowed by the outer one."""
    callbacks = _callbacks_of(stack)
    if callbacks is None:
        _warn()
        return
    # Where there are less than two, which is most often, there is no need.
    for at in range(len(callbacks) - 1, 0, -1):
        callbacks.insert(at, (True, _Failure(follower).__exit__))


def _callbacks_of(stack: AsyncExitStack) -> deque[Any] | None:
    """Return what *stack* will call; None where Python keeps that elsewhere than it has since 3.7."""
    # No public way leads there.
    found: object = getattr(stack, "_exit_callbacks", None)
    return found if isinstance(found, deque) else None


@cache
def _warn() -> None:
    """Tell what is not noticed any more: once."""
    _log.warning(
        "this Python keeps the callbacks of an AsyncExitStack where fastapi_chain does not find them: "
        "where a dependency swallows the failed commit of another one, the run begins all the same"
    )


def _stack(scope: Mapping[str, Any], key: str) -> AsyncExitStack:
    stack = scope.get(key)
    if not isinstance(stack, AsyncExitStack):
        raise unexpected(f"the scope of a request has no {key!r}")
    return stack
