"""What a run is like that one process has begun and another one carries on."""

import asyncio
from typing import Any

import pytest
import sqlalchemy as sa

from fastapi_chain import Outcome, Registry, Run, Skip, TaskFailed, UnserializableOutput, chain
from fastapi_chain.engines.durable.database import outputs, steps, workflows
from fastapi_chain.engines.durable.engine import DurableEngine
from fastapi_chain.engines.durable.schema import Numbers
from fastapi_chain.errors import EngineError
from fastapi_chain.events import Event, RunFinished
from tests.engines.kit import Log, states
from tests.engines.opened import opened, until


async def carried_on(engine: Any, run: Run) -> Run:
    """Return the run as *engine* has it, once it has ended."""
    found = await engine.find(run.id)
    assert found is not None
    await Run(found).wait(20)
    return Run(found)


def test_what_has_ended_is_not_run_again(url: str):
    """Outcomes of all kinds come back as they were.

    What was under way when the process ended runs again, and the rest runs.
    """
    seen, hold = Log(), asyncio.Event()
    registry = Registry("r")

    @registry.task
    async def numbers() -> list[int]:
        seen("numbers")
        return [1, 2, 3]

    @registry.task(each=numbers)
    async def twice(n: int) -> int:
        seen(f"twice {n}")
        if n == 2:
            raise Skip("not this one")
        return 2 * n

    @registry.task(optional=True, retries=1, backoff=0)
    def shaky() -> int:
        seen("shaky")
        raise ConnectionError("no answer")

    @registry.task
    async def nothing() -> int:
        seen("nothing")
        raise Skip("nothing to do")

    @registry.task(after=[twice])
    async def slow(twice: list[int]) -> int:
        seen("slow")
        if not hold.is_set():
            await asyncio.Event().wait()
        return sum(twice)

    @registry.task(after=[slow, shaky, nothing], run_if="all_done")
    async def last(slow: int, shaky: Outcome[int], nothing: int = 7) -> list[object]:
        return [slow, str(shaky.error), shaky.attempts, nothing]  # type: ignore[union-attr]

    whole = chain(registry, name="whole")

    async def main() -> None:
        async with opened(url, whole) as engine:
            run = await whole.start()
            await until(lambda: "slow" in seen and "nothing" in seen and seen.count("shaky") == 2)
            await asyncio.sleep(0.1)
        begun = sorted(seen)
        hold.set()
        async with opened(url, whole) as engine:
            run = await carried_on(engine, run)
            assert run.state == "succeeded"
            assert run["last"] == [8, "ConnectionError: no answer", 2, 7]
            assert states(run)["nothing"] == "skipped skip: nothing to do"
            assert run.tasks["twice[1]"].skip_reason == "skip: not this one"
            assert [attempt.state for attempt in run.tasks["shaky"].attempts] == ["failed", "failed"]
            assert isinstance(run.errors["shaky"], TaskFailed)
        assert sorted(seen) == sorted([*begun, "slow"])

    asyncio.run(main())


def test_events_go_on_where_they_stopped(url: str):
    """The numbers of a run's events have no gaps and no repetitions, whoever has told them.

    What nobody came to tell is told later.
    """
    registry, hold = Registry("r"), asyncio.Event()

    @registry.task
    async def first() -> int:
        return 1

    @registry.task(after=[first])
    async def second() -> int:
        if not hold.is_set():
            await asyncio.Event().wait()
        return 2

    @registry.task
    async def bad() -> None:
        if not hold.is_set():
            await asyncio.sleep(0.9)
        raise ValueError("bad")

    ours = chain(registry, name="ours")

    async def main() -> None:
        async with opened(url, ours):
            run = await ours.start()
            await asyncio.sleep(1.1)
        hold.set()
        async with opened(url, ours) as engine:
            found = await engine.find(run.id)
            assert found is not None
            told = [event async for event in Run(found).events()]
        assert [event.seq for event in told] == list(range(1, len(told) + 1))
        kinds = [(event.kind, getattr(event, "task", "")) for event in told]
        assert kinds.count(("run.started", "")) == 1
        assert kinds.count(("task.succeeded", "first")) == 1
        assert kinds.count(("task.failed", "bad")) == 1
        assert ("task.succeeded", "second") in kinds
        assert isinstance(told[-1], RunFinished)
        async with opened(url, ours, worker=False) as engine:
            again = await engine.find(run.id)
            assert again is not None
            rest = [event.seq async for event in Run(again).events(after=3)]
            assert rest == [event.seq for event in told[3:]]

    asyncio.run(main())


