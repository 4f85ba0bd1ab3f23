"""P15: how long one large run of tasks that never wait keeps the event loop from everything else."""

import asyncio
from collections.abc import AsyncIterator
from time import perf_counter

from benchmarks.contenders import Run, fastapi_chain, hand_written
from benchmarks.goals import Finding
from benchmarks.graphs import graph
from benchmarks.timing import Effort, quiet_gc

MOST: float = 0.5
"""Milliseconds."""


async def measure(effort: Effort) -> AsyncIterator[Finding]:
    """Let a ticker watch the loop during runs of 10,001 tasks."""
    of = graph("layers1000x10")
    ours, by_hand = fastapi_chain.build(of), hand_written.build(of)
    mine, reference = [], []
    with quiet_gc():  # a collection of what others left behind is not our stall
        for _ in range(effort.rounds):
            mine.append(await longest_stall(ours))
            reference.append(await longest_stall(by_hand))
    # The least of all rounds: on a busy machine other processes stall the loop for longer.
    note = f"hand-written {min(reference) * 1e3:.2f} ms"
    yield Finding("P15", f"longest stall, {len(of)} tasks", min(mine) * 1e3, "ms", MOST, note)


async def longest_stall(run: Run) -> float:
    """Return the longest time between two turns of a ticker, in seconds."""
    longest, running = 0.0, True

    async def tick() -> None:
        nonlocal longest
        last = perf_counter()
        while running:
            await asyncio.sleep(0)
            now = perf_counter()
            longest, last = max(longest, now - last), now

    ticker = asyncio.create_task(tick())
    await asyncio.sleep(0)
    await run(1)
    await asyncio.sleep(0)
    running = False
    await ticker
    return longest
