"""Where boxes and arrows go. The only contact with the layout engine, graphlay: another one would be exchanged here."""

from importlib import import_module
from typing import Any, Final, Literal, NamedTuple, TypeAlias

from .diagram import Diagram, shown_name

Direction: TypeAlias = Literal["leftright", "topbottom"]
"""Which way the arrows go."""

Point: TypeAlias = tuple[float, float]
"""A place in pixels, to the right and down."""

HEIGHT: Final = 52.0
"""The height of a box, in pixels."""

_NAME: Final = 7.85
"""The width of one character of a name, in pixels."""
_ABOUT: Final = 6.3
"""The width of one character of the line below the name, on average."""
_LABEL: Final = 6.7
"""The width of one character of an arrow's label."""
_NARROWEST: Final = 172.0
"""Room for `attempt 2/4 · 1.2 s`, which is not known when the boxes are placed."""


class Place(NamedTuple):
    """Where a box lies."""

    left: float
    top: float
    width: float


class Layout(NamedTuple):
    """Where everything lies."""

    places: tuple[Place, ...]
    """One for each box."""
    routes: tuple[tuple[Point, ...], ...]
    """The corners of each arrow, from its tail to its head."""
    left: float
    top: float
    width: float
    height: float


def lay_out(diagram: Diagram, direction: Direction) -> Layout | None:
    """Return where the boxes and arrows of *diagram* go; None without a layout engine.

    It takes 0.3 ms for 8 boxes and 0.1 s for 150: off the event loop, and once for each diagram.
    """
    try:
        graphlay: Any = import_module("graphlay")
    except ModuleNotFoundError:
        return None
    graph = graphlay.Graph()
    widths = [_width(shown_name(box), box.about) for box in diagram.boxes]
    for i, width in enumerate(widths):
        graph.node(i, width=width, height=HEIGHT)
    for arrow in diagram.arrows:
        graph.edge(arrow.source, arrow.target)
    made = graphlay.layout(graph, preset="layered", options=_options(diagram, direction))
    low, high = made.bounds["min"], made.bounds["max"]
    return Layout(
        places=tuple(
            Place(node["center"]["x"] - width / 2, node["center"]["y"] - HEIGHT / 2, width)
            for node, width in zip(made.nodes, widths, strict=True)
        ),
        routes=tuple(tuple((point["x"], point["y"]) for point in edge["points"]) for edge in made.edges),
        left=low["x"],
        top=low["y"],
        width=high["x"] - low["x"],
        height=high["y"] - low["y"],
    )


def _width(name: str, about: str) -> float:
    return round(max(_NARROWEST, 56 + _NAME * len(name), 56 + _ABOUT * min(len(about), 40)), 1)


def _options(diagram: Diagram, direction: Direction) -> dict[str, object]:
    """Return what the engine is told: between two columns there is room for the longest label."""
    longest = max([len(arrow.label) for arrow in diagram.arrows], default=0)
    gap = max(48.0, _LABEL * min(longest, 36) + 36) if direction == "leftright" else 44.0
    return {
        "direction": direction,
        "routing": {"style": "orthogonal"},
        "spacing": {"layer_gap": gap, "node_gap": 22, "dummy_gap": 18},
    }
