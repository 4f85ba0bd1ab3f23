"""Much at once: many runs, large graphs, and a loop that stays responsive."""

import asyncio
import gc
import tracemalloc
import weakref
from functools import cache
from typing import Annotated

from fastapi_chain import AnyTask, Chain, From, Registry, TaskContext, chain, task
from tests.engines.kit import MemoryKit, settle


@cache
def row(length: int, kinds: str) -> Chain:
    """Return a chain of tasks that each need the one before, made once; `a` is async, `w` waits, `d` is `def`."""
    task = Registry("row").task

    @task(name="t")
    async def first(x: int) -> int:
        return x

    tasks: list[AnyTask] = [first]
    for i in range(length):
        kind, before = kinds[i % len(kinds)], tasks[-1]
        if kind == "a":

            @task(name=f"t{i}")
            async def link(x: Annotated[int, From(before)]) -> int:
                return x + 1
        elif kind == "w":

            @task(name=f"t{i}")
            async def link(x: Annotated[int, From(before)]) -> int:
                await asyncio.sleep(0)
                return x + 1
        else:

            @task(name=f"t{i}")
            def link(x: Annotated[int, From(before)]) -> int:
                return x + 1

        tasks.append(link)
    return chain(tasks[-1], name=f"{length} {kinds}")


def test_a_thousand_runs_do_not_mix_their_values(memory: MemoryKit):
    """Each gets back what it was given, through tasks that wait, threads and a fan-out."""

    @task
    async def one(n: int) -> int:
        if n % 3:
            await asyncio.sleep(n % 7)
        return n

    @task(after=[one])
    def two(one: int, n: int) -> list[int]:
        assert one == n
        return [n, n + 1]

    @task(each=two)
    async def three(value: int, ctx: TaskContext) -> str:
        await asyncio.sleep(0)
        return f"{ctx.run_id} {value}"

    @task(after=[one, three])
    async def four(one: int, three: list[str]) -> tuple[int, list[str]]:
        return one, three

    async def main():
        ch = chain(four)
        runs = [await ch.start(n=n) for n in range(1000)]
        for n, run in enumerate(runs):
            await run.wait()
            assert run[four] == (n, [f"{run.id} {n}", f"{run.id} {n + 1}"])

    memory.play(main)


def test_a_chain_of_ten_thousand_tasks_runs(memory: MemoryKit):
    """No recursion anywhere: not in planning, running, skipping or reading; async, waiting and in threads."""

    async def main():
        for length, kinds in ((10_000, "a"), (2_000, "aaaaaaaw"), (2_000, "aaaaaaaaad")):
            run = await row(length, kinds).run(x=0)
            assert (run.state, run[f"t{length - 1}"], len(run.outputs)) == ("succeeded", length, length + 1)

    memory.play(main)


@cache
def behind_a_failure(length: int) -> Chain:
    """Return a chain in which all tasks need one that fails."""
    task = Registry("behind").task

    @task
    async def fails() -> int:
        raise ValueError

    tasks: list[AnyTask] = [fails]
    for i in range(length):
        before = tasks[-1]

        @task(name=f"t{i}")
        async def link(x: Annotated[int, From(before)]) -> int:
            return x

        tasks.append(link)
    return chain(tasks[-1], name="behind")


def test_ten_thousand_tasks_are_skipped_behind_one_failure(memory: MemoryKit):
    """Each with the same root, without recursion."""

    async def main():
        return await behind_a_failure(10_000).run()

    run = memory.play(main)
    assert {record.skip_reason for record in run.tasks.values()} == {None, "upstream_failed: fails"}
    assert run.tasks["t9999"].state == "skipped"


def test_a_wide_graph_runs(memory: MemoryKit):
    """One task, five thousand after it, and one after all of those; half of them wait."""

    @task
    async def top() -> int:
        return 1

    middle: list[AnyTask] = []
    for i in range(5000):

        @task(name=f"m{i}", after=[top])
        async def link(top: int) -> int:
            if i % 2:
                await asyncio.sleep(0)
            return top

        middle.append(link)

    @task(after=middle)
    async def bottom() -> int:
        return 2

    async def main():
        return await chain(bottom).run()

    run = memory.play(main)
    assert (run.state, run[bottom], len(run.outputs)) == ("succeeded", 2, 5002)


def test_the_loop_stays_responsive(memory: MemoryKit):
    """While thousands of tasks run that never wait, everybody else gets a turn every hundred of them or so."""
    ch = row(10_000, "a")
    turns = 0

    async def ticker() -> None:
        nonlocal turns
        while True:
            await asyncio.sleep(0)
            turns += 1

    async def main():
        await ch.run(x=0)
        ticking = asyncio.create_task(ticker())
        await settle(1)
        nonlocal turns
        turns = 0
        await ch.run(x=0)
        ticking.cancel()

    memory.play(main)
    assert turns >= 10_000 // 128 - 1


def test_a_finished_run_keeps_little(memory: MemoryKit):
    """No asyncio task, nothing of its machinery: a few hundred bytes a task."""

    async def main():
        ch = row(100, "aw")
        await ch.run(x=0)
        gc.collect()
        tracemalloc.start()
        before = tracemalloc.get_traced_memory()[0]
        runs = [await ch.run(x=0) for _ in range(20)]
        gc.collect()
        after = tracemalloc.get_traced_memory()[0]
        runs.clear()
        tracemalloc.stop()
        return (after - before) / 20 / 100

    assert memory.play(main) < 400


def test_runs_are_freed_at_once(memory: MemoryKit):
    """There are no circles in a finished run that nobody holds."""
    gone: list[object] = []

    async def main():
        ch = row(3, "awd")
        gc.collect()
        gc.disable()
        try:
            for _ in range(3):
                run = await ch.run(x=0)
                weakref.finalize(run._backend, gone.append, 1)
                del run
            await settle()
            return len(gone)
        finally:
            gc.enable()

    assert memory.play(main) == 3
