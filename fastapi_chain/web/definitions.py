"""The chains of an app over HTTP: what they are made of, and their graphs."""

from collections.abc import Iterable
from urllib.parse import quote

from fastapi_chain.chains import Chain
from fastapi_chain.plan import Plan

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
    edges = [
        Edge(source=source, target=target, kind="data" if params else "order", params=params)
        for source, target, params in plan.edges()
    ]
    return Graph(chain=plan.chain, nodes=list(_tasks(plan)), edges=edges)
