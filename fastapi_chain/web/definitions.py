"""The chains of an app over HTTP: what they are made of, and their graphs."""

from collections.abc import Iterable
from urllib.parse import quote

from fastapi_chain.chains import Chain
from fastapi_chain.plan import Node, Plan

from .models import ChainLinks, ChainModel, DeclaredTask, Edge, Graph, InputModel


def chain_model(chain: Chain, routes: Iterable[str], base: str) -> ChainModel:
    """Return *chain* as a model.

    Args:
        chain: The chain.
        routes: The routes that start it.
        base: The path of the router.
    """
    plan = chain.plan
    name = quote(chain.name, safe="")
    page = f"{base}/chains/{name}"
    return ChainModel(
        name=chain.name,
        started_by=list(routes),
        targets=[plan.names[i] for i in plan.targets],
        inputs=[InputModel(name=item.name, required=item.required) for item in plan.inputs],
        tasks=list(_tasks(plan)),
        links=ChainLinks(self=page, graph=f"{page}/graph.json", runs=f"{base}/runs?chain={name}"),
    )


def _tasks(plan: Plan) -> Iterable[DeclaredTask]:
    for node in plan.nodes:
        yield DeclaredTask(
            name=node.name,
            output=node.spec.output,
            after=[plan.names[p] for p in node.parents],
            max_attempts=node.max_attempts,
            optional=node.spec.optional,
            each=None if node.over is None else plan.names[node.over],
        )


def graph_of(plan: Plan) -> Graph:
    """Return *plan* as a graph."""
    edges = [edge for node in plan.nodes for edge in _edges(plan, node)]
    return Graph(chain=plan.chain, nodes=list(_tasks(plan)), edges=edges)


def _edges(plan: Plan, node: Node) -> Iterable[Edge]:
    taken: dict[int, list[str]] = {}
    for fill in node.fills:
        if fill.kind == "task":
            taken.setdefault(fill.slot, []).append(fill.param.name)
        elif fill.kind == "item" and node.over is not None:
            taken.setdefault(node.over, []).append(fill.param.name)
    for parent in sorted({*taken, *node.parents}):
        params = taken.get(parent, [])
        yield Edge(source=plan.names[parent], target=node.name, kind="data" if params else "order", params=params)
