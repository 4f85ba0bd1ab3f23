"""A run that is retried in place."""

import asyncio

import pytest

from fastapi_chain import NothingToRetry, Outcome, Progress, RunNotFinished, Skip, TaskContext, chain, task
from fastapi_chain.outcome import ProgressInfo
from tests.engines.kit import Kit, Log, MemoryKit, states


def numbers(run, name: str) -> list[tuple[int, str]]:
    """Return the number and state of each attempt of a task."""
    return [(attempt.n, attempt.state) for attempt in run.tasks[name].attempts]


def test_from_failed_what_succeeded_is_kept(engine: Kit):
    """What failed, and what was skipped because of it, runs again, attempts counting on; the rest is kept."""
    seen = Log()

    @task
    async def order() -> int:
        seen("order")
        return 1

    @task(after=[order], retries=1, backoff=0)
    async def charge(order: int, ctx: TaskContext) -> int:
        seen(("charge", ctx.attempt, ctx.max_attempts))
        if ctx.attempt < 4:
            raise ConnectionError(ctx.attempt)
        return order + 1

    @task(after=[charge])
    def receipt(charge: int) -> int:
        seen("receipt")
        return charge + 1

    @task
    async def empty() -> int:
        raise Skip("nothing")

    @task(after=[empty])
    def behind_the_skip(empty: int) -> int:
        return empty

    async def main():
        run = await chain(receipt, behind_the_skip).run()
        first = run.finished_at
        assert (run.state, run.done) == ("failed", True)
        await asyncio.sleep(1)
        await run.retry()
        assert (run.state, run.done, run.reason) == ("queued", False, None)
        await run.wait()
        assert run.finished_at > first
        return run

    run = engine.play(main)
    assert seen == ["order", ("charge", 1, 2), ("charge", 2, 2), ("charge", 3, 4), ("charge", 4, 4), "receipt"]
    assert (run.state, run[receipt], run.errors) == ("succeeded", 3, {})
    assert numbers(run, "charge") == [(1, "failed"), (2, "failed"), (3, "failed"), (4, "succeeded")]
    assert (numbers(run, "order"), run.tasks["charge"].max_attempts) == ([(1, "succeeded")], 4)
    assert states(run)["behind_the_skip"] == "skipped upstream_skipped: empty"


def test_from_the_start_everything_runs_again(engine: Kit):
    """Also of a run that has succeeded on the line; attempts count on."""
    seen = Log()

    @task
    async def one(x: int) -> int:
        seen("one")
        return x

    @task(after=[one])
    async def two(one: int) -> int:
        seen("two")
        return one + 1

    async def main():
        run = await chain(two).run(x=1)
        await run.retry(from_="start")
        await run.wait()
        return run

    run = engine.play(main)
    assert (seen, run.state, run[two]) == (["one", "two", "one", "two"], "succeeded", 2)
    assert numbers(run, "two") == [(1, "succeeded"), (2, "succeeded")]


@pytest.mark.parametrize("by_name", [True, False])
def test_from_a_task_that_one_and_all_after_it_run_again(engine: Kit, *, by_name: bool):
    """Nothing else does."""
    seen = Log()

    @task
    async def one() -> int:
        seen("one")
        return 1

    @task(after=[one])
    async def two(one: int) -> int:
        seen("two")
        return len(seen)

    @task(after=[two])
    def three(two: int) -> int:
        seen("three")
        return two

    @task(after=[one])
    def beside(one: int) -> None:
        seen("beside")

    async def main():
        run = await chain(three, beside).run()
        seen.clear()
        await run.retry("two" if by_name else two)
        await run.wait()
        return run

    run = engine.play(main)
    assert (seen, run.state, run[three]) == (["two", "three"], "succeeded", 1)


def test_what_is_below_a_task_that_runs_again_runs_again_too(engine: Kit):
    """What it made of a failure, it makes anew of the success."""

    @task
    async def flaky(ctx: TaskContext) -> int:
        if ctx.attempt == 1:
            raise ConnectionError
        return 5

    @task(after=[flaky])
    async def audit(flaky: Outcome[int]) -> str:
        return type(flaky).__name__

    @task(after=[flaky], run_if="any_failed")
    async def alert() -> None: ...

    async def main():
        run = await chain(audit, alert).run()
        assert (run[audit], states(run)["alert"]) == ("Failed", "succeeded")
        await run.retry()
        await run.wait()
        return run

    run = engine.play(main)
    assert (run.state, run[audit], states(run)["alert"]) == ("succeeded", "Succeeded", "skipped condition")


