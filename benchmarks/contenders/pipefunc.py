"""pipefunc: values by parameter name, `map_async` in threads."""

from concurrent.futures import ThreadPoolExecutor

from pipefunc import PipeFunc, Pipeline

from benchmarks.contenders import THREADS, CannotExpress, Run
from benchmarks.graphs import Graph


def build(graph: Graph) -> Run:
    """Make a pipeline of *graph*."""
    if graph.kind == "async":
        text = "def functions only"
        raise CannotExpress(text)
    pipeline = Pipeline(
        [PipeFunc(function, node.name) for function, node in zip(graph.functions, graph.nodes, strict=True)]
    )
    pool, last = ThreadPoolExecutor(THREADS), graph.last

    async def run(x: int) -> int:
        running = pipeline.map_async(
            {"x": x}, executor=pool, storage="dict", run_folder=None, show_progress=False, display_widgets=False
        )
        return (await running.task)[last].output

    return run