def test_whoever_follows_a_run_where_it_is_carried_on_hears_all_of_it(url: str):
    """What happened before comes from the database, and what happens here from here: each event once, from wherever."""
    registry, go_on = Registry("r"), asyncio.Event()

    @registry.task
    async def first() -> int:
        return 1

    @registry.task(after=[first])
    async def second() -> int:
        await go_on.wait()
        return 2

    ours = chain(registry, name="ours")

    async def main() -> None:
        async with opened(url, ours) as engine:
            run = await ours.start()
            await until(lambda: bool(engine._desk._looking.events(run.id, 0)))
        async with opened(url, ours) as engine:
            await until(lambda: bool(engine.runner._active))
            (execution,) = engine.runner._active
            before = execution.journal.before
            # What has happened here is in the database as well by now.
            await until(lambda: bool(engine._desk._looking.events(run.id, before)))
            found = await engine.find(run.id)
            assert found is not None
            readers = [asyncio.create_task(_told(Run(found), after)) for after in (0, before - 1, before)]
            await asyncio.sleep(0)
            go_on.set()
            whole, last, rest = await asyncio.gather(*readers)
        assert [event.kind for event in whole[:before]] == [
            "run.started",
            "task.started",
            "task.succeeded",
            "task.started",
        ]
        assert [event.kind for event in rest] == ["task.started", "task.succeeded", "run.finished"]
        assert [event.seq for event in whole] == list(range(1, before + 4))
        assert (last, rest) == (whole[before - 1 :], whole[before:])

    asyncio.run(main())


async def _told(run: Run, after: int) -> list[Event]:
    return [event async for event in run.events(after=after)]


def test_a_run_that_was_cancelled_meanwhile_ends_and_is_undone(url: str):
    """Cancelled while no process runs it, a run begins nothing more.

    What it had done is undone, items too, and only once.
    """
    seen = Log()
    registry = Registry("r")

    @registry.task
    async def numbers() -> list[int]:
        return [1, 2]

    def free(reserve: int) -> None:
        seen(f"free {reserve}")

    @registry.task(each=numbers, undo=free)
    async def reserve(n: int) -> int:
        seen(f"reserve {n}")
        return 10 * n

    @registry.task(after=[numbers], each=numbers)
    async def stuck(n: int) -> int:
        seen(f"stuck {n}")
        if n == 2:
            await asyncio.Event().wait()
        return n

    @registry.task(after=[reserve, stuck])
    async def last() -> None:
        seen("last")

    ours = chain(registry, name="ours")

    async def main() -> None:
        async with opened(url, ours):
            run = await ours.start()
            await until(lambda: {"reserve 1", "reserve 2", "stuck 1", "stuck 2"} <= set(seen))
            await asyncio.sleep(0.2)
        async with opened(url, ours, worker=False) as engine:
            found = await engine.find(run.id)
            assert found is not None
            await found.cancel()
            assert found.state == "queued"
        before = list(seen)
        async with opened(url, ours) as engine:
            run = await carried_on(engine, run)
        assert (run.state, run.reason) == ("cancelled", "run_cancelled")
        assert states(run)["stuck"] == "cancelled run_cancelled"
        assert run.tasks["stuck[0]"].state == "succeeded"
        assert sorted(seen[len(before) :]) == ["free 10", "free 20"]
        assert run.tasks["reserve"].undone

    asyncio.run(main())


def test_the_deadline_is_that_of_the_whole_run(url: str):
    """A run whose time is over when it is carried on fails at once, and what it had done is undone."""
    seen = Log()
    registry = Registry("r")

    def back() -> None:
        seen("undo")

    @registry.task(undo=back)
    async def first() -> int:
        return 1

    @registry.task(after=[first])
    async def second() -> None:
        seen("second")
        await asyncio.Event().wait()

    ours = chain(registry, name="ours", deadline=0.6)

    async def main() -> None:
        async with opened(url, ours):
            run = await ours.start()
            await until(lambda: "second" in seen)
        await asyncio.sleep(0.7)
        async with opened(url, ours) as engine:
            run = await carried_on(engine, run)
            assert (run.state, run.reason) == ("failed", "deadline")
            assert seen == ["second", "undo"]
        async with opened(url, ours, worker=False) as engine:
            found = await engine.find(run.id)
            assert found is not None
            with pytest.raises(ExceptionGroup) as caught:
                found.raise_for_error()
            (error,) = caught.value.exceptions
            assert str(error).startswith("A run of chain 'ours' took longer than its deadline of 0.6 s.")

    asyncio.run(main())


