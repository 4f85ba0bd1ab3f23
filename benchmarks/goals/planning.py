"""P9 and P10: how long plans take to make, and what plans and runs weigh."""

import gc
import statistics
import tracemalloc
from collections.abc import AsyncIterator, Callable
from time import perf_counter
from typing import Any, Final

from fastapi import FastAPI

from benchmarks.asgi import lifespan
from benchmarks.contenders.fastapi_chain import declare
from benchmarks.goals import Finding
from benchmarks.graphs import Graph, graph, layered
from benchmarks.graphs import chain as chain_shape
from benchmarks.timing import Effort
from fastapi_chain import Registry, chain, install

MOST: Final = {1_000: 10.0, 10_000: 120.0}
"""Milliseconds to plan so many tasks, their signatures being known."""
LONGEST_CHAIN: Final = 100_000
MOST_FOR_LONGEST: Final = 60.0
"""Seconds: nothing recursive, nothing quadratic."""
ENDPOINTS: Final = 100
MOST_FOR_APP: Final = 0.4
"""Seconds to check 1,000 tasks behind 100 endpoints at start-up."""
MOST_PER_TASK_OF_RUN: Final = 250.0
MOST_PER_TASK_OF_PLAN: Final = 1_500.0
"""Bytes."""


async def measure(effort: Effort) -> AsyncIterator[Finding]:
    """Plan graphs, check an app, weigh a run."""
    for tasks, limit in MOST.items():
        first, again = plan_times(Graph(f"layers{tasks}", layered(tasks // 10, 10)), effort)
        note = f"{first * 1e3:.0f} ms the first time, signatures included"
        yield Finding("P9", f"plan {tasks:,} tasks", again * 1e3, "ms", limit, note)
    if effort.rounds > 1:
        first, again = plan_times(Graph("longest", chain_shape(LONGEST_CHAIN)), Effort(1))
        note = f"{first:.1f} s the first time"
        yield Finding("P9", f"plan a chain of {LONGEST_CHAIN:,}", again, "s", MOST_FOR_LONGEST, note)
    of = graph("layers100x10")
    what = f"what the first run of {len(of):,} tasks makes for all others"
    yield Finding("P9", what, await first_run(of) * 1e3, "ms")
    plan, run = await weigh(of)
    yield Finding("P10", f"a run of {len(of)} tasks, per task", run / len(of), "B", MOST_PER_TASK_OF_RUN)
    yield Finding("P10", f"a plan of {len(of)} tasks, per task", plan / len(of), "B", MOST_PER_TASK_OF_PLAN)
    yield Finding("P9", "start-up check, 1,000 tasks, 100 endpoints", await start_up(), "s", MOST_FOR_APP)


def plan_times(of: Graph, effort: Effort) -> tuple[float, float]:
    """Return the seconds of the first check of a chain and of a check of the same tasks in a new one."""
    last = declare(of)[-1]
    first = timed(chain(last).check)
    return first, statistics.median(timed(chain(last).check) for _ in range(min(5, effort.rounds)))


def timed(call: Callable[[], object]) -> float:
    """Return the seconds of one call."""
    gc.collect()
    start = perf_counter()
    call()
    return perf_counter() - start


async def first_run(of: Graph) -> float:
    """Return the seconds that the first run of a checked chain takes longer than the second."""
    planned = chain(declare(of)[-1])
    planned.check()
    took = []
    for _ in range(2):
        start = perf_counter()
        await planned.run(x=1)
        took.append(perf_counter() - start)
    return took[0] - took[1]


async def start_up() -> float:
    """Return the seconds that `install` adds to the start of an app with 100 endpoints of 10 tasks each."""
    took = []
    for checked in (False, True):
        app = FastAPI()
        for i in range(ENDPOINTS):
            add_endpoint(app, i)
        start = perf_counter()
        if checked:
            found = len(install(app).chains())
            assert found == ENDPOINTS, f"install finds {found} of {ENDPOINTS} chains"
        async with lifespan(app):
            took.append(perf_counter() - start)
    return took[1] - took[0]


def add_endpoint(app: FastAPI, i: int) -> None:
    """Add an endpoint that starts a chain of ten tasks of its own."""
    registry = Registry(f"r{i}")
    tasks: list[Any] = []
    for function in Graph("chain10", chain_shape(10)).functions:
        tasks.append(registry.task(after=tasks[-1:])(function))

    @app.post(f"/{i}")
    @chain(tasks[-1], name=f"chain{i}")
    async def endpoint(x: int) -> int:
        return x


async def weigh(of: Graph) -> tuple[float, float]:
    """Return the bytes of a plan, the tasks being declared, and the bytes that one run needs at most."""
    last = declare(of)[-1]
    chain(last).check()  # what is made once and for all
    tracemalloc.start()
    try:
        gc.collect()
        empty = tracemalloc.get_traced_memory()[0]
        planned = chain(last)
        planned.check()
        await planned.run(x=1)  # what is made by the first run belongs to the plan
        gc.collect()
        plan = tracemalloc.get_traced_memory()[0] - empty
        tracemalloc.reset_peak()
        before = tracemalloc.get_traced_memory()[0]
        run = await planned.run(x=1)
        most = tracemalloc.get_traced_memory()[1] - before
        del run
    finally:
        tracemalloc.stop()
    return plan, most
