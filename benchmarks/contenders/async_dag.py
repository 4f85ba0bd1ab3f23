"""async-dag: counters of unfinished parents, one task in a TaskGroup for each task."""

from async_dag import build_dag

from benchmarks.contenders import CannotExpress, Run
from benchmarks.graphs import Graph


def build(graph: Graph) -> Run:
    """Build the DAG of *graph*."""
    if graph.kind == "def":
        text = "coroutines only"
        raise CannotExpress(text)
    made = []
    with build_dag(int) as dag:
        for function, node in zip(graph.functions, graph.nodes, strict=True):
            made.append(dag.add_node(function, *([made[parent] for parent in node.parents] or [dag.parameter_node])))
    last = made[-1]

    async def run(x: int) -> int:
        return last.extract_result(await dag.invoke(x))

    return run
