"""The scheduler one writes oneself: `graphlib.TopologicalSorter`, an asyncio task for each ready task, and `wait`."""

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from graphlib import TopologicalSorter
from typing import Any

from benchmarks.contenders import Run
from benchmarks.graphs import Graph


def build(graph: Graph) -> Run:
    """Prepare the tables of *graph*; the sorter itself can be used once only."""
    parents = {node.name: graph.parent_names(i) for i, node in enumerate(graph.nodes)}
    parameters = {node.name: graph.parameters(i) for i, node in enumerate(graph.nodes)}
    calls: dict[str, Callable[..., Awaitable[Any]]] = {
        node.name: function if graph.kind == "async" else partial(asyncio.to_thread, function)
        for node, function in zip(graph.nodes, graph.functions, strict=True)
    }
    last = graph.last

    async def start(name: str, values: dict[str, int]) -> int:
        result: int = await calls[name](**{key: values[key] for key in parameters[name]})
        return result

    async def run(x: int) -> int:
        sorter = TopologicalSorter(parents)
        sorter.prepare()
        values, running = {"x": x}, {}
        while sorter.is_active():
            for name in sorter.get_ready():
                running[asyncio.create_task(start(name, values))] = name
            done, _ = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                name = running.pop(task)
                values[name] = task.result()
                sorter.done(name)
        return values[last]

    return run
