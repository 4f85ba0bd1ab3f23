"""taskiq-pipelines: taskiq tasks one after the other, on the in-memory broker.

The result is polled for every millisecond; the default is every 0.2 s.
"""

from taskiq import InMemoryBroker
from taskiq_pipelines import Pipeline, PipelineMiddleware

from benchmarks.contenders import THREADS, CannotExpress, Run
from benchmarks.graphs import Graph


def build(graph: Graph) -> Run:
    """Register the functions of *graph* with a broker of their own."""
    if not graph.linear:
        text = "chains only"
        raise CannotExpress(text)
    broker = InMemoryBroker(max_stored_results=-1, max_async_tasks=1000, sync_tasks_pool_size=THREADS)
    broker.add_middlewares(PipelineMiddleware())
    first, *others = (
        broker.register_task(function, task_name=node.name)
        for function, node in zip(graph.functions, graph.nodes, strict=True)
    )
    pipeline = Pipeline(broker, first)
    for task in others:
        pipeline = pipeline.call_next(task)

    async def run(x: int) -> int:
        sent = await pipeline.kiq(x)
        result = await sent.wait_result(check_interval=0.001)
        broker.result_backend.results.clear()
        return result.return_value

    return run
