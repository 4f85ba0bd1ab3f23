"""The pictures of graphs are what the examples look like now."""

import importlib.util
import re
from types import ModuleType

import pytest

from tests.docs.pages import DOCS, PAGES, ROOT


def tool() -> ModuleType:
    """Return tools/pictures.py as a module."""
    spec = importlib.util.spec_from_file_location("tools_pictures", ROOT / "tools" / "pictures.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


TOOL = tool()


@pytest.mark.parametrize("picture", TOOL.PICTURES)
def test_a_picture_shows_its_example(picture: str) -> None:
    """If not: run tools/pictures.py, and look at what it has drawn."""
    assert (TOOL.IMAGES / f"{picture}.svg").read_text() == TOOL.draw(TOOL.PICTURES[picture])


def test_every_picture_is_shown() -> None:
    """No picture of a graph lies about that no page shows, and none is shown that nothing draws."""
    text = "\n".join(page.read_text() for page in PAGES)
    shown = set(re.findall(r"images/([\w-]+)\.svg", text))
    assert shown == set(TOOL.PICTURES) == {path.stem for path in (DOCS / "images").glob("*.svg")}
