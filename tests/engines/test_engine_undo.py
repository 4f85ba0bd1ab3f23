"""Undo: what had taken effect is taken back, the last first, when a run ends badly."""

import asyncio
import threading
from collections.abc import Callable
from typing import Annotated, Any

import pytest
from fastapi import Depends

from fastapi_chain import Outcome, RetryAfter, Run, Skip, TaskContext, chain, task
from fastapi_chain.outcome import ErrorInfo
from tests.engines.kit import Kit, Log, MemoryKit, states


def undoing(log: Log, name: str) -> Callable[[], None]:
    """Return an undo that says so."""

    def take_back() -> None:
        log(name)

    return take_back


def test_undo_runs_in_reverse_order_of_completion(engine: Kit):
    """Not of the graph: what ended last is undone first. What failed, was skipped or has no undo is left alone."""
    seen = Log()

    @task(undo=undoing(seen, "slow"))
    async def slow() -> None:
        await asyncio.sleep(2)

    @task(undo=undoing(seen, "fast"))
    async def fast() -> None:
        await asyncio.sleep(1)

    @task(after=[fast], undo=undoing(seen, "thread"))
    def thread() -> None: ...

    @task(after=[slow], undo=undoing(seen, "last"))
    async def last() -> None: ...

    @task(after=[last])
    async def plain() -> None: ...

    @task(after=[plain], undo=undoing(seen, "never"))
    async def fails() -> None:
        raise ValueError

    @task(after=[fails], undo=undoing(seen, "never"))
    async def skipped() -> None: ...

    async def main():
        return await chain(skipped, thread).run()

    run = engine.play(main)
    assert (run.state, seen) == ("failed", ["last", "slow", "thread", "fast"])
    assert {record.name for record in run.tasks.values() if record.undone} == {"slow", "fast", "last", "thread"}


def test_a_run_that_succeeds_undoes_nothing(engine: Kit):
    """Nor does one in which only optional tasks have failed."""
    seen = Log()

    @task(undo=undoing(seen, "one"))
    async def one() -> None: ...

    @task(after=[one], optional=True)
    async def fails() -> None:
        raise ValueError

    async def main():
        return await chain(fails).run()

    assert (engine.play(main).state, seen) == ("succeeded", [])


def test_an_undo_takes_what_a_task_takes(engine: Kit):
    """The output of its task by name, values from upstream, inputs, dependencies, its context and the run."""
    seen = Log()

    def session() -> str:
        return "session"

    async def refund(
        receipt: int,
        order: str,
        customer: str,
        db: Annotated[str, Depends(session)],
        ctx: TaskContext,
        run: Run,
        pay: bool = True,
    ) -> None:
        seen((receipt, order, customer, db, ctx.task, ctx.attempt, ctx.max_attempts, run.state, pay))

    @task
    async def order(customer: str) -> str:
        return f"order of {customer}"

    @task(after=[order], undo=refund, output="receipt")
    async def charge(order: str) -> int:
        return 7

    @task(after=[charge])
    async def fails() -> None:
        raise ValueError

    async def main():
        return await chain(fails).run(customer="Ann")

    engine.play(main)
    assert seen == [(7, "order of Ann", "Ann", "session", "refund", 1, 1, "running", True)]


def test_an_undo_that_is_a_task_has_its_own_retries(engine: Kit):
    """A plain function has none. One that fails does not stop the others, and is not counted as undone."""
    seen = Log()

    @task(retries=2, backoff=30)
    async def refund(ctx: TaskContext) -> None:
        seen(("refund", ctx.attempt))
        if ctx.attempt == 2:
            raise RetryAfter(1)
        if ctx.attempt < 3:
            raise ConnectionError

    def release(ctx: TaskContext) -> None:
        seen(("release", ctx.attempt))
        raise ConnectionError

    def no_need() -> None:
        seen("no need")
        raise Skip("nothing to do")

    @task(undo=no_need)
    async def first() -> None: ...

    @task(after=[first], undo=refund)
    async def charge() -> None: ...

    @task(after=[charge], undo=release)
    async def reserve() -> None: ...

    @task(after=[reserve])
    async def fails() -> None:
        raise ValueError

    async def main():
        run = await chain(fails).run()
        return run, [
            (event.task, event.error) for event in [e async for e in run.events()] if event.kind == "task.undone"
        ]

    run, told = engine.play(main)
    assert seen == [("release", 1), ("refund", 1), ("refund", 2), ("refund", 3), "no need"]
    assert {record.name for record in run.tasks.values() if record.undone} == {"charge", "first"}
    assert {name: None if error is None else str(error) for name, error in told} == {
        "reserve": "ConnectionError",
        "charge": None,
        "first": None,
    }
    errors = {name: record.undo_error for name, record in run.tasks.items()}
    assert errors == {
        "first": None,
        "charge": None,
        "reserve": ErrorInfo("ConnectionError", ""),
        "fails": None,
    }


def test_a_fan_out_is_undone_item_by_item(engine: Kit):
    """The undo is called for each item that had succeeded, with its output, the one that had ended last first."""
    seen, ended = Log(), Log()

    def recall(ship: str, ctx: TaskContext) -> None:
        seen((ship, ctx.task))
        if ship == "p1":
            raise ConnectionError

    @task
    async def lines() -> list[int]:
        return [1, 2, 3, 4]

    @task(each=lines, undo=recall, limit=1)
    async def ship(line: int) -> str:
        if line == 3:
            raise ValueError
        ended((f"p{line}", f"recall[{line - 1}]"))
        return f"p{line}"

    async def main():
        run = await chain(ship).run()
        return run, [event.task for event in [e async for e in run.events()] if event.kind == "task.undone"]

    run, told = engine.play(main)
    # A queue of workers may take the items in another order than they stand in.
    assert sorted(seen) == [("p1", "recall[0]"), ("p2", "recall[1]"), ("p4", "recall[3]")]
    assert seen == ended[::-1]
    assert [item.undone for item in run.tasks["ship"].items.values()] == [False, True, False, True]
    assert run.tasks["ship"].undone
    assert sorted(told) == ["ship[0]", "ship[1]", "ship[3]"]


