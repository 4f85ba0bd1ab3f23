"""Boxes, arrows and their places as the text of an SVG.

There is no `style` attribute in it: places are attributes, colours are classes. So it may stand under a strict content
security policy.
"""

from collections.abc import Iterator, Sequence
from html import escape
from typing import Final, Literal, NamedTuple, TypeAlias

from .diagram import Arrow, Diagram, shown_name
from .layout import HEIGHT, Layout, Place, Point

State: TypeAlias = Literal["plain", "pending", "running", "retrying", "succeeded", "failed", "skipped", "cancelled"]
"""How a box looks: like a task in that state, or like a task that no run is about."""

GLYPHS: Final[dict[str, str]] = {
    "succeeded": "M-4.2 .3 -1.2 3.4 4.4 -3",
    "failed": "M-3.4 -3.4 3.4 3.4M3.4 -3.4 -3.4 3.4",
    "running": "M0 -4.4A4.4 4.4 0 1 1 -4.4 0",
    "retrying": "M3.6 -2.6A4.4 4.4 0 1 0 4.4 .4M4 -4.6 3.8 -2.2 1.4 -2.4",
    "pending": "M-2.6 0H2.6",
    "queued": "M-2.6 0H2.6",
    "skipped": "M-3.4 -3.2 0 0 -3.4 3.2M.6 -3.2 4 0 .6 3.2",
    "cancelled": "M-3.2 3.2 3.2 -3.2",
    "plain": "M-2.4 -3.8 3.2 0 -2.4 3.8z",
}
"""The sign of each state, drawn around (0, 0) within 5 pixels: colour alone tells not everybody."""

_XMLNS: Final = "http://www.w3.org/2000/svg"
_ROUND: Final = 9.0
"""The radius of an arrow's corners, in pixels."""
_MARGIN: Final = 8.0
"""Room around everything."""
_HEADS: Final = ("idle", "done", "bad")


class Face(NamedTuple):
    """How one box looks."""

    state: State = "plain"
    about: str = ""
    """The line below its name."""
    progress: float | None = None
    """How much of it is done, from 0 to 1."""
    href: str | None = None
    """Where a click leads."""
    current: bool = False
    """Whether it is the one that is looked at."""


def write(diagram: Diagram, layout: Layout, faces: Sequence[Face], *, prefix: str, label: str, style: str = "") -> str:
    """Return the SVG.

    Args:
        diagram: What is drawn.
        layout: Where.
        faces: How each box looks.
        prefix: What the ids begin with: several drawings may stand on one page.
        label: What a screen reader calls it.
        style: A style sheet to carry along.
    """
    left, top = layout.left - _MARGIN, layout.top - _MARGIN
    width, height = layout.width + 2 * _MARGIN, layout.height + 2 * _MARGIN
    area = f'viewBox="{left:.0f} {top:.0f} {width:.0f} {height:.0f}" width="{width:.0f}" height="{height:.0f}"'
    parts = [f'<svg xmlns="{_XMLNS}" class="dag" {area} role="group" aria-label="{escape(label)}">']
    if style:
        paper = f'x="{left:.0f}" y="{top:.0f}" width="{width:.0f}" height="{height:.0f}" rx="12"'
        parts.append(f'<style>{style}</style><rect class="paper" {paper}/>')
    parts.append(f'<defs>{"".join(_head(prefix, kind) for kind in _HEADS)}</defs><g class="edges">')
    for arrow, route in zip(diagram.arrows, layout.routes, strict=True):
        parts += _arrow(arrow, route, diagram, _kind(faces[arrow.source], faces[arrow.target]), prefix)
    parts.append("</g>")
    for i, (face, place) in enumerate(zip(faces, layout.places, strict=True)):
        parts += _box(diagram, i, face, place, prefix)
    parts.append("</svg>")
    return "".join(parts)


def _head(prefix: str, kind: str) -> str:
    return (
        f'<marker id="{prefix}-{kind}" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7"'
        f' orient="auto"><path class="head {kind}" d="M0 .8 7 4 0 7.2z"/></marker>'
    )


def _kind(source: Face, target: Face) -> str:
    """Return how an arrow looks: something has gone along it, nothing ever will, or not yet."""
    if source.state in {"failed", "skipped", "cancelled"}:
        return "bad"
    return "done" if source.state == "succeeded" and target.state != "pending" else "idle"


