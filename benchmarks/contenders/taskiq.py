"""taskiq's in-memory broker with `await_inplace=True`: the task has run when `kiq()` returns.

With its defaults a result is polled for every 0.2 s. It has no graphs, so the levels are gathered by hand.
"""

import asyncio

from taskiq import InMemoryBroker

from benchmarks.contenders import THREADS, Run
from benchmarks.graphs import Graph


def build(graph: Graph) -> Run:
    """Register the functions of *graph* with a broker of their own."""
    # By default results beyond the hundredth are dropped, and at most 30 tasks run at once.
    broker = InMemoryBroker(
        max_stored_results=-1, max_async_tasks=1000, sync_tasks_pool_size=THREADS, await_inplace=True
    )
    tasks = [
        broker.register_task(function, task_name=node.name)
        for function, node in zip(graph.functions, graph.nodes, strict=True)
    ]
    parameters = [graph.parameters(i) for i in range(len(graph))]
    stored = broker.result_backend.results
    last = graph.last

    async def one(i: int, values: dict[str, int]) -> None:
        sent = await tasks[i].kiq(**{name: values[name] for name in parameters[i]})
        result = await sent.wait_result()
        stored.pop(sent.task_id, None)
        values[graph.nodes[i].name] = result.return_value

    async def run(x: int) -> int:
        values = {"x": x}
        for level in graph.levels:
            if len(level) == 1:
                await one(level[0], values)
            else:
                await asyncio.gather(*(one(i, values) for i in level))
        return values[last]

    return run
