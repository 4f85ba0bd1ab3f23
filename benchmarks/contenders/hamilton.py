"""Apache Hamilton's async driver: a module of functions whose parameters bear the names of others."""

import logging

from hamilton import async_driver, base

from benchmarks.contenders import CannotExpress, Run
from benchmarks.graphs import Graph

logging.getLogger("hamilton").setLevel(logging.ERROR)


def build(graph: Graph) -> Run:
    """Make a module of *graph* and a driver for it."""
    if graph.kind == "def":
        text = "the async driver runs def functions on the event loop"
        raise CannotExpress(text)
    driver = async_driver.AsyncDriver({}, graph.make_module()[0], result_builder=base.DictResult())
    last = graph.last

    async def run(x: int) -> int:
        return (await driver.execute([last], inputs={"x": x}))[last]

    return run
