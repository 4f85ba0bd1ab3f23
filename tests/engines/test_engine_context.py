"""What a task sees around itself: context variables, its own context, its run."""

import asyncio
import threading
from contextvars import ContextVar, copy_context
from typing import Annotated

import anyio.to_thread
import pytest
from fastapi import Depends

from fastapi_chain import AnyTask, Progress, Run, TaskContext, chain, current_task, task
from tests.engines.kit import Kit, Log, MemoryKit, settle

var: ContextVar[str] = ContextVar("var", default="none")


def here() -> tuple[str, int]:
    """Return which task runs here, and in which attempt."""
    ctx = current_task()
    return ctx.task, ctx.attempt


def test_tasks_see_the_context_variables_of_whoever_starts_the_run(memory: MemoryKit):
    """On the line, off it, in threads, in fan-outs and with dependencies."""
    seen: dict[str, str] = {}

    def dep() -> str:
        return var.get()

    async def async_dep() -> str:
        return var.get()

    @task
    async def line() -> None:
        seen["line"] = var.get()
        await asyncio.sleep(0)
        seen["later"] = var.get()

    @task
    def thread() -> list[int]:
        seen["thread"] = var.get()
        return [0]

    @task(each=thread)
    def item(number: int) -> None:
        seen["item"] = var.get()

    @task(after=[line])
    async def deps(a: Annotated[str, Depends(dep)], b: Annotated[str, Depends(async_dep)]) -> None:
        seen["deps"] = a + b

    @task(after=[line])
    def deps_in_thread(a: Annotated[str, Depends(dep)], b: Annotated[str, Depends(async_dep)]) -> None:
        seen["deps_in_thread"] = a + b + var.get()

    async def main():
        var.set("mine")
        run = await chain(item, deps, deps_in_thread).start()
        var.set("changed")
        await run.wait()

    memory.play(main)
    assert seen == {
        "line": "mine",
        "later": "mine",
        "thread": "mine",
        "item": "mine",
        "deps": "minemine",
        "deps_in_thread": "mineminemine",
    }


def test_tasks_side_by_side_do_not_see_what_one_has_set(memory: MemoryKit):
    """A task that waits has set a variable before: the others, which start because it waits, do not see that."""
    seen: dict[str, str] = {}

    @task
    async def sets() -> None:
        var.set("its own")
        await asyncio.sleep(1)
        seen["sets"] = var.get()

    @task
    async def beside() -> None:
        seen["beside"] = var.get()

    @task
    def in_thread() -> None:
        seen["in_thread"] = var.get()

    async def main():
        var.set("mine")
        await chain(sets, beside, in_thread).run()

    memory.play(main)
    assert seen == {"sets": "its own", "beside": "mine", "in_thread": "mine"}


def test_runs_do_not_see_each_others_variables(memory: MemoryKit):
    """What a task of one run sets is not seen by another run that was started beside it."""
    seen = Log()

    @task
    async def sets(name: str) -> None:
        seen(var.get())
        var.set(name)
        await asyncio.sleep(1)

    async def main():
        ch = chain(sets)
        runs = [await ch.start(name=f"r{i}") for i in range(3)]
        for run in runs:
            await run.wait()

    memory.play(main)
    assert seen == ["none", "none", "none"]


@pytest.mark.parametrize("waits", [False, True], ids=["straight", "waits"])
def test_runs_one_after_the_other_do_not_see_each_others_variables(engine: Kit, waits: bool):
    """Nor does whoever awaits both in one asyncio task: in a run what its tasks set ends with it."""
    seen = Log()

    @task(retries=1, backoff=0)
    async def sets(name: str) -> str:
        seen(var.get())
        if waits:
            await asyncio.sleep(1)
        var.set(name)
        if current_task().attempt == 1:
            raise ConnectionError
        return name

    @task(after=[sets])
    async def also(sets: str) -> None:
        if waits:
            await asyncio.sleep(1)
        var.set(sets)

    async def main():
        var.set("mine")
        ch = chain(also)
        for name in ("first", "second"):
            assert (await ch.run(name=name)).state == "succeeded"
            seen(var.get())

    engine.play(main)
    # For each run: the first attempt, the second, which may see what the first has set, and whoever has awaited it.
    firsts, seconds, outside = seen[0::3], seen[1::3], seen[2::3]
    assert (firsts, outside) == (["mine", "mine"], ["mine", "mine"])
    assert all(value in {"mine", name} for value, name in zip(seconds, ("first", "second"), strict=True))


def test_current_task_knows_where_it_is(memory: MemoryKit):
    """In the task, in functions and asyncio tasks below it, in threads that carry the context, in each attempt."""
    seen = Log()

    async def below() -> None:
        seen(("below", *here()))

    @task
    async def one() -> list[int]:
        seen(("one", *here()))
        await asyncio.create_task(below())
        seen(("one", *here()))
        await anyio.to_thread.run_sync(lambda: seen(("hop", *here())))
        return [0, 1]

    @task(retries=1, backoff=0)
    async def two() -> None:
        seen(("two", *here()))
        if current_task().attempt == 1:
            raise ConnectionError

    @task(after=[one, two], retries=1, backoff=0)
    def three() -> None:
        seen(("three", *here()))
        thread = threading.Thread(target=copy_context().run, args=(lambda: seen(("thread", *here())),))
        thread.start()
        thread.join()
        if current_task().attempt == 1:
            raise ConnectionError

    @task(each=one, limit=1)
    async def four(number: int) -> None:
        seen(("four", *here()))

    async def main():
        await chain(three, four).run()

    memory.play(main)
    assert sorted(seen) == [
        ("below", "one", 1),
        ("four", "four[0]", 1),
        ("four", "four[1]", 1),
        ("hop", "one", 1),
        ("one", "one", 1),
        ("one", "one", 1),
        ("thread", "three", 1),
        ("thread", "three", 2),
        ("three", "three", 1),
        ("three", "three", 2),
        ("two", "two", 1),
        ("two", "two", 2),
    ]


