"""Celery without a broker (`task_always_eager`): a canvas chain, called from a thread, since it blocks."""

import asyncio

from celery import Celery
from celery import chain as canvas

from benchmarks.contenders import CannotExpress, Run
from benchmarks.graphs import Graph


def build(graph: Graph) -> Run:
    """Register the functions of *graph* with an app of their own."""
    if graph.kind == "async" or not graph.linear:
        text = "def functions only" if graph.kind == "async" else "measured with chains only"
        raise CannotExpress(text)
    app = Celery("benchmark", broker="memory://", backend="cache+memory://")
    app.conf.task_always_eager = True
    app.conf.task_store_eager_result = False
    tasks = [app.task(function, name=node.name) for function, node in zip(graph.functions, graph.nodes, strict=True)]

    def call(x: int) -> int:
        return canvas(tasks[0].s(x), *(task.s() for task in tasks[1:])).apply_async().get()

    async def run(x: int) -> int:
        return await asyncio.to_thread(call, x)

    return run
