"""What an engine offers: to take a run, and to start it."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextvars import Context
from types import MappingProxyType
from typing import Protocol

from fastapi_chain.plan import Plan
from fastapi_chain.run import Run


class RunRequest:
    """What a run is made from; what most runs do without is the class's until it is set."""

    deadline: float | None = None
    """Seconds for the whole run, from its start."""
    key: str | None = None
    """What makes it the only one of its chain."""
    tags: Mapping[str, str] = MappingProxyType({})
    """Its tags, filled in."""
    app: object = None
    """The app whose `dependency_overrides` hold and which dependencies see."""
    request_scope: Mapping[str, object] | None = None
    """A snapshot of the request, for dependencies that are bound to it."""
    context: Context | None = None
    """The context variables that its tasks see; None: those of whoever starts it."""
    counted: bool = False
    """Whether it counts as pending: only where there is a limit or a key is the engine to keep account of it."""
    delay: float | None = None
    """Seconds until it may begin; durable engines only."""
    priority: int | None = None
    """Runs with a lower number begin first; durable engines only."""
    window: Run | None = None
    """The `Run` that the endpoint holds already; None: a new one is made."""

    def __init__(self, plan: Plan, values: Mapping[str, object]) -> None:
        """Ask for a run of *plan* with the inputs *values*, checked to be complete."""
        self.plan = plan
        self.values = values


class Engine(Protocol):
    """Where runs run."""

    name: str
    """How errors call it: `memory`, `sqlite`, …"""
    hold_soon: "Callable[..., Awaitable[None]] | None"
    """`hold_soon(run, sure=…)` stores a run before the response to its request is sent; None where runs end with their process.

    `sure` says whether nothing can roll the request back any more.
    """

    def take(self, request: RunRequest) -> Run:
        """Make a run, queued; nothing starts yet. Where its key has a run already, return that one.

        A run that is taken is either started or dropped, once for each time it was taken.
        """

    def start(self, run: Run, request: RunRequest | None = None) -> "asyncio.Task[None]":
        """Start *run* at once, as a task of the running loop; one that has started already is left alone.

        Args:
            run: What `take` has returned.
            request: What it was asked for here. Where several have taken one run, it is made from the one that starts it: the others
                may come to nothing, and what they have stored with them.
        """

    def drop(self, run: Run) -> None:
        """Forget *run*, unless somebody else has taken it as well."""

    def perform(self, run: Run, request: RunRequest | None = None) -> Awaitable[None]:
        """Run *run* here, and return when it has finished; arguments as for `start`."""

    def pending(self, chain: str) -> int:
        """Return how many runs of *chain* are queued or running."""
