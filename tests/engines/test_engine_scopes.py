"""Scopes of asyncio and anyio inside tasks, and around runs."""

import asyncio

import anyio
import pytest

from fastapi_chain import chain, task
from tests.engines.kit import Log, MemoryKit, states


def test_timeouts_and_groups_of_asyncio_work_inside_a_task(memory: MemoryKit):
    """`asyncio.timeout` and `TaskGroup` in tasks that share one asyncio task: each sees only what is its own."""
    seen = Log()

    @task
    async def times_out() -> str:
        try:
            async with asyncio.timeout(1):
                await asyncio.sleep(2)
        except TimeoutError:
            return "timed out"
        return "never"

    async def child(n: int) -> int:
        await asyncio.sleep(n)
        return n

    @task(after=[times_out])
    async def groups() -> int:
        async with asyncio.TaskGroup() as group:
            children = [group.create_task(child(n)) for n in (1, 2)]
        return sum(c.result() for c in children)

    async def bad() -> None:
        raise ValueError("child")

    @task(after=[groups])
    async def fails() -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(child(5))
            group.create_task(bad())

    @task(after=[fails], run_if="all_done", retries=1, backoff=0)
    async def fails_twice() -> None:
        seen(asyncio.current_task().cancelling())
        async with asyncio.TaskGroup() as group:
            group.create_task(bad())
            # Cancelled by its group, which then must not take that for a cancellation from outside.
            await asyncio.sleep(1)

    @task(after=[fails_twice], run_if="all_done")
    async def last() -> None:
        seen(asyncio.current_task().cancelling())
        async with asyncio.TaskGroup() as group:
            group.create_task(bad())

    async def main():
        run = await chain(last).run()
        seen(asyncio.current_task().cancelling())
        return run

    run = memory.play(main)
    assert (run["times_out"], run["groups"], run.state) == ("timed out", 3, "failed")
    assert [type(error.exceptions[0]) for error in run.errors.values()] == [ValueError] * 3
    # Before Python 3.13 a TaskGroup leaves a cancellation behind; nobody else sees it.
    assert seen == [0, 0, 0, 0]


def test_scopes_of_anyio_work_inside_a_task(memory: MemoryKit):
    """Cancel scopes, task groups and shields of anyio, on the line and in workers."""
    seen = Log()

    @task
    async def moves_on() -> bool:
        with anyio.move_on_after(1) as scope:
            await anyio.sleep(2)
        return scope.cancelled_caught

    @task
    async def groups() -> list[int]:
        done = []

        async def child(n: int) -> None:
            await anyio.sleep(n)
            done.append(n)
            if n == 2:
                group.cancel_scope.cancel()

        async with anyio.create_task_group() as group:
            for n in (1, 2, 3):
                group.start_soon(child, n)
        return done

    @task(after=[moves_on, groups])
    async def fails() -> None:
        with anyio.fail_after(1):
            await anyio.sleep(2)

    @task(after=[fails], run_if="all_done")
    async def last() -> None:
        await anyio.sleep(1)
        seen(asyncio.current_task().cancelling())

    async def main():
        return await chain(last).run()

    run = memory.play(main)
    assert (run["moves_on"], run["groups"]) == (True, [1, 2])
    assert isinstance(run.errors["fails"], TimeoutError)
    assert seen == [0]


def slow_chain(seen: Log):
    """Return a chain that waits on the line, in workers and in a thread, and undoes what it has done."""

    def take_back() -> None:
        seen("undone")

    @task(undo=take_back)
    async def first() -> None: ...

    @task(after=[first])
    async def waits() -> None:
        try:
            await asyncio.sleep(10)
        except asyncio.CancelledError:
            seen("cancelled")
            # Whoever may run inside a scope of anyio cleans up behind a shield.
            with anyio.CancelScope(shield=True):
                await asyncio.sleep(1)
            seen("cleaned up")
            raise

    @task(after=[first])
    async def waits_too() -> None:
        try:
            await asyncio.sleep(10)
        finally:
            with anyio.CancelScope(shield=True):
                await asyncio.sleep(2)
            seen("cleaned up too")

    return chain(waits, waits_too)


