"""What the reference shows of the routes is what they answer."""

import importlib.util

import pytest

from tests.docs.pages import ROOT


@pytest.mark.timeout(120)
def test_the_answers_are_those_of_the_page() -> None:
    """If not: run tools/answers.py, and look at what has changed."""
    spec = importlib.util.spec_from_file_location("tools_answers", ROOT / "tools" / "answers.py")
    assert spec is not None
    assert spec.loader is not None
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    shown = tool.PAGE.read_text().partition(tool.BEGIN)[2].partition(tool.END)[0]
    assert shown == f"\n{tool.answers()}\n"
