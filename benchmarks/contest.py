"""One contender against the hand-written reference, graph by graph.

Run as a program, in the contender's own environment, it prints one JSON object for each graph (see `peers.py`):

    python -m benchmarks.contest langgraph chain100 diamond
"""

import asyncio
import importlib
import json
import os
import sys
import warnings
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from typing import Any, TextIO

from benchmarks import timing
from benchmarks.contenders import THREADS, CannotExpress, Run, hand_written
from benchmarks.graphs import Graph, graph
from benchmarks.timing import Clock, Effort


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """What a contender took for a graph, or why it did not run it."""

    contender: str
    graph: str
    tasks: int = 0
    clock: Clock = "wall"
    """CPU time where tasks are coroutines that do nothing, wall time where they sleep or run in threads."""
    run: float = 0.0
    """Seconds for one run, the median."""
    ratio: float | None = None
    """Against the reference in the same rounds, the median."""
    spread: float = 0.0
    """How far runs lie apart, as a part of the median."""
    critical_path: float = 0.0
    """Seconds that the slowest path of the graph sleeps."""
    cannot: str | None = None
    """Why it has no result."""

    @property
    def per_task(self) -> float:
        """Seconds for one task."""
        return self.run / self.tasks


async def compare(contender: Any, of: Graph, effort: Effort) -> Score:
    """Time a contender's module against the reference.

    Raises:
        CannotExpress: The contender has no words for the graph.
        AssertionError: It computes a wrong value.
    """
    run, reference = contender.build(of), hand_written.build(of)
    await check(run, of)
    await check(reference, of)
    cases = {"contender": timing.repeat(lambda: run(1)), "reference": timing.repeat(lambda: reference(1))}
    return score(contender, of, await timing.by_turns(cases, effort))


async def compare_at_once(contender: Any, of: Graph, number: int, effort: Effort) -> Score:
    """Time *number* runs at once; `Score.run` is for all of them."""
    run, reference = contender.build(of), hand_written.build(of)
    await check(run, of)
    cases = {
        "contender": timing.at_once(lambda: run(1), number),
        "reference": timing.at_once(lambda: reference(1), number),
    }
    return score(contender, of, await timing.by_turns(cases, effort))


async def check(run: Run, of: Graph) -> None:
    """Compare the value with what it must be; this run also warms up."""
    for x in (1, 5):
        value = await run(x)
        if value != of.expected(x):
            text = f"wrong value: {value!r} instead of {of.expected(x)}"
            raise AssertionError(text)


def score(contender: Any, of: Graph, samples: dict[str, list[timing.Sample]]) -> Score:
    """Put the samples of *contender* and reference into numbers."""
    clock: Clock = "wall" if of.sleeps or of.kind == "def" else "cpu"
    mine, reference = samples["contender"], samples["reference"]
    return Score(
        contender=name_of(contender),
        graph=of.title,
        tasks=len(of),
        clock=clock,
        run=timing.median(mine, clock),
        ratio=timing.ratio(mine, reference, clock),
        spread=timing.spread(mine, clock),
        critical_path=of.critical_path,
    )


def name_of(contender: Any) -> str:
    """Return the name of a contender's module."""
    return contender.__name__.rpartition(".")[2]


async def contest(name: str, graphs: list[str], effort: Effort, out: TextIO) -> None:
    """Write a score for each of *graphs*."""
    # Several contenders use the loop's default pool, which has only 6 threads on 2 cores.
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(THREADS))
    contender = importlib.import_module(f"benchmarks.contenders.{name}")
    for each in graphs:
        of = graph(each)
        try:
            result = await compare(contender, of, effort)
        except CannotExpress as reason:
            result = Score(contender=name, graph=of.title, cannot=str(reason))
        except Exception as error:  # noqa: BLE001 - whatever a peer raises is its result
            result = Score(contender=name, graph=of.title, cannot=in_words(error))
        print(json.dumps(asdict(result)), file=out, flush=True)
    if hasattr(contender, "close"):
        await contender.close()


def in_words(error: BaseException) -> str:
    """Return the first line of *error*, shortened."""
    text = str(error).strip().splitlines()
    return f"{type(error).__name__}{': ' + text[0][:100] if text else ''}"


def main() -> None:
    """Run as `python -m benchmarks.contest CONTENDER ROUNDS SAMPLE BUDGET GRAPH...`."""
    # Whatever a peer prints must not mix with the results.
    with os.fdopen(os.dup(sys.stdout.fileno()), "w") as out:
        os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
        warnings.simplefilter("ignore")
        name, rounds, sample, budget, *graphs = sys.argv[1:]
        asyncio.run(contest(name, graphs, Effort(int(rounds), float(sample), float(budget)), out))
        out.flush()
        os._exit(0)  # some peers leave threads behind that never end


if __name__ == "__main__":
    main()
