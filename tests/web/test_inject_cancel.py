"""Dependencies are closed however an attempt ends: time-outs, cancellation, scopes of anyio that are cancelled."""

import asyncio
import contextlib
import gc
import threading
import weakref
from types import SimpleNamespace
from typing import Any

import anyio
import pytest
from fastapi import Depends

from fastapi_chain._fastapi import read_params
from fastapi_chain._threads import Hopper, ThreadPool
from fastapi_chain.declare.signature import read
from fastapi_chain.execute.inject import compile_injection
from fastapi_chain.execute.inject.solving import solve_on_loop
from fastapi_chain.spec import Source

HERE = Source(name="save", file="shop/tasks.py", line=7)
OUTSIDE = SimpleNamespace(app=None, request_scope=None)


def attempt_of(way: str, task: Any) -> Any:
    params = read(task).params
    hop = Hopper(ThreadPool(2))
    if way == "solver":
        return solve_on_loop(read_params(params), {}, lambda _slots, injected: task(**injected), hop, HERE)
    injection = compile_injection(params, task=HERE, overrides={})
    assert injection is not None
    return injection.wrap_async(lambda _slots, injected: task(**injected), hop)


both_ways = pytest.mark.parametrize("way", ["recipe", "solver"])


class Boom(Exception):
    """What a task raises."""


@both_ways
@pytest.mark.parametrize("kind", ["generator", "async generator"])
def test_a_timeout_closes_what_is_open(way, kind):
    """A cancelled task leaves its generators through their clean-up, `def` ones too, and the time-out is reported."""
    log = []

    def generator():
        try:
            yield
        except BaseException as error:
            log.append(type(error).__name__)
            raise
        finally:
            log.append("closed")

    async def async_generator():
        try:
            yield
        except BaseException as error:
            log.append(type(error).__name__)
            raise
        finally:
            await asyncio.sleep(0)
            log.append("closed")

    opened = generator if kind == "generator" else async_generator

    async def task(a=Depends(opened)):
        await asyncio.Event().wait()

    async def main():
        async with asyncio.timeout(0.05):
            await attempt_of(way, task)([OUTSIDE])

    with pytest.raises(TimeoutError):
        asyncio.run(main())
    assert log == ["CancelledError", "closed"]


@both_ways
def test_a_cancellation_while_a_def_dependency_opens_waits_for_it_and_closes_it(way):
    """What a thread has opened meanwhile is closed; the task itself is never called."""
    log = []
    inside, go_on = threading.Event(), threading.Event()

    def opens_slowly():
        log.append("opens")
        inside.set()
        assert go_on.wait(10)
        try:
            yield
        finally:
            log.append("closes")

    async def task(a=Depends(opens_slowly)):
        log.append("task")

    async def main():
        running = asyncio.ensure_future(attempt_of(way, task)([OUTSIDE]))
        await asyncio.to_thread(inside.wait, 10)
        running.cancel()
        asyncio.get_running_loop().call_later(0.01, go_on.set)
        await running

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(main())
    assert log == ["opens", "closes"]


@both_ways
def test_a_cancellation_while_a_def_dependency_closes_waits_for_it(way):
    """Closing is never cut short: the cancellation goes on when the thread has returned."""
    log = []
    inside, go_on = threading.Event(), threading.Event()

    def closes_slowly():
        yield
        inside.set()
        assert go_on.wait(10)
        log.append("closed")

    async def task(a=Depends(closes_slowly)):
        return None

    async def main():
        running = asyncio.ensure_future(attempt_of(way, task)([OUTSIDE]))
        await asyncio.to_thread(inside.wait, 10)
        running.cancel()
        asyncio.get_running_loop().call_later(0.01, go_on.set)
        await running

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(main())
    assert log == ["closed"]


@both_ways
def test_a_swallowed_cancellation_is_not_lost(way):
    """A generator with a bare `except BaseException` cannot keep a run from being cancelled."""

    async def swallows():
        with contextlib.suppress(BaseException):
            yield

    async def task(a=Depends(swallows)):
        await asyncio.Event().wait()

    async def main():
        running = asyncio.ensure_future(attempt_of(way, task)([OUTSIDE]))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        running.cancel()
        await running

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(main())


def test_a_cancelled_scope_of_anyio_does_not_cancel_the_closing():
    """Inside a cancelled scope every `await` would be cancelled: the clean-up of generators is shielded from that."""
    log = []

    async def session():
        try:
            yield
        finally:
            await anyio.lowlevel.checkpoint()
            log.append("closed")

    async def task(a=Depends(session), b=Depends(session, use_cache=False)):
        await anyio.sleep_forever()

    async def main():
        with anyio.move_on_after(0.05) as scope:
            await attempt_of("recipe", task)([OUTSIDE])
        return scope.cancelled_caught

    assert asyncio.run(main()) is True
    assert log == ["closed", "closed"]


@both_ways
def test_a_dependency_may_hold_a_task_group_open(way):
    """What enters a cancel scope of its own before `yield` leaves it after, in the same asyncio task and in order."""
    log = []

    async def helpers():
        async with anyio.create_task_group() as group:
            log.append(asyncio.current_task())
            yield group
            group.cancel_scope.cancel()
        log.append(asyncio.current_task())

    async def session():
        yield "session"

    async def task(group=Depends(helpers), session=Depends(session)):
        group.start_soon(anyio.sleep_forever)
        log.append(asyncio.current_task())
        return session

    assert asyncio.run(attempt_of(way, task)([OUTSIDE])) == "session"
    assert len(log) == 3
    assert len(set(log)) == 1


@both_ways
def test_a_failed_attempt_keeps_nothing_alive(way):
    """The exception of an attempt does not lead back to itself: what it holds is freed without a garbage collection."""

    class Session:
        pass

    async def session():
        yield Session()

    seen = []

    async def task(a=Depends(session)):
        seen.append(weakref.ref(a))
        raise Boom

    async def main():
        with pytest.raises(Boom):
            await attempt_of(way, task)([OUTSIDE])

    gc.collect()
    gc.disable()
    try:
        asyncio.run(main())
        assert [ref() for ref in seen] == [None]
    finally:
        gc.enable()
