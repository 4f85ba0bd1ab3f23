"""Timing by turns: every case once per round, in alternating order, in one process.

Two things that are timed one after the other seldom see the same machine: its clock rate, caches and neighbours
change. So a ratio is taken within each round, and the median over the rounds is what counts.
"""

import asyncio
import gc
import statistics
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from time import perf_counter, process_time
from typing import Final, Literal, TypeAlias

Case: TypeAlias = Callable[[int], Awaitable[object]]
"""Does the thing that is timed so many times."""

Clock = Literal["cpu", "wall"]
"""CPU time of the process (steady on a busy machine, blind to waiting), or wall time."""

MOST_RUNS: Final = 200_000


@dataclass(frozen=True, slots=True)
class Sample:
    """What one run took, as the mean over a few, in seconds."""

    wall: float
    """Wall time."""
    cpu: float
    """CPU time of the whole process, threads included."""

    def on(self, clock: Clock) -> float:
        """Return what *clock* showed, in seconds."""
        return self.cpu if clock == "cpu" else self.wall


@dataclass(frozen=True, slots=True)
class Effort:
    """How much work goes into a measurement."""

    rounds: int = 15
    """Rounds at most."""
    sample: float = 0.008
    """Seconds that one sample should take at least."""
    budget: float = 1.5
    """Seconds for all rounds; at least three are made."""


TINY: Final = Effort(rounds=1, sample=0.0, budget=0.0)
"""Just enough to see that the harness works."""


def repeat(run: Callable[[], Awaitable[object]]) -> Case:
    """Return the case that awaits *run* one time after the other."""

    async def case(times: int) -> None:
        for _ in range(times):
            await run()

    return case


def at_once(run: Callable[[], Awaitable[object]], number: int) -> Case:
    """Return the case that has *number* of *run* going at once."""

    async def case(times: int) -> None:
        for _ in range(times):
            await asyncio.gather(*(run() for _ in range(number)))

    return case


async def take(case: Case, times: int) -> Sample:
    """Time *case* once."""
    cpu, wall = process_time(), perf_counter()
    await case(times)
    wall, cpu = perf_counter() - wall, process_time() - cpu
    return Sample(wall / times, cpu / times)


async def fitting(case: Case, seconds: float) -> int:
    """Return how many runs of *case* fill a sample of *seconds*."""
    # The first run compiles and fills caches. If it counted, a sample would often be one run with cold caches.
    await case(1)
    times = 1
    while times < MOST_RUNS:
        took = (await take(case, times)).wall * times
        if took >= seconds / 3:
            return max(1, min(MOST_RUNS, round(times * seconds / max(took, 1e-9))))
        times *= 4
    return MOST_RUNS


async def by_turns(cases: Mapping[str, Case], effort: Effort) -> dict[str, list[Sample]]:
    """Time *cases* by turns; the samples of one round stand at the same place of every list."""
    times = {name: await fitting(case, effort.sample) for name, case in cases.items()}
    samples: dict[str, list[Sample]] = {name: [] for name in cases}
    order = list(cases)
    least = min(3, effort.rounds)
    with quiet_gc():
        end = perf_counter() + effort.budget
        for done in range(effort.rounds):
            if done >= least and perf_counter() > end:
                break
            for name in order:
                samples[name].append(await take(cases[name], times[name]))
            order.reverse()
    return samples


@contextmanager
def quiet_gc() -> Iterator[None]:
    """Keep what exists already out of garbage collections; what the cases make is still collected."""
    gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


def median(samples: Sequence[Sample], clock: Clock) -> float:
    """Return the median in seconds."""
    return statistics.median(sample.on(clock) for sample in samples)


def ratio(samples: Sequence[Sample], reference: Sequence[Sample], clock: Clock) -> float:
    """Return the median over the rounds of *samples* / *reference*."""
    pairs = zip(samples, reference, strict=True)
    return statistics.median(one.on(clock) / max(other.on(clock), 1e-9) for one, other in pairs)


def extra(samples: Sequence[Sample], reference: Sequence[Sample], clock: Clock) -> float:
    """Return the median over the rounds of *samples* - *reference*, in seconds."""
    pairs = zip(samples, reference, strict=True)
    return statistics.median(one.on(clock) - other.on(clock) for one, other in pairs)


def spread(samples: Sequence[Sample], clock: Clock) -> float:
    """Return the median distance from the median, as a part of it."""
    middle = median(samples, clock)
    return statistics.median(abs(sample.on(clock) - middle) for sample in samples) / max(middle, 1e-9)
