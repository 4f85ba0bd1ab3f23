"""Which task runs when."""

import asyncio
import threading

from fastapi_chain import chain, current_task, task
from tests.engines.kit import Kit, Log, MemoryKit, settle, states


def test_a_chain_hands_values_on(engine: Kit):
    """Each task receives what the one before it returned, sync and async in one row."""

    @task
    async def one(x: int) -> int:
        return x + 1

    @task(after=[one])
    def two(one: int) -> int:
        return one * 2

    @task(after=[two])
    async def three(two: int) -> str:
        return f"{two}!"

    async def main():
        run = await chain(three).run(x=1)
        assert (run[one], run[two], run[three], run.state) == (2, 4, "4!", "succeeded")
        assert run.outputs == {"one": 2, "two": 4, "three": "4!"}

    engine.play(main)


def test_a_fast_branch_does_not_wait_for_a_slow_one(engine: Kit):
    """There is no level barrier: the child of a fast task runs while the slow sibling of that task still waits."""
    seen = Log()
    release = asyncio.Event()

    @task
    async def root() -> None: ...

    @task(after=[root])
    async def slow() -> None:
        seen("slow begins")
        await release.wait()
        seen("slow ends")

    @task(after=[root])
    async def fast() -> None:
        seen("fast")

    @task(after=[fast])
    async def child() -> None:
        seen("child")

    @task(after=[child])
    def thread() -> None:
        seen("thread")

    @task(after=[thread])
    async def last() -> None:
        seen("last")
        release.set()

    async def main():
        await chain(slow, last).run()

    engine.play(main)
    assert sorted(seen[:2]) == ["fast", "slow begins"]
    assert seen[2:] == ["child", "thread", "last", "slow ends"]


def test_lanes_of_unequal_tasks_take_as_long_as_the_longest_lane(engine: Kit):
    """Two lanes, 1+3 and 3+1 seconds, take 4 seconds and not the 6 of two levels."""

    @task
    async def short_first() -> None:
        await asyncio.sleep(1)

    @task(after=[short_first])
    async def long_second() -> None:
        await asyncio.sleep(3)

    @task
    async def long_first() -> None:
        await asyncio.sleep(3)

    @task(after=[long_first])
    async def short_second() -> None:
        await asyncio.sleep(1)

    async def main():
        loop = asyncio.get_running_loop()
        began = loop.time()
        await chain(long_second, short_second).run()
        return loop.time() - began

    assert engine.play(main) == 4


def test_the_task_that_two_others_need_runs_once(engine: Kit):
    """A diamond is one task, and the two branches are given the very same value."""
    calls = Log()

    @task
    async def top() -> list[int]:
        calls("top")
        return [1]

    @task(after=[top])
    async def left(top: list[int]) -> list[int]:
        return top

    @task(after=[top])
    def right(top: list[int]) -> list[int]:
        return top

    @task(after=[left, right])
    async def bottom(left: list[int], right: list[int]) -> bool:
        return left is right

    async def main():
        assert (await chain(bottom).run())[bottom]

    engine.play(main)
    assert calls == ["top"]


def test_branches_that_wait_run_at_the_same_time(engine: Kit):
    """Ten tasks that each wait for all others are all under way at once."""
    barrier = asyncio.Barrier(10)
    tasks = []
    for i in range(10):

        @task(name=f"t{i}")
        async def branch() -> None:
            await barrier.wait()

        tasks.append(branch)

    async def main():
        return await chain(*tasks).run()

    assert engine.play(main).state == "succeeded"


def test_threads_run_at_the_same_time(engine: Kit):
    """Ten `def` tasks that wait for each other are in ten threads at once."""
    barrier = threading.Barrier(10)
    tasks = []
    for i in range(10):

        @task(name=f"t{i}")
        def branch() -> None:
            barrier.wait(10)

        tasks.append(branch)

    async def main():
        return await chain(*tasks).run()

    assert engine.play(main).state == "succeeded"


