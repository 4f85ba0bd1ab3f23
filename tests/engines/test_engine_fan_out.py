"""Fan-out: one call for each item of a list."""

import asyncio
import threading
import tracemalloc
from collections.abc import Iterator

import pytest

from fastapi_chain import Failed, Outcome, Skip, Skipped, Succeeded, TaskContext, chain, task
from tests.engines.kit import Kit, Log, MemoryKit, settle, states


@pytest.mark.parametrize("sync", [False, True])
def test_results_come_in_the_order_of_the_items(engine: Kit, *, sync: bool):
    """Whichever item is ready first; each is a task in its own right."""

    @task
    async def numbers() -> list[int]:
        return [3, 1, 2]

    if sync:

        @task(each={"number": numbers})
        def item(number: int, factor: int, ctx: TaskContext) -> str:
            return f"{ctx.task}: {number * factor}"
    else:

        @task(each={"number": numbers})
        async def item(number: int, factor: int, ctx: TaskContext) -> str:
            await asyncio.sleep(number)
            return f"{ctx.task}: {number * factor}"

    @task(after=[item])
    async def summary(item: list[str]) -> str:
        return ", ".join(item)

    async def main():
        return await chain(summary).run(factor=10)

    run = engine.play(main)
    assert run[summary] == "item[0]: 30, item[1]: 10, item[2]: 20"
    assert run[item] == ["item[0]: 30", "item[1]: 10", "item[2]: 20"]
    record = run.tasks["item"]
    assert list(record.items) == ["item[0]", "item[1]", "item[2]"]
    assert run.tasks["item[2]"] == record.items["item[2]"]
    assert (run.tasks["item[2]"].state, len(run.tasks["item[2]"].attempts)) == ("succeeded", 1)
    assert "item[3]" not in run.tasks
    assert list(run.tasks) == ["numbers", "item", "summary"]


def test_an_empty_list_gives_an_empty_list(engine: Kit):
    """That is a success."""

    @task
    async def numbers() -> list[int]:
        return []

    @task(each=numbers)
    async def item(number: int) -> int:
        return number

    async def main():
        return await chain(item).run()

    run = engine.play(main)
    assert (run.state, run[item], run.tasks["item"].items) == ("succeeded", [], {})


def test_if_an_item_fails_the_others_go_on(engine: Kit):
    """The fan-out has failed then: what takes its list is skipped, what takes all outcomes gets them."""
    seen = Log()

    @task
    async def numbers() -> list[int]:
        return [0, 1, 2, 3]

    @task(each=numbers, retries=1, backoff=0)
    async def item(number: int, ctx: TaskContext) -> int:
        if number == 1:
            raise ConnectionError(ctx.attempt)
        if number == 2:
            raise Skip("even")
        return number

    @task(after=[item])
    async def total(item: list[int]) -> int:
        return sum(item)

    @task(after=[item])
    async def report(item: list[Outcome[int]]) -> None:
        seen.extend(item)

    @task(after=[item])
    async def whole(item: Failed) -> str:
        return f"{item.task}: {item.error}"

    async def main():
        return await chain(total, report, whole).run()

    run = engine.play(main)
    assert run.state == "failed"
    assert states(run) == {
        "numbers": "succeeded",
        "item": "failed",
        "total": "skipped upstream_failed: item",
        "report": "succeeded",
        "whole": "succeeded",
    }
    failed = seen[1]
    assert seen == [Succeeded(0), failed, Skipped("skip: even"), Succeeded(3)]
    assert (failed.task, str(failed.error), failed.attempts) == ("item[1]", "ConnectionError: 2", 2)
    assert (str(run.errors["item"]), run[whole]) == ("2", "item: ConnectionError: 2")
    assert [attempt.state for attempt in run.tasks["item[1]"].attempts] == ["failed", "failed"]


