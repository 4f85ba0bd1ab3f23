"""Dask's threaded scheduler, called from a thread: it would block the event loop."""

import asyncio
from concurrent.futures import ThreadPoolExecutor

from dask.threaded import get

from benchmarks.contenders import THREADS, CannotExpress, Run
from benchmarks.graphs import Graph


def build(graph: Graph) -> Run:
    """Write *graph* as a dict of calls."""
    if graph.kind == "async":
        text = "def functions only"
        raise CannotExpress(text)
    pool = ThreadPoolExecutor(THREADS)
    calls = {
        node.name: (function, *graph.parameters(i))
        for i, (node, function) in enumerate(zip(graph.nodes, graph.functions, strict=True))
    }

    async def run(x: int) -> int:
        return await asyncio.to_thread(get, {"x": x, **calls}, graph.last, pool=pool)

    return run
