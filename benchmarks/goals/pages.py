"""The dashboard: how long the page of a run takes to make, and what its static files weigh."""

import logging
import statistics
from collections.abc import AsyncIterator
from time import perf_counter
from typing import Any, Final

from benchmarks.goals import Finding
from benchmarks.timing import Effort
from fastapi_chain import Chain, Registry, chain
from fastapi_chain.dashboard.assets import TYPES, asset
from fastapi_chain.dashboard.pages import Site, page
from fastapi_chain.dashboard.panel import Query
from fastapi_chain.dashboard.run_page import run_values
from fastapi_chain.dashboard.subject import Subject

MOST: Final = 10.0
"""Milliseconds for the page of a run of eight tasks."""
HEAVIEST: Final = 30_000
"""Bytes of all static files, compressed."""
SITE: Final = Site(base="..", page="runs", title="bench", engine="memory", theme="auto")


async def measure(effort: Effort) -> AsyncIterator[Finding]:
    """Make pages of finished runs."""
    logging.getLogger("fastapi_chain").addHandler(logging.NullHandler())
    yield Finding("", "page of a failed run, 8 tasks", await page_of(shop(), effort), "ms", MOST)
    yield Finding("", "page of a run, 200 tasks", await page_of(wide(200), effort), "ms")
    yield Finding("", "page of a fan-out over 10,000 items", await page_of(fan_out(), effort), "ms")
    weight = sum(len(asset(name).packed) for name in TYPES)
    yield Finding("", "static files, compressed", weight, "B", HEAVIEST)


async def page_of(planned: Chain, effort: Effort) -> float:
    """Return the median of the milliseconds that one page takes."""
    run = await planned.run()
    known: Any = run._backend  # noqa: SLF001 - what an engine's store would give
    took = []
    for _ in range(effort.rounds + 1):
        start = perf_counter()
        values = await run_values(Subject(known), Query(), "..", values=True)
        page("run.html", SITE, values)
        took.append((perf_counter() - start) * 1e3)
    # The first one lays the graph out and compiles the templates.
    return statistics.median(took[1:])


def shop() -> Chain:
    """Return eight tasks, one of which fails and takes another one along."""
    tasks = Registry("shop")

    async def step() -> int:
        return 1

    async def broken() -> int:
        raise ConnectionError

    first = tasks.task(name="first")(step)
    middle = [tasks.task(name=f"middle_{i}", after=[first])(step) for i in range(4)]
    failing = tasks.task(name="failing", after=middle[:2], retries=2, backoff=0.0)(broken)
    last = tasks.task(name="last", after=[failing])(step)
    side = tasks.task(name="side", after=middle[2:])(step)
    return chain(last, side, name="shop")


def wide(size: int) -> Chain:
    """Return *size* tasks in rows of ten."""
    tasks = Registry("wide")

    async def step() -> None: ...

    rows: list[list[object]] = [[]]
    for i in range(size):
        if len(rows[-1]) == 10:
            rows.append([])
        after = [rows[-2][i % 10]] if len(rows) > 1 else []
        rows[-1].append(tasks.task(name=f"step_{i}", after=after)(step))
    return chain(tasks, name="wide")


def fan_out() -> Chain:
    """Return a task that is called for 10,000 items, a few of which fail."""
    tasks = Registry("rows")

    @tasks.task
    async def rows() -> list[int]:
        return list(range(10_000))

    @tasks.task(each=rows)
    async def store(row: int) -> int:
        if row % 3_000 == 7:
            raise ValueError(row)
        return row

    return chain(store, name="rows")
