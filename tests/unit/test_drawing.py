"""The drawing of a chain: boxes and arrows, places, the text of the SVG."""

import sys
from xml.etree import ElementTree as ET

import pytest
from pydantic import BaseModel

from fastapi_chain import Chain, From, Registry, chain
from fastapi_chain._drawing import GLYPHS, Arrow, Box, Face, Picture, diagram_of, lay_out, picture_of
from fastapi_chain._drawing.svg import rounded

SVG = "{http://www.w3.org/2000/svg}"


class Order(BaseModel):
    id: int


def shop() -> Chain:
    tasks = Registry("shop")

    @tasks.task
    async def order(order_id: int) -> Order: ...

    @tasks.task(after=[order], retries=3)
    async def charge(order: Order, order_id: int) -> str: ...

    @tasks.task(after=[order])
    async def lines(order: Order) -> list[int]: ...

    @tasks.task(each=lines)
    async def ship(line: int) -> str: ...

    @tasks.task(after=[charge, ship], optional=True)
    async def mail(charge: str) -> None: ...

    @tasks.task(after=[order])
    def untyped(order: Order): ...

    return chain(mail, untyped, name="shop")


def without_graphlay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "graphlay", None)


def test_a_plan_becomes_boxes_and_arrows() -> None:
    """A box says what a task returns and how it is run; an arrow names the parameters that it carries, or none."""
    diagram = diagram_of(shop().plan)
    assert set(diagram.boxes) == {
        Box("order", "Order"),
        Box("charge", "str · 4 attempts"),
        Box("lines", "list[int]"),
        Box("ship", "str · each item", fan=True),
        Box("mail", "optional"),
        Box("untyped", "returns nothing"),
    }
    names = [box.name for box in diagram.boxes]
    assert {(names[a.source], names[a.target], a.label) for a in diagram.arrows} == {
        ("order", "charge", "order"),
        ("order", "lines", "order"),
        ("order", "untyped", "order"),
        ("lines", "ship", "each line"),
        ("charge", "mail", "charge"),
        ("ship", "mail", ""),
    }


def test_an_arrow_that_carries_two_values_names_both() -> None:
    """Two parameters from one task are one arrow with two names."""
    tasks = Registry("two")

    @tasks.task
    async def a() -> int: ...

    @tasks.task
    async def b(x: int = From(a), y: int = From(a)) -> None: ...

    assert diagram_of(chain(b).plan).arrows == (Arrow(0, 1, "x, y"),)


@pytest.mark.parametrize("direction", ["leftright", "topbottom"])
def test_boxes_lie_apart_and_arrows_go_from_one_to_another(direction: str) -> None:
    """No two boxes overlap, every arrow begins at the edge of its box, and all of it is within the bounds."""
    diagram = diagram_of(shop().plan)
    layout = lay_out(diagram, direction)
    assert layout is not None
    boxes = [(place.left, place.top, place.left + place.width, place.top + 52) for place in layout.places]
    for i, (left, top, right, bottom) in enumerate(boxes):
        assert layout.left <= left
        assert right <= layout.left + layout.width
        assert layout.top <= top
        assert bottom <= layout.top + layout.height
        for other in boxes[i + 1 :]:
            assert right <= other[0] or other[2] <= left or bottom <= other[1] or other[3] <= top
    for arrow, route in zip(diagram.arrows, layout.routes, strict=True):
        (x, y), (left, top, right, bottom) = route[0], boxes[arrow.source]
        assert left - 1 <= x <= right + 1
        assert top - 1 <= y <= bottom + 1


