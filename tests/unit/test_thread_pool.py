"""The threads of `def` tasks."""

import asyncio
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

import anyio
import pytest

from fastapi_chain import _threads
from fastapi_chain._threads import Escaped, Hopper, ThreadPool, finish, look, on_loop, post, settle


def names() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name == "fastapi-chain"]


def test_it_has_no_more_threads_than_it_may_and_than_it_needs():
    """They start when needed; each takes work in turn."""
    pool, done = ThreadPool(2), threading.Event()
    before, inside, most = len(names()), [0], [0]
    lock, left = threading.Lock(), [10]

    def work() -> None:
        with lock:
            inside[0] += 1
            most[0] = max(most[0], inside[0])
        time.sleep(0.001)
        with lock:
            inside[0] -= 1
            left[0] -= 1
            if not left[0]:
                done.set()

    assert len(names()) == before
    for _ in range(10):
        pool.submit(work)
    assert done.wait(10)
    assert (most[0], pool._threads) == (2, 2)


def test_owners_take_turns():
    """The second owner's first work comes right after the first one's; who has no owner queues up for himself."""
    pool, seen, held, done = ThreadPool(1), [], threading.Event(), threading.Event()
    pool.submit(lambda: held.wait(10) and None)
    for i in range(3):
        pool.submit(lambda i=i: seen.append(f"a{i}"), "a")
    pool.submit(lambda: seen.append("b0"), "b")
    pool.submit(lambda: seen.append("c0"))
    pool.submit(done.set, "d")
    assert pool.crowded
    held.set()
    assert done.wait(10)
    assert seen[:3] == ["a0", "b0", "c0"]


def test_who_waits_is_known_by_owner():
    """While others wait, an owner's thread is wanted; his own work does not count, and can be taken back."""
    pool, seen, held, done = ThreadPool(1), [], threading.Event(), threading.Event()
    pool.submit(lambda: held.wait(10) and None, "a")
    assert (pool.crowded, pool.is_wanted("a"), pool.withdraw("a")) == (False, False, 0)
    for i in range(2):
        pool.submit(lambda i=i: seen.append(f"a{i}"), "a")
    assert (pool.crowded, pool.is_wanted("a"), pool.is_wanted("b")) == (True, False, True)
    pool.submit(lambda: seen.append("b"), "b")
    assert pool.is_wanted("a")
    assert (pool.withdraw("a"), pool.is_wanted("a"), pool.is_wanted("b")) == (2, True, False)
    pool.submit(done.set, "c")
    held.set()
    assert done.wait(10)
    assert seen == ["b"]


def test_who_has_worked_last_works_first():
    """So a pool that has little to do needs few threads, and the others end."""
    pool, used = ThreadPool(3), set()
    together, ended = threading.Barrier(4), threading.Semaphore(0)
    for _ in range(3):
        pool.submit(lambda: together.wait(10) and None)
    together.wait(10)
    for _ in range(10):
        while len(pool._idle) < 3:
            time.sleep(0.001)
        pool.submit(lambda: used.add(threading.get_ident()) or ended.release())
        assert ended.acquire(timeout=10)
    assert (len(used), pool._threads) == (1, 3)


def test_idle_threads_end(monkeypatch: pytest.MonkeyPatch):
    """After a while without work; one that was given work in that very moment does it."""
    monkeypatch.setattr(_threads, "_IDLE_SECONDS", 0.01)
    pool, done = ThreadPool(1), threading.Event()
    pool.submit(done.set)
    assert done.wait(10)
    deadline = time.monotonic() + 10
    while pool._threads and time.monotonic() < deadline:
        time.sleep(0.005)
    assert (pool._threads, pool._idle) == (0, [])
    waited: list[float] = []

    class Late:
        """A gate at which somebody has given up waiting before it is opened."""

        def acquire(self, timeout: float) -> bool:
            waited.append(timeout)
            if len(waited) == 1:
                pool.submit(waited.clear)
                return False
            return True

    pool._threads, me = 1, _threads._Thread()
    me.gate = Late()  # type: ignore[assignment]
    me.gate.release = lambda: None  # type: ignore[attr-defined]
    assert pool._next(me) == waited.clear
    assert (waited, pool._threads, pool._idle, me.work) == ([0.01, 0.01], 1, [], None)


def hop(fn: Callable[[], object]) -> object:
    """Call *fn* through a hop."""

    async def main() -> object:
        return await Hopper(ThreadPool(2))(fn)

    return asyncio.run(main())


def raises(error: BaseException) -> Callable[[], object]:
    def raising() -> object:
        raise error

    return raising


