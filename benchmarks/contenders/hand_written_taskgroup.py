"""Hand-written with one `asyncio.TaskGroup` per level instead of `gather`."""

from benchmarks.contenders import CannotExpress, Run
from benchmarks.contenders.hand_written import call, write
from benchmarks.graphs import Graph


def build(graph: Graph) -> Run:
    """Write the function for *graph*."""
    if graph.linear or graph.kind == "def":
        text = "the same as hand-written" if graph.linear else "a TaskGroup takes coroutines only"
        raise CannotExpress(text)
    lines = []
    for level in graph.levels:
        if len(level) == 1:
            lines.append(f"{graph.nodes[level[0]].name} = await {call(graph, level[0])}")
            continue
        lines.append("async with TaskGroup() as group:")
        lines += [f"    k{i} = group.create_task({call(graph, i)})" for i in level]
        lines += [f"{graph.nodes[i].name} = k{i}.result()" for i in level]
    return write(graph, [*lines, f"return {graph.last}"])
