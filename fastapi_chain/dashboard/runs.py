"""The list of runs: filters, chips, rows."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Final, NamedTuple
from urllib.parse import quote, urlencode

from fastapi_chain._state.ledger import STATES
from fastapi_chain.engines.base import Engine, KnownRun, RunFilter
from fastapi_chain.outcome import RunState

from .headline import headline
from .subject import ORDER, Subject
from .words import duration

LIMIT: Final = 30
"""How many runs a page has."""

_COUNTED: Final = 2000
"""Up to how many runs are counted for the chips: they lie in memory."""
_READ: Final = 100
"""The same where each of them is read from a database."""

_STRIP: Final = 60
"""Up to how many tasks have a square each; in longer chains a square stands for several."""

STATE_CHIPS: Final[tuple[RunState, ...]] = ("queued", "running", "failed", "succeeded", "cancelled")

PERIODS: Final = (("", "any time"), ("1h", "last hour"), ("24h", "last 24 hours"), ("7d", "last 7 days"))
_HOURS: Final[Mapping[str, int]] = {"1h": 1, "24h": 24, "7d": 168}


class Query(NamedTuple):
    """What of the list is looked at, as it stands in the address."""

    state: str = ""
    chain: str = ""
    tag: str = ""
    q: str = ""
    since: str = ""
    cursor: str = ""

    @property
    def filtered(self) -> bool:
        """Whether anything is left out."""
        return any((self.state, self.chain, self.tag, self.q, self.since))

    def href(self, base: str, **changed: str) -> str:
        """Return the address of the same list, but for what is *changed*; it begins with the first page."""
        wanted = {**self._asdict(), "cursor": "", **changed}
        asked = urlencode({key: value for key, value in wanted.items() if value})
        return f"{base}/?{asked}" if asked else f"{base}/"

    def wanted(self, now: datetime) -> RunFilter:
        """Return which runs are looked for, whatever their state."""
        name, _, value = (self.tag if ":" in self.tag else self.tag.replace("=", ":", 1)).partition(":")
        hours = _HOURS.get(self.since)
        return RunFilter(
            chain=self.chain or None,
            tags={name.strip(): value.strip()} if name else {},
            text=self.q.strip() or None,
            since=None if hours is None else now - timedelta(hours=hours),
        )


class Chip(NamedTuple):
    """A state to filter by."""

    label: str
    found: str
    """How many runs are in it."""
    href: str
    current: bool


class Row(NamedTuple):
    """A run in the list."""

    id: str
    href: str
    state: str
    chain: str
    strip: list[str]
    """The states of its tasks."""
    tally: str
    """The same in words."""
    created: datetime
    took: str
    started_by: str
    error: str


async def list_values(store: Engine, query: Query, base: str) -> Mapping[str, object]:
    """Return what the template of the list is filled with.

    Raises:
        ValueError: The cursor is none of ours.
    """
    now = now_utc()
    found = await store.search(with_state(query.wanted(now), query.state), LIMIT, query.cursor or None)
    return {
        "query": query,
        "q": query.q,
        "address": query.href(base, cursor=query.cursor),
        "newest": query.href(base),
        "older": None if found.cursor is None else query.href(base, cursor=found.cursor),
        "chips": await chips(store, query, base, now),
        "rows": [row(run, base, now) for run in found.runs],
        "periods": PERIODS,
        # A database is asked less often than the memory of this process.
        "pause": "1s" if store.name == "memory" else "5s",
        "now": now,
    }


def with_state(wanted: RunFilter, state: str) -> RunFilter:
    """Return *wanted*, but only those in *state*; in any, if there is no such state."""
    states: frozenset[RunState] = frozenset(known for known in STATE_CHIPS if known == state)
    return RunFilter(states=states, chain=wanted.chain, tags=wanted.tags, text=wanted.text, since=wanted.since)


async def chips(store: Engine, query: Query, base: str, now: datetime) -> list[Chip]:
    """Return the states with the number of runs in each, other filters heeded."""
    found = await store.search(query.wanted(now), _COUNTED if store.name == "memory" else _READ, None)
    more = "+" if found.cursor is not None else ""
    counts = dict.fromkeys(STATE_CHIPS, 0)
    for run in found.runs:
        counts[run.state] += 1
    made = [Chip("all", f"{len(found.runs)}{more}", query.href(base, state=""), query.state not in counts)]
    for state, count in counts.items():
        if count or state not in {"queued", "cancelled"} or state == query.state:
            made.append(
                Chip(state, f"{count}{more if count else ''}", query.href(base, state=state), state == query.state)
            )
    return made


def row(run: KnownRun, base: str, now: datetime) -> Row:
    """Return the line of one run."""
    subject = Subject(run, now)
    line = headline(subject) if subject.name == "failed" else None
    error = "" if line is None else f"{line.who}: {line.error}" if line.who else line.error or line.cause
    return Row(
        id=run.id,
        href=f"{base}/runs/{quote(run.id, safe='')}",
        state=run.state,
        chain=run.chain,
        strip=strip(subject),
        tally=", ".join(f"{n} {state}" for state, n in subject.counts()),
        created=run.created_at,
        took=duration(subject.seconds) if run.started_at is not None else "",
        started_by=run.started_by or "",
        error=error,
    )


def strip(subject: Subject) -> list[str]:
    """Return the states of its tasks, in order; of a long chain the most telling one of each stretch."""
    states = subject.ledger.states
    if len(states) <= _STRIP:
        return [STATES[state] for state in states]
    each = -(-len(states) // _STRIP)
    return [most_telling(states[i : i + each]) for i in range(0, len(states), each)]


def most_telling(states: bytearray) -> str:
    """Return the state that matters most."""
    return next(state for state in ORDER if STATES.index(state) in states)


def now_utc() -> datetime:
    """Return the time of day."""
    return datetime.now(UTC)
