"""P1 to P8: runs of graphs, against the hand-written reference."""

import asyncio
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from benchmarks import timing
from benchmarks.contenders import THREADS, fastapi_chain, hand_written
from benchmarks.contest import Score, compare, compare_at_once
from benchmarks.goals import Finding
from benchmarks.graphs import graph
from benchmarks.timing import Effort

RATIOS: Final = (
    ("P1", "chain100", 5.0),
    ("P2", "diamond", 0.35),
    ("P3", "wide100", 0.2),
    ("P3", "layers10x10", 0.2),
    ("P3", "layers100x10", 0.2),
    ("P3", "layers1000x10", 0.2),
    ("P4", "chain10_1ms", 1.02),
    ("P4", "diamond_1ms", 1.02),
    ("P4", "wide100_1ms", 1.02),
    ("P4", "layers10x10_1ms", 1.02),
    ("P5", "lanes5_20_2ms", 1.02),
    ("P5", "random10x10", 1.02),
    ("P6", "chain10/def", 0.2),
    ("P6", "chain100/def", 0.05),
    ("P7", "layers10x10/def", 0.2),
    ("P7", "layers100x10/def", 0.2),
    ("", "wide100_1ms/def", None),
)
"""Goal, graph and the ratio to stay within; None: it is told, not judged."""

BLOCKING: Final = ("P7", "wide100_1ms/def", 0.8)
MANY_THREADS: Final = 40
"""With as many threads the goal was found. Of the 16 that are the default, a hundred tasks need seven turns: what all
of them sleep is 0.85 of what the reference takes."""

AT_ONCE: Final = (("P8", "diamond", 0.6), ("P8", "diamond_1ms", 1.05))
RUNS_AT_ONCE: Final = 1000

MOST_PER_TASK: Final = 0.8
MOST_PER_RUN: Final = 10.0
"""P1 in µs: for one more task of a chain, and for a run whatever its size."""

MOST_CRITICAL_PATHS: Final = 1.08
"""P5: how long a run may take, in units of its slowest path."""


async def measure(effort: Effort) -> AsyncIterator[Finding]:
    """Measure every graph of the goals."""
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(THREADS))
    for goal, name, limit in RATIOS:
        score = await compare(fastapi_chain, graph(name), effort)
        yield in_words(goal, score, limit)
        if goal == "P5":
            paths = score.run / score.critical_path
            yield Finding(goal, f"{score.graph}, in critical paths", paths, "×", MOST_CRITICAL_PATHS)
        if goal == "P1":
            for finding in await fixed_and_per_task(effort):
                yield finding
    goal, name, most = BLOCKING
    with fastapi_chain.threads(MANY_THREADS), hand_written.threads(MANY_THREADS):
        score = await compare(fastapi_chain, graph(name), effort)
    yield in_words(goal, score, most, f", {MANY_THREADS} threads each")
    for goal, name, limit in AT_ONCE:
        score = await compare_at_once(fastapi_chain, graph(name), RUNS_AT_ONCE, effort)
        note = f"{score.run / RUNS_AT_ONCE * 1e6:.1f} µs a run"
        yield Finding(goal, f"{RUNS_AT_ONCE} runs at once of {name}", score.ratio or 0.0, "×", limit, note)


def in_words(goal: str, score: Score, limit: float | None, more: str = "") -> Finding:
    """Return the ratio of *score* as a finding."""
    took = f"{score.run * 1e3:.2f} ms a run" if score.critical_path else f"{score.per_task * 1e6:.2f} µs a task"
    return Finding(goal, score.graph + more, score.ratio or 0.0, "×", limit, f"{took} (±{score.spread:.0%})")


async def fixed_and_per_task(effort: Effort) -> list[Finding]:
    """Tell what a run costs whatever its size, and what one more task costs, from chains of 1 and of 100."""
    one, hundred = fastapi_chain.build(graph("chain1")), fastapi_chain.build(graph("chain100"))
    samples = await timing.by_turns(
        {"1": timing.repeat(lambda: one(1)), "100": timing.repeat(lambda: hundred(1))}, effort
    )
    per_task = timing.extra(samples["100"], samples["1"], "cpu") / 99
    fixed = timing.median(samples["1"], "cpu") - per_task
    return [
        Finding("P1", "one more task of a chain", per_task * 1e6, "µs", MOST_PER_TASK),
        Finding("P1", "a run whatever its size", fixed * 1e6, "µs", MOST_PER_RUN),
    ]
