"""LangGraph's `StateGraph`: one state key for each value, edges as barriers, run in supersteps."""

from collections.abc import Callable
from typing import Any, TypedDict

from langgraph.graph import END, START, StateGraph

from benchmarks.contenders import Run
from benchmarks.graphs import Graph


def build(graph: Graph) -> Run:
    """Build and compile the state graph of *graph*."""
    builder = StateGraph(TypedDict("State", {"x": int, **{node.name: int for node in graph.nodes}}))
    for i, node in enumerate(graph.nodes):
        # A node must not bear the name of a state key.
        builder.add_node(f"n_{node.name}", step(graph.functions[i], graph.parameters(i), node.name, graph.kind))
        parents = [f"n_{name}" for name in graph.parent_names(i)]
        builder.add_edge(parents if len(parents) > 1 else (parents or [START])[0], f"n_{node.name}")
    last = graph.last
    builder.add_edge(f"n_{last}", END)
    app = builder.compile()
    config = {"recursion_limit": len(graph) + 10}

    async def run(x: int) -> int:
        return (await app.ainvoke({"x": x}, config))[last]

    return run


def step(function: Callable[..., Any], parameters: list[str], key: str, kind: str) -> Callable[..., Any]:
    """Return *function* as a node: state -> update of the state."""

    async def in_loop(state: dict[str, int]) -> dict[str, int]:
        return {key: await function(*[state[name] for name in parameters])}

    def in_thread(state: dict[str, int]) -> dict[str, int]:
        return {key: function(*[state[name] for name in parameters])}

    return in_loop if kind == "async" else in_thread
