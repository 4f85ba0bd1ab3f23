"""The threads of `def` tasks on the fast path: what waits for one, whose turn it is, what becomes of it."""

import asyncio
import threading
import time
from contextvars import ContextVar

import pytest

from fastapi_chain import AnyTask, chain, current_task, task
from fastapi_chain._threads import ThreadPool
from fastapi_chain.engines.memory import MemoryEngine
from tests.engines.kit import Log, MemoryKit, settle, states

var: ContextVar[str] = ContextVar("var_of_threads", default="none")


def wide(number: int, log: Log, name: str, *, fails: bool = False) -> list[AnyTask]:
    """Return so many `def` tasks that need nothing, write down their name, and may fail then."""

    def make(i: int) -> AnyTask:
        @task(name=f"{name}{i}", optional=True)
        def made() -> None:
            log(f"{name}{i}")
            if fails:
                raise ValueError

        return made

    return [make(i) for i in range(number)]


def blocker(inside: threading.Event, held: threading.Event) -> AnyTask:
    """Return a task that holds a thread until it is let go."""

    @task
    def blocks() -> None:
        inside.set()
        held.wait(10)

    return blocks


async def is_set(event: threading.Event) -> None:
    """Wait for *event*, and turn the loop meanwhile."""
    while not event.is_set():
        await asyncio.sleep(0)


@pytest.mark.parametrize("threads", [1, 2, 16])
def test_many_tasks_share_few_threads(memory: MemoryKit, threads: int):
    """Each runs once, never more at a time than there are threads, and all threads are made use of."""
    inside, most, lock = [0], [0], threading.Lock()
    start = threading.Barrier(threads)

    def make(i: int) -> AnyTask:
        @task(name=f"t{i}")
        def made() -> int:
            with lock:
                inside[0] += 1
                most[0] = max(most[0], inside[0])
            if i < threads:
                start.wait(10)
            with lock:
                inside[0] -= 1
            return i

        return made

    tasks = [make(i) for i in range(100)]

    async def main():
        return await chain(*tasks).run()

    run = memory.play(main, threads=threads)
    assert run.state == "succeeded"
    assert [run.tasks[f"t{i}"].state for i in range(100)] == ["succeeded"] * 100
    assert most == [threads]


def test_a_run_with_many_tasks_holds_up_none_with_few(memory: MemoryKit):
    """The one task of a run that comes later is next: a thread is given back after any task if others wait for one."""
    log, inside, held = Log(), threading.Event(), threading.Event()
    first = blocker(inside, held)
    many, few = wide(1000, log, "many"), wide(1, log, "few")

    async def main():
        runs = [await chain(first, *many).start()]
        await is_set(inside)
        runs.append(await chain(*few).start())
        await settle()
        held.set()
        for run in runs:
            await run.wait()
        return [run.state for run in runs]

    assert memory.play(main, threads=1) == ["succeeded", "succeeded"]
    assert len(log) == 1001
    assert log.index("few0") <= 1


@pytest.mark.parametrize("fails", [False, True], ids=["returns", "raises"])
def test_two_runs_with_many_tasks_take_turns(memory: MemoryKit, fails: bool):
    """One task of each, however it ends: nobody is kept from the one thread, or waits for the other's end."""
    log, inside, held = Log(), threading.Event(), threading.Event()
    first = blocker(inside, held)
    a, b = wide(50, log, "a", fails=fails), wide(50, log, "b", fails=fails)

    async def main():
        runs = [await chain(first).start()]
        await is_set(inside)
        runs += [await chain(*tasks).start() for tasks in (a, b)]
        await settle()
        held.set()
        for run in runs:
            await run.wait()
        return [run.state for run in runs]

    assert memory.play(main, threads=1) == ["succeeded"] * 3
    turns = "".join(name[0] for name in log)
    assert turns == "ab" * 50


def test_a_task_with_a_timeout_is_not_held_up_by_the_others_of_its_run(memory: MemoryKit):
    """It takes another way to a thread, but has its turn like one of another run."""
    log, inside, held = Log(), threading.Event(), threading.Event()
    first = blocker(inside, held)

    @task(timeout=30)
    def timed() -> None:
        log("timed")

    many = wide(100, log, "many")

    async def main():
        runs = [await chain(first).start()]
        await is_set(inside)
        runs.append(await chain(*many, timed).start())
        for _ in range(5):
            await settle()
        held.set()
        for run in runs:
            await run.wait()

    memory.play(main, threads=1)
    assert len(log) == 101
    # The plain path gives out all in the order of the plan.
    assert log.index("timed") <= (1 if memory.fast else 100)


def test_long_rows_let_each_other_go_on():
    """A thread that has worked for a slice leaves a row for what waits, also of its own run, and comes back to it."""
    log = Log()

    def row(name: str) -> AnyTask:
        before: list[AnyTask] = []
        for i in range(3):

            @task(name=f"{name}{i}", after=before)
            def made(name: str = name) -> None:
                log(name)
                # Longer than a slice.
                time.sleep(0.011)

            before = [made]
        return before[0]

    rows = [row(name) for name in "abc"]

    async def main():
        return await chain(*rows).run()

    kit = MemoryKit(fast=True)
    assert kit.play_for_real(main, threads=1).state == "succeeded"
    assert "".join(log) == "abcabcabc"