def test_a_deadline_ends_a_run_here(url: str):
    """The deadline also holds for a run that no crash has met, and for one that is carried on with time left."""
    registry = Registry("r")

    @registry.task
    async def ever() -> None:
        await asyncio.Event().wait()

    ours = chain(registry, name="ours", deadline=0.8)

    async def main() -> None:
        async with opened(url, ours):
            run = await ours.start()
            other = await ours.run()
            assert (other.state, other.reason, states(other)) == ("failed", "deadline", {"ever": "cancelled deadline"})
            await run.wait()
            third = await ours.start()
            await asyncio.sleep(0.1)
        async with opened(url, ours) as engine:
            assert (await carried_on(engine, third)).reason == "deadline"

    asyncio.run(main())


@pytest.mark.parametrize("limit", [None, 2], ids=["inline", "queued"])
def test_an_effect_that_may_happen_once_is_not_begun_again(url: str, limit: int | None):
    """After a crash in mid-flight the run stops in `failed`, reason `interrupted`.

    Nothing is undone; `retry` begins it again.
    """
    seen = Log()
    registry = Registry("r")

    def back() -> None:
        seen("undo")

    @registry.task(undo=back)
    async def before() -> int:
        return 1

    @registry.task(after=[before], effect="once", limit=limit)
    async def pay() -> str:
        seen("pay")
        if seen.count("pay") == 1:
            await asyncio.Event().wait()
        return "paid"

    @registry.task
    async def beside() -> int:
        return 1

    ours = chain(registry, name="ours")

    async def main() -> None:
        async with opened(url, ours):
            run = await ours.start()
            await until(lambda: "pay" in seen)
        async with opened(url, ours) as engine:
            run = await carried_on(engine, run)
            assert (run.state, run.reason) == ("failed", "interrupted"), run.errors
            assert seen == ["pay"]
            (error,) = run.errors.values()
            assert "Task 'pay' had begun when its process died" in str(error)
            await run.retry()
            await run.wait(20)
            assert (run.state, run["pay"], seen) == ("succeeded", "paid", ["pay", "pay"])
            assert (await ours.run())["pay"] == "paid"

    asyncio.run(main())


@pytest.mark.parametrize("limit", [None, 2], ids=["inline", "queued"])
def test_an_interruption_is_kept(url: str, limit: int | None):
    """A process that dies after it has stored it, and before the end of the run, changes nothing: the run stops."""
    seen, registry = Log(), Registry("r")

    @registry.task(effect="once", limit=limit)
    async def pay() -> None:
        seen("pay")
        await asyncio.Event().wait()

    @registry.task(after=[pay], run_if="all_done")
    async def tell() -> None:
        seen("tell")

    ours = chain(registry, name="ours")

    async def main() -> None:
        async with opened(url, ours):
            run = await ours.start()
            await until(lambda: "pay" in seen)
        async with opened(url, ours) as engine:
            assert (await carried_on(engine, run)).reason == "interrupted"
            with engine.link.writing() as connection:
                # As if the end had not been stored, and the process had died.
                connection.execute(sa.delete(outputs).where(outputs.c.workflow_uuid == run.id))
                dead = sa.update(workflows).where(workflows.c.workflow_uuid == run.id)
                connection.execute(dead.values(status="PENDING", executor_id="dead", completed_at=None))
        async with opened(url, ours) as engine:
            engine.keeper.let_go(["dead"])
            found = await carried_on(engine, run)
            assert (found.state, found.reason, seen) == ("failed", "interrupted", ["pay"])

    asyncio.run(main())


def test_an_undo_that_is_done_is_not_done_again(url: str):
    """A run that was being undone is undone to its end."""
    seen = Log()
    registry = Registry("r")

    async def undo_one() -> None:
        seen("undo one")
        if seen.count("undo one") == 1:
            await asyncio.Event().wait()

    def undo_two() -> None:
        seen("undo two")

    @registry.task(undo=undo_one)
    async def one() -> int:
        return 1

    @registry.task(after=[one], undo=undo_two)
    async def two() -> int:
        return 2

    @registry.task(after=[two])
    async def bad() -> None:
        raise ValueError("bad")

    ours = chain(registry, name="ours")

    async def main() -> None:
        async with opened(url, ours):
            run = await ours.start()
            await until(lambda: "undo one" in seen)
            await asyncio.sleep(0.05)
        async with opened(url, ours) as engine:
            run = await carried_on(engine, run)
        assert run.state == "failed"
        assert seen == ["undo two", "undo one", "undo one"]
        assert [run.tasks[name].undone for name in ("one", "two", "bad")] == [True, True, False]

    asyncio.run(main())


