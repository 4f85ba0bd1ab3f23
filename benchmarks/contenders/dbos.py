"""DBOS on SQLite: a durable workflow of durable steps, the levels gathered by hand.

Each step is a row in the database: this is the price of durability, not of scheduling.
"""

import asyncio
from collections.abc import Callable
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

from dbos import DBOS

from benchmarks.contenders import Run
from benchmarks.graphs import Graph

_FOLDER: Final = TemporaryDirectory(prefix="dbos")
_serial = count(1)

DBOS(
    config={
        "name": "benchmark",
        "system_database_url": f"sqlite:///{Path(_FOLDER.name) / 'system.db'}",
        "run_admin_server": False,
        "log_level": "CRITICAL",
    }
)


def build(graph: Graph) -> Run:
    """Register the steps of *graph* and a workflow around them."""
    serial = next(_serial)
    steps = [
        DBOS.step(name=f"{node.name}_{serial}")(step(function, graph.kind))
        for function, node in zip(graph.functions, graph.nodes, strict=True)
    ]

    @DBOS.workflow(name=f"workflow_{serial}")
    async def workflow(x: int) -> int:
        values = {"x": x}
        for level in graph.levels:
            given = ([values[name] for name in graph.parameters(i)] for i in level)
            results = await asyncio.gather(*(steps[i](*args) for i, args in zip(level, given, strict=True)))
            values.update(zip((graph.nodes[i].name for i in level), results, strict=True))
        return values[graph.last]

    DBOS.launch()

    async def run(x: int) -> int:
        return await workflow(x)

    return run


def step(function: Callable[..., Any], kind: str) -> Callable[..., Any]:
    """Return *function* as a coroutine function, `def` ones in a thread."""
    if kind == "async":
        return function

    async def in_thread(*args: int) -> int:
        return await asyncio.to_thread(function, *args)

    return in_thread


async def close() -> None:
    """Stop DBOS."""
    DBOS.destroy()
    _FOLDER.cleanup()
