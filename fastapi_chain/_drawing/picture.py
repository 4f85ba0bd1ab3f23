"""All of the drawing of one plan, laid out once for all who look at it."""

from collections.abc import Sequence
from functools import cached_property
from importlib.resources import files
from typing import Final
from weakref import WeakKeyDictionary

from fastapi_chain._text import counted
from fastapi_chain.plan import Plan

from .diagram import Diagram, diagram_of
from .layout import Direction, Layout, lay_out
from .svg import Face, write

_PREFIXES: Final[dict[Direction, str]] = {"leftright": "n", "topbottom": "m"}


class Picture:
    """The drawing of a plan: what does not depend on a run is kept."""

    def __init__(self, diagram: Diagram, label: str) -> None:
        """Draw *diagram*, which a screen reader calls *label*."""
        self.diagram: Final = diagram
        self._label = label
        self._layouts: dict[Direction, Layout | None] = {}

    def layout(self, direction: Direction = "leftright") -> Layout | None:
        """Return where everything lies; None without a layout engine."""
        if direction not in self._layouts:
            self._layouts[direction] = lay_out(self.diagram, direction)
        return self._layouts[direction]

    def laid_out(self, direction: Direction) -> bool:
        """Whether `svg` has nothing left to do that takes long."""
        return direction in self._layouts

    def svg(self, faces: Sequence[Face], direction: Direction = "leftright") -> str | None:
        """Return an SVG for a page with a style sheet of its own; None without a layout engine."""
        layout = self.layout(direction)
        if layout is None:
            return None
        return write(self.diagram, layout, faces, prefix=_PREFIXES[direction], label=self._label)

    @cached_property
    def alone(self) -> str | None:
        """An SVG that stands alone, light or dark as its reader has it; None without a layout engine."""
        layout = self.layout()
        if layout is None:
            return None
        style = files(__package__).joinpath("standalone.css").read_text()
        faces = [Face()] * len(self.diagram.boxes)
        return write(self.diagram, layout, faces, prefix="n", label=self._label, style=" ".join(style.split()))


_pictures: WeakKeyDictionary[Plan, Picture] = WeakKeyDictionary()


def picture_of(plan: Plan) -> Picture:
    """Return the drawing of *plan*; the same one each time."""
    picture = _pictures.get(plan)
    if picture is None:
        label = f"Graph of chain {plan.chain}, {counted(len(plan.nodes), 'task')}"
        picture = _pictures[plan] = Picture(diagram_of(plan), label)
    return picture
