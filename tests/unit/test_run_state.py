"""What one run owns, and what is told about it."""

import asyncio
import threading

import pytest

from fastapi_chain import Registry
from fastapi_chain._clock import use_clock
from fastapi_chain._state import RunState, TaskRecords
from fastapi_chain._state.ledger import RUNNING
from fastapi_chain.events import Event, TaskStarted, TaskSucceeded
from fastapi_chain.outcome import ProgressInfo, TaskRecord
from fastapi_chain.plan import make_plan
from tests.engines.kit import Jumping, VirtualClock, VirtualLoop


def state(**values: object) -> RunState:
    """Return a run of one task with an input and another with a default."""
    registry = Registry("r")

    @registry.task
    async def one(x: int, y: int = 2) -> int:
        return x + y

    return RunState(make_plan("c", [one.spec], [registry]), values)


def opened(told: list[Event]) -> RunState:
    """Return a run that goes on and is followed."""
    run = state(x=1)
    run.open(None)  # type: ignore[arg-type]
    run.followed, run.sinks = True, (told.append,)
    return run


def words(told: list[Event]) -> list[str]:
    return [f"{event.seq} {event.kind}" for event in told]


def test_records_are_found_by_name_those_of_items_too():
    """But only tasks are listed."""
    item = TaskRecord(name="ship[0]", state="succeeded")
    records = TaskRecords(iter([TaskRecord(name="ship", state="succeeded", items={"ship[0]": item})]))
    assert (list(records), len(records), records["ship[0]"], "ship[0]" in records) == (["ship"], 1, item, True)
    assert (records.get("ship[1]"), records.get("nope"), "nope[0]" in records) == (None, None, False)
    assert repr(records).startswith("{'ship': TaskRecord(")
    with pytest.raises(KeyError):
        records["ship[9]"]


def test_inputs_may_be_given_later():
    """Those that are not given have their defaults."""
    run = state()
    run.fill({"x": 7})
    assert run.slots[1:3] == [7, 2]


def test_times_of_the_day():
    """The monotonic clock plus what it lacks."""
    run = state(x=1)
    assert (run.wall(None), run.wall(5.0)) == (None, 5.0 + run.epoch)


def test_what_threads_tell_comes_in_order():
    """The loop passes it on before what follows from it, and not at all once the run has ended."""

    async def main() -> list[str]:
        told: list[Event] = []
        run = opened(told)
        thread = threading.Thread(
            target=lambda: (
                run.tell_from_anywhere(TaskStarted, task="one", attempt=1, max_attempts=1),
                run.report("one", ProgressInfo(done=1)),
                run.tell_from_anywhere(TaskSucceeded, task="one", attempt=1),
            )
        )
        thread.start()
        thread.join()
        assert told == []
        run.tell(TaskStarted, task="two", attempt=1, max_attempts=1)
        late = threading.Thread(
            target=lambda: run.tell_from_anywhere(TaskSucceeded, task="two", attempt=1), daemon=True
        )
        run.close("succeeded")
        late.start()
        late.join()
        await asyncio.sleep(0)
        run.report("one", ProgressInfo(done=2))
        await asyncio.sleep(0)
        return words(told)

    assert asyncio.run(main()) == ["1 task.started", "2 task.progress", "3 task.succeeded", "4 task.started"]


def test_before_it_begins_nobody_is_told():
    """There is no loop yet."""
    told: list[Event] = []
    run = state(x=1)
    run.followed, run.sinks = True, (told.append,)
    run.tell_from_anywhere(TaskStarted, task="one", attempt=1, max_attempts=1)
    run.report("one", ProgressInfo(done=1))
    assert (told, run.progress) == ([], {"one": ProgressInfo(done=1)})


def test_progress_is_thrown_together():
    """At most ten a second for each task; what comes in between waits, and only the last of it is told."""
    jumping = Jumping()

    async def main() -> list[tuple[float, object]]:
        use_clock(VirtualClock(jumping))
        run = opened([])
        began = run.now()
        told: list[tuple[float, object]] = []

        def hear(event: Event) -> None:
            told.append((round(run.now() - began, 3), getattr(event, "progress", None)))

        run.sinks = (hear,)
        for done in range(25):
            run.report("one", ProgressInfo(done=done))
            await asyncio.sleep(0.01)
        await asyncio.sleep(1)
        return told

    with asyncio.Runner(loop_factory=lambda: VirtualLoop(jumping)) as runner:
        told = runner.run(main())
    assert [moment for moment, _ in told] == [0.0, 0.1, 0.2, 0.3]
    assert told[0][1] == ProgressInfo(done=0)
    assert told[-1][1] == ProgressInfo(done=24)


def test_a_running_attempt_is_closed_when_the_run_ends_early():
    """A pending one never began."""

    async def main() -> None:
        run = opened([])
        run.ledger.states[0] = RUNNING
        run.cancel_reason = "deadline"
        run.call_off(run.ledger, 0, "one")
        record = run.records()["one"]
        assert (record.state, record.cancel_reason, record.attempts[0].state) == ("cancelled", "deadline", "cancelled")

    asyncio.run(main())
