"""Starlette's `BackgroundTasks`, called directly: a list of calls, no values handed on, no concurrency.

The values go through a dict, as a user would have to do it.
"""

from collections.abc import Callable
from typing import Any

from starlette.background import BackgroundTasks

from benchmarks.contenders import CannotExpress, Run
from benchmarks.graphs import Graph


def build(graph: Graph) -> Run:
    """Prepare the steps of *graph*."""
    steps, last = steps_through_a_dict(graph), graph.last

    async def run(x: int) -> int:
        box = {"x": x}
        tasks = BackgroundTasks()
        for step in steps:
            tasks.add_task(step, box)
        await tasks()
        return box[last]

    return run


def steps_through_a_dict(graph: Graph) -> list[Callable[[dict[str, int]], Any]]:
    """Return the tasks of a chain as functions that take their input from a dict and leave their output there."""
    if not graph.linear:
        text = "chains only"
        raise CannotExpress(text)
    return [
        step(graph.functions[i], graph.parameters(i)[0], node.name, graph.kind) for i, node in enumerate(graph.nodes)
    ]


def step(function: Callable[[int], Any], source: str, target: str, kind: str) -> Callable[[dict[str, int]], Any]:
    """Return *function* as one such step."""

    async def in_loop(box: dict[str, int]) -> None:
        box[target] = await function(box[source])

    def in_thread(box: dict[str, int]) -> None:
        box[target] = function(box[source])

    chosen = in_loop if kind == "async" else in_thread
    chosen.__name__ = target
    return chosen