ENDED = {"first": "succeeded", "waits": "cancelled run_cancelled", "waits_too": "cancelled run_cancelled"}


def test_a_timeout_of_asyncio_around_a_run_cancels_it(memory: MemoryKit):
    """The run is cancelled, cleans up, undoes and has ended when the time-out is raised, and leaves nothing behind."""
    seen = Log()

    async def main():
        run = None
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(3):
                ch = slow_chain(seen)
                run = await started(ch)
        assert asyncio.current_task().cancelling() == 0
        return run

    runs = []

    async def started(ch):
        engine = memory.engine
        make = engine.take

        def take(request):
            runs.append(make(request))
            return runs[-1]

        engine.take = take  # type: ignore[method-assign]
        return await ch.run()

    memory.play(main)
    assert seen == ["cancelled", "cleaned up", "cleaned up too", "undone"]
    assert (runs[0].state, runs[0].reason, states(runs[0])) == ("cancelled", "run_cancelled", ENDED)


@pytest.mark.parametrize("how", ["scope", "group"])
def test_a_scope_of_anyio_around_a_run_cancels_it(memory: MemoryKit, how: str):
    """anyio cancels over and over; clean-up and undo go on undisturbed, and the scope catches what is its own."""
    seen = Log()

    async def main():
        if how == "scope":
            with anyio.move_on_after(3) as scope:
                await slow_chain(seen).run()
        else:
            async with anyio.create_task_group() as group:
                scope = group.cancel_scope
                group.start_soon(slow_chain(seen).run)
                await anyio.sleep(3)
                scope.cancel()
        assert scope.cancel_called
        assert asyncio.current_task().cancelling() == 0
        seen("after")

    memory.play(main)
    assert seen == ["cancelled", "cleaned up", "cleaned up too", "undone", "after"]


def test_a_chain_may_be_run_while_one_cleans_up_after_a_cancellation(memory: MemoryKit):
    """A task that has caught its cancellation runs a chain: the old one has nothing to do with the new run."""
    seen = Log()

    @task
    async def one() -> int:
        await asyncio.sleep(1)
        return 1

    @task(after=[one])
    async def two() -> None:
        raise asyncio.CancelledError

    @task(after=[two], run_if="all_done")
    async def three() -> None:
        await asyncio.sleep(1)

    async def worker():
        try:
            await asyncio.sleep(100)
        except asyncio.CancelledError:
            run = await chain(three).run()
            seen((run.state, states(run), asyncio.current_task().cancelling()))

    async def main():
        job = asyncio.create_task(worker())
        await asyncio.sleep(1)
        job.cancel()
        await job

    memory.play(main)
    assert seen == [("failed", {"one": "succeeded", "two": "failed", "three": "succeeded"}, 1)]


def test_tasks_may_run_and_start_other_chains(memory: MemoryKit):
    """A chain inside a task is a run of its own, with its own tasks, errors and context; also in a thread."""
    seen = Log()

    @task
    async def inner(x: int) -> int:
        await asyncio.sleep(1)
        if x > 5:
            raise ValueError
        return x + 1

    nested = chain(inner, name="nested")

    @task
    async def outer() -> int:
        run = await nested.run(x=1)
        failed = await nested.run(x=6)
        seen((run.state, failed.state))
        started = await nested.start(x=2)
        await started.wait()
        return run[inner] + started[inner]

    @task(after=[outer])
    def from_thread(outer: int) -> int:
        return asyncio.run(nested.run(x=outer))[inner]

    async def main():
        return await chain(from_thread, name="outer").run()

    run = memory.play(main)
    assert (run.state, run["from_thread"], seen) == ("succeeded", 6, [("succeeded", "failed")])
