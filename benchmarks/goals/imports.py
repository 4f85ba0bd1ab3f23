"""P16: what importing the package costs, in fresh processes."""

import os
import statistics
import subprocess
import sys
from collections.abc import AsyncIterator, Sequence
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
REST: Final = "import fastapi_chain.web.watching, tenacity"
"""What the first `runtime.router()` and the first task with retries load."""

CASES: Final[tuple[tuple[str, str], ...]] = (("", ALONE), (FASTAPI, BEYOND), (f"{FASTAPI}; {BEYOND}", REST))
"""What a process has executed before, and what is timed in it."""


async def measure(effort: Effort) -> AsyncIterator[Finding]:
    """Import without FastAPI, and everything in a process that has FastAPI already."""
    for before, what in CASES:
        times(before, what)  # leaves the bytecode
    rounds = [[times(*case) for case in CASES] for _ in range(min(7, effort.rounds))]
    alone, beyond, rest = zip(*rounds, strict=True)
    loaded = in_process(f"import sys; {ALONE}; print('fastapi' in sys.modules)")
    where = "FastAPI is loaded with it!" if loaded == "True" else "without FastAPI"
    yield finding(ALONE, alone, MOST_ALONE, where)
    yield finding("chain and install, beyond FastAPI", beyond, MOST_BEYOND_FASTAPI)
    yield finding("the first router and the first retries, beyond that", rest)


def finding(what: str, taken: Sequence[tuple[float, float]], limit: float | None = None, *notes: str) -> Finding:
    """Return the least CPU time, for nothing of this waits: its files are in memory. The wall is told beside it."""
    wall = [one for one, _ in taken]
    cpu = min(one for _, one in taken)
    note = ", ".join((f"by the wall {min(wall) * 1e3:.0f}, median {statistics.median(wall) * 1e3:.0f}", *notes))
    return Finding("P16" if limit else "", what, cpu * 1e3, "ms", limit, note)


def times(before: str, what: str) -> tuple[float, float]:
    """Return the seconds, by the wall and of the CPU, that *what* takes in a new process that has executed *before*."""
    code = f"""{before}
from time import perf_counter, process_time
wall, cpu = perf_counter(), process_time()
{what}
print(perf_counter() - wall, process_time() - cpu)"""
    wall, cpu = in_process(code).split()
    return float(wall), float(cpu)


def in_process(code: str) -> str:
    """Return what *code* prints; bytecode is kept between processes, as where the package is installed."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    environment["PYTHONPYCACHEPREFIX"] = str(ROOT / ".cache" / "bytecode")
    return subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True, cwd=ROOT, env=environment
    ).stdout.strip()
