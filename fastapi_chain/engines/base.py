"""What an engine offers: to take a run, and to start it."""

import asyncio
from collections.abc import Mapping
from contextvars import Context
from dataclasses import dataclass, field
from typing import Protocol

from fastapi_chain.plan import Plan
from fastapi_chain.run import Run


@dataclass(slots=True, kw_only=True)
class RunRequest:
    """What a run is made from."""

    plan: Plan
    """The chain, planned."""
    values: Mapping[str, object]
    """Its inputs by name, checked to be complete."""
    deadline: float | None = None
    """Seconds for the whole run, from its start."""
    key: str | None = None
    """What makes it the only one of its chain."""
    tags: Mapping[str, str] = field(default_factory=dict)
    """Its tags, filled in."""
    app: object = None
    """The app whose `dependency_overrides` hold and which dependencies see."""
    request_scope: Mapping[str, object] | None = None
    """A snapshot of the request, for dependencies that are bound to it."""
    context: Context | None = None
    """The context variables that its tasks see; None: those of whoever starts it."""
    window: Run | None = None
    """The `Run` that the endpoint holds already; None: a new one is made."""


class Engine(Protocol):
    """Where runs run."""

    name: str
    """How errors call it: `memory`, `sqlite`, …"""

    def take(self, request: RunRequest) -> Run:
        """Make a run, queued; nothing starts yet. Where its key has a run already, return that one.

        A run that is taken is either started or dropped, once for each time it was taken.
        """

    def start(self, run: Run) -> "asyncio.Task[None]":
        """Start *run* at once, as a task of the running loop; one that has started already is left alone."""

    def drop(self, run: Run) -> None:
        """Forget *run*, unless somebody else has taken it as well."""

    async def perform(self, run: Run) -> None:
        """Run *run* here, and return when it has finished."""

    def pending(self, chain: str) -> int:
        """Return how many runs of *chain* are queued or running."""