def test_a_background_task_between_two_tasks_names_the_last_one(memory: MemoryKit):
    """While the line rests, after 128 tasks, what a task has left in the background is still part of that one."""
    seen = Log()
    background: list[asyncio.Task[None]] = []

    async def below() -> None:
        seen(current_task().task)

    def link(i: int, before: list[AnyTask]) -> AnyTask:
        @task(name=f"t{i}", after=before)
        async def made() -> None:
            if i == 127:
                background.append(asyncio.create_task(below()))

        return made

    tasks: list[AnyTask] = []
    for i in range(130):
        tasks.append(link(i, tasks[-1:]))

    async def main():
        await chain(tasks[-1]).run()
        await asyncio.gather(*background)

    memory.play(main)
    assert seen == ["t127"]


def test_the_context_says_which_run_which_task_and_which_attempt(engine: Kit):
    """Everything that it shows, as a parameter and from below."""
    seen = Log()

    @task(retries=2)
    async def one(ctx: TaskContext, run: Run) -> None:
        seen((ctx.run_id == run.id, ctx.task, ctx.attempt, ctx.max_attempts, ctx.cancelled, ctx.time_left()))
        seen((ctx.idempotency_key == f"{run.id}:one", ctx.logger.name, repr(ctx)))
        seen((run.chain, run.state, run.tasks["one"].state, run.tags))

    async def main():
        await chain(one, name="ingest").run()

    engine.play(main)
    assert seen == [
        (True, "one", 1, 3, False, None),
        (True, "fastapi_chain.task.one", "<TaskContext 'one' attempt 1 of 3>"),
        ("ingest", "running", "running", {}),
    ]


def test_outside_a_run_everything_is_a_harmless_stand_in(memory: MemoryKit):
    """Tasks are plain functions: context, progress and `current_task()` work in a unit test and after a run."""

    @task
    async def one(ctx: TaskContext, progress: Progress) -> str:
        for _ in progress.track([1, 2]):
            pass
        progress(1)
        assert (ctx.run_id, ctx.attempt, ctx.max_attempts, ctx.cancelled, ctx.time_left()) == ("", 1, 1, False, None)
        return current_task().task

    async def main():
        assert await one(TaskContext(), Progress()) == ""
        run = await chain(one, name="fails").run()
        # In a run it is no stand-in, so the assertion on `run_id` fails.
        assert run.state == "failed"
        assert current_task().task == ""

    memory.play(main)


def test_time_left_counts_down(engine: Kit):
    """Seconds until the deadline of the run; never below nought."""
    seen = Log()

    @task
    async def one(ctx: TaskContext) -> None:
        seen(ctx.time_left())
        await asyncio.sleep(4)
        seen(ctx.time_left())
        try:
            await asyncio.sleep(10)
        finally:
            seen((ctx.time_left(), ctx.cancelled))

    async def main():
        await chain(one, deadline=10).run()

    engine.play(main)
    assert seen == [10, 6, (0.0, True)]


def test_progress_is_thrown_together_and_the_last_is_told(memory: MemoryKit):
    """Ten thousand reports are a few events; the last one comes before the end of the task."""

    @task
    async def counts(progress: Progress) -> None:
        for _ in progress.track(range(10_000), text="rows"):
            pass
        await asyncio.sleep(1)
        progress(1, 2, "half")
        await asyncio.sleep(1)
        progress(2, 2)

    async def main():
        run = await chain(counts).start()
        return run, [event async for event in run.events()]

    run, events = memory.play(main)
    told = [(e.progress.done, e.progress.total, e.progress.text) for e in events if e.kind == "task.progress"]
    assert told == [(1, 10_000, "rows"), (10_000, 10_000, "rows"), (1, 2, "half"), (2, 2, "")]
    assert [event.kind for event in events][-2:] == ["task.succeeded", "run.finished"]
    assert run.tasks["counts"].progress.done == 2


@pytest.mark.parametrize("limit", [None, 4], ids=["light", "limited"])
def test_threads_report_progress(memory: MemoryKit, limit: int | None):
    """Any thread may, as often as it likes; it never waits for a reader, and what it said last comes before its end."""

    @task(limit=limit)
    def counts(progress: Progress) -> None:
        for _ in progress.track(range(1000)):
            pass

    async def main():
        run = await chain(counts).start()
        events = [event async for event in run.events()]
        unfollowed = await chain(counts, name="unfollowed").run()
        return events, unfollowed

    events, unfollowed = memory.play(main)
    told = [event.progress.done for event in events if event.kind == "task.progress"]
    assert (told[-1], len(told) < 20, told) == (1000, True, sorted(told))
    assert [event.kind for event in events][-2:] == ["task.succeeded", "run.finished"]
    assert unfollowed.tasks["counts"].progress.done == 1000


def test_progress_of_an_item_is_its_own(engine: Kit):
    """Each item of a fan-out reports under its own name."""

    @task
    async def numbers() -> list[int]:
        return [5, 6]

    @task(each=numbers)
    async def item(number: int, progress: Progress) -> None:
        progress(number)

    async def main():
        run = await chain(item).run()
        await settle()
        return run

    run = engine.play(main)
    assert [run.tasks[f"item[{k}]"].progress.done for k in (0, 1)] == [5, 6]
    assert run.tasks["item"].progress is None
