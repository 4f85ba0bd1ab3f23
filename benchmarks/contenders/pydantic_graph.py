"""pydantic-graph's `GraphBuilder`: values travel along edges, a task with several parents needs a join."""

from collections.abc import Callable
from typing import Any

from pydantic_graph.graph_builder import GraphBuilder

from benchmarks.contenders import CannotExpress, Run
from benchmarks.graphs import Graph


def build(graph: Graph) -> Run:
    """Build *graph*: a chain, or one fork and one join."""
    if graph.kind == "def":
        text = "steps must be async"
        raise CannotExpress(text)
    if not graph.linear and not fork_and_join(graph):
        text = "a join needs one fork above it"
        raise CannotExpress(text)
    builder = GraphBuilder(input_type=int, output_type=int, auto_instrument=False)
    (add_chain if graph.linear else add_fork)(builder, graph)
    built = builder.build()

    async def run(x: int) -> int:
        return await built.run(inputs=x)

    return run


def fork_and_join(graph: Graph) -> bool:
    """Return whether *graph* is 1 -> n -> 1."""
    return [len(graph.levels[0]), len(graph.levels[-1]), len(graph.levels)] == [1, 1, 3]


def add_chain(builder: Any, graph: Graph) -> None:
    """Add the steps of a chain."""
    before = builder.start_node
    for i in range(len(graph)):
        now = builder.step(step(graph.functions[i]), node_id=graph.nodes[i].name)
        builder.add(builder.edge_from(before).to(now))
        before = now
    builder.add(builder.edge_from(before).to(builder.end_node))


def add_fork(builder: Any, graph: Graph) -> None:
    """Add a first step, those beside each other, a join and the last step."""
    first, *middle = (
        builder.step(step(graph.functions[i]), node_id=graph.nodes[i].name) for i in range(len(graph) - 1)
    )
    parameters, function = graph.parameters(len(graph) - 1), graph.functions[-1]

    async def finish(context: Any) -> int:
        return await function(**dict(zip(parameters, context.inputs, strict=True)))

    last = builder.step(finish, node_id=graph.last)
    join = builder.join(collect, initial_factory=list, node_id="join")
    builder.add(
        builder.edge_from(builder.start_node).to(first),
        builder.edge_from(first).to(*middle),
        builder.edge_from(*middle).to(join),
        builder.edge_from(join).to(last),
        builder.edge_from(last).to(builder.end_node),
    )


def collect(values: list[int], value: int) -> list[int]:
    """Join: gather the values in a list."""
    values.append(value)
    return values


def step(function: Callable[[int], Any]) -> Callable[[Any], Any]:
    """Return *function* as a step."""

    async def inner(context: Any) -> int:
        return await function(context.inputs)

    return inner
