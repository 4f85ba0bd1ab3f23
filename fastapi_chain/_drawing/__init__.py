"""The drawing of a chain: one for the dashboard, notebooks, the command line and the documentation.

    diagram.py   a plan as boxes and arrows
    layout.py    where they go: the only contact with the layout engine (graphlay), which may not be there
    svg.py       boxes, arrows and places as the text of an SVG, without inline style
    picture.py   all of it for one plan, laid out once for all who look at it

`standalone.css` is the look of a drawing that stands alone; on the dashboard's pages their own style sheet holds.
"""

from .diagram import Arrow, Box, Diagram, diagram_of
from .layout import Direction, Layout, lay_out
from .picture import Picture, picture_of
from .svg import GLYPHS, Face, State

__all__ = [
    "GLYPHS",
    "Arrow",
    "Box",
    "Diagram",
    "Direction",
    "Face",
    "Layout",
    "Picture",
    "State",
    "diagram_of",
    "lay_out",
    "picture_of",
]