@pytest.mark.parametrize("kind", ["light", "limited", "item", "with a dependency"])
def test_a_thread_that_returns_too_late_counts_as_done(memory: MemoryKit, kind: str):
    """After a cancellation undo waits for every thread; what that has done is undone, in its place in the order."""
    held, inside, seen = threading.Event(), threading.Event(), Log()

    def take_back(effect: int) -> None:
        seen(f"undo {effect}")

    def act() -> int:
        inside.set()
        held.wait(10)
        seen("effect")
        return 5

    async def dep() -> int:
        return 1

    @task(undo=undoing(seen, "undo before"))
    async def before() -> list[int]:
        return [0]

    @task(after=[before])
    async def waits() -> None:
        await asyncio.sleep(1000)

    options: dict[str, Any] = {"name": "effect", "after": [before], "undo": take_back}
    if kind == "item":

        @task(each=before, **{**options, "after": []})
        def effect(number: int) -> int:
            return act()
    elif kind == "with a dependency":

        @task(**options)
        def effect(db: Annotated[int, Depends(dep)]) -> int:
            return act()
    else:

        @task(**options, limit=1 if kind == "limited" else None)
        def effect() -> int:
            return act()

    async def main():
        run = await chain(effect, waits).start()
        await asyncio.to_thread(inside.wait)
        await run.cancel()
        with pytest.raises(TimeoutError):
            await run.wait(0.02)
        seen("released")
        held.set()
        await run.wait()
        return run

    run = memory.play_for_real(main)
    assert seen == ["released", "effect", "undo 5", "undo before"]
    assert (run.state, run.tasks["effect"].state, run.tasks["effect"].undone) == ("cancelled", "cancelled", True)
    assert run.outputs == {"before": [0]}


def test_what_a_thread_raises_too_late_is_no_effect(memory: MemoryKit):
    """A thread that fails after its run was cancelled is waited for, and not undone."""
    held, inside, seen = threading.Event(), threading.Event(), Log()

    @task(undo=undoing(seen, "never"))
    def fails() -> None:
        inside.set()
        held.wait(10)
        raise ConnectionError

    async def main():
        run = await chain(fails).start()
        await asyncio.to_thread(inside.wait)
        await run.cancel()
        held.set()
        await run.wait()
        return run

    assert (memory.play_for_real(main).tasks["fails"].undone, seen) == (False, [])


def test_what_waits_for_a_thread_never_begins_once_the_run_is_cancelled(memory: MemoryKit):
    """Calls that are queued for a thread, of whatever kind, are dropped."""
    held, inside, seen = threading.Event(), threading.Event(), Log()

    async def dep() -> int:
        return 1

    @task
    def holds() -> list[int]:
        inside.set()
        held.wait(10)
        return [1]

    @task(undo=undoing(seen, "never"))
    def light() -> None:
        seen("never")

    @task(limit=3, undo=undoing(seen, "never"))
    def limited() -> None:
        seen("never")

    @task(undo=undoing(seen, "never"))
    def hidden(db: Annotated[int, Depends(dep)]) -> None:
        seen("never")

    async def main():
        holding = await chain(holds, name="holds").start()
        await asyncio.to_thread(inside.wait)
        run = await chain(light, limited, hidden, name="waits").start()
        for _ in range(10):
            await asyncio.sleep(0)
        await run.cancel()
        held.set()
        await run.wait()
        await holding.wait()
        return run

    run = memory.play_for_real(main, threads=1)
    assert (set(states(run).values()), seen) == ({"cancelled run_cancelled"}, [])


def test_an_undo_that_lacks_a_value_is_not_called(engine: Kit):
    """It takes more than its task did, and that is not there: it fails with an error that says so; the others go on."""
    seen = Log()

    async def take_back(far: int) -> None:
        seen("never")

    async def take_back_if(far: int = 3) -> None:
        seen(far)

    @task
    async def far() -> int:
        raise ValueError

    @task(after=[far], undo=take_back)
    async def one(far: Outcome[int]) -> int:
        return 1

    @task(after=[far], undo=take_back_if)
    async def two(far: Outcome[int]) -> int:
        return 2

    async def main():
        run = await chain(one, two).run()
        events = [event async for event in run.events()]
        return run, {event.task: event.error for event in events if event.kind == "task.undone"}

    run, told = engine.play(main)
    assert (seen, run.tasks["one"].undone, run.tasks["two"].undone) == ([3], False, True)
    assert str(told["one"].message).partition("\n")[0] == ("Undo 'take_back' takes 'far', but task 'far' failed.")


def test_cancelling_whoever_waits_does_not_cut_undo_short(memory: MemoryKit):
    """The run is undone to the end, and only then is the cancellation let through."""
    seen = Log()

    async def take_back() -> None:
        await asyncio.sleep(5)
        seen("undone")

    @task(undo=take_back)
    async def one() -> None: ...

    @task(after=[one])
    async def fails() -> None:
        raise ValueError

    async def main():
        job = asyncio.ensure_future(chain(fails).run())
        await asyncio.sleep(1)
        job.cancel()
        await asyncio.sleep(1)
        job.cancel()
        await asyncio.wait([job])
        assert job.cancelled()

    memory.play(main)
    assert seen == ["undone"]
