"""Driving a run by hand: what asyncio does with a coroutine, and three things that asyncio would not do.

**Another context.** A run has context variables of its own, or what its tasks set would be seen by whoever waits for
it, and by the next run. So every step of it is made in a copy.

**When it waits.** The first step is made at once. If the run is over with it, nothing more is paid for. If a task of it
waits on the straight line (`line.py`), that is the moment at which the others start: in the context as it was before,
for what the task at hand has set is not for them.

**What a `TaskGroup` in it leaves behind.** On the fast path tasks run in the asyncio task of whoever waits for the run.
A task of the user's may swallow a cancellation that was meant for the run: all that shows it is that `cancelling()`
counts one more than before. Before Python 3.13, so it does after a `TaskGroup` whose child fails while it waits for the
others: it has cancelled the task it is in, and forgets to take that back. So there, each cancellation is looked at when
it comes down: if it is due to such a group, it is counted in `run.left_behind`.
"""

import asyncio
import sys
from collections.abc import Awaitable, Coroutine, Generator
from contextvars import Context, copy_context
from types import coroutine
from typing import Any, Final, Protocol

from fastapi_chain._state import RunState

FORGETFUL: Final = sys.version_info < (3, 13)
"""Whether groups leave cancellations behind."""

_EXIT: Final = asyncio.TaskGroup.__aexit__.__code__


class Driven(Protocol):
    """What is driven."""

    inner: RunState

    def perform(self) -> Coroutine[Any, Any, None]:
        """Run to the end."""

    def spread(self) -> None:
        """Start whatever else may run: a task on the straight line waits."""


def begin(live: Driven, context: Context | None = None) -> Awaitable[None] | None:
    """Perform *live* as far as it goes without waiting; return what is left, to be awaited in this asyncio task.

    Args:
        live: The run.
        context: The context variables that it begins with, which nobody else changes; None: those of here.
    """
    own = copy_context() if context is None else context.copy()
    body = live.perform()
    try:
        first = own.run(body.send, None)
    except StopIteration:
        return None
    return _go_on(live, body, first, own, context)


@coroutine
def _go_on(
    live: Driven, body: Coroutine[Any, Any, None], what: object, own: Context, context: Context | None
) -> Generator[Any, Any, None]:
    """Go on with *body*, which waits for *what*: that goes up to asyncio, and what comes back goes down."""
    run = live.inner
    last: object = None
    thrown: BaseException | None = None
    try:
        while True:
            if run.pos >= 0:
                if context is None:
                    live.spread()
                else:
                    context.run(live.spread)
            try:
                got = yield what
            except BaseException as error:  # noqa: BLE001 - whatever it is, it is for the body
                thrown = error
            else:
                what = own.run(body.send, got)
                continue
            # Not while it is being handled here: it would be the context of whatever the body raises.
            if FORGETFUL and isinstance(thrown, asyncio.CancelledError):
                group = _group_at(body)
                if group is not None and group is not last:
                    run.left_behind += 1
                    last = group
            what = own.run(body.throw, thrown)
    except StopIteration:
        return
    finally:
        thrown = None


def _group_at(body: object) -> object:
    """Return the group because of which *body* is cancelled right now, while that waits for its children.

    Where one cannot look any deeper, behind an asynchronous generator, say, what is in the way is returned: there may
    be a group.
    """
    inner: Any = body
    while inner is not None and type(inner).__name__ != "FutureIter":
        if getattr(inner, "cr_code", None) is _EXIT:
            names = inner.cr_frame.f_locals
            group = names["self"]
            # If its body did not come to its end, the group has taken its cancellation back already.
            return group if names["et"] is None and group._parent_cancel_requested else None  # noqa: SLF001 - of versions that do not change any more
        if hasattr(inner, "cr_await"):
            inner = inner.cr_await
        elif hasattr(inner, "gi_yieldfrom"):
            inner = inner.gi_yieldfrom
        else:
            return inner
    return None
