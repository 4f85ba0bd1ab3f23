"""dag-simple: values by parameter name; asks for the parents of each task recursively.

Results must be cached, else a task with two children runs twice.
"""

from dag_simple import input_node, node

from benchmarks.contenders import CannotExpress, Run
from benchmarks.graphs import Graph


def build(graph: Graph) -> Run:
    """Make the nodes of *graph*."""
    if graph.kind == "def":
        text = "runs def functions on the event loop"
        raise CannotExpress(text)
    given = input_node("x", int)
    made = []
    for function, each in zip(graph.functions, graph.nodes, strict=True):
        parents = [made[parent] for parent in each.parents] or [given]
        made.append(node(deps=parents, name=each.name, cache_result=True)(function))
    last = made[-1]

    async def run(x: int) -> int:
        return await last.run_async(x=x)

    return run
