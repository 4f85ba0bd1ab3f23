"""Tasks that swallow a cancellation which was meant for their run."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from fastapi_chain import Run, chain, task
from tests.engines.kit import Log, MemoryKit, states


async def bad() -> None:
    raise ValueError("child")


async def swallow() -> None:
    try:
        await asyncio.sleep(10)
    except asyncio.CancelledError:
        await asyncio.sleep(0)


async def linger() -> None:
    try:
        await asyncio.sleep(10)
    except asyncio.CancelledError:
        await asyncio.sleep(10)


async def group() -> None:
    """Fail while a group waits for its children: before Python 3.13 it leaves a cancellation behind."""
    try:
        async with asyncio.TaskGroup() as children:
            children.create_task(bad())
    except* ValueError:
        pass


async def swallowing_group() -> None:
    """Let a group swallow the cancellation: its body has failed, so that its child is what it waits for."""
    try:
        async with asyncio.TaskGroup() as children:
            children.create_task(linger())
            await asyncio.sleep(0)
            raise ValueError
    except* ValueError:
        pass


async def several() -> None:
    await group()
    async with asyncio.timeout(20):
        await swallow()
    await group()


def cancelled_after_a_second(memory: MemoryKit, targets: Any, seen: Log) -> Run:
    """Return the run of *targets* after whoever waits for it was cancelled; its tasks put it into *seen*."""

    async def main():
        job = asyncio.ensure_future(chain(*targets).run())
        await asyncio.sleep(1)
        job.cancel()
        with pytest.raises(asyncio.CancelledError):
            await job
        await asyncio.sleep(1)
        return seen[0]

    return memory.play(main)


@pytest.mark.parametrize("swallows", [swallow, several, swallowing_group])
@pytest.mark.parametrize("late", [False, True])
@pytest.mark.parametrize("ends", ["returns", "raises"])
def test_a_swallowed_cancellation_ends_the_run(memory: MemoryKit, swallows: Any, ends: str, *, late: bool):
    """Whoever waits for it was cancelled: then the run is, however its task has ended, and nothing else begins."""
    seen = Log()

    @task
    async def before() -> None:
        if late:
            await asyncio.sleep(0.5)

    @task(after=[before], retries=3, backoff=0)
    async def stubborn(run: Run) -> None:
        seen(run)
        await swallows()
        if ends == "raises":
            raise ValueError

    @task(after=[stubborn], run_if="all_done")
    async def after() -> None:
        seen("never")

    run = cancelled_after_a_second(memory, [after], seen)
    assert (run.state, len(seen)) == ("cancelled", 1)
    assert states(run)["after"] == "cancelled run_cancelled"


def test_a_cancellation_that_the_last_task_swallows_ends_the_run(memory: MemoryKit):
    """Even if all has succeeded by then."""
    seen = Log()

    @task
    async def stubborn(run: Run) -> None:
        seen(run)
        await swallow()

    run = cancelled_after_a_second(memory, [stubborn], seen)
    assert run.state == "cancelled"


def test_what_a_group_leaves_behind_is_no_cancellation(memory: MemoryKit):
    """A group that has failed may be caught: the run goes on, whichever way the group is reached."""
    seen = Log()

    async def numbers() -> AsyncIterator[int]:
        await group()
        yield 1

    class Grouping:
        def __await__(self) -> Any:
            yield from group().__await__()
            return 1

    @task
    async def plain() -> None:
        await group()
        await group()

    @task(after=[plain])
    async def in_a_generator() -> int:
        return sum([number async for number in numbers()])

    @task(after=[in_a_generator])
    async def awaitable() -> int:
        return await Grouping()

    @task(after=[awaitable])
    async def last() -> None:
        seen(asyncio.current_task().cancelling())  # type: ignore[union-attr]

    async def main():
        return await chain(last).run()

    run = memory.play(main)
    assert (run.state, seen) == ("succeeded", [0])
