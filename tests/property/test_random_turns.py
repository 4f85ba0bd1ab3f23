"""Random runs at one gate: they take turns, and neither limit nor rate is exceeded."""

import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastapi_chain import Registry, TaskContext, chain
from tests.engines.kit import MemoryKit


@pytest.mark.parametrize("fast", [True, False], ids=["fast", "plain"])
@settings(max_examples=60, deadline=None)
@given(
    sizes=st.lists(st.integers(0, 12), min_size=1, max_size=5),
    limit=st.none() | st.integers(1, 4),
    rate=st.none() | st.integers(1, 4),
    slow=st.floats(0.1, 2.0),
)
def test_runs_take_turns(sizes: list[int], limit: int | None, rate: int | None, slow: float, *, fast: bool) -> None:
    """A run that waits is let in before any other one is let in twice; a bucket holds one second's worth of starts."""
    starts: list[tuple[float, str]] = []
    inside = most = 0
    registry = Registry("turns")

    @registry.task
    async def rows(size: int) -> list[int]:
        return [0] * size

    @registry.task(each=rows, limit=limit, rate=None if rate is None else f"{rate}/s")
    async def send(row: int, ctx: TaskContext) -> None:
        nonlocal inside, most
        starts.append((asyncio.get_running_loop().time() - 1000, ctx.run_id))
        inside += 1
        most = max(most, inside)
        await asyncio.sleep(slow)
        inside -= 1

    sends = chain(registry, name="sends")

    async def main() -> list[str]:
        runs = [await sends.start(size=size) for size in sizes]
        for run in runs:
            await run.wait()
        assert {run.state for run in runs} == {"succeeded"}
        return [run.id for run in runs]

    ids = MemoryKit(fast=fast).play(main)
    assert [sum(run == one for _, run in starts) for one in ids] == sizes
    if limit is not None:
        assert most <= limit
    if rate is not None:
        times = [time for time, _ in starts]
        # A second's worth at once, then one by one.
        assert all(times[n] >= (n - rate + 1) / rate - 1e-6 for n in range(len(times)))
    # At the very first moment the first comes first: the others are not there yet.
    later = [run for time, run in starts if time > 0]
    for n, run in enumerate(later):
        again = next((m for m in range(n + 1, len(later)) if later[m] == run), None)
        waiting = set(later[again:]) - {run} if again is not None else set()
        assert waiting <= set(later[n + 1 : again])
