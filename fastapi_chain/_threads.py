"""Worker threads for `def` tasks, apart from those that serve requests.

A pool of our own, since the two that are there do not fit: anyio's forty tokens are shared with FastAPI's `def`
endpoints, so that slow tasks would hold up requests, and `concurrent.futures` joins its threads at exit, so that one
stuck task would keep the process alive for ever. A hop through this one also costs half as much.
"""

import asyncio
import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from contextvars import copy_context
from functools import partial
from queue import Empty, SimpleQueue
from typing import Final, ParamSpec, TypeVar

from anyio import CancelScope

P = ParamSpec("P")
R = TypeVar("R")

Work = Callable[[], None]
"""Something to do in a thread; it must not raise."""

_IDLE_SECONDS: Final = 10.0
"""How long a thread waits for work before it ends; a new one starts in 0.1 ms."""


class ThreadPool:
    """At most *size* daemon threads; they start when needed and end when idle.

    Owners take turns, so that a run with ten thousand tasks at once holds up none that has a single one.
    """

    def __init__(self, size: int = 16) -> None:
        """Prepare for at most *size* threads; none is started yet."""
        self.size = size
        self._lock = threading.Lock()
        self._tickets: SimpleQueue[None] = SimpleQueue()  # one for each piece of work that waits
        self._waiting: dict[object, deque[Work]] = {}  # by owner; whose turn is next stands first
        self._threads = 0
        self._todo = 0  # waiting and running

    @property
    def crowded(self) -> bool:
        """Whether work waits for a thread."""
        return bool(self._waiting)

    def submit(self, work: Work, owner: object = None) -> None:
        """Let a thread do *work*. Any thread may call this.

        Args:
            work: What to do.
            owner: For whom; None: for nobody who has other work.
        """
        with self._lock:
            self._todo += 1
            grow = self._todo > self._threads and self._threads < self.size
            if grow:
                self._threads += 1
            self._waiting.setdefault(work if owner is None else owner, deque()).append(work)
        self._tickets.put(None)
        if grow:
            threading.Thread(target=self._work, name="fastapi-chain", daemon=True).start()

    def _work(self) -> None:
        while True:
            try:
                self._tickets.get(timeout=_IDLE_SECONDS)
            except Empty:
                if self._end():
                    return
                continue
            work = self._next()
            work()
            # Nothing of the last task may live on while the thread waits for the next.
            del work
            with self._lock:
                self._todo -= 1

    def _next(self) -> Work:
        """Take the first work of the owner whose turn it is, and let that owner queue up again."""
        with self._lock:
            owner = next(iter(self._waiting))
            queue = self._waiting.pop(owner)
            work = queue.popleft()
            if queue:
                self._waiting[owner] = queue
            return work

    def _end(self) -> bool:
        """Whether this thread may end: `submit` may have counted on it a moment ago."""
        with self._lock:
            if self._todo >= self._threads:
                return False
            self._threads -= 1
            return True


default_pool = ThreadPool()
"""The pool of runs in apps without `install`."""


class Escaped(Exception):
    """What ended a thread although it is no `Exception`: `SystemExit`, say, which must not end the process."""

    def __init__(self, cause: BaseException) -> None:
        """Carry *cause*."""
        super().__init__(cause)
        self.cause = cause


class Hopper:
    """Runs sync callables in a pool and waits for them on the loop."""

    def __init__(self, pool: ThreadPool) -> None:
        """Use *pool*."""
        self.pool = pool

    async def __call__(self, fn: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
        """Call *fn* in a thread, in a copy of the current context.

        A thread cannot be stopped: when the waiting task is cancelled, it still waits for *fn* to return, then lets the
        cancellation through.
        """
        return await finish(self.start(partial(fn, *args, **kwargs)))

    def start(self, fn: Callable[[], R], owner: object = None) -> "asyncio.Future[R]":
        """Call *fn* likewise, without waiting; return a future of what it returns. Cancelling that one stops nothing.

        Args:
            fn: What to call.
            owner: For whom: see `ThreadPool`.
        """
        loop = asyncio.get_running_loop()
        future: asyncio.Future[R] = loop.create_future()
        context = copy_context()

        def work() -> None:
            try:
                result = context.run(fn)
            except Exception as error:  # noqa: BLE001 - it belongs to the caller, whatever it is
                post(loop, settle, future, None, error)
            except BaseException as error:  # noqa: BLE001 - likewise, but on the loop it would end more than its task
                post(loop, settle, future, None, Escaped(error))
            else:
                post(loop, settle, future, result, None)

        self.pool.submit(work, owner)
        return future


async def finish(future: "asyncio.Future[R]") -> R:
    """Wait for *future* even through cancellation, which is let through once it is done."""
    try:
        await asyncio.wait((future,))
    except asyncio.CancelledError:
        # anyio cancels again in every cycle of the loop, except behind a shield.
        with CancelScope(shield=True):
            while not future.done():
                with suppress(asyncio.CancelledError):
                    await asyncio.wait((future,))
        look(future)
        raise
    return future.result()


def look(future: "asyncio.Future[R]") -> None:
    """Look at the result: the loop reports exceptions that nobody has looked at."""
    if not future.cancelled():
        future.exception()


def is_here(loop: asyncio.AbstractEventLoop | None) -> bool:
    """Whether *loop* is running in this very thread."""
    return loop is not None and asyncio._get_running_loop() is loop  # noqa: SLF001 - documented for just this, and it does not raise


def on_loop(loop: asyncio.AbstractEventLoop, callback: Callable[..., object], *args: object) -> None:
    """Call *callback* on *loop*: at once if we are there."""
    if is_here(loop):
        callback(*args)
    else:
        post(loop, callback, *args)


def post(loop: asyncio.AbstractEventLoop, callback: Callable[..., object], *args: object) -> None:
    """Call *callback* on *loop* from a thread; a loop that is closed has no use for it any more."""
    try:
        loop.call_soon_threadsafe(callback, *args)
    except RuntimeError:
        if not loop.is_closed():
            raise


def settle(future: "asyncio.Future[object]", result: object, error: BaseException | None) -> None:
    """Give *future* its result or its error, on the loop; one that was cancelled has no use for them any more."""
    if future.done():
        return
    if error is None:
        future.set_result(result)
    elif isinstance(error, StopIteration):
        # A future refuses it: inside a coroutine it would mean something else.
        wrapped = RuntimeError("the task raised StopIteration")
        wrapped.__cause__ = error
        future.set_exception(wrapped)
    else:
        future.set_exception(error)
