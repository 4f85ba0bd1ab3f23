"""compatible() against mypy, over every pair of the annotations in its table."""

import re
import runpy
import subprocess
import sys
from pathlib import Path
from typing import Any

from fastapi_chain.plan.compatible import compatible

TABLE = runpy.run_path(str(Path(__file__).parents[1] / "unit" / "compatible_table.py"))
FREE = {"T", "Union[str, T]", "Union[int, T]"}  # a type variable means nothing outside a generic function


def rejected_by_mypy(annotations: list[str], folder: Path) -> set[tuple[str, str]]:
    """Return the pairs (produced, wanted) that mypy does not accept: each has a function that takes it."""
    lines = TABLE["PRELUDE"].splitlines()
    lines += [f"def want_{n}(x: {wanted}) -> None: ..." for n, wanted in enumerate(annotations)]
    pairs = {}
    for n, produced in enumerate(annotations):
        lines.append(f"def give_{n}(x: {produced}) -> None:")
        for m, wanted in enumerate(annotations):
            lines.append(f"    want_{m}(x)")
            pairs[len(lines)] = (produced, wanted)
    (folder / "cross.py").write_text("\n".join(lines) + "\n")
    flags = ["--config-file=", "--no-error-summary", f"--cache-dir={folder}", "--python-version=3.11"]
    done = subprocess.run(
        [sys.executable, "-m", "mypy", *flags, "cross.py"], cwd=folder, capture_output=True, text=True, check=False
    )
    assert not done.stderr
    found = {int(line) for line in re.findall(r"^cross\.py:(\d+): error: .*\[arg-type\]$", done.stdout, re.MULTILINE)}
    return {pairs[line] for line in found}


def test_no_false_alarm_over_the_cross_product(tmp_path):
    """A certain no is rejected by mypy too; a yes is accepted by mypy, but for what the table calls lenient."""
    names: dict[str, Any] = {"__name__": __name__}
    exec(TABLE["PRELUDE"], names)
    rows = [text for row in TABLE["PAIRS"] for text in row[:2]]
    annotations = [text for text in dict.fromkeys(rows) if text not in FREE]
    rejected = rejected_by_mypy(annotations, tmp_path)
    values = {text: eval(text, names) for text in annotations}
    answers = {(a, b): compatible(values[a], values[b]) for a in annotations for b in annotations}
    false_alarms = [pair for pair, answer in answers.items() if answer is False and pair not in rejected]
    missed = [
        pair for pair, answer in answers.items() if answer and pair in rejected and pair[1] not in TABLE["LENIENT"]
    ]
    assert (false_alarms, missed) == ([], [])
    # Otherwise "unknown" for everything would pass.
    undecided = sum(answer is None for answer in answers.values())
    assert undecided < len(answers) / 5, undecided
