"""async-task-pipeline-py: a TaskGroup-like scope in which handles of tasks are passed as arguments."""

from async_task_pipeline import TaskPipeline

from benchmarks.contenders import CannotExpress, Run
from benchmarks.graphs import Graph


def build(graph: Graph) -> Run:
    """Prepare the calls of *graph*; the pipeline itself is made anew for each run."""
    if graph.kind == "def":
        text = "coroutines only"
        raise CannotExpress(text)
    steps = [(function, node.parents, node.name) for function, node in zip(graph.functions, graph.nodes, strict=True)]

    async def run(x: int) -> int:
        async with TaskPipeline(max_concurrency=1000) as pipeline:
            handles = []
            for function, parents, name in steps:
                args = [handles[parent] for parent in parents] or [x]
                handles.append(pipeline.start(function, *args, task_name=name))
        return handles[-1].result()

    return run
