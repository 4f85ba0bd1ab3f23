"""All contenders: where they live, and the contest among them.

Every peer has a virtual environment of its own under `.cache/benchmarks`, made when it is first needed, so that no two
have to agree on versions. What does not install, does not run in time or cannot express a graph is reported with the
reason.
"""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from threading import Timer
from typing import Final

from benchmarks.contest import Score
from benchmarks.graphs import graph
from benchmarks.timing import Effort

ROOT: Final = Path(__file__).parent.parent
CACHE: Final = ROOT / ".cache" / "benchmarks"
PATIENCE: Final = 30.0
"""Seconds for one graph, everything included."""


@dataclass(frozen=True, slots=True)
class Peer:
    """A contender."""

    name: str
    """Its module in `benchmarks.contenders`."""
    title: str
    """What it is called in tables."""
    requires: tuple[str, ...] = ()
    """What its environment holds; empty: it runs in ours."""
    python: str = ""
    """The interpreter it needs, if ours is too old: `3.12`."""
    most_tasks: int = 2000
    """Graphs beyond are left out."""

    @property
    def home(self) -> Path:
        """Its virtual environment."""
        return CACHE / self.name


FASTAPI: Final = "fastapi==0.165.0"

PEERS: Final = (
    Peer("fastapi_chain", "**fastapi_chain**"),
    Peer("hand_written", "hand-written (reference)"),
    Peer("hand_written_taskgroup", "hand-written, TaskGroup"),
    Peer("hand_written_tasks", "hand-written, one asyncio task each"),
    Peer("starlette_background", "Starlette BackgroundTasks", ("starlette==1.10.0",)),
    Peer("async_dag", "async-dag (Python 3.12)", ("async-dag==0.3.1",), "3.12"),
    Peer("graphlib_by_hand", "graphlib by hand"),
    Peer("async_task_pipeline", "async-task-pipeline (Python 3.12)", ("async-task-pipeline-py==0.2.1",), "3.12"),
    Peer("astrum", "astrum", ("astrum==0.1.2",)),
    Peer("dag_simple", "dag-simple", ("dag-simple==0.3.0",)),
    Peer("hamilton", "Hamilton, async driver", ("apache-hamilton==1.90.0",)),
    Peer("flowrun", "flowrun (Python 3.12)", ("flowrun-dag==1.0.0",), "3.12"),
    Peer("taskiq", "taskiq, in place", ("taskiq==0.13.0",)),
    Peer("taskiq_pipelines", "taskiq-pipelines", ("taskiq==0.13.0", "taskiq-pipelines==0.1.4")),
    # taskiq-flow imports psutil without requiring it.
    Peer("taskiq_flow", "taskiq-flow", ("taskiq==0.13.0", "taskiq-flow==1.2.2", "psutil")),
    Peer("pipefunc", "pipefunc", ("pipefunc==0.93.2",)),
    Peer("dask", "Dask, threaded", ("dask==2026.8.0",)),
    Peer("celery", "Celery, eager", ("celery==5.7.0",)),
    Peer("fastapi_taskflow", "fastapi-taskflow", ("fastapi-taskflow==0.12.1", FASTAPI, "tenacity==9.2.1")),
    Peer("pydantic_graph", "pydantic-graph", ("pydantic-graph==2.68.0",)),
    Peer("langgraph", "LangGraph", ("langgraph==1.2.22",)),
    Peer("dbos", "DBOS by hand, SQLite", ("dbos==3.4.0",), most_tasks=110),
)


class NotInstalled(Exception):
    """A peer's environment cannot be made; the text says why."""


def install(peer: Peer) -> Path:
    """Make the environment of *peer*, unless it is there, and return its interpreter.

    Raises:
        NotInstalled: The interpreter is missing, or the packages do not install.
    """
    if not peer.requires and not peer.python:
        return Path(sys.executable)
    python = peer.home / "bin" / "python"
    done = peer.home / "installed"
    wanted = "\n".join(peer.requires)
    if done.exists() and done.read_text() == wanted:
        return python
    shutil.rmtree(peer.home, ignore_errors=True)
    command([interpreter(peer.python), "-m", "venv", "--without-pip", str(peer.home)])
    command([sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet", *peer.requires])
    done.write_text(wanted)
    return python


def interpreter(version: str) -> str:
    """Return the command of a Python of *version*; ours for an empty one."""
    if not version:
        return sys.executable
    places = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")).glob(f"versions/{version}.*/bin/python")
    for found in (*map(str, places), shutil.which(f"python{version}")):
        if found and subprocess.run([found, "-c", ""], check=False, capture_output=True).returncode == 0:
            return found
    text = f"needs Python {version}"
    raise NotInstalled(text)


def command(words: list[str]) -> None:
    """Run a command.

    Raises:
        NotInstalled: It fails.
    """
    done = subprocess.run(words, check=False, capture_output=True, text=True, cwd=ROOT)
    if done.returncode:
        lines = done.stderr.strip().splitlines() or ["?"]
        text = f"cannot be installed: {lines[-1][:100]}"
        raise NotInstalled(text)


def scores(peer: Peer, graphs: list[str], effort: Effort) -> Iterator[Score]:
    """Yield a score of *peer* for each graph; a child that stands still is replaced."""
    try:
        python = install(peer)
    except NotInstalled as reason:
        yield from (cannot(peer, each, str(reason)) for each in graphs)
        return
    left = []
    for each in graphs:
        if len(graph(each)) > peer.most_tasks:
            yield cannot(peer, each, "left out: too many tasks")
        else:
            left.append(each)
    while left:
        for result in child(python, peer, left, effort):
            left.pop(0)
            yield result
        if left:  # the child has ended before its time
            yield cannot(peer, left.pop(0), f"over {PATIENCE:.0f} s, or crashed")


def child(python: Path, peer: Peer, graphs: list[str], effort: Effort) -> Iterator[Score]:
    """Yield what one child process says, until it ends or takes too long for a graph."""
    numbers = (str(effort.rounds), str(effort.sample), str(effort.budget))
    work = CACHE / "work"
    work.mkdir(parents=True, exist_ok=True)
    with subprocess.Popen(
        [str(python), "-m", "benchmarks.contest", peer.name, *numbers, *graphs],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        cwd=work,
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONHASHSEED": "0"},
    ) as process:
        while line := line_in_time(process):
            yield Score(**json.loads(line))


def goals_beside(name: str, subject: str, results: Path) -> None:
    """Measure a subject of the goals in the environment of the peer *name*, so that both are in one process.

    Raises:
        NotInstalled: The environment cannot be made, or the measurement fails.
    """
    python = install(next(peer for peer in PEERS if peer.name == name))
    command([str(python), "-m", "benchmarks", "--only", subject, "--results", str(results)])


def line_in_time(process: subprocess.Popen[bytes]) -> bytes:
    """Return the next line that *process* prints; empty if it has ended, by itself or because it took too long."""
    assert process.stdout
    watchdog = Timer(PATIENCE, process.kill)
    watchdog.start()
    try:
        return process.stdout.readline()
    finally:
        watchdog.cancel()


def cannot(peer: Peer, name: str, reason: str) -> Score:
    """Return the score of a graph without a result."""
    return Score(contender=peer.name, graph=graph(name).title, cannot=reason)
