"""Many followers, and many runs through a short history."""

import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[3]


def test_a_small_load():
    """100 followers hear of everything, and 800 runs through a history of 100 leave the memory flat, without error."""
    command = [sys.executable, "-m", "benchmarks.load", "--followers", "100", "--runs", "800"]
    done = subprocess.run(
        command, cwd=ROOT, env={**os.environ, "LOAD_HISTORY": "100"}, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    memory = [float(text) for text in re.findall(r"memory after +\d+ runs: ([\d.]+) MB", done.stdout)]
    assert len(memory) == 11
    assert "100 runs end, each with a follower" in done.stdout
    # The history is full after 100 runs; then nothing more is kept.
    assert memory[-1] - memory[3] < 2.0, done.stdout
    assert "since the history was full: " in done.stdout