@pytest.mark.parametrize("optional", [True, False])
def test_a_list_of_outcomes_takes_the_items_that_have_ended_so(engine: Kit, *, optional: bool):
    """`list[Failed]` gets the failed ones, none of them perhaps; it runs if there are items, optional or not."""
    seen: dict[str, object] = {}

    @task
    async def lines() -> list[int]:
        return [0, 1, 2]

    @task(each=lines, optional=optional)
    async def ship(line: int) -> int:
        if line == 1:
            raise ValueError("broken")
        if line == 2:
            raise Skip("free")
        return line

    @task(each=lines)
    async def check(line: int) -> int:
        return line

    @task(after=[ship, check])
    async def alert(ship: list[Failed], check: list[Failed]) -> None:
        seen["alert"] = [(failed.task, failed.error.message) for failed in ship], check

    @task(after=[ship])
    async def fine(ship: list[Succeeded[int] | Skipped]) -> None:
        seen["fine"] = ship

    async def main():
        return await chain(alert, fine).run()

    engine.play(main)
    assert seen == {"alert": ([("ship[1]", "broken")], []), "fine": [Succeeded(0), Skipped("skip: free")]}


def test_in_an_optional_fan_out_what_fails_is_left_out(engine: Kit):
    """As is what raises `Skip`; the list is that of the others."""
    seen = Log()

    @task
    async def numbers() -> list[int]:
        return [0, 1, 2, 3]

    @task(each=numbers, optional=True)
    def item(number: int) -> int:
        if number == 1:
            raise ConnectionError
        if number == 2:
            raise Skip
        return number

    @task(after=[item])
    async def total(item: list[int]) -> list[int]:
        return item

    @task(after=[item])
    async def report(item: list[Outcome[int]]) -> None:
        seen.extend(type(outcome).__name__ for outcome in item)

    async def main():
        return await chain(total, report).run()

    run = engine.play(main)
    assert (run.state, run[total], seen) == ("succeeded", [0, 3], ["Succeeded", "Failed", "Skipped", "Succeeded"])


def test_behind_a_failed_list_there_are_no_items(engine: Kit):
    """The fan-out and all that takes its list, outcomes or not, are skipped because of who failed to make the list."""

    @task
    async def numbers() -> list[int]:
        raise ValueError

    @task(each=numbers)
    async def item(number: int) -> int:
        return number

    @task(after=[item])
    async def report(item: list[Outcome[int]]) -> None: ...

    @task
    async def none() -> list[int]:
        raise Skip("no list")

    @task(each=none)
    async def other(number: int) -> int:
        return number

    @task(after=[other])
    async def with_default(other: list[int] | None = None) -> bool:
        return other is None

    async def main():
        return await chain(report, with_default).run()

    assert states(engine.play(main)) == {
        "numbers": "failed",
        "item": "skipped upstream_failed: numbers",
        "report": "skipped upstream_failed: numbers",
        "none": "skipped skip: no list",
        "other": "skipped upstream_skipped: none",
        "with_default": "succeeded",
    }


def test_what_is_no_list_fails_the_fan_out(memory: MemoryKit):
    """Without an annotation it is found when it runs, as is an iterator that fails; then there are no items."""

    @task
    async def nothing():
        return 5

    @task(each={"x": nothing})
    async def one(x) -> None: ...

    @task
    async def broken() -> Iterator[int]:
        def numbers() -> Iterator[int]:
            yield 1
            raise OSError("torn")

        return numbers()

    @task(each={"y": broken})
    async def two(y: int) -> int:
        return y

    @task(after=[two])
    async def report(two: list[Outcome[int]]) -> None: ...

    async def main():
        return await chain(one, report).run()

    run = memory.play(main)
    assert [str(error) for error in run.errors.values()] == [
        "task 'one' runs for each item of 'nothing', which returned 5",
        "torn",
    ]
    assert states(run)["report"] == "skipped upstream_failed: two"


