"""Random graphs agree with the reference interpreter, on both paths."""

import asyncio
from collections import Counter
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from fastapi_chain import Registry, Run
from fastapi_chain.engines.base import RunRequest
from fastapi_chain.engines.memory import MemoryEngine, live_of
from fastapi_chain.errors import InvalidChain
from fastapi_chain.events import Event, TaskEvent, TaskProgressed
from fastapi_chain.plan import Plan, make_plan
from tests.property.building import World, build, what_became
from tests.property.reference import Ended, Result, Task, interpret, name_of, parents_of

ENGINES = {fast: MemoryEngine(fast=fast) for fast in (True, False)}
for engine in ENGINES.values():
    engine.heed = ()  # thousands of lines in the log

ACTIONS = st.sampled_from(
    ["ok", "ok", "ok", "ok", "ok", "ok", "fail", "fail", "later", "fatal", "skip", "wrong", "cancel"]
)
SCRIPTS = st.lists(ACTIONS, min_size=1, max_size=3).map(tuple)
ITEM_SCRIPTS = st.lists(SCRIPTS, min_size=1, max_size=4).map(tuple)
RUN_IF = st.sampled_from(["all_succeeded", "all_succeeded", "all_succeeded", "all_done", "any_failed", "any_succeeded"])
UNDO = st.sampled_from([None, None, ("ok",), ("fail",), ("fail", "ok")])


@st.composite
def graphs(draw: st.DrawFn, most: int = 60) -> list[Task]:
    """Draw a graph of up to *most* tasks."""
    graph: list[Task] = []
    for i in range(draw(st.integers(1, most))):
        graph.append(draw(tasks(i, graph)))
    return graph


@st.composite
def tasks(draw: st.DrawFn, i: int, graph: Sequence[Task]) -> Task:
    """Draw a task that may come after those of *graph*."""
    # Near ones more often than far ones: that makes long chains, and not only stars.
    before = st.integers(1, min(i, 6) or 1).map(lambda back: i - back)
    lists = [p for p, task in enumerate(graph) if task.kind != "plain"]
    kind = (
        draw(st.sampled_from(["plain", "plain", "plain", "list", "each"]))
        if lists
        else draw(st.sampled_from(["plain", "plain", "list"]))
    )
    params = []
    for p in draw(st.lists(before, max_size=3, unique=True)) if i else []:
        wants = ["value", "value", "value", "default", "outcome", "succeeded", "failed", "skipped", "bad", "maybe"]
        wants += ["items", "items", "failures"] if graph[p].kind == "each" else []
        params.append((p, draw(st.sampled_from(wants))))
    after = tuple(draw(st.lists(before, max_size=3, unique=True))) if i else ()
    return Task(
        kind=kind,
        over=draw(st.sampled_from(lists)) if kind == "each" else None,
        after=after,
        params=tuple(sorted(params, key=lambda param: param[1] == "default")),
        run_if=draw(RUN_IF) if after else "all_succeeded",
        optional=draw(st.sampled_from([False, False, True])),
        retries=draw(st.integers(0, 2)),
        scripts=draw(ITEM_SCRIPTS if kind == "each" else SCRIPTS.map(lambda script: (script,))),
        size=draw(st.integers(0, 4)) if kind == "list" else 0,
        undo=draw(UNDO),
        undo_retries=draw(st.integers(0, 1)),
        is_async=draw(st.sampled_from([True, True, False])),
        pauses=draw(st.sampled_from([0, 0, 1, 3])),
        late=draw(st.booleans()),
    )


def plan_of(world: World) -> Plan | None:
    """Return the plan of a world; None if it says that a task can never run."""
    registry = Registry("random")
    try:
        return make_plan("random", [task.spec for task in build(world, registry)], [registry])
    except InvalidChain as error:
        if all("can never run" in str(problem) for problem in error.problems):
            return None
        raise


