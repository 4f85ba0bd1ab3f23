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
from typing import Final, ParamSpec, TypeVar

from anyio import CancelScope

P = ParamSpec("P")
R = TypeVar("R")

Work = Callable[[], None]
"""Something to do in a thread; it must not raise."""

_IDLE_SECONDS: Final = 10.0
"""How long a thread waits for work before it ends; a new one starts in 0.1 ms."""


class _Thread:
    """A thread that waits for work."""

    __slots__ = ("gate", "work")

    def __init__(self) -> None:
        """Begin without any."""
        self.gate = threading.Lock()
        """Opened for each piece of work."""
        self.gate.acquire()
        self.work: Work | None = None


class ThreadPool:
    """At most *size* daemon threads; they start when needed and end when idle.

    Owners take turns, so that a run with ten thousand tasks at once holds up none that has a single one.
    """

    def __init__(self, size: int = 16) -> None:
        """Prepare for at most *size* threads; none is started yet."""
        self.size = size
        self._lock = threading.Lock()
        # Who has worked last works first: the others may end.
        self._idle: list[_Thread] = []
        self._waiting: dict[object, deque[Work]] = {}  # by owner; whose turn is next stands first
        self._threads = 0

    @property
    def crowded(self) -> bool:
        """Whether work waits for a thread."""
        return bool(self._waiting)

    def is_wanted(self, owner: object) -> bool:
        """Whether anybody but *owner* waits for a thread."""
        waiting = self._waiting
        return bool(waiting) and (len(waiting) > 1 or owner not in waiting)

    def submit(self, work: Work, owner: object = None) -> None:
        """Let a thread do *work*. Any thread may call this.

        Args:
            work: What to do.
            owner: For whom; None: for nobody who has other work.
        """
        idle = None
        with self._lock:
            if self._idle:
                idle = self._idle.pop()
            elif self._threads < self.size:
                self._threads += 1
            else:
                self._waiting.setdefault(work if owner is None else owner, deque()).append(work)
                return
        if idle is None:
            threading.Thread(target=self._work, args=(work,), name="fastapi-chain", daemon=True).start()
        else:
            idle.work = work
            idle.gate.release()

    def withdraw(self, owner: object) -> int:
        """Forget the work of *owner* that still waits for a thread; return how much that was."""
        with self._lock:
            return len(self._waiting.pop(owner, ()))

    def _work(self, work: Work | None) -> None:
        """Do *work* and what comes after it; the body of a thread."""
        me = _Thread()
        while work is not None:
            work()
            # Nothing of the last task may live on while the thread waits for the next.
            work = None
            work = self._next(me)

    def _next(self, me: _Thread) -> Work | None:
        """Return what to do next; None if there has been nothing for a while, and this thread is to end."""
        with self._lock:
            if self._waiting:
                return self._take()
            self._idle.append(me)
        while not me.gate.acquire(timeout=_IDLE_SECONDS):
            with self._lock:
                # One that `submit` has chosen a moment ago is not among them any more.
                if me in self._idle:
                    self._idle.remove(me)
                    self._threads -= 1
                    return None
        work, me.work = me.work, None
        return work

    def _take(self) -> Work:
        """Take the first work of the owner whose turn it is, and let that owner queue up again. The lock is held."""
        owner = next(iter(self._waiting))
        queue = self._waiting.pop(owner)
        work = queue.popleft()
        if queue:
            self._waiting[owner] = queue
        return work


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
