"""Time-outs of attempts: `async` ones are cancelled, threads are turned away from."""

import asyncio
import threading
from typing import Annotated

import pytest
from fastapi import Depends

from fastapi_chain import TaskContext, TaskTimeout, chain, task
from tests.engines.kit import Kit, Log, settle, states

SOON = 0.02
"""Seconds that pass for real while a thread is held."""


def test_an_async_attempt_is_cancelled(engine: Kit):
    """After its time-out it gets a `CancelledError`; that is a failure of the attempt, and retried."""
    seen = Log()

    @task(timeout=5, retries=1, backoff=1)
    async def slow(ctx: TaskContext) -> str:
        try:
            await asyncio.sleep(6 if ctx.attempt == 1 else 4)
        except asyncio.CancelledError:
            seen("cancelled")
            raise
        return "done"

    @task(after=[slow])
    async def after(slow: str) -> str:
        return slow

    async def main():
        return await chain(after).run()

    run = engine.play(main)
    assert run["after"] == "done"
    assert seen == ["cancelled"]
    first, second = run.tasks["slow"].attempts
    assert (first.state, second.state) == ("timed_out", "succeeded")
    assert str(first.error).partition("\n")[0] == (
        "TaskTimeout: Task 'slow' took longer than its timeout of 5 s (attempt 1 of 2)."
    )
    assert (first.finished_at - first.started_at).total_seconds() == pytest.approx(5, abs=0.001)


def test_a_timeout_of_the_users_own_is_told_apart(engine: Kit):
    """A `TimeoutError` that the task raises itself stays what it is, inside its time-out and without one."""

    @task(timeout=5)
    async def a() -> None:
        async with asyncio.timeout(1):
            await asyncio.sleep(2)

    @task(timeout=5)
    async def b() -> None:
        raise TimeoutError("mine")

    async def main():
        return await chain(a, b).run()

    run = engine.play(main)
    assert [type(error) for error in run.errors.values()] == [TimeoutError, TimeoutError]


def test_one_task_on_the_line_times_out_alone(engine: Kit):
    """The tasks around it, in the same asyncio task, notice nothing."""
    seen = Log()

    @task
    async def before() -> int:
        await asyncio.sleep(1)
        return 1

    @task(after=[before], timeout=1, optional=True)
    async def slow(before: int) -> int:
        await asyncio.sleep(10)
        return before

    @task(after=[slow], run_if="all_done")
    async def after() -> int:
        await asyncio.sleep(1)
        current = asyncio.current_task()
        assert current is not None
        seen(current.cancelling())
        return 2

    async def main():
        run = await chain(after).run()
        seen(asyncio.current_task().cancelling())
        return run

    run = engine.play(main)
    assert (run.state, states(run)) == ("succeeded", {"before": "succeeded", "slow": "failed", "after": "succeeded"})
    assert seen == [0, 0]


def test_a_task_may_catch_its_timeout(engine: Kit):
    """One that is cancelled for lack of time and returns all the same has succeeded."""

    @task(timeout=1)
    async def stubborn() -> str:
        try:
            await asyncio.sleep(10)
        except asyncio.CancelledError:
            return "partial"
        return "whole"

    async def main():
        return await chain(stubborn).run()

    assert engine.play(main)["stubborn"] == "partial"


def test_a_thread_is_reported_at_once(engine: Kit):
    """A `def` attempt fails as soon as its time is up, though its thread still runs; what it returns does not count."""
    held = threading.Event()

    @task(timeout=SOON)
    def stuck() -> int:
        held.wait(10)
        return 1

    async def main():
        try:
            return await chain(stuck).run()
        finally:
            held.set()

    run = engine.play_for_real(main)
    assert (run.state, run.tasks["stuck"].attempts[0].state) == ("failed", "timed_out")
    assert isinstance(run.errors["stuck"], TaskTimeout)


