"""Cancellation at every point of a run: whatever it is in the middle of, it ends whole and leaves nothing behind."""

import asyncio
from collections.abc import Callable
from typing import Annotated, Any

import pytest
from fastapi import Depends

from fastapi_chain import Chain, Registry, Run, TaskContext, chain
from fastapi_chain.engines.base import RunRequest
from fastapi_chain.engines.memory import live_of
from fastapi_chain.events import Event
from tests.engines.kit import MemoryKit


class World:
    """A chain that does everything there is to do, and what it has done."""

    def __init__(self, kit: MemoryKit) -> None:
        self.kit = kit
        self.after = asyncio.get_running_loop().jumping.after  # type: ignore[attr-defined]
        self.open = 0
        self.effects: list[str] = []
        self.undone: list[str] = []
        self.chain = self._chain()

    def _chain(self) -> Chain:
        registry = Registry("anywhere")
        task = registry.task

        async def session():
            self.open += 1
            try:
                await asyncio.sleep(0)
                yield 1
            finally:
                try:
                    await asyncio.sleep(0)
                finally:
                    self.open -= 1

        def connection():
            self.open += 1
            try:
                yield 1
            finally:
                self.open -= 1

        async def take_back(ctx: TaskContext) -> None:
            await asyncio.sleep(0)
            self.undone.append(ctx.task.replace("take_back", "undo"))

        def effect(ctx: TaskContext) -> None:
            self.effects.append(ctx.task)

        @task(undo=take_back)
        async def head(ctx: TaskContext) -> list[int]:
            effect(ctx)
            return [0, 1, 2]

        @task(after=[head], undo=take_back)
        async def waits(ctx: TaskContext, db: Annotated[int, Depends(session)]) -> int:
            await asyncio.sleep(1)
            effect(ctx)
            return db

        @task(after=[head], retries=2, backoff=1, undo=take_back)
        async def flaky(ctx: TaskContext, db: Annotated[int, Depends(connection)]) -> int:
            await asyncio.sleep(0)
            if ctx.attempt < 3:
                raise ConnectionError
            effect(ctx)
            return db

        @task(after=[head], undo=take_back)
        def thread(ctx: TaskContext, db: Annotated[int, Depends(connection)]) -> int:
            effect(ctx)
            return db

        @task(after=[thread], limit=1, undo=take_back)
        def limited(
            ctx: TaskContext, a: Annotated[int, Depends(session)], b: Annotated[int, Depends(connection)]
        ) -> int:
            effect(ctx)
            return a

        @task(each=head, limit=2, rate="2/s", undo=take_back)
        async def each(number: int, ctx: TaskContext) -> int:
            await asyncio.sleep(0)
            effect(ctx)
            return number

        @task(after=[each, limited, waits, flaky])
        async def tail(each: list[int]) -> int:
            await asyncio.sleep(1)
            return sum(each)

        return chain(registry, name="anywhere")


def check(world: World, run: Run, kit: MemoryKit, events: list[Event]) -> None:
    """Assert that nothing is left behind, and that what is shown fits together."""
    records = run.tasks
    assert {record.state for record in records.values()} <= {"succeeded", "failed", "skipped", "cancelled"}
    for record in records.values():
        assert record.state != "cancelled" or record.cancel_reason == run.reason
        assert all(item.state in {"succeeded", "cancelled"} for item in record.items.values())
        assert all(attempt.finished_at is not None for attempt in record.attempts)
    assert world.open == 0
    for spec_gate in kit.engine.gates._gates.values():
        assert spec_gate is None or (spec_gate._waiting == {} and spec_gate._free in {1, 2})
    assert len(asyncio.all_tasks()) == 1
    calls = [call for record in records.values() for call in (record.items or {"": record}).values()]
    undone = {call.name for call in calls if call.undone}
    assert len(world.undone) == len(undone)
    if run.state != "succeeded":
        # What has succeeded, and what a thread has done after the run had turned away from it.
        assert {call.name for call in calls if call.state == "succeeded" and call.name != "tail"} <= undone
        assert undone <= set(world.effects)
    assert [event.seq for event in events] == list(range(1, len(events) + 1))
    assert (events[-1].kind, getattr(events[-1], "state", None)) == ("run.finished", run.state)


async def by_run(world: World, k: int) -> Run:
    run = await world.chain.start()
    world.after(k, lambda: live_of(run).stop("run_cancelled"))
    return await run.wait()


async def by_follower(world: World, k: int) -> Run:
    """Cancel a run that is followed from some moment on."""
    run = await world.chain.start()

    def follow() -> None:
        live_of(run).follow()
        world.after(k // 2 + 1, lambda: live_of(run).stop("run_cancelled"))

    world.after(k // 2, follow)
    return await run.wait()


async def by_awaiter(world: World, k: int, *, again: bool = False) -> Run:
    """Cancel the asyncio task that runs the chain."""
    taken: list[Run] = []
    take = world.kit.engine.take

    def taking(request: RunRequest) -> Run:
        taken.append(take(request))
        return taken[0]

    world.kit.engine.take = taking  # type: ignore[method-assign]
    job = asyncio.ensure_future(world.chain.run())

    def cancel() -> None:
        job.cancel()
        if again and not job.done():
            world.after(1, cancel)

    world.after(k, cancel)
    await asyncio.wait([job])
    assert job.cancelled() or taken[0].state == "succeeded"
    return taken[0]


async def by_awaiter_again(world: World, k: int) -> Run:
    """Cancel it over and over."""
    return await by_awaiter(world, k, again=True)


async def by_everybody(world: World, k: int) -> Run:
    """Cancel every asyncio task there is, as the end of `asyncio.run` does."""
    me = asyncio.current_task()
    run = await world.chain.start()
    world.after(k, lambda: [job.cancel() for job in asyncio.all_tasks() - {me}])
    return await run.wait()


async def by_drain(world: World, k: int) -> Run:
    run = await world.chain.start()
    world.after(k, lambda: live_of(run).stop("shutdown"))
    await world.kit.engine.idle()
    return run


async def by_worker(world: World, k: int) -> Run:
    """Cancel one asyncio task of many."""
    me = asyncio.current_task()
    run = await world.chain.start()

    def cancel() -> None:
        jobs = sorted(asyncio.all_tasks() - {me}, key=lambda job: job.get_name())
        if jobs:
            jobs[k % len(jobs)].cancel()

    world.after(k, cancel)
    return await run.wait()


WAYS: list[Callable[[World, int], Any]] = [
    by_run,
    by_follower,
    by_awaiter,
    by_awaiter_again,
    by_everybody,
    by_drain,
    by_worker,
]


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
def test_cancelled_after_any_number_of_turns(memory: MemoryKit, way: Callable[[World, int], Any]):
    """All tasks end with a reason, all is closed and given back, effects are undone, and the events tell all of it."""
    ends = set()

    async def main() -> Run:
        world = World(memory)
        run = await way(world, k)
        events = [event async for event in run.events()]
        for _ in range(3):
            await asyncio.sleep(0)
        check(world, run, memory, events)
        return run

    k = 2  # in the first turn nobody has begun
    while "succeeded" not in ends:
        ends.add(memory.play(main).state)
        k += 1
    # What waits for a thread on the loop is not the run's own: cancelling just that fails its task.
    assert ends - {"failed"} == {"cancelled", "succeeded"}
    assert "failed" not in ends or way is by_worker
    assert k > 30
