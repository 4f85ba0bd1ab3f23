"""P16: what importing the package costs, in fresh processes."""

import os
import statistics
import subprocess
import sys
from collections.abc import AsyncIterator
from typing import Final

from benchmarks.goals import Finding
from benchmarks.peers import ROOT
from benchmarks.timing import Effort

MOST_ALONE: Final = 250.0
MOST_BEYOND_FASTAPI: Final = 30.0
"""Milliseconds."""

ALONE: Final = "from fastapi_chain import task"
FASTAPI: Final = "import fastapi"
BEYOND: Final = "import fastapi_chain; fastapi_chain.chain; fastapi_chain.install"


async def measure(effort: Effort) -> AsyncIterator[Finding]:
    """Import without FastAPI, and everything in a process that has FastAPI already."""
    rounds = min(7, effort.rounds)
    in_process(f"{FASTAPI}; {BEYOND}")  # leaves the bytecode
    alone = [seconds("", ALONE) for _ in range(rounds)]
    loaded = in_process(f"import sys; {ALONE}; print('fastapi' in sys.modules)")
    note = "FastAPI is loaded with it!" if loaded == "True" else "without FastAPI"
    yield Finding(
        "P16", ALONE, min(alone) * 1e3, "ms", MOST_ALONE, f"median {statistics.median(alone) * 1e3:.0f}, {note}"
    )
    beyond = [seconds(FASTAPI, BEYOND) for _ in range(rounds)]
    note = f"median {statistics.median(beyond) * 1e3:.0f}"
    yield Finding("P16", "chain and install, beyond FastAPI", min(beyond) * 1e3, "ms", MOST_BEYOND_FASTAPI, note)


def seconds(before: str, what: str) -> float:
    """Return how long *what* takes in a new process that has executed *before*."""
    code = f"{before}\nfrom time import perf_counter\nt = perf_counter()\n{what}\nprint(perf_counter() - t)"
    return float(in_process(code))


def in_process(code: str) -> str:
    """Return what *code* prints; bytecode is kept between processes, as where the package is installed."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    environment["PYTHONPYCACHEPREFIX"] = str(ROOT / ".cache" / "bytecode")
    return subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True, cwd=ROOT, env=environment
    ).stdout.strip()
