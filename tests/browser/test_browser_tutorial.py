"""The page that the tutorial shows, in a real browser."""

import importlib.util
import sys
from pathlib import Path
from typing import Any

import pytest

TUTORIAL = Path(__file__).parents[2] / "docs" / "examples" / "tutorial"

SEEN = """
window.seen = [];
new MutationObserver(() => window.seen.push(...[...document.querySelectorAll("li")].map((line) => line.textContent)))
    .observe(document.querySelector("ul"), { childList: true, subtree: true });
"""
"""Notes down all lines that there have been."""


@pytest.fixture
def app() -> Any:
    """The app of "Progress"."""
    spec = importlib.util.spec_from_file_location("docs_tutorial_progress", TUTORIAL / "progress.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def test_the_page_follows_a_run_to_its_end(chromium: Any, app: Any, serve: Any) -> None:
    """The button starts a run; its lines change until they say that all has succeeded."""
    with serve(app.app) as (base, _, _):
        page = chromium.new_page()
        errors: list[str] = []
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto(f"{base}/")
        page.evaluate(SEEN)
        page.get_by_role("button", name="Order").click()
        page.locator("li", has_text="run: succeeded").wait_for(timeout=15_000)
        lines = page.locator("li").all_inner_texts()
        seen = page.evaluate("window.seen")
        page.close()
    assert any("of 3 packing" in line for line in seen)
    assert lines[-1] == "run: succeeded"
    assert {"pack: succeeded", "call_customer: skipped"} <= set(lines)
    assert errors == []
