"""Worker threads for `def` tasks, apart from those that serve requests.

A pool of our own, since the two that are there do not fit: anyio's forty tokens are shared with FastAPI's `def` endpoints, so that
slow tasks would hold up requests, and `concurrent.futures` joins its threads at exit, so that one stuck task would keep the
process alive for ever. A hop through this one also costs half as much.
"""

import asyncio
import threading
from collections.abc import Callable
from contextvars import copy_context
from queue import Empty, SimpleQueue
from typing import Final, ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")

Work = Callable[[], None]
"""Something to do in a thread; it must not raise."""

_IDLE_SECONDS: Final = 10.0
"""How long a thread waits for work before it ends; a new one starts in 0.1 ms."""


class ThreadPool:
    """At most *size* daemon threads that take work in order; they start when needed and end when idle."""

    def __init__(self, size: int = 16) -> None:
        """Prepare for at most *size* threads; none is started yet."""
        self.size = size
        self._queue: SimpleQueue[Work] = SimpleQueue()
        self._lock = threading.Lock()
        self._threads = 0
        self._todo = 0  # queued and running

    def submit(self, work: Work) -> None:
        """Let a thread do *work*. Any thread may call this."""
        with self._lock:
            self._todo += 1
            grow = self._todo > self._threads and self._threads < self.size
            if grow:
                self._threads += 1
        self._queue.put(work)
        if grow:
            threading.Thread(target=self._work, name="fastapi-chain", daemon=True).start()

    def _work(self) -> None:
        while True:
            try:
                work = self._queue.get(timeout=_IDLE_SECONDS)
            except Empty:
                if self._end():
                    return
                continue
            work()
            # Nothing of the last task may live on while the thread waits for the next.
            del work
            with self._lock:
                self._todo -= 1

    def _end(self) -> bool:
        """Whether this thread may end: `submit` may have counted on it a moment ago."""
        with self._lock:
            if self._todo >= self._threads:
                return False
            self._threads -= 1
            return True


default_pool = ThreadPool()
"""The pool of runs in apps without `install`."""


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
        return await finish(self.start(fn, *args, **kwargs))

    def start(self, fn: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> "asyncio.Future[R]":
        """The same without waiting: return a future of what *fn* returns. Cancelling that future stops nothing."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[R] = loop.create_future()
        context = copy_context()

        def work() -> None:
            try:
                result = context.run(fn, *args, **kwargs)
            except BaseException as error:  # noqa: BLE001 - it belongs to the caller, whatever it is
                post(loop, settle, future, None, error)
            else:
                post(loop, settle, future, result, None)

        self.pool.submit(work)
        return future


async def finish(future: "asyncio.Future[R]") -> R:
    """Wait for *future* even through cancellation, which is let through once it is done."""
    cancelled: asyncio.CancelledError | None = None
    while not future.done():
        try:
            await asyncio.wait((future,))
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is not None:
        # Look at the result, or the loop would report an exception that nobody retrieved.
        future.exception()
        raise cancelled
    return future.result()


def post(loop: asyncio.AbstractEventLoop, callback: Callable[..., object], *args: object) -> None:
    """Call *callback* on *loop* from a thread; a loop that is closed has no use for it any more."""
    try:
        loop.call_soon_threadsafe(callback, *args)
    except RuntimeError:
        if not loop.is_closed():
            raise


def settle(future: "asyncio.Future[object]", result: object, error: BaseException | None) -> None:
    """Give *future* its result or its error, on the loop."""
    if error is None:
        future.set_result(result)
    elif isinstance(error, StopIteration):
        # A future refuses it: inside a coroutine it would mean something else.
        wrapped = RuntimeError("the task raised StopIteration")
        wrapped.__cause__ = error
        future.set_exception(wrapped)
    else:
        future.set_exception(error)
