"""What an engine offers: to take a run and to start it, to find it again, and to keep first answers."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextvars import Context
from dataclasses import field
from datetime import datetime
from typing import Protocol

from fastapi_chain._record import record
from fastapi_chain._state import RunState as State
from fastapi_chain.errors import ChainError
from fastapi_chain.outcome import RunState
from fastapi_chain.plan import Plan
from fastapi_chain.run import Run, RunBackend


class RunRequest:
    """What a run is made from; what most runs do without is the class's until it is set."""

    key: str | None = None
    """What makes it the only one of its chain."""
    request_scope: Mapping[str, object] | None = None
    """A snapshot of the request, for dependencies that are bound to it."""
    context: Context | None = None
    """The context variables that its tasks see; None: those of whoever starts it."""
    delay: float | None = None
    """Seconds until it may begin; durable engines only."""
    priority: int | None = None
    """Runs with a lower number begin first; durable engines only."""
    started_by: str | None = None
    """The route whose request it is for, as `POST /orders`; None: the app's own code."""

    def __init__(self, plan: Plan, values: Mapping[str, object]) -> None:
        """Ask for a run of *plan* with the inputs *values*, checked to be complete."""
        self.plan = plan
        self.values = values
        # Asked of every run: quicker here than on the class.
        self.deadline: float | None = None
        """Seconds for the whole run, from its start."""
        self.tags: Mapping[str, str] | None = None
        """Its tags, filled in."""
        self.app: object = None
        """The app whose `dependency_overrides` hold and which dependencies see."""
        self.counted = False
        """Whether it counts as pending: only where there is a limit or a key is the engine to keep account of it."""
        self.window: Run | None = None
        """The `Run` that the endpoint holds already; None: a new one is made."""


# ----------------------------------------------------------------------------------------------------------------------
# To find runs again
# ----------------------------------------------------------------------------------------------------------------------


class KnownRun(RunBackend, Protocol):
    """A run as it is shown over HTTP: what every run has, and where it comes from."""

    @property
    def inner(self) -> State:
        """What is known of it: of ten thousand items, say, without making a record of each."""

    @property
    def seq(self) -> int:
        """The number of its last event so far; 0 before the first."""

    @property
    def started_by(self) -> str | None:
        """The route whose request it is for; None: the app's own code."""

    @property
    def trace_id(self) -> str | None:
        """The OpenTelemetry trace of that request, in hexadecimal."""


@record(slots=True)
class RunFilter:
    """Which runs are looked for; what is not given does not matter."""

    states: frozenset[RunState] = frozenset()
    """Any of these states; empty: all."""
    chain: str | None = None
    """The name of the chain."""
    tags: Mapping[str, str] = field(default_factory=dict)
    """All of these tags."""
    text: str | None = None
    """Part of the id, the chain's name, a tag's value or the route; letter case does not matter."""
    since: datetime | None = None
    """Made at this moment or later."""

    def admits(self, run: KnownRun) -> bool:
        """Whether *run* is looked for; a store that asks a database need not call this."""
        if self.states and run.state not in self.states:
            return False
        if self.chain is not None and run.chain != self.chain:
            return False
        if self.since is not None and run.created_at < self.since:
            return False
        tags = run.tags
        if any(tags.get(name) != value for name, value in self.tags.items()):
            return False
        if self.text is None:
            return True
        text = self.text.casefold()
        words = (run.id, run.chain, run.started_by or "", *tags.values())
        return any(text in word.casefold() for word in words)


@record(slots=True)
class Page:
    """Some of the runs that were looked for, the newest first."""

    runs: Sequence[KnownRun]
    """The runs."""
    cursor: str | None = None
    """Where the next page begins; None: there is none."""