def test_an_undo_of_an_item_that_is_done_is_not_done_again(url: str):
    """A fan-out that was being undone is undone to its end: each item once, kept under a number of its own."""
    seen, ended = Log(), Log()
    registry = Registry("r")

    async def take_back(ship: str) -> None:
        seen(ship)
        if len(seen) == 2:
            await asyncio.Event().wait()

    @registry.task
    async def lines() -> list[int]:
        return [0, 1, 2, 3]

    @registry.task(each=lines, undo=take_back)
    async def ship(line: int) -> str:
        if line == 3:
            raise Skip("nothing to ship")
        ended(f"p{line}")
        return f"p{line}"

    @registry.task(after=[ship])
    async def bad() -> None:
        raise ValueError("bad")

    ours = chain(registry, name="ours")

    def undos(engine: DurableEngine) -> dict[int, str]:
        query = sa.select(steps.c.function_id, steps.c.function_name).where(steps.c.function_name.startswith("undo"))
        with engine.link.reading() as connection:
            return {row.function_id: row.function_name for row in connection.execute(query)}

    async def main() -> None:
        plan = ours.plan
        numbers, i = Numbers(plan.names, plan, 0), plan.names.index("ship")
        async with opened(url, ours) as engine:
            run = await ours.start()
            await until(lambda: len(seen) == 2)
            last = int(seen[0][1:])
            assert undos(engine) == {numbers.item_undo(i, last): f"undo ship[{last}]"}
        async with opened(url, ours) as engine:
            run = await carried_on(engine, run)
            assert undos(engine) == {numbers.item_undo(i, k): f"undo ship[{k}]" for k in range(3)}
        first, second, third = reversed(ended)
        assert (run.state, seen) == ("failed", [first, second, second, third])
        assert [item.undone for item in run.tasks["ship"].items.values()] == [True, True, True, False]

    asyncio.run(main())


def test_code_may_change_between_crash_and_recovery(url: str):
    """Tasks are known by name: new ones run, those that are gone are left out.

    A value whose annotation has changed makes its task fail.
    """
    stop = asyncio.Event()

    def app(kind: type, *, more: bool) -> Any:
        registry = Registry("r")

        @registry.task
        async def first() -> kind:  # type: ignore[valid-type]
            return kind(1)

        @registry.task(after=[first])
        async def second() -> int:
            if not stop.is_set():
                await asyncio.Event().wait()
            return 2

        if more:

            @registry.task
            async def third() -> int:
                return 3

        else:

            @registry.task
            async def gone() -> int:
                return 0

        return chain(registry, name="ours")

    async def main() -> None:
        old, new, other = app(int, more=False), app(int, more=True), app(list, more=True)
        async with opened(url, old):
            runs = [await old.start(), await old.start(), await old.start()]
            await asyncio.sleep(0.5)
        stop.set()
        async with opened(url, worker=False) as engine:
            unknown = await engine.find(runs[0].id)
            assert unknown is not None
            assert (unknown.state, dict(unknown.tasks)) == ("queued", {})
        async with opened(url, new) as engine:
            run = await carried_on(engine, runs[0])
            assert run.outputs == {"first": 1, "second": 2, "third": 3}
        async with opened(url, other) as engine:
            found = await engine.find(runs[1].id)
            assert found is not None
            assert isinstance(found.errors["first"], UnserializableOutput)
            assert str(found.errors["first"]).startswith("Task 'first' returned a value that engine")

    asyncio.run(main())


def test_a_chain_that_nobody_knows_fails_and_can_be_retried(url: str):
    """A worker without the code of a chain ends its runs with a reason; with the code, `retry` runs them."""
    registry = Registry("r")

    @registry.task
    async def first() -> int:
        return 1

    ours = chain(registry, name="ours")

    async def main() -> None:
        async with opened(url, ours, worker=False):
            run = await ours.start()
        async with opened(url) as engine:
            found = await carried_on(engine, run)
            assert found.state == "failed"
            assert str(found.reason).startswith("EngineError: No chain of this app is called 'ours'")
            with pytest.raises(ExceptionGroup) as caught:
                found.raise_for_error()
            assert "did not run to its end" in str(caught.value.exceptions[0])
        async with opened(url, ours) as engine:
            found = await carried_on(engine, run)
            await found.retry("start")
            await found.wait(20)
            assert found[first] == 1

    asyncio.run(main())


def test_there_is_room_for_so_many_retries_and_items():
    """The numbers of rounds and items are limited by what the database takes; beyond, an error says so."""
    registry = Registry("r")

    @registry.task
    async def numbers() -> list[int]:
        return []

    @registry.task(each=numbers)
    async def item(n: int) -> int:
        return n

    plan = chain(registry, name="ours").plan
    assert Numbers(["numbers", "item"], plan, 0).task(1) == 2
    with pytest.raises(EngineError, match="has been retried 30 times, and has no room for more"):
        Numbers(["numbers", "item"], plan, 30)
    with pytest.raises(EngineError, match="runs for more than 32768 items"):
        Numbers(["numbers", "item"], plan, 0).item(1, 40000)