def test_a_fan_out_feeds_a_fan_out(engine: Kit):
    """What was left out of the first has no item in the second."""

    @task
    async def numbers() -> list[int]:
        return [1, 2, 3]

    @task(each=numbers, output="square")
    async def squares(number: int) -> int:
        if number == 2:
            raise Skip
        return number * number

    @task(each={"value": squares})
    def plus(value: int, square: list[int]) -> str:
        return f"{value} of {square}"

    async def main():
        return await chain(plus).run()

    run = engine.play(main)
    assert run[plus] == ["1 of [1, 9]", "9 of [1, 9]"]
    assert list(run.tasks["plus"].items) == ["plus[0]", "plus[1]"]


def test_an_iterator_is_walked_through_once(memory: MemoryKit):
    """Its items are kept, so that the run can be retried; so are those of a list that somebody changes."""
    shared = [10, 20]

    @task
    async def numbers() -> Iterator[int]:
        return iter([1, 2])

    @task
    async def others() -> list[int]:
        return shared

    @task(each=numbers)
    async def item(number: int, ctx: TaskContext) -> int:
        if ctx.attempt == 1:
            raise ConnectionError
        return number

    @task(each=others)
    async def other(number: int, ctx: TaskContext) -> int:
        shared.clear()
        if ctx.attempt == 1:
            raise ConnectionError
        return number

    async def main():
        run = await chain(item, other).run()
        await run.retry()
        await run.wait()
        return run

    run = memory.play(main)
    assert (run[item], run[other]) == ([1, 2], [10, 20])


def test_limit_bounds_the_calls_at_once(engine: Kit):
    """`limit=4` lets four items in, and the next as soon as one is out."""
    now, most = 0, 0

    @task
    async def numbers() -> list[int]:
        return list(range(20))

    @task(each=numbers, limit=4)
    async def item(number: int) -> int:
        nonlocal now, most
        now += 1
        most = max(most, now)
        await asyncio.sleep(number % 3)
        now -= 1
        return number

    async def main():
        return await chain(item).run()

    assert engine.play(main)[item] == list(range(20))
    # The clock jumps while a queue is being read, so that a place may stay free for a moment there.
    assert (now, most) == (0, 4) if isinstance(engine, MemoryKit) else 1 < most <= 4


def test_items_that_wait_for_a_retry_hold_up_nobody(memory: MemoryKit):
    """However many of them wait, places are free and further items begin."""
    seen = Log()

    @task
    async def numbers() -> list[int]:
        return list(range(3000))

    @task(each=numbers, retries=1, backoff=1000, limit=2)
    async def item(number: int, ctx: TaskContext) -> int:
        if ctx.attempt == 1 and number < 2500:
            raise ConnectionError
        seen(asyncio.get_running_loop().time())
        return number

    async def main():
        began = asyncio.get_running_loop().time()
        run = await chain(item).run()
        return run, [moment - began for moment in seen]

    run, moments = memory.play(main)
    assert run.state == "succeeded"
    assert (moments[0], moments[499], moments[500], moments[-1]) == (0, 0, 1000, 1000)


def test_ten_thousand_items_take_little_memory(memory: MemoryKit):
    """Only so many are under way as there is room for; the loop gets its turns, another run goes on beside them."""
    peak, now, ticks = 0, 0, 0

    @task
    async def numbers() -> list[int]:
        return list(range(10_000))

    @task(each=numbers)
    async def item(number: int) -> int:
        nonlocal peak, now
        now += 1
        peak = max(peak, now)
        await asyncio.sleep(0)
        now -= 1
        return number

    @task
    async def small() -> None:
        for _ in range(5):
            await asyncio.sleep(0)

    async def ticker() -> None:
        nonlocal ticks
        while True:
            await asyncio.sleep(0)
            ticks += 1

    async def main():
        clock = asyncio.create_task(ticker())
        big = await chain(item).start()
        await settle(3)
        beside = await chain(small).run()
        assert (beside.state, big.done) == ("succeeded", False)
        await big.wait()
        clock.cancel()
        return big

    tracemalloc.start()
    run = memory.play(main)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert run[item] == list(range(10_000))
    assert peak <= 1000
    assert ticks > 100
    assert most < 20_000_000


