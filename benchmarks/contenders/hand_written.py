"""The reference: the asyncio that one would type for exactly this graph.

A chain is direct awaits; other graphs are one `gather` per level, or, where delays differ, one asyncio task for each
task that awaits its parents'. A `def` task is one `run_in_executor` on a pool of its own. Nothing of what a library
adds (states, retries, checks) is in it.
"""

import asyncio
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, Final

from benchmarks.contenders import THREADS, Run
from benchmarks.graphs import Graph, run_source

_THREAD_NAMES: Final = "hand-written"
_pool = ThreadPoolExecutor(THREADS, thread_name_prefix=_THREAD_NAMES)


@contextmanager
def threads(number: int) -> Iterator[None]:
    """Have *number* threads within the block."""
    global _pool  # noqa: PLW0603 - the functions that are written here look it up
    usual = _pool
    try:
        with ThreadPoolExecutor(number, thread_name_prefix=_THREAD_NAMES) as _pool:
            yield
    finally:
        _pool = usual


def build(graph: Graph) -> Run:
    """Write the function for *graph*."""
    return write(graph, task_per_node(graph) if graph.unequal else gather_per_level(graph))


def hop(function: Callable[..., Any], *args: object) -> asyncio.Future[Any]:
    """Call *function* in a thread."""
    return asyncio.get_running_loop().run_in_executor(_pool, function, *args)


def write(graph: Graph, lines: list[str]) -> Run:
    """Compile the function `main` that *lines* say."""
    names: dict[str, Any] = {f"f{i}": function for i, function in enumerate(graph.functions)}
    names.update(hop=hop, gather=asyncio.gather, TaskGroup=asyncio.TaskGroup, create_task=asyncio.create_task)
    source = "\n".join(["async def main(x):", *(f"    {line}" for line in lines), ""])
    main: Run = run_source(source, names, f"<by hand {id(names)}>")["main"]
    return main


def call(graph: Graph, i: int) -> str:
    """Return the expression that gives the awaitable of task *i*."""
    args = ", ".join(graph.parameters(i))
    return f"f{i}({args})" if graph.kind == "async" else f"hop(f{i}, {args})"


def gather_per_level(graph: Graph) -> list[str]:
    """Write one `gather` per level."""
    lines = []
    for level in graph.levels:
        calls = ", ".join(call(graph, i) for i in level)
        names = ", ".join(graph.nodes[i].name for i in level)
        lines.append(f"{names} = await {calls if len(level) == 1 else f'gather({calls})'}")
    return [*lines, f"return {graph.last}"]


def task_per_node(graph: Graph) -> list[str]:
    """Write one asyncio task for each task of the graph."""
    lines = []
    for i, node in enumerate(graph.nodes):
        lines.append(f"async def n{i}():")
        lines += [f"    {name} = await k_{name}" for name in graph.parent_names(i)]
        lines += [f"    return await {call(graph, i)}", f"k_{node.name} = create_task(n{i}())"]
    return [*lines, f"return await k_{graph.last}"]
