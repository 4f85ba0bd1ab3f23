"""Random graphs in virtual time: gates, time-outs, deadlines, cancellations and retries agree with the reference."""

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from typing import Literal

import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from fastapi_chain import Run
from fastapi_chain.engines.base import RunRequest
from fastapi_chain.errors import NothingToRetry
from fastapi_chain.outcome import ProgressInfo, TaskRecord
from tests.engines.kit import MemoryKit
from tests.property.building import World, what_became
from tests.property.reference import Again, Ended, Result, Task, again, name_of
from tests.property.test_random_graphs import graphs, plan_of
from tests.property.timeline import Cut, Life

Start = int | Literal["failed", "start"]

NO_TIE = 2.0**-22
"""Everything else happens at multiples of twice this time, so that never two things happen in the moment of a cut."""


@dataclass(frozen=True)
class Round:
    """One round of a run."""

    start: Start
    cancel: float | None
    """After how many seconds the run is cancelled, unless it is over by then."""


@st.composite
def timed(draw: st.DrawFn) -> list[Task]:
    """Draw a graph whose tasks take time."""
    return [draw(_timed(task)) for task in draw(graphs(most=10))]


@st.composite
def _timed(draw: st.DrawFn, task: Task) -> Task:
    slow = draw(st.sampled_from([0, 1, 2, 4])) if task.is_async else 0
    # In which order threads, and what takes no time, come to a gate, is open: there is to be none, or no retry.
    gated = slow > 0 and draw(st.booleans())
    return replace(
        task,
        slow=slow,
        timeout=draw(st.sampled_from([None, None, 1.0 * slow])) if slow else None,
        backoff=draw(st.integers(0, 2)),
        limit=draw(st.sampled_from([None, 1, 2])) if gated else None,
        rate=draw(st.sampled_from([None, 0.5, 1.0, 2.0, 4.0])) if gated else None,
    )


CUTS = st.none() | st.integers(0, 60).map(lambda quarters: quarters / 4 + NO_TIE)
STARTS: st.SearchStrategy[Start] = st.sampled_from(["failed", "failed", "start"]) | st.integers(0, 9)


async def perform(run: Run, cancel: float | None) -> None:
    """Return when *run*, which is about to begin, has finished; cancel it in *cancel* seconds."""
    loop = asyncio.get_running_loop()
    under_way = []
    timer = loop.call_later(cancel or 0, lambda: under_way.append(loop.create_task(run.cancel())))
    if cancel is None:
        timer.cancel()
    await run.wait()
    timer.cancel()


def compare(run: Run, world: World, expected: Ended, base: datetime) -> None:
    """Assert that *run* has ended as the reference says."""
    by_name = dict(zip(run.tasks, what_became(run), strict=True))
    assert run.state == expected.state
    for i, (task, result) in enumerate(zip(world.graph, expected.tasks, strict=True)):
        name = name_of(i)
        found = by_name[name]
        assert (essence(found), found.value) == (essence(result), result.value), name
        record = run.tasks[name]
        check_times(task, record, result, base)
        for item, its in zip(record.items.values(), result.items, strict=True):
            check_times(task, item, its, base)


def essence(result: Result) -> tuple[object, ...]:
    """Return what became of a task or item and of its items, without times."""
    items = tuple(essence(item) for item in result.items)
    return result.state, result.attempts, result.reason, result.error, result.undone, items


def check_times(task: Task, record: TaskRecord, result: Result, base: datetime) -> None:
    """Assert that the attempts of the last round began when they were to, and how far they have come."""
    attempts = record.attempts[result.earlier :]
    began = [(attempt.started_at - base).total_seconds() for attempt in attempts]
    assert began == pytest.approx(result.began, abs=1e-5), record
    if result.ended is not None and attempts:
        ended = attempts[-1].finished_at
        assert ended is not None
        assert (ended - base).total_seconds() == pytest.approx(result.ended, abs=1e-5), record
    if not record.items and result.began and not (task.kind == "each" and "[" not in record.name):
        assert record.progress == ProgressInfo(done=result.attempts, total=result.earlier + task.retries + 1)
    else:
        assert record.progress is None


def check_time_left(world: World, calls: Sequence[tuple[int, int, Result]], ends: float | None) -> None:
    """Assert that the attempts of *calls*, those of one round, were told what was left of its time."""
    expected = [
        (i, k, result.earlier + n, ends - began if ends is not None else 0)
        for i, k, result in calls
        for n, began in enumerate(result.began, 1)
    ]
    assert sorted(row[:3] for row in world.left) == sorted(row[:3] for row in expected)
    assert [left or 0 for *_, left in sorted(world.left)] == pytest.approx([left for *_, left in sorted(expected)])


def calls_of(graph: Sequence[Task], tasks: Sequence[Result]) -> Iterator[tuple[int, int, Result]]:
    """Yield everything that is called: tasks and items, each with its number."""
    for i, (task, result) in enumerate(zip(graph, tasks, strict=False)):
        for k, call in enumerate(result.items if task.kind == "each" else [result]):
            yield i, k, call


def check_undo(world: World, calls: Sequence[tuple[int, int, Result]]) -> None:
    """Assert that what was to be undone was, in reverse order of completion."""
    ended = {(i, k): call.ended for i, k, call in calls if call.undone}
    assert sorted(world.undone) == sorted(ended)
    times = [ended[call] or 0 for call in world.undone]
    assert times == sorted(times, reverse=True)


@pytest.mark.parametrize("fast", [True, False], ids=["fast", "plain"])
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(graph=timed(), deadline=CUTS, cancel=CUTS, more=st.lists(st.builds(Round, STARTS, CUTS), max_size=2))
def test_runs_live_as_the_reference_says(
    graph: list[Task], deadline: float | None, cancel: float | None, more: list[Round], *, fast: bool
) -> None:
    """Each round of a run ends as the reference says, and everything in it happens at the very time."""
    world = World(graph)
    plan = plan_of(world)
    if plan is None:
        event("can never run")
        return
    kit, life = MemoryKit(fast=fast), Life(graph)

    async def main() -> None:
        request = RunRequest(plan, {})
        request.deadline = deadline
        run = kit.engine.take(request)
        begin = partial(kit.engine.start, run)
        base: datetime | None = None
        what: Again | None = None
        for now in (Round("start", cancel), *more):
            if base is not None:
                what = again(
                    graph, life.tasks, min(now.start, len(graph) - 1) if isinstance(now.start, int) else now.start
                )
                if what is None:
                    with pytest.raises(NothingToRetry):
                        await run.retry()
                    event("nothing to retry")
                    continue
                await run.retry(now.start if isinstance(now.start, str) else name_of(min(now.start, len(graph) - 1)))
            else:
                begin()
            known, started = [call for *_, call in calls_of(graph, life.tasks)], life.now
            world.done.clear()
            world.undone.clear()
            world.left.clear()
            cuts = [Cut("deadline", deadline)] if deadline is not None else []
            cuts += [Cut("run_cancelled", now.cancel)] if now.cancel is not None else []
            await perform(run, now.cancel)
            expected = life.round(what, cuts)
            event(expected.state)
            assert run.started_at is not None
            base = base or run.started_at
            compare(run, world, expected, base)
            calls = list(calls_of(graph, life.tasks))
            check_undo(world, calls)
            fresh = [call for call in calls if not any(call[2] is old for old in known)]
            check_time_left(world, fresh, None if deadline is None else started + deadline)

    kit.play(main)
