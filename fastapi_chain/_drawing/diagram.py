"""A plan as boxes and arrows: what is drawn, not yet where."""

from typing import Final, NamedTuple

from fastapi_chain._text import counted, type_name
from fastapi_chain.plan import Node, Plan
from fastapi_chain.spec import EMPTY

LONGEST: Final = 30
"""How many characters of a name a box has room for."""


class Box(NamedTuple):
    """A task."""

    name: str
    """Its name."""
    about: str
    """What is said about it where no run is shown: what it returns, how often it is tried."""
    fan: bool = False
    """Whether it is called for each item of a list: a pile of boxes."""


class Arrow(NamedTuple):
    """One task before another."""

    source: int
    """The number of the box that it leaves."""
    target: int
    """The number of the box that it enters."""
    label: str = ""
    """The parameter that takes the value; several are joined by commas; empty where it only sets the order."""


class Diagram(NamedTuple):
    """What is drawn of a plan."""

    boxes: tuple[Box, ...]
    """The tasks, in topological order."""
    arrows: tuple[Arrow, ...]
    """What lies between them."""


def diagram_of(plan: Plan) -> Diagram:
    """Return what is drawn of *plan*."""
    return Diagram(
        boxes=tuple(Box(node.name, _about(node), node.over is not None) for node in plan.nodes),
        arrows=tuple(arrow for node in plan.nodes for arrow in _arrows(node)),
    )


def shown_name(box: Box) -> str:
    """Return as much of the box's name as fits into it."""
    return box.name if len(box.name) <= LONGEST else f"{box.name[: LONGEST - 1]}…"


def _arrows(node: Node) -> list[Arrow]:
    """Return the arrows that enter *node*, one for each task that it takes a value from or waits for."""
    labels: dict[int, list[str]] = {parent: [] for parent in node.parents}
    for fill in node.fills:
        if fill.kind == "task":
            labels.setdefault(fill.slot, []).append(fill.param.name)
        elif fill.kind == "item" and node.over is not None:
            labels.setdefault(node.over, []).append(f"each {fill.param.name}")
    return [Arrow(parent, node.index, ", ".join(names)) for parent, names in sorted(labels.items())]


def _about(node: Node) -> str:
    returns = node.signature.returns
    parts = [] if returns is EMPTY or returns is None or returns is type(None) else [type_name(returns)]
    if node.over is not None:
        parts.append("each item")
    if node.spec.retries:
        parts.append(counted(node.max_attempts, "attempt"))
    if node.spec.optional:
        parts.append("optional")
    return " · ".join(parts) or "returns nothing"