def test_a_thread_makes_others_ready(engine: Kit):
    """What a `def` task makes ready starts at once, in threads and on the loop, while a slow branch still waits."""
    release = asyncio.Event()

    @task
    async def slow() -> None:
        await release.wait()

    @task
    def top() -> int:
        return 1

    @task(after=[top])
    def left(top: int) -> int:
        return top + 1

    @task(after=[top])
    def right(top: int) -> int:
        return top + 2

    @task(after=[top])
    async def middle(top: int) -> int:
        await asyncio.sleep(1)
        return top + 3

    @task(after=[left, right, middle])
    async def bottom(left: int, right: int, middle: int) -> int:
        release.set()
        return left + right + middle

    async def main():
        return (await chain(bottom, slow).run())[bottom]

    assert engine.play(main) == 2 + 3 + 4


def test_nothing_starts_twice_when_the_first_task_fails_and_is_tried_again(engine: Kit):
    """While the first task waits for its next attempt the others run, each once."""
    calls = Log()

    @task(retries=1, backoff=1)
    async def first() -> None:
        calls("first")
        if current_task().attempt == 1:
            raise ConnectionError

    @task
    async def second() -> None:
        calls("second")
        await asyncio.sleep(0)

    @task
    def third() -> None:
        calls("third")

    async def main():
        return await chain(first, second, third).run()

    assert engine.play(main).state == "succeeded"
    assert sorted(calls) == ["first", "first", "second", "third"]
    assert calls[-1] == "first"


def test_while_it_runs_a_run_shows_how_things_stand(engine: Kit):
    """From outside, each task is seen as pending, running or ended; from inside as well, on the line and off it."""
    inside = Log()
    release = asyncio.Event()

    @task
    async def first() -> int:
        return 1

    @task(after=[first])
    async def second() -> int:
        inside(states(runs[0]))
        await release.wait()
        inside(states(runs[0]))
        return 2

    @task(after=[second])
    async def third() -> int:
        inside(states(runs[0]))
        return 3

    runs = []

    async def main():
        runs.append(await chain(third).start())
        assert (runs[0].state, states(runs[0])) == (
            "queued",
            {"first": "pending", "second": "pending", "third": "pending"},
        )
        await settle()
        assert (runs[0].state, states(runs[0])) == (
            "running",
            {"first": "succeeded", "second": "running", "third": "pending"},
        )
        assert runs[0].outputs == {"first": 1}
        release.set()
        await runs[0].wait()
        assert (runs[0].state, states(runs[0])) == (
            "succeeded",
            dict.fromkeys(["first", "second", "third"], "succeeded"),
        )

    engine.play(main)
    waiting = {"first": "succeeded", "second": "running", "third": "pending"}
    assert inside == [waiting, waiting, {"first": "succeeded", "second": "succeeded", "third": "running"}]


def test_times_follow_the_order_of_things(engine: Kit):
    """No task begins before the one before it has ended, and all lie within those of the run."""

    @task
    async def one() -> None: ...

    @task(after=[one])
    def two() -> None: ...

    @task(after=[two])
    async def three() -> None:
        await asyncio.sleep(2)

    async def main():
        return await chain(three).run()

    run = engine.play(main)
    moments = [run.created_at, run.started_at]
    for name in ("one", "two", "three"):
        moments += [run.tasks[name].started_at, run.tasks[name].finished_at]
    moments.append(run.finished_at)
    assert moments == sorted(moments)
    assert (run.tasks["three"].finished_at - run.tasks["three"].started_at).total_seconds() == 2


def test_the_others_start_as_soon_as_one_task_waits(memory: MemoryKit):
    """They are under way before anything that is put on the loop from then on."""
    seen = Log()

    @task
    async def waits() -> None:
        await asyncio.sleep(0)
        asyncio.get_running_loop().call_soon(seen, "after")
        await asyncio.sleep(0)

    @task
    async def other() -> None:
        seen("other")

    async def main():
        await chain(waits, other).run()

    memory.play(main)
    assert seen == ["other", "after"]