class RunStore(Protocol):
    """Where runs are found again; whatever else is done with them, they do themselves."""

    async def find(self, run: str) -> KnownRun | None:
        """Return the run with that id; None if it is not known (any more).

        Raises:
            EngineUnavailable: The database does not answer.
        """

    async def search(self, wanted: RunFilter, limit: int, cursor: str | None) -> Page:
        """Return at most *limit* runs, the newest first.

        Args:
            wanted: Which runs.
            limit: How many at most.
            cursor: What the page before has said; None: the first page.

        Raises:
            ValueError: The cursor is none of ours.
            EngineUnavailable: The database does not answer.
        """


# ----------------------------------------------------------------------------------------------------------------------
# To keep first answers
# ----------------------------------------------------------------------------------------------------------------------


@record(slots=True)
class Answer:
    """A response, kept for whoever sends the same request again."""

    status: int
    """Its status."""
    headers: tuple[tuple[str, str], ...]
    """The headers that are worth repeating."""
    body: bytes | None
    """Its body; None: it was too large to be kept."""


@record(slots=True)
class Kept:
    """What is known of a key that was there already."""

    payload: str
    """The digest of the request that came first."""
    answer: Answer | None
    """Its answer; None: it is still on its way."""


class KeyStore(Protocol):
    """The idempotency keys of requests, each within its chain."""

    async def claim(self, chain: str, key: str, payload: str) -> Kept | None:
        """Claim *key* for a request with the digest *payload*, in one atomic step; return what was there before.

        None: it belongs to this request, which must either `keep` or `free` it.
        """

    async def keep(self, chain: str, key: str, answer: Answer) -> None:
        """The request has its answer."""

    async def free(self, chain: str, key: str) -> None:
        """The request has failed: another one may try."""


# ----------------------------------------------------------------------------------------------------------------------
# To run them
# ----------------------------------------------------------------------------------------------------------------------


class Engine(RunStore, Protocol):
    """Where runs run."""

    @property
    def name(self) -> str:
        """How errors call it: `memory` or `sqlite`, say."""

    max_pending: int | None
    """How many runs of all chains together may be queued or running; None: any number."""

    @property
    def keys(self) -> KeyStore:
        """The idempotency keys of requests."""

    @property
    def hold_soon(self) -> Callable[..., Awaitable[None]] | None:
        """Store a run before the response of its request is sent: `hold_soon(run, sure=…)`; None: nothing is stored.

        `sure` says whether nothing can roll the request back any more.
        """

    @property
    def enlist(self) -> Callable[[Run, object], Awaitable[None]] | None:
        """Store a run in the caller's own transaction: `enlist(run, session)`; None where nothing is stored."""

    async def open(self) -> None:
        """Begin, on the running loop.

        Raises:
            EngineUnavailable: Its database does not answer.
        """

    async def drain(self, seconds: float) -> None:
        """End: let runs come to their end, for at most *seconds*."""

    def check(self, plan: Plan) -> Iterable[ChainError]:
        """Return what speaks against running *plan* here."""

    def take(self, request: RunRequest) -> Run:
        """Make a run, queued; nothing starts yet. Where its key has a run already, return that one.

        A run that is taken is either started or dropped, once for each time it was taken.
        """

    def start(self, run: Run, request: RunRequest | None = None) -> "asyncio.Task[None]":
        """Start *run* at once, as a task of the running loop; one that has started already is left alone.

        Args:
            run: What `take` has returned.
            request: What it was asked for here. Where several have taken one run, it is made from the one that starts
                it: the others may come to nothing, and what they have stored with them.
        """

    def drop(self, run: Run) -> None:
        """Forget *run*, unless somebody else has taken it as well."""

    def begin(
        self, run: Run, request: RunRequest | None = None, context: Context | None = None
    ) -> Awaitable[None] | None:
        """Run *run* here, as far as it goes without waiting; return what is left, to be awaited at once.

        Args:
            run: As for `start`.
            request: As for `start`.
            context: The context variables that it begins with, which nobody else changes; None: those of here. What
                its tasks set is seen by nobody else.
        """

    def hurry(self) -> None:
        """Wait no longer than necessary in `drain`: the server was told to stop a second time."""

    def pending(self, chain: str | None) -> int:
        """Return how many runs of *chain*, or of all chains, are queued or running."""