def test_of_a_fan_out_only_the_failed_items_run_again(engine: Kit):
    """Items that had succeeded keep their values, those that had raised `Skip` their state."""
    calls = Log()

    @task
    async def lines() -> list[int]:
        calls("lines")
        return [0, 1, 2, 3]

    @task(each=lines)
    async def ship(line: int, ctx: TaskContext) -> int:
        calls(ctx.task)
        if line == 3:
            raise Skip("free")
        if line and ctx.attempt == 1:
            raise ConnectionError(line)
        return line

    @task(after=[ship])
    async def summary(ship: list[int]) -> int:
        return sum(ship)

    async def main():
        run = await chain(summary).run()
        assert run.state == "failed"
        await run.retry()
        await run.wait()
        return run

    run = engine.play(main)
    assert calls[0] == "lines"
    assert sorted(calls[1:]) == ["ship[0]", "ship[1]", "ship[1]", "ship[2]", "ship[2]", "ship[3]"]
    assert (run.state, run[summary]) == ("succeeded", 3)
    assert [(item.state, len(item.attempts)) for item in run.tasks["ship"].items.values()] == [
        ("succeeded", 1),
        ("succeeded", 2),
        ("succeeded", 2),
        ("skipped", 1),
    ]


def test_of_an_optional_fan_out_the_failed_items_run_again(engine: Kit):
    """It has not failed as a whole, but items of it have."""

    @task
    async def lines() -> list[int]:
        return [0, 1]

    @task(each=lines, optional=True)
    async def ship(line: int, ctx: TaskContext) -> int:
        if line and ctx.attempt == 1:
            raise ConnectionError(line)
        return line

    @task(after=[ship])
    async def summary(ship: list[int]) -> list[int]:
        return ship

    async def main():
        run = await chain(summary).run()
        assert (run.state, run[summary]) == ("succeeded", [0])
        await run.retry()
        await run.wait()
        return run

    run = engine.play(main)
    assert (run.state, run[summary]) == ("succeeded", [0, 1])


@pytest.mark.parametrize("cancelled", [False, True])
def test_no_items_stay_pending(engine: Kit, *, cancelled: bool):
    """A fan-out that does not run again has none, if it is skipped; if it is cancelled, they are cancelled with it."""
    begun: list[asyncio.Event] = []

    @task
    async def lines(ctx: TaskContext) -> list[int]:
        if ctx.attempt == 2 and cancelled:
            begun[0].set()
            await asyncio.Event().wait()
        if ctx.attempt == 2:
            raise Skip("sold out")
        return [0, 1]

    @task(each=lines)
    async def ship(line: int) -> int:
        return line

    async def main():
        begun.append(asyncio.Event())
        run = await chain(ship).run()
        await run.retry("start")
        if cancelled:
            await begun[0].wait()
            await run.cancel()
        await run.wait()
        return run

    run = engine.play(main)
    items = {name: (item.state, item.cancel_reason) for name, item in run.tasks["ship"].items.items()}
    assert (states(run)["ship"], items) == (
        ("cancelled run_cancelled", dict.fromkeys(["ship[0]", "ship[1]"], ("cancelled", "run_cancelled")))
        if cancelled
        else ("skipped upstream_skipped: lines", {})
    )


@pytest.mark.parametrize("more", [0, 1])
def test_a_fan_out_over_a_list_that_is_made_again_begins_anew(engine: Kit, more: int):
    """Its items are others then, perhaps in other numbers: none is kept."""
    rounds = Log()

    @task
    async def lines() -> list[int]:
        rounds("round")
        return list(range(2 + more * (len(rounds) - 1)))

    @task(each=lines)
    async def ship(line: int) -> int:
        if len(rounds) == 1 and line == 1:
            raise ConnectionError
        return line

    async def main():
        run = await chain(ship).run()
        assert run.state == "failed"
        await run.retry(lines)
        await run.wait()
        return run

    run = engine.play(main)
    assert (run.state, run[ship]) == ("succeeded", list(range(2 + more)))
    assert len(run.tasks["ship[0]"].attempts) == 2 - more


def test_what_was_undone_counts_as_not_run(engine: Kit):
    """Every retry runs it again, and what is below it."""
    seen = Log()

    def take_back() -> None:
        seen("undo")

    def cannot() -> None:
        raise ValueError

    @task(undo=take_back)
    async def charge() -> int:
        seen("charge")
        return 1

    @task(undo=cannot)
    async def reserve() -> int:
        seen("reserve")
        return 1

    @task(after=[charge])
    async def receipt(charge: int) -> int:
        seen("receipt")
        return charge

    @task
    async def flaky(ctx: TaskContext) -> None:
        if ctx.attempt == 1:
            raise ConnectionError

    async def main():
        run = await chain(receipt, reserve, flaky).run()
        assert run.tasks["charge"].undone
        assert str(run.tasks["reserve"].undo_error) == "ValueError"
        seen.clear()
        await run.retry(flaky)
        await run.wait()
        return run

    run = engine.play(main)
    assert (run.state, seen, run.tasks["charge"].undone) == ("succeeded", ["charge", "receipt"], False)
    # What went wrong then is no news of this round.
    assert run.tasks["reserve"].undo_error is None