async def run_through(plan: Plan, *, fast: bool, follow: bool) -> tuple[Run, list[Event]]:
    """Run *plan*, and return what was told: as it happened, or afterwards."""
    engine = ENGINES[fast]
    run = engine.take(RunRequest(plan, {}))
    if follow:
        live_of(run).follow()
    await engine.perform(run)
    return run, [event async for event in run.events()]


def told(events: Sequence[Event]) -> Counter[Any]:
    """Return what was told, without order, times and numbers."""
    assert [event.seq for event in events] == list(range(1, len(events) + 1))
    events = [event for event in events if type(event) is not TaskProgressed]  # of those, some are left out
    parts = ("attempt", "max_attempts", "reason", "state")
    rows = [tuple(getattr(event, part, None) for part in parts) for event in events]
    names = [(type(event).__name__, event.task if isinstance(event, TaskEvent) else "") for event in events]
    return Counter(zip(names, rows, strict=True))


def check_order(world: World, events: Sequence[Event]) -> None:
    """Assert that no task begins before those that come before it have ended."""
    ended: set[str] = set()
    for happening in events:
        name = getattr(happening, "task", "").partition("[")[0]
        kind = type(happening).__name__
        if kind == "TaskStarted" and name:
            spec = world.graph[int(name[1:])]
            assert {name_of(p) for p in parents_of(spec)} <= ended, (
                name,
                [(type(e).__name__, getattr(e, "task", ""), e.at.isoformat()[-15:]) for e in events],
            )
        elif kind in {"TaskSucceeded", "TaskFailed", "TaskSkipped"} and "[" not in happening.task:  # type: ignore[attr-defined]
            ended.add(name)


def check_undo(world: World, expected: Ended) -> None:
    """Assert that what had succeeded was undone in reverse order."""
    wanted = []
    for i, (spec, result) in enumerate(zip(world.graph, expected.tasks, strict=True)):
        calls: Sequence[Result] = result.items if spec.kind == "each" else [result]
        wanted += [(i, k) for k, call in enumerate(calls) if call.undone]
    assert sorted(world.undone) == sorted(wanted)
    if all(spec.is_async and not spec.late for spec in world.graph):
        assert world.undone == [call for call in reversed(world.done) if call in set(wanted)]


def check(graph: Sequence[Task], *, fast: bool) -> None:
    """Assert that two runs of *graph*, one that is followed and one that is not, agree with the reference."""
    expected = interpret(graph)
    world = World(graph)
    plan = plan_of(world)
    if plan is None:
        event("can never run")
        return
    event(expected.state)
    streams = []
    for follow in (False, True):
        world.done.clear()
        world.undone.clear()
        run, events = asyncio.run(run_through(plan, fast=fast, follow=follow))
        by_name = dict(zip(run.tasks, what_became(run), strict=True))
        for i, result in enumerate(expected.tasks):
            assert without_roots(by_name[name_of(i)]) == without_roots(result), name_of(i)
        assert run.state == expected.state
        check_undo(world, expected)
        check_order(world, events)
        streams.append(told(events))
    assert streams[0] == streams[1]


def without_roots(result: Result) -> Result:
    """Return *result* without what only the reference knows."""
    result.root = -1
    for item in result.items:
        item.root = -1
        item.value = None
    return result


@pytest.mark.parametrize("fast", [True, False], ids=["fast", "plain"])
@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(graph=graphs(most=12))
def test_small_graphs_do_what_the_reference_says(graph: list[Task], *, fast: bool) -> None:
    """States, values, reasons, attempts, items and undos of a small random graph are those of the reference."""
    check(graph, fast=fast)


@pytest.mark.parametrize("fast", [True, False], ids=["fast", "plain"])
@settings(
    max_examples=15,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.large_base_example],
)
@given(graph=graphs())
def test_large_graphs_do_what_the_reference_says(graph: list[Task], *, fast: bool) -> None:
    """The same holds for graphs of up to 60 tasks."""
    check(graph, fast=fast)
