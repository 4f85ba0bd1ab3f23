"""fastapi_chain: a value goes to the parameter that bears its task's name; everything at its defaults."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from benchmarks.contenders import Run
from benchmarks.graphs import Graph
from fastapi_chain import Registry, chain
from fastapi_chain._threads import default_pool


def build(graph: Graph) -> Run:
    """Declare the tasks of *graph* and plan a chain of them."""
    last = declare(graph)[-1]
    planned = chain(last)
    planned.check()

    async def run(x: int) -> int:
        return (await planned.run(x=x))[last]

    return run


@contextmanager
def threads(number: int) -> Iterator[None]:
    """Have at most *number* threads within the block."""
    usual, default_pool.size = default_pool.size, number
    try:
        yield
    finally:
        default_pool.size = usual


def declare(graph: Graph, functions: list[Callable[..., Any]] | None = None, **options: Any) -> list[Any]:
    """Return the tasks of *graph*, declared with *options* in a registry of their own."""
    registry = Registry("benchmark")
    tasks: list[Any] = []
    for node, function in zip(graph.nodes, functions or graph.functions, strict=True):
        tasks.append(registry.task(after=[tasks[parent] for parent in node.parents], **options)(function))
    return tasks