def test_a_cancelled_run_is_gone_on_with(engine: Kit):
    """From whatever task it is retried, what was cancelled runs as well; a deadline begins anew."""
    seen = Log()

    @task
    async def one() -> int:
        seen("one")
        return 1

    @task(after=[one])
    async def slow(one: int, ctx: TaskContext) -> int:
        seen(("slow", ctx.time_left() is not None and ctx.time_left() > 15))
        await asyncio.sleep(100 if ctx.attempt == 1 else 1)
        return one

    @task(after=[slow])
    async def last(slow: int) -> int:
        return slow

    @task(after=[one, last])
    async def joins(one: int, last: int) -> int:
        return one + last

    async def main():
        run = await chain(joins, deadline=20).run()
        assert (run.state, run.reason) == ("failed", "deadline")
        await run.retry(one)
        await run.wait()
        return run

    run = engine.play(main)
    assert (run.state, run.reason, run[joins]) == ("succeeded", None, 2)
    assert seen == ["one", ("slow", True), "one", ("slow", True)]
    assert numbers(run, "slow") == [(1, "cancelled"), (2, "succeeded")]
    run.raise_for_error()


def test_a_retry_that_makes_no_sense_is_refused(engine: Kit):
    """Of an active run, from a task that it does not have, or where nothing failed."""
    release = asyncio.Event()

    @task
    async def one() -> None:
        await release.wait()

    async def main():
        run = await chain(one).start()
        with pytest.raises(RunNotFinished):
            await run.retry()
        release.set()
        await run.wait()
        with pytest.raises(NothingToRetry):
            await run.retry()
        with pytest.raises(KeyError, match="two"):
            await run.retry("two")
        assert (run.state, run.done) == ("succeeded", True)

    engine.play(main)


def test_of_two_retries_at_once_one_is_refused(memory: MemoryKit):
    """The run is reopened once."""
    calls = Log()

    @task
    async def fails() -> None:
        calls("call")
        raise ValueError

    async def main():
        run = await chain(fails).run()
        results = await asyncio.gather(run.retry(), run.retry(), return_exceptions=True)
        await run.wait()
        return [type(result).__name__ for result in results]

    assert memory.play(main) == ["NoneType", "RunNotFinished"]
    assert calls == ["call", "call"]


def test_a_retried_run_may_be_cancelled_before_it_begins(memory: MemoryKit):
    """What it had done before is undone then."""
    seen = Log()

    def take_back() -> None:
        seen("undone")

    @task(undo=take_back)
    async def one() -> int:
        seen("one")
        return 1

    async def main():
        run = await chain(one).run()
        blocked = await chain(one, name="other").start()
        await run.retry("start")
        await run.cancel()
        await run.wait()
        await blocked.wait()
        return run

    run = memory.play(main, max_running=1)
    assert (run.state, run.reason, states(run)) == ("cancelled", "run_cancelled", {"one": "cancelled run_cancelled"})


def test_a_retried_run_keeps_what_it_does_not_run_again(memory: MemoryKit):
    """If it is cancelled before it begins, what is left of its first round is undone."""
    seen = Log()

    def take_back() -> None:
        seen("undone")

    @task(undo=take_back)
    async def one() -> int:
        return 1

    @task(after=[one])
    async def two() -> int:
        return 1

    async def main():
        run = await chain(two).run()
        await run.retry(two)
        await run.cancel()
        await run.wait()
        return run

    run = memory.play(main)
    assert (run.state, states(run), seen) == (
        "cancelled",
        {"one": "succeeded", "two": "cancelled run_cancelled"},
        ["undone"],
    )


def test_progress_begins_anew(memory: MemoryKit):
    """A task that runs again has not come as far as before, nor have its items."""

    @task
    async def one(ctx: TaskContext, progress: Progress) -> list[int]:
        if ctx.attempt == 1:
            progress(1, 2)
        return [1]

    @task(each=one)
    async def two(number: int, ctx: TaskContext, progress: Progress) -> None:
        if ctx.attempt == 1:
            progress(1, 2)

    async def main():
        run = await chain(two).run()
        assert (run.tasks["one"].progress, run.tasks["two[0]"].progress) == (ProgressInfo(done=1, total=2),) * 2
        await run.retry("start")
        await run.wait()
        return run

    run = memory.play(main)
    assert (run.tasks["one"].progress, run.tasks["two[0]"].progress) == (None, None)
