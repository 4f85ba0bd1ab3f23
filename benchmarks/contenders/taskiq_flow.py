"""taskiq-flow: a dataflow of taskiq tasks by parameter name, on the in-memory broker with `await_inplace=True`."""

from taskiq import InMemoryBroker
from taskiq_flow import DataflowPipeline, PipelineMiddleware, pipeline_task

from benchmarks.contenders import THREADS, Run
from benchmarks.graphs import Graph


def build(graph: Graph) -> Run:
    """Register the functions of *graph* with a broker of their own."""
    broker = InMemoryBroker(
        max_stored_results=-1, max_async_tasks=1000, sync_tasks_pool_size=THREADS, await_inplace=True
    )
    broker.add_middlewares(PipelineMiddleware())
    tasks = [
        broker.register_task(pipeline_task(output=node.name)(function), task_name=node.name)
        for function, node in zip(graph.functions, graph.nodes, strict=True)
    ]
    pipeline = DataflowPipeline.from_tasks(broker, tasks)
    stored, last = broker.result_backend.results, graph.last

    async def run(x: int) -> int:
        values = await pipeline.kiq_dataflow(x=x)
        stored.clear()
        return values[last]

    return run
