"""The pictures of the dashboard in the documentation are what it looks like now."""

import importlib.util
import re
import sys
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]

DIFFERENCE = """async (urls) => {
    const images = await Promise.all(urls.map(async (url) => {
        const image = new Image();
        image.src = url;
        await image.decode();
        return image;
    }));
    const width = Math.round(images[0].width / 16), height = Math.round(images[0].height / 16);
    const [kept, taken] = images.map((image) => {
        const context = new OffscreenCanvas(width, height).getContext("2d");
        context.imageSmoothingQuality = "high";
        context.drawImage(image, 0, 0, width, height);
        return context.getImageData(0, 0, width, height).data;
    });
    const apart = kept.map((value, i) => Math.abs(value - taken[i]));
    const sizes = images.map((image) => [image.width, image.height]);
    return { sizes, mean: apart.reduce((a, b) => a + b) / (width * height * 3) };
}"""
"""Compares two pictures in blocks of 16 pixels, which is more than a letter."""

APART = 3.0
"""How far two pictures of one page may be apart, from 0 to 255: 0.1 is usual, two different pages have 10."""


def tool() -> ModuleType:
    """Return tools/screenshots.py as a module."""
    spec = importlib.util.spec_from_file_location("tools_screenshots", ROOT / "tools" / "screenshots.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def tools() -> Any:
    """The tool that takes the pictures."""
    pytest.importorskip("playwright.sync_api", reason="needs playwright")
    return tool()


@pytest.fixture(scope="module")
def pictures(tools: Any, chromium: Any) -> Iterator[dict[str, bytes]]:
    """All pictures, taken now."""
    with tools.shop() as served:
        yield {name: tools.take(chromium, served, picture) for name, picture in tools.PICTURES.items()}


def compared(chromium: Any, *pngs: bytes) -> Any:
    """Return the sizes of two pictures, and how far they are apart."""
    page = chromium.new_page()
    found = page.evaluate(DIFFERENCE, [f"data:image/png;base64,{b64encode(png).decode()}" for png in pngs])
    page.close()
    return found


def test_the_pictures_show_the_dashboard(tools: Any, pictures: dict[str, bytes], chromium: Any) -> None:
    """Each has the same text, about the same size and nearly the same colours everywhere; fonts may be others.

    If not: run tools/screenshots.py, and look at what it has taken.
    """
    for name, now in pictures.items():
        kept = (tools.IMAGES / f"{name}.png").read_bytes()
        assert tools.description(kept) == tools.description(now), name
        found = compared(chromium, kept, now)
        (width, height), (width_now, height_now) = found["sizes"]
        assert (width, pytest.approx(height, rel=0.05)) == (width_now, height_now), name
        assert found["mean"] < APART, name


def test_other_pictures_are_told_apart(tools: Any, chromium: Any) -> None:
    """What is compared tells light from dark, and one page from another."""
    run, dark, rows = ((tools.IMAGES / f"dashboard-{name}.png").read_bytes() for name in ("run", "dark", "fan-out"))
    assert compared(chromium, run, run)["mean"] == 0
    assert compared(chromium, run, rows)["mean"] > APART
    assert compared(chromium, run, dark)["mean"] > APART


def test_every_picture_is_shown(tools: Any) -> None:
    """No picture of the dashboard lies about that no page shows, and none is shown that nothing takes."""
    pages = [*(ROOT / "docs").rglob("*.md"), ROOT / "README.md"]
    shown = set(re.findall(r"images/([\w-]+)\.png", "\n".join(page.read_text() for page in pages)))
    assert shown == set(tools.PICTURES) == {path.stem for path in (ROOT / "docs" / "images").glob("*.png")}
