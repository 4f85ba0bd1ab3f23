"""flowrun: tasks by parameter name; a root takes a context object instead of `x`."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from flowrun import RunContext
from flowrun.engine import Engine
from flowrun.executor import TaskExecutor
from flowrun.scheduler import Scheduler, SchedulerConfig
from flowrun.state import InMemoryStateStore
from flowrun.task import TaskRegistry

from benchmarks.contenders import THREADS, Run
from benchmarks.graphs import Graph


def build(graph: Graph) -> Run:
    """Register the tasks of *graph* with an engine of their own."""
    registry, store = TaskRegistry(), InMemoryStateStore()
    # By default 4 tasks run at once.
    config = SchedulerConfig(max_parallel=1000)
    scheduler = Scheduler(registry, store, TaskExecutor(ThreadPoolExecutor(THREADS)), config)
    engine = Engine(registry, store, scheduler)
    for i, node in enumerate(graph.nodes):
        function = graph.functions[i] if node.parents else root(graph.functions[i], node.name, graph.kind)
        engine.task(name=node.name, deps=graph.parent_names(i), dag="graph")(function)
    last = graph.last

    async def run(x: int) -> int:
        run_id = await engine.run_once("graph", RunContext(deps=x))
        result = store.get_run(run_id).tasks[last].result
        store._runs.pop(run_id, None)  # noqa: SLF001 - it keeps every run for ever
        return result

    return run


def root(function: Callable[[int], Any], name: str, kind: str) -> Callable[..., Any]:
    """Return *function* as a task that takes its input from the context."""

    async def in_loop(context: RunContext) -> int:
        return await function(context.deps)

    def in_thread(context: RunContext) -> int:
        return function(context.deps)

    chosen = in_loop if kind == "async" else in_thread
    chosen.__name__ = name
    return chosen
