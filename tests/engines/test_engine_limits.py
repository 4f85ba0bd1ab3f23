"""How much at once: limits and rates of tasks, rooms for runs, keys."""

import asyncio
import threading
from typing import Annotated, Any

import pytest
from fastapi import Depends

from fastapi_chain import QueueFull, Run, TaskContext, chain, task
from fastapi_chain.engines.base import RunRequest
from tests.engines.kit import Kit, Log, MemoryKit, settle


def test_a_limit_holds_over_all_runs_and_chains(engine: Kit):
    """The task has one gate, whatever chain it is in; runs come in by turns."""
    now, most = 0, 0

    @task(limit=2)
    async def limited() -> None:
        nonlocal now, most
        now += 1
        most = max(most, now)
        await asyncio.sleep(1)
        now -= 1

    @task(after=[limited])
    async def after() -> None: ...

    async def main():
        one, two = chain(limited, name="one"), chain(after, name="two")
        runs = [await ch.start() for ch in (one, two) * 4]
        return [(await run.wait()).state for run in runs]

    assert engine.play(main) == ["succeeded"] * 8
    assert (now, most) == (0, 2)


@pytest.mark.parametrize("kind", ["async", "thread", "with a dependency"])
def test_a_place_is_given_back_however_the_call_ends(memory: MemoryKit, kind: str):
    """After an error, a time-out, a wrong value, a cancellation: the next one gets in."""

    async def dep() -> int:
        return 1

    def act(how: str) -> int:
        if how == "fails":
            raise ValueError
        if how == "wrong":
            return "wrong"
        return 1

    if kind == "async":

        @task(limit=1, timeout=5)
        async def limited(how: str) -> int:
            if how == "slow":
                await asyncio.sleep(10)
            return act(how)
    elif kind == "thread":

        @task(limit=1)
        def limited(how: str) -> int:
            return act(how)
    else:

        @task(limit=1)
        def limited(how: str, db: Annotated[int, Depends(dep)]) -> int:
            return act(how)

    async def main():
        ch = chain(limited)
        states = [(await ch.run(how=how)).state for how in ("fails", "wrong", "slow")]
        run = await ch.start(how="slow")
        await settle(3)
        await run.wait() if run.done else await run.cancel()
        await run.wait()
        return [*states, (await ch.run(how="fine")).state]

    assert memory.play(main)[-1] == "succeeded"


def test_a_timed_out_thread_keeps_its_place_until_it_returns(memory: MemoryKit):
    """With `limit=1` no second thread is in the task, not even of another run."""
    held, inside = threading.Event(), Log()

    @task(limit=1, timeout=0.02)
    def stuck(name: str) -> str:
        inside(name)
        if name == "first":
            held.wait(10)
        return name

    async def main():
        ch = chain(stuck)
        first = await ch.run(name="first")
        second = await ch.start(name="second")
        with pytest.raises(TimeoutError):
            await second.wait(0.05)
        assert inside == ["first"]
        held.set()
        await second.wait()
        return first.state, second.state

    assert memory.play_for_real(main) == ("failed", "succeeded")


def test_a_rate_spaces_the_starts(engine: Kit):
    """`2/s` is a bucket of two: two at once, then one each half second."""
    starts = Log()

    @task
    async def numbers() -> list[int]:
        return list(range(6))

    @task(each=numbers, rate="2/s")
    async def item(number: int) -> None:
        starts(asyncio.get_running_loop().time())

    async def main():
        await chain(item).run()

    engine.play(main)
    assert [moment - starts[0] for moment in starts] == pytest.approx([0, 0, 0.5, 1.0, 1.5, 2.0])


@pytest.mark.parametrize(("rate", "gap"), [("1/s", 1), ("1/m", 60), ("2/h", 1800)])
def test_a_slow_rate_has_a_burst_of_one(memory: MemoryKit, rate: str, gap: float):
    """The burst is one second's worth, at least one start; what was not used is not saved up beyond it."""
    starts = Log()

    @task(rate=rate)
    async def limited() -> None:
        starts(asyncio.get_running_loop().time())

    async def main():
        ch = chain(limited)
        await ch.run()
        await asyncio.sleep(10 * gap)
        for run in [await ch.start() for _ in range(3)]:
            await run.wait()

    memory.play(main)
    assert [moment - starts[0] for moment in starts] == pytest.approx([0, 10 * gap, 11 * gap, 12 * gap])


def test_two_runs_share_a_rate_by_turns(memory: MemoryKit):
    """A run with a single call does not wait behind a hundred of another."""
    starts = Log()

    @task
    async def numbers(name: str, many: int) -> list[str]:
        return [name] * many

    @task(each={"which": numbers}, rate="1/s", limit=3)
    async def item(which: str) -> None:
        starts(which)

    async def main():
        ch = chain(item)
        first = await ch.start(name="a", many=20)
        await asyncio.sleep(3.5)
        second = await ch.start(name="b", many=1)
        await second.wait()
        await first.wait()

    memory.play(main)
    assert starts.index("b") <= 5