def test_tasks_that_share_a_thread_share_no_context(memory: MemoryKit):
    """What a task sets is seen by what it makes ready, not by what has waited beside it for the same thread."""
    seen: dict[str, str] = {}

    @task
    def first() -> None:
        var.set("first")

    def make(i: int) -> AnyTask:
        @task(name=f"t{i}", after=[first])
        def made() -> None:
            seen[f"t{i}"] = var.get()
            var.set(f"t{i}")

        return made

    beside = [make(i) for i in range(5)]

    async def main():
        await chain(*beside).run()

    memory.play(main, threads=1)
    inherited = "first" if memory.fast else "none"
    assert seen == {f"t{i}": inherited for i in range(5)}


def test_each_task_of_a_thread_is_the_current_one(memory: MemoryKit):
    """Also after one that has raised, on the same thread."""
    log = Log()

    def make(i: int) -> AnyTask:
        @task(name=f"t{i}", optional=True)
        def made() -> None:
            log((current_task().task, f"t{i}"))
            if i % 2:
                raise ValueError

        return made

    tasks = [make(i) for i in range(20)]

    async def main():
        return await chain(*tasks).run()

    run = memory.play(main, threads=1)
    assert (run.state, len(log), all(told == name for told, name in log)) == ("succeeded", 20, True)
    assert [run.tasks[f"t{i}"].state for i in range(20)] == ["succeeded", "failed"] * 10


def test_all_that_waits_runs_though_every_task_raises(memory: MemoryKit):
    """The thread of a task that has raised goes on with what waits; retries come from the loop."""
    attempts = Log()

    def make(i: int) -> AnyTask:
        @task(name=f"t{i}", retries=1, backoff=0)
        def made() -> None:
            attempts(i)
            if current_task().attempt == 1:
                raise ConnectionError

        return made

    tasks = [make(i) for i in range(50)]

    async def main():
        return await chain(*tasks).run()

    run = memory.play(main, threads=2)
    assert (run.state, sorted(attempts)) == ("succeeded", sorted([*range(50), *range(50)]))


@pytest.mark.parametrize("followed", [False, True])
def test_what_waits_for_a_thread_is_called_off(memory: MemoryKit, followed: bool):
    """A run that is cancelled does not begin with it, and lets go of the threads it has not been given yet."""
    log, inside, held = Log(), threading.Event(), threading.Event()
    first, many = blocker(inside, held), wide(20, log, "many")

    async def main():
        run = await chain(first, *many).start()
        stream = asyncio.ensure_future(anext(aiter(run.events()))) if followed else None
        await is_set(inside)
        await run.cancel()
        await run.wait()
        if stream is not None:
            await stream
        held.set()
        return run

    run = memory.play(main, threads=1)
    assert (run.state, log) == ("cancelled", [])
    assert states(run) == {"blocks": "cancelled run_cancelled"} | {
        f"many{i}": "cancelled run_cancelled" for i in range(20)
    }


def test_a_run_that_has_ended_asks_for_no_thread_any_more():
    """Where one thread was enough, the others that were to come are not waited for: nothing is left in the pool."""
    pool, held, log = ThreadPool(2), threading.Event(), Log()
    engine = MemoryEngine(pool=pool)
    both = threading.Barrier(3)

    def hold() -> None:
        both.wait(10)
        held.wait(10)

    kit = MemoryKit(fast=True)
    kit._engine = lambda **_: engine  # type: ignore[method-assign]
    tasks = wide(20, log, "t")
    left = Log()

    def frees() -> None:
        both.wait(10)

    async def main():
        pool.submit(hold, "other")
        pool.submit(frees, "another")
        await asyncio.to_thread(both.wait, 10)  # in real time
        run = await chain(*tasks).run()
        left((run.state, pool.crowded))
        held.set()

    kit.play_for_real(main)
    assert (left, len(log)) == ([("succeeded", False)], 20)


def test_tasks_for_the_loop_and_for_threads_make_each_other_ready(memory: MemoryKit):
    """A thread hands `async` tasks to the loop, and the run does not end before they have come there."""
    log = Log()

    @task
    def root() -> int:
        return 1

    def make(i: int) -> AnyTask:
        @task(name=f"a{i}", after=[root])
        async def on_loop(root: int) -> int:
            await asyncio.sleep(0)
            log(f"a{i}")
            return root

        @task(name=f"d{i}", after=[on_loop])
        def in_thread() -> None:
            log(f"d{i}")

        return in_thread

    ends = [make(i) for i in range(10)]

    async def main():
        return await chain(*ends).run()

    run = memory.play(main, threads=3)
    assert run.state == "succeeded"
    assert sorted(log) == sorted([f"a{i}" for i in range(10)] + [f"d{i}" for i in range(10)])


def test_what_goes_on_after_a_skip_begins_after_it(memory: MemoryKit):
    """Told afterwards as well: a thread that has skipped a task stamps what it goes on with later than that."""

    @task
    def first() -> None: ...

    @task(after=[first], run_if="any_failed")
    async def skipped() -> int:
        return 1

    @task(after=[skipped])
    def last(skipped: int = 0) -> int:
        return skipped

    async def main():
        run = await chain(skipped, last).run()
        return [(type(event).__name__, getattr(event, "task", "")) async for event in run.events()]

    told = MemoryKit(fast=memory.fast).play_for_real(main)
    assert told.index(("TaskSkipped", "skipped")) < told.index(("TaskStarted", "last"))
