"""The graph of a run or of a chain, wide for screens, tall for phones; its Mermaid text where nothing can draw it."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import anyio.to_thread

from fastapi_chain._drawing import Direction, Face, Picture, picture_of
from fastapi_chain._drawing.mermaid import mermaid
from fastapi_chain.plan import Plan

from .subject import Part, Subject
from .task_words import about, share

_BIG = 1700.0
"""A drawing wider than this, in pixels, is scrolled and not made smaller."""
_BIG_TALL = 640.0
"""The same on a phone."""


class Drawing(NamedTuple):
    """A graph, ready to be put on a page."""

    wide: str | None
    """The SVG with its arrows going right; None where nothing can draw it."""
    tall: str | None
    """The SVG with its arrows going down."""
    text: str
    """The Mermaid text, where there is no SVG."""
    big: bool
    """Whether it is too wide for a screen, and is scrolled there."""
    big_tall: bool
    """The same for the other one and a phone."""


async def of_run(subject: Subject, current: Part | None, href: Callable[[str], str]) -> Drawing:
    """Return the graph of a run.

    Args:
        subject: The run.
        current: The task that is looked at.
        href: The link to a task.
    """
    faces = []
    for part in subject.parts():
        record = subject.record(part)
        faces.append(
            Face(
                state=record.state,
                about=about(subject, part, record),
                progress=share(subject, part, record),
                href=href(record.name),
                current=current is not None and current.index == part.index,
            )
        )
    return await draw(subject.plan, faces)


async def of_chain(plan: Plan, current: str | None, href: Callable[[str], str]) -> Drawing:
    """Return the graph of a chain, no run in mind; arguments as for `of_run`."""
    return await draw(plan, [Face(href=href(name), current=name == current) for name in plan.names])


async def draw(plan: Plan, faces: Sequence[Face]) -> Drawing:
    """Return the graph of *plan*, each task with its face."""
    picture = picture_of(plan)
    wide = await _svg(picture, faces, "leftright")
    if wide is None:
        return Drawing(None, None, mermaid(plan), big=False, big_tall=False)
    tall = await _svg(picture, faces, "topbottom")
    return Drawing(
        wide, tall, "", big=_wider(picture, "leftright", _BIG), big_tall=_wider(picture, "topbottom", _BIG_TALL)
    )


def _wider(picture: Picture, direction: Direction, limit: float) -> bool:
    layout = picture.layout(direction)
    return layout is not None and layout.width > limit


async def _svg(picture: Picture, faces: Sequence[Face], direction: Direction) -> str | None:
    if not picture.laid_out(direction):
        # The first layout of a large graph takes 0.1 s and more, in which the loop would stand still.
        await anyio.to_thread.run_sync(picture.layout, direction)
    return picture.svg(faces, direction)
