"""What the tasks of a plan have to do with each other, without the models that say so over HTTP."""

from collections.abc import Iterator

from fastapi_chain.plan import Node, Plan


def edges_of(plan: Plan) -> Iterator[tuple[str, str, list[str]]]:
    """Yield every task that another one waits for, that other one, and its parameters that take the output."""
    return ((plan.names[parent], node.name, taken) for node in plan.nodes for parent, taken in _taken(node).items())


def _taken(node: Node) -> dict[int, list[str]]:
    """Return the tasks that *node* waits for, in order, each with the parameters that take its output."""
    taken: dict[int, list[str]] = {parent: [] for parent in node.parents}
    for fill in node.fills:
        if fill.kind == "task":
            taken.setdefault(fill.slot, []).append(fill.param.name)
        elif fill.kind == "item" and node.over is not None:
            taken.setdefault(node.over, []).append(fill.param.name)
    return dict(sorted(taken.items()))
