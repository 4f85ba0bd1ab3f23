"""How a chain and its tasks have done lately."""

from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from fastapi_chain._state.ledger import STATES
from fastapi_chain.engines.base import KnownRun, RunFilter, RunStore
from fastapi_chain.outcome import RunState

from .words import duration, percent

RECENT: Final = 50
"""How many finished runs are looked at."""

FINISHED: Final[frozenset[RunState]] = frozenset({"succeeded", "failed", "cancelled"})

_GOOD: Final = 0.98
_FAIR: Final = 0.9


class Stats(NamedTuple):
    """How something has done."""

    strip: tuple[str, ...] = ()
    """Its states, the oldest first."""
    rate: str = "–"
    """How often it succeeded, of the times that it came to an end by itself."""
    mood: str = ""
    """How that is to be seen: `good`, `fair`, `poor`."""
    attempts: str = "–"
    """How many attempts it took on average."""
    p50: str = "–"
    p95: str = "–"
    """The time within which half, and 95 of 100, were done."""


async def recent_runs(store: RunStore, chain: str) -> list[KnownRun]:
    """Return the last finished runs of *chain*, the oldest first."""
    found = await store.search(RunFilter(states=FINISHED, chain=chain), RECENT, None)
    return list(reversed(found.runs))


def of_runs(runs: Iterable[KnownRun]) -> Stats:
    """Return how whole runs have done."""
    states, took = [], []
    for run in runs:
        states.append(run.state)
        if run.state == "succeeded" and run.started_at is not None and run.finished_at is not None:
            took.append((run.finished_at - run.started_at).total_seconds())
    return _stats(states, took, [])


def of_task(runs: Iterable[KnownRun], name: str) -> Stats:
    """Return how the task called *name* has done in *runs*."""
    states, took, tries = [], [], []
    for run in runs:
        inner = run.inner
        inner.settle()
        i = inner.plan.index.get(name)
        if i is None:
            # The chain had another shape then.
            continue
        ledger = inner.ledger
        state = STATES[ledger.states[i]]
        states.append(state)
        if state == "succeeded":
            took.append(max(0.0, ledger.ended[i] - ledger.first(i)))
        if state in {"succeeded", "failed"}:
            tries.append(len(ledger.past.get(i, ())) + (state == "succeeded"))
    return _stats(states, took, tries)


def _stats(states: Sequence[str], took: Sequence[float], tries: Sequence[int]) -> Stats:
    ended = sum(state in {"succeeded", "failed"} for state in states)
    share = states.count("succeeded") / ended if ended else 0.0
    ordered = sorted(took)
    return Stats(
        strip=tuple(states),
        rate=percent(share) if ended else "–",
        mood=("good" if share >= _GOOD else "fair" if share >= _FAIR else "poor") if ended else "",
        attempts=f"{sum(tries) / len(tries):.3g}" if tries else "–",
        p50=duration(quantile(ordered, 0.5)) if ordered else "–",
        p95=duration(quantile(ordered, 0.95)) if ordered else "–",
    )


def quantile(ordered: Sequence[float], part: float) -> float:
    """Return the value below which *part* of *ordered* lies: the nearest one there is."""
    return ordered[min(len(ordered) - 1, int(part * len(ordered)))]