def test_the_next_attempt_waits_for_the_thread(engine: Kit):
    """Never are two threads in one task of a run at once; while it waits the task is retrying."""
    held, inside = threading.Event(), Log()

    @task(timeout=SOON, retries=1, backoff=0)
    def stuck(ctx: TaskContext) -> int:
        inside(f"in {ctx.attempt}")
        if len(inside) == 1:
            held.wait(10)
        inside("out")
        return 7

    async def main():
        run = await chain(stuck).start()
        async for event in run.events():
            if event.kind == "task.retrying":
                break
        await settle()
        assert (inside, run.tasks["stuck"].state) == (["in 1"], "retrying")
        held.set()
        await run.wait()
        return run

    assert engine.play_for_real(main)["stuck"] == 7
    assert inside == ["in 1", "out", "in 2", "out"]


def test_the_deadline_does_not_wait_for_the_thread(engine: Kit):
    """The run ends at its deadline although a timed-out thread still runs."""
    held = threading.Event()

    @task(timeout=SOON, retries=5, backoff=0)
    def stuck() -> None:
        held.wait(10)

    async def main():
        try:
            return await chain(stuck, deadline=3 * SOON).run()
        finally:
            held.set()

    run = engine.play_for_real(main)
    assert (run.state, run.reason, states(run)) == ("failed", "deadline", {"stuck": "cancelled deadline"})


def test_the_time_of_a_thread_runs_only_inside_it(engine: Kit):
    """A task that waits for a free thread for longer than its time-out has not begun, and does not time out."""
    held, begun = threading.Event(), threading.Event()

    @task
    def holds() -> None:
        begun.set()
        held.wait(10)

    @task(timeout=SOON)
    def waits() -> str:
        return "in time"

    async def main():
        first = await chain(holds, name="first").start()
        # A queue may hand out the second run first.
        await asyncio.to_thread(begun.wait)
        second = await chain(waits, name="second").start()
        with pytest.raises(TimeoutError):
            await second.wait(3 * SOON)
        held.set()
        await second.wait()
        await first.wait()
        return second

    assert engine.play_for_real(main, threads=1)["waits"] == "in time"


@pytest.mark.parametrize("how", ["async", "sync", "generator"])
def test_a_timed_out_thread_closes_its_dependencies_first(engine: Kit, how: str):
    """Those of a timed-out `def` attempt are closed when its thread has returned; only then are new ones opened."""
    held, seen = threading.Event(), Log()

    async def session_async():
        seen("open")
        yield 1
        seen("close")

    def session_sync():
        seen("open")
        yield 1
        seen("close")

    async def plain():
        seen("open")
        seen("close")
        return 1

    session = {"async": session_async, "sync": session_sync, "generator": plain}[how]

    @task(timeout=SOON, retries=1, backoff=0)
    def stuck(ctx: TaskContext, db: Annotated[int, Depends(session)]) -> int:
        seen(ctx.attempt)
        if ctx.attempt == 1:
            held.wait(10)
        return db

    async def main():
        run = await chain(stuck).start()
        async for event in run.events():
            if event.kind == "task.retrying":
                break
        await settle()
        before = list(seen)
        held.set()
        await run.wait()
        return before, run

    before, run = engine.play_for_real(main)
    assert run.state == "succeeded"
    assert [attempt.state for attempt in run.tasks["stuck"].attempts] == ["timed_out", "succeeded"]
    if how == "generator":
        assert (before, seen) == (["open", "close", 1], ["open", "close", 1, "open", "close", 2])
    else:
        assert (before, seen) == (["open", 1], ["open", 1, "close", "open", 2, "close"])


def test_a_timeout_of_a_fan_out_is_that_of_one_call(engine: Kit):
    """Each item has the whole time; one that takes longer fails, the others go on."""

    @task
    async def numbers() -> list[int]:
        return [1, 9, 2]

    @task(each=numbers, timeout=5, optional=True, limit=1)
    async def waits(number: int) -> int:
        await asyncio.sleep(number)
        return number

    async def main():
        return await chain(waits).run()

    run = engine.play(main)
    assert run["waits"] == [1, 2]
    assert [item.attempts[0].state for item in run.tasks["waits"].items.values()] == [
        "succeeded",
        "timed_out",
        "succeeded",
    ]