def test_a_thousand_items_are_under_way_at_once(memory: MemoryKit):
    """The next one begins as soon as one of them has ended."""
    inside, peak = 0, 0

    @task
    async def numbers() -> list[int]:
        return list(range(1500))

    @task(each=numbers)
    async def item(number: int) -> None:
        nonlocal inside, peak
        inside += 1
        peak = max(peak, inside)
        await asyncio.sleep(1 + number % 2)
        inside -= 1

    async def main():
        return await chain(item).run()

    assert (memory.play(main).state, peak) == ("succeeded", 1000)


def test_two_runs_share_a_gate_by_turns(memory: MemoryKit):
    """A run with many items does not keep another one waiting until it is done."""
    seen = Log()

    @task
    async def numbers(name: str, many: int) -> list[str]:
        return [name] * many

    @task(each={"which": numbers}, limit=1)
    async def item(which: str) -> None:
        seen(which)
        await asyncio.sleep(1)

    async def main():
        ch = chain(item)
        first = await ch.start(name="a", many=50)
        await asyncio.sleep(5)
        second = await ch.start(name="b", many=5)
        await first.wait()
        await second.wait()

    memory.play(main)
    begins = seen.index("b")
    assert begins <= 7
    assert seen[begins : begins + 9] == ["b", "a", "b", "a", "b", "a", "b", "a", "b"]


def test_two_runs_share_the_threads_by_turns(memory: MemoryKit):
    """Nor does one with many `def` tasks or items, in fan-outs and in plain graphs."""
    seen = Log()
    held, inside = threading.Event(), threading.Event()

    @task
    def first() -> None:
        inside.set()
        held.wait(10)

    def noted(name: str):
        def note() -> None:
            seen(name)

        return note

    many = [task(name=f"a{i}", after=[first])(noted("a")) for i in range(30)]
    few = [task(name=f"b{i}")(noted("b")) for i in range(3)]

    @task(after=[first])
    async def numbers() -> list[int]:
        return list(range(30))

    @task(each=numbers)
    def item(number: int) -> None:
        seen("a")

    async def main():
        big = await chain(item, *many).start()
        await asyncio.to_thread(inside.wait)
        small = await chain(*few, name="small").start()
        await settle()
        held.set()
        await big.wait()
        await small.wait()

    memory.play_for_real(main, threads=1)
    assert [i for i, name in enumerate(seen) if name == "b"][-1] < 12


def test_a_long_row_of_threads_lets_others_in(memory: MemoryKit):
    """A thread that goes on with what it has made ready looks now and then whether another run waits for it."""
    seen, inside = Log(), threading.Event()

    def busy() -> None:
        inside.set()
        seen("a")
        # As long as the slice that a run has of a thread.
        threading.Event().wait(0.005)

    row = []
    for i in range(30):
        row.append(task(name=f"a{i}", after=row[-1:])(busy))

    @task
    def other() -> None:
        seen("b")

    async def main():
        big = await chain(row[-1]).start()
        await asyncio.to_thread(inside.wait)
        await chain(other).run()
        await big.wait()

    memory.play_for_real(main, threads=1)
    assert seen.index("b") < 20


def test_a_default_stands_in_for_items_that_did_not_come(engine: Kit):
    """Also where there had been some before the run was retried."""
    lists: list[list[int] | None] = [[1, 2], None]
    none: list[Outcome[int]] = []

    @task
    async def numbers() -> list[int]:
        made = lists.pop(0)
        if made is None:
            raise Skip("nothing")
        return made

    @task(each=numbers)
    async def double(number: int) -> int:
        return 2 * number

    @task(after=[double])
    async def outcomes(double: list[Outcome[int]] = none) -> list[int]:
        return [outcome.value for outcome in double if isinstance(outcome, Succeeded)]

    async def main():
        run = await chain(outcomes).run()
        first = run[outcomes]
        await run.retry("start")
        await run.wait()
        return first, run[outcomes]

    assert engine.play(main) == ([2, 4], [])
