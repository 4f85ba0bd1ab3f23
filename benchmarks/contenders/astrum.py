"""astrum: stages of tasks; the values go through a dict, since a whole result cannot go to two tasks."""

from collections.abc import Callable
from typing import Any

from astrum import DynamicScheduler, TaskOrder

from benchmarks.contenders import CannotExpress, Run
from benchmarks.graphs import Graph


def build(graph: Graph) -> Run:
    """Prepare the task orders of *graph*; a scheduler can be used once only."""
    if graph.kind == "def":
        text = "runs def functions on the event loop"
        raise CannotExpress(text)
    orders = []
    for node in graph.nodes:
        orders.append(TaskOrder(node.name, [orders[parent] for parent in node.parents]))
    steps = [(node.name, graph.functions[i], graph.parameters(i)) for i, node in enumerate(graph.nodes)]
    last = graph.last

    async def run(x: int) -> int:
        values = {"x": x}
        calls = [(name, step(function, names, name, values)) for name, function, names in steps]
        report = await DynamicScheduler(calls, orders).execute()
        return report.task_return_set[last]

    return run


def step(function: Callable[..., Any], parameters: list[str], target: str, values: dict[str, int]) -> Callable[[], Any]:
    """Return *function* as a call without arguments."""

    async def inner() -> int:
        values[target] = value = await function(*[values[name] for name in parameters])
        return value

    return inner
