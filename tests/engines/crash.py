"""Random chains whose tasks write down that they begin; for processes that are killed."""

import asyncio
import json
import os
import random
import time
from pathlib import Path
from typing import Any

from fastapi_chain import Chain, Registry, TaskContext, chain
from fastapi_chain.engines.durable.engine import DurableEngine
from fastapi_chain.engines.here import set_engine
from fastapi_chain.run import Run

LONGEST = 0.12
"""Seconds that a task takes at most."""


class Trace:
    """A file to which processes add lines, whole even if they are killed meanwhile."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __call__(self, *words: object) -> None:
        file = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        os.write(file, (json.dumps([time.time(), os.getpid(), *words]) + "\n").encode())
        os.close(file)

    def lines(self) -> list[list[Any]]:
        text = Path(self.path).read_text() if Path(self.path).exists() else ""
        return [json.loads(line) for line in text.splitlines()]


def graph(seed: int) -> dict[str, list[str]]:
    """Return random tasks, each with those that it takes a number from."""
    random_ = random.Random(seed)
    names = [f"t{i}" for i in range(random_.randint(5, 10))]
    return {name: sorted(random_.sample(names[:i], min(i, random_.randint(0, 3)))) for i, name in enumerate(names)}


def expected(seed: int) -> dict[str, int]:
    """Return what the tasks return: one more than the sum of what they take."""
    results: dict[str, int] = {}
    for name, takes in graph(seed).items():
        results[name] = 1 + sum(results[other] for other in takes)
    return results


def random_chain(seed: int, trace: Trace) -> Chain:
    """Return the chain of a graph; tasks are `def` and `async`, and one fails at its first attempt."""
    registry = Registry(f"crash{seed}")
    for place, (name, takes) in enumerate(graph(seed).items()):
        registry.task(after=takes, retries=1, backoff=0.01)(
            _task(name, takes, trace, sync=place % 3 == 1, flaky=place == 2)
        )
    last = registry.tasks[list(graph(seed))[-1]]

    async def spread(**given: int) -> list[int]:
        return [0, 1, 2]

    registry.task(name="spread", after=[last])(spread)

    async def item(n: int, ctx: TaskContext) -> int:
        trace("begin", ctx.run_id, ctx.task, ctx.idempotency_key)
        await asyncio.sleep(random.random() * LONGEST)
        return n + 1

    registry.task(name="item", each="spread")(item)
    return chain(registry, name=f"crash{seed}")


def _task(name: str, takes: list[str], trace: Trace, *, sync: bool, flaky: bool) -> Any:
    """Return a function with the parameters *takes*."""

    def begin(ctx: TaskContext) -> None:
        trace("begin", ctx.run_id, ctx.task, ctx.idempotency_key)
        if flaky and ctx.attempt == 1:
            raise ConnectionError

    def pause() -> float:
        return random.random() * LONGEST

    parameters = ", ".join([*(f"{other}: int" for other in takes), "ctx: TaskContext"])
    total = " + ".join(["1", *takes])
    wait = "sleep(pause())" if sync else "await asyncio.sleep(pause())"
    text = f"{'' if sync else 'async '}def {name}({parameters}) -> int:\n begin(ctx)\n {wait}\n return {total}"
    space: dict[str, Any] = {
        "begin": begin,
        "pause": pause,
        "sleep": time.sleep,
        "asyncio": asyncio,
        "TaskContext": TaskContext,
    }
    exec(text, space)
    return space[name]


def engine_of(
    url: str, seeds: list[int], path: str, *, worker: bool, **options: Any
) -> tuple[DurableEngine, list[Chain]]:
    chains = [random_chain(seed, Trace(path)) for seed in seeds]
    plans = {one.name: one.plan for one in chains}
    return DurableEngine(url, plans=plans.get, worker=worker, **options), chains


def enqueue(url: str, seeds: list[int], path: str, runs: int) -> None:
    """Be a process that starts runs and runs none; write down each that is stored."""

    async def main() -> None:
        engine, chains = engine_of(url, seeds, path, worker=False)
        await engine.open()
        set_engine(asyncio.get_running_loop(), engine)
        for i in range(runs):
            run = await chains[i % len(chains)].start()
            Trace(path)("accepted", run.id, i % len(chains))
        await engine.drain(0)

    asyncio.run(main())


def work(url: str, seeds: list[int], path: str, at_once: int) -> None:
    """Be a worker until killed."""

    async def main() -> None:
        engine, _ = engine_of(url, seeds, path, worker=True, max_running=at_once, history=1_000_000)
        await engine.open()
        Trace(path)("up")
        await asyncio.Event().wait()

    asyncio.run(main())


async def results(url: str, seeds: list[int], path: str, runs: list[str]) -> list[tuple[str, dict[str, object]]]:
    """Return state and outputs of runs."""
    engine, _ = engine_of(url, seeds, path, worker=False)
    await engine.open()
    found = [await engine.find(run) for run in runs]
    await engine.drain(0)
    return [(run.state, dict(run.outputs)) for run in map(Run, filter(None, found))]