def test_a_hop_returns_or_raises_what_the_function_does():
    """In another thread, in a copy of the context."""
    assert hop(threading.current_thread) is not threading.current_thread()
    with pytest.raises(ValueError, match="no"):
        hop(raises(ValueError("no")))
    with pytest.raises(RuntimeError, match="the task raised StopIteration"):
        hop(raises(StopIteration()))


@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt(), asyncio.CancelledError()])
def test_what_would_end_more_than_the_thread_is_wrapped(error: BaseException):
    """On the loop it would end the loop, or look like a cancellation."""
    with pytest.raises(Escaped) as caught:
        hop(raises(error))
    assert caught.value.cause is error


def test_a_cancelled_hop_waits_for_its_thread():
    """However often it is cancelled; the cancellation is let through when the thread has returned, its error is not reported."""
    held, inside = threading.Event(), threading.Event()

    def work() -> None:
        inside.set()
        held.wait(10)
        raise ValueError

    async def main() -> None:
        problems: list[object] = []
        asyncio.get_running_loop().set_exception_handler(lambda _loop, context: problems.append(context))
        job = asyncio.ensure_future(Hopper(ThreadPool(1))(work))
        await asyncio.to_thread(inside.wait)
        for _ in range(3):
            job.cancel()
            await asyncio.sleep(0)
        assert not job.done()
        held.set()
        with pytest.raises(asyncio.CancelledError):
            await job
        assert problems == []

    asyncio.run(main())


def test_finish_lets_the_result_of_an_asyncio_task_through():
    """Also one that was cancelled itself."""

    async def main() -> None:
        assert await finish(asyncio.ensure_future(asyncio.sleep(0, 5))) == 5
        sleeping = asyncio.ensure_future(asyncio.sleep(100))
        asyncio.get_running_loop().call_soon(sleeping.cancel)
        with pytest.raises(asyncio.CancelledError):
            await finish(sleeping)
        look(sleeping)

    asyncio.run(main())


def test_a_closed_loop_has_no_use_for_callbacks():
    """A thread that returns late does not mind; another error is not hidden."""
    loop = asyncio.new_event_loop()
    loop.close()
    post(loop, print)
    on_loop(loop, print)

    class Refuses:
        def call_soon_threadsafe(self, *_: object) -> None:
            raise RuntimeError("no")

        def is_closed(self) -> bool:
            return False

    with pytest.raises(RuntimeError, match="no"):
        post(Refuses(), print)  # type: ignore[arg-type]


def test_a_future_is_settled_once():
    """One that was cancelled has no use for a result."""

    async def main() -> None:
        future: asyncio.Future[object] = asyncio.get_running_loop().create_future()
        future.cancel()
        settle(future, 1, None)
        assert future.cancelled()

    asyncio.run(main())


class CountingLoop(asyncio.SelectorEventLoop):
    """A loop that counts its turns."""

    turns = 0

    def _run_once(self) -> None:
        self.turns += 1
        super()._run_once()


def cancelled_before() -> AbstractContextManager[object]:
    """Return a scope that has been cancelled before anything waits in it."""
    scope = anyio.CancelScope()
    scope.cancel()
    return scope


@pytest.mark.parametrize(
    ("scope", "inner"),
    [
        (lambda: anyio.move_on_after(0.01), nullcontext),  # while it waits
        (cancelled_before, nullcontext),
        (lambda: anyio.move_on_after(0.01), anyio.CancelScope),  # in a scope further out
        (lambda: anyio.move_on_after(0.01), lambda: anyio.CancelScope(shield=True)),
    ],
    ids=["later", "before", "outer", "shielded"],
)
@pytest.mark.parametrize("grouped", [False, True], ids=["alone", "in a task group"])
def test_a_cancelled_scope_of_anyio_does_not_keep_the_loop_busy(scope, inner, *, grouped: bool):
    """Anyio cancels again in every turn of the loop: behind a shield there is nothing to cancel, and the loop rests."""
    hop, release, ended = Hopper(ThreadPool(1)), threading.Event(), []

    async def wait() -> None:
        try:
            await hop(release.wait)
        finally:
            ended.append(release.is_set())

    async def main() -> None:
        asyncio.get_running_loop().call_later(0.1, release.set)
        with scope(), inner():
            if grouped:
                async with anyio.create_task_group() as group:
                    group.start_soon(wait)
            else:
                await wait()

    loop = CountingLoop()
    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        runner.run(main())
    # A busy loop takes thousands of turns in that time.
    assert loop.turns < 50
    # It has waited all the same; in a task that had not begun there was nothing to wait for.
    assert ended == [True] or (grouped and scope is cancelled_before)