def test_waiting_for_a_start_holds_no_place(memory: MemoryKit):
    """A call that waits for its turn in time and is cancelled leaves the rate to the next one."""
    starts = Log()

    @task(rate="1/m", limit=1)
    async def limited(name: str) -> None:
        starts((name, asyncio.get_running_loop().time() - began[0]))

    began: list[float] = []

    async def main():
        began.append(asyncio.get_running_loop().time())
        ch = chain(limited)
        await ch.run(name="first")
        second = await ch.start(name="second")
        third = await ch.start(name="third")
        await asyncio.sleep(1)
        await second.cancel()
        await third.wait()

    memory.play(main)
    assert starts == [("first", 0), ("third", 60)]


def test_max_running_bounds_the_runs_at_once(memory: MemoryKit):
    """The others are queued, and begin in order as room comes free."""
    seen = Log()

    @task
    async def one(n: int) -> None:
        seen(f"{n} begins")
        await asyncio.sleep(1)
        seen(f"{n} ends")

    async def main():
        ch = chain(one)
        runs = [await ch.start(n=n) for n in range(4)]
        await settle()
        assert [run.state for run in runs] == ["running", "running", "queued", "queued"]
        run = await ch.run(n=4)
        assert [other.state for other in runs] == ["succeeded"] * 4
        return run

    assert memory.play(main, max_running=2).state == "succeeded"
    assert [entry for entry in seen if "begins" in entry] == [f"{n} begins" for n in range(5)]


def test_the_room_is_given_back_by_runs_that_never_begin(memory: MemoryKit):
    """One that is cancelled while it waits, by itself or with whoever awaits it, takes none."""

    @task
    async def one() -> None:
        await asyncio.sleep(1)

    async def main():
        ch = chain(one)
        first = await ch.start()
        await settle()
        queued = await ch.start()
        job = asyncio.ensure_future(ch.run())
        await settle()
        await queued.cancel()
        job.cancel()
        await asyncio.wait([job])
        assert (queued.state, job.cancelled()) == ("cancelled", True)
        await first.wait()
        return await ch.run()

    assert memory.play(main, max_running=1).state == "succeeded"


def test_a_key_makes_two_starts_one_run(memory: MemoryKit):
    """For as long as the run is kept; another key, and another chain, is another run."""
    calls = Log()

    @task
    async def one(order: int) -> int:
        calls(order)
        await asyncio.sleep(1)
        return order

    async def main():
        ch = chain(one, name="keyed", key="order-{order}")
        other = chain(one, name="other", key="order-{order}")
        first = await ch.start(order=1)
        second = await ch.start(order=1)
        third = await ch.run(order=1)
        await ch.run(order=2)
        await other.run(order=1)
        assert first.id == second.id == third.id
        assert (first.state, third[one]) == ("succeeded", 1)
        again = await ch.run(order=1)
        assert again.id == first.id

    memory.play(main)
    assert calls == [1, 2, 1]


def test_whoever_shares_a_run_may_be_cancelled_alone(memory: MemoryKit):
    """The one that performs it takes it along; the others only stop waiting."""

    @task
    async def one(order: int) -> int:
        await asyncio.sleep(5)
        return order

    async def main():
        ch = chain(one, name="keyed", key="order-{order}")
        performs = asyncio.ensure_future(ch.run(order=1))
        await settle()
        waits = asyncio.ensure_future(ch.run(order=1))
        await settle()
        waits.cancel()
        run = await performs
        assert (waits.cancelled(), run.state) == (True, "succeeded")

    memory.play(main)


def test_a_run_that_is_dropped_frees_its_key(memory: MemoryKit):
    """Only when all who have taken it have dropped it, and only if nobody has started it."""

    @task
    async def one(order: int) -> int:
        return order

    async def main():
        engine = memory.engine
        plan = chain(one).plan

        def take() -> Run:
            request = RunRequest(plan, {"order": 1})
            request.key, request.counted = "k", True
            return engine.take(request)

        first, second = take(), take()
        assert (first.id == second.id, engine.pending(plan.chain)) == (True, 1)
        engine.drop(first)
        assert (take().id == first.id, engine.pending(plan.chain)) == (True, 1)
        engine.drop(first)
        engine.drop(first)
        assert (engine.pending(plan.chain), first.state, first.done) == (0, "cancelled", True)
        await first.wait()
        third = take()
        assert third.id != first.id
        engine.start(third)
        take()
        engine.drop(third)
        await third.wait()
        assert (third.state, engine.pending(plan.chain)) == ("succeeded", 0)

    memory.play(main)


def test_max_pending_counts_what_is_queued_and_what_runs(memory: MemoryKit):
    """Beyond it a start is refused; finished runs do not count, retried ones do."""

    @task
    async def one(ctx: TaskContext) -> None:
        await asyncio.sleep(1)
        if ctx.attempt == 1:
            raise ValueError

    async def main() -> Any:
        ch = chain(one, max_pending=2)
        runs = [await ch.start() for _ in range(2)]
        with pytest.raises(QueueFull):
            await ch.start()
        for run in runs:
            await run.wait()
        await runs[0].retry()
        await ch.start()
        with pytest.raises(QueueFull):
            await ch.run()

    memory.play(main)
