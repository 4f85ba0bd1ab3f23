"""Hand-written with one asyncio task for each task, which awaits its parents' tasks."""

from benchmarks.contenders import Run
from benchmarks.contenders.hand_written import task_per_node, write
from benchmarks.graphs import Graph


def build(graph: Graph) -> Run:
    """Write the function for *graph*."""
    return write(graph, task_per_node(graph))