def test_without_graphlay_there_is_no_drawing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the layout engine is not installed, everything that draws gives None."""
    without_graphlay(monkeypatch)
    picture = Picture(diagram_of(shop().plan), "shop")
    assert lay_out(picture.diagram, "leftright") is None
    assert picture.svg([Face()] * 6) is None
    assert picture.alone is None
    assert shop().to_svg() is None
    assert shop()._repr_svg_() is None


def test_corners_are_round() -> None:
    """A path bends with a radius of at most 9 pixels, less where there is no room; equal points are left out."""
    assert rounded([(0, 0), (20, 0), (20, 40)]) == "M0.0 0.0L11.0 0.0Q20.0 0.0 20.0 9.0L20.0 40.0"
    assert rounded([(0, 0), (4, 0), (4, 40)]) == "M0.0 0.0L2.0 0.0Q4.0 0.0 4.0 2.0L4.0 40.0"
    assert rounded([(0, 0), (0, 0), (4, 0)]) == "M0.0 0.0L4.0 0.0"


def drawn(faces: list[Face], direction: str = "leftright") -> ET.Element:
    text = picture_of(shop().plan).svg(faces, direction)
    assert text is not None
    assert "style" not in text
    return ET.fromstring(text)


def test_a_drawing_is_an_svg_without_inline_style() -> None:
    """Each task is a titled group, and the whole has a name for screen readers."""
    svg = drawn([Face()] * 6)
    assert svg.get("aria-label") == "Graph of chain shop, 6 tasks"
    titles = {node.findtext(f"{SVG}title") for node in svg.findall(f"{SVG}g") if "node" in node.get("class", "")}
    assert "charge: str · 4 attempts" in titles
    assert len(titles) == 6


def test_a_face_decides_how_a_box_looks() -> None:
    """State, link, progress, and whether it is looked at; a text too long for the box ends in an ellipsis."""
    plan = shop().plan
    faces = [Face("running", "x" * 99, 0.25, f"?task={name}", current=name == "charge") for name in plan.names]
    text = picture_of(plan).svg(faces)
    assert text is not None
    svg = ET.fromstring(text)
    nodes = {node.get("href"): node for node in svg.findall(f"{SVG}a")}
    charge = nodes["?task=charge"]
    assert charge.get("class") == "node running"
    assert charge.get("aria-current") == "true"
    assert nodes["?task=mail"].get("aria-current") is None
    track, bar = (charge.find(f"{SVG}rect[@class='{kind}']") for kind in ("ptrack", "pbar"))
    assert track is not None
    assert bar is not None
    assert float(bar.get("width", 0)) == pytest.approx(float(track.get("width", 0)) / 4, abs=0.1)
    assert charge.findtext(f"{SVG}title") == f"charge: running, {'x' * 99}"
    assert charge.findall(f"{SVG}text")[1].text.endswith("x…")
    backs = nodes["?task=ship"].findall(f"{SVG}rect[@class='box back']")
    assert len(backs) == 2


@pytest.mark.parametrize(
    ("source", "target", "kind"),
    [
        # Nothing has happened yet.
        ("plain", "plain", "idle"),
        ("running", "pending", "idle"),
        # It is there, but nobody has taken it.
        ("succeeded", "pending", "idle"),
        # It has gone along.
        ("succeeded", "running", "done"),
        # It never will.
        ("failed", "skipped", "bad"),
        ("skipped", "skipped", "bad"),
        ("cancelled", "cancelled", "bad"),
    ],
)
def test_an_arrow_shows_whether_something_has_gone_along_it(source: str, target: str, kind: str) -> None:
    """Its class follows from the states at both ends."""
    tasks = Registry("two")

    @tasks.task
    async def a() -> int: ...

    @tasks.task(after=[a])
    async def b(a: int) -> None: ...

    text = picture_of(chain(b).plan).svg([Face(source), Face(target)])
    assert f'<path class="edge {kind}"' in (text or "")


def test_labels_stand_beside_the_heads_of_arrows() -> None:
    """To the left of the head where an arrow comes in from the left; beside it where it comes from above."""
    across, down = drawn([Face()] * 6), drawn([Face()] * 6, "topbottom")
    for svg, kind in ((across, "elabel idle"), (down, "elabel side idle")):
        labels = [text for text in svg.iter(f"{SVG}text") if text.get("class") == kind]
        assert {label.text for label in labels} == {"order", "each line", "charge"}
    anchors = {text.get("text-anchor") for text in down.iter(f"{SVG}text") if "side" in text.get("class", "")}
    assert anchors <= {"start", "end"}


def test_names_are_escaped_and_long_ones_cut() -> None:
    """A name of markup characters stays text; one of 40 characters ends in an ellipsis, and is whole in its title."""

    async def nothing() -> None: ...

    diagram = diagram_of(chain(Registry("x").task(name='&"b' + "y" * 40)(nothing)).plan)
    text = Picture(diagram, 'a "quoted" name').svg([Face()])
    assert text is not None
    svg = ET.fromstring(text)
    assert svg.get("aria-label") == 'a "quoted" name'
    node = svg.find(f"{SVG}g[@class='node plain']")
    assert node is not None
    assert node.findtext(f"{SVG}title") == f'&"b{"y" * 40}: returns nothing'
    assert node.findtext(f"{SVG}text") == f'&"b{"y" * 26}…'


def test_a_chain_draws_itself() -> None:
    """`to_svg()` and a notebook's `_repr_svg_` give one drawing that carries its own look, light and dark."""
    made = shop()
    text = made.to_svg()
    assert text is not None
    assert text == made._repr_svg_()
    ET.fromstring(text)
    assert "prefers-color-scheme: dark" in text
    assert 'class="paper"' in text


def test_a_plan_is_laid_out_once() -> None:
    """The same plan has the same picture, whose layout is kept for each direction."""
    plan = shop().plan
    picture = picture_of(plan)
    assert picture is picture_of(plan)
    assert not picture.laid_out("topbottom")
    assert picture.layout("topbottom") is picture.layout("topbottom")
    assert picture.laid_out("topbottom")


def test_every_state_has_a_sign() -> None:
    """The states of tasks and runs, and none at all."""
    states = {"plain", "queued", "pending", "running", "retrying", "succeeded", "failed", "skipped", "cancelled"}
    assert set(GLYPHS) == states
