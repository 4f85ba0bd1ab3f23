"""Driving a coroutine by hand: what asyncio does with it, and two things that asyncio would not tell.

**When it suspends.** `body.send(None)` runs it up to there. If it returns before, it is over, and nothing was paid for;
if a task of the run suspends in it, that is the moment at which the others start (`line.py`). `driven` then goes on
with it: what the body waits for goes up to asyncio, and what comes back goes down.

**What a `TaskGroup` in it leaves behind.** On the fast path tasks run in the asyncio task of whoever waits for the run.
A task of the user's may swallow a cancellation that was meant for the run: all that shows it is that `cancelling()`
counts one more than before. Before Python 3.13, so it does after a `TaskGroup` whose child fails while it waits for the
others: it has cancelled the task it is in, and forgets to take that back. So there, each cancellation is looked at when
it comes down: if it is due to such a group, it is counted in `run.left_behind`.
"""

import asyncio
import sys
from collections.abc import Coroutine, Generator
from types import coroutine
from typing import Any, Final, TypeVar

from fastapi_chain._state import RunState

T = TypeVar("T")

FORGETFUL: Final = sys.version_info < (3, 13)
"""Whether groups leave cancellations behind."""

_NEW: Final = object()
_EXIT: Final = asyncio.TaskGroup.__aexit__.__code__


@coroutine
def driven(run: RunState, body: Coroutine[Any, Any, T], first: object = _NEW) -> Generator[Any, Any, T]:
    """Go on with *body* to its end.

    Args:
        run: The run that it is a part of.
        body: What runs in the asyncio task that is here.
        first: What it has suspended with, if it has begun.
    """
    last: object = None
    try:
        what = body.send(None) if first is _NEW else first
        while True:
            try:
                got = yield what
            except asyncio.CancelledError as error:
                group = _group_at(body) if FORGETFUL else None
                if group is not None and group is not last:
                    run.left_behind += 1
                    last = group
                what = body.throw(error)
            except BaseException as error:  # noqa: BLE001 - whatever it is, it is for the body
                what = body.throw(error)
            else:
                what = body.send(got)
    except StopIteration as done:
        value: T = done.value
        return value


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