def _arrow(arrow: Arrow, route: Sequence[Point], diagram: Diagram, kind: str, prefix: str) -> Iterator[str]:
    source, target = diagram.boxes[arrow.source].name, diagram.boxes[arrow.target].name
    title = escape(f"{source} → {target}: {arrow.label or 'order only (after=)'}")
    order = "" if arrow.label else " order"
    yield f'<path class="edge {kind}{order}" d="{rounded(route)}" marker-end="url(#{prefix}-{kind})">'
    yield f"<title>{title}</title></path>"
    (x0, y0), (x, y) = route[0], route[-1]
    if arrow.label and route[-2][1] == y:
        # Beside the head, on the side where the arrow does not come from.
        below = 13.0 if y0 < y - 1 else -4.5
        yield f'<text class="elabel {kind}" x="{x - 11:.1f}" y="{y + below:.1f}">{escape(arrow.label)}</text>'
    elif arrow.label:
        yield f'<text class="elabel side {kind}" x="{x + (6 if x >= x0 else -6):.1f}" y="{y - 11:.1f}"'
        yield f' text-anchor="{"start" if x >= x0 else "end"}">{escape(arrow.label)}</text>'


def rounded(points: Sequence[Point]) -> str:
    """Return a path along *points*, which lie at right angles, with round corners."""
    path = f"M{points[0][0]:.1f} {points[0][1]:.1f}"
    for (x0, y0), (x1, y1), (x2, y2) in zip(points, points[1:], points[2:], strict=False):
        before = abs(x1 - x0) + abs(y1 - y0)
        after = abs(x2 - x1) + abs(y2 - y1)
        if before and after:
            radius = min(_ROUND, before / 2, after / 2)
            ax, ay = x1 - (x1 - x0) / before * radius, y1 - (y1 - y0) / before * radius
            bx, by = x1 + (x2 - x1) / after * radius, y1 + (y2 - y1) / after * radius
            path += f"L{ax:.1f} {ay:.1f}Q{x1:.1f} {y1:.1f} {bx:.1f} {by:.1f}"
    return path + f"L{points[-1][0]:.1f} {points[-1][1]:.1f}"


def _box(diagram: Diagram, i: int, face: Face, place: Place, prefix: str) -> Iterator[str]:
    box = diagram.boxes[i]
    about = face.about or box.about
    x, y, width = place
    tag = "g" if face.href is None else "a"
    link = "" if face.href is None else f' href="{escape(face.href)}"'
    current = ' aria-current="true"' if face.current else ""
    said = about if face.state == "plain" else f"{face.state}, {about}"
    yield f'<{tag} class="node {face.state}" id="{prefix}-{i}"{link}{current}>'
    yield f"<title>{escape(f'{box.name}: {said}')}</title>"
    if box.fan:
        yield from (f'<rect class="box back" {_frame(x + d, y - d, width)}/>' for d in (7.0, 3.5))
    yield f'<rect class="box" {_frame(x, y, width)}/>'
    if face.progress is not None:
        yield from _progress(place, face.progress)
    yield f'<g transform="translate({x + 22:.1f} {y + HEIGHT / 2:.1f})"><circle class="dot" r="10"/>'
    yield f'<path class="glyph" d="{GLYPHS[face.state]}"/></g>'
    yield f'<text class="name" x="{x + 40:.1f}" y="{y + 22.5:.1f}">{escape(shown_name(box))}</text>'
    yield f'<text class="sub" x="{x + 40:.1f}" y="{y + 39:.1f}">{escape(_fit(about, width))}</text></{tag}>'


def _frame(x: float, y: float, width: float) -> str:
    return f'x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{HEIGHT:.0f}" rx="10"'


def _progress(place: Place, progress: float) -> Iterator[str]:
    x, y, width = place.left + 10, place.top + HEIGHT - 7, place.width - 20
    for kind, part in (("ptrack", 1.0), ("pbar", min(1.0, max(0.0, progress)))):
        yield f'<rect class="{kind}" x="{x:.1f}" y="{y:.1f}" width="{width * part:.1f}" height="3" rx="1.5"/>'


def _fit(text: str, width: float) -> str:
    """Return as much of *text* as a box of *width* pixels has room for."""
    room = int((width - 46) / 5.9)
    return text if len(text) <= room else f"{text[: room - 1]}…"
