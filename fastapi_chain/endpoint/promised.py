"""The run that an endpoint is given before it exists: `run: Run`."""

import secrets
from collections.abc import AsyncIterator, Mapping
from dataclasses import field
from datetime import UTC, datetime
from typing import Final, NoReturn

from fastapi_chain._record import record
from fastapi_chain.errors import RunNotFinished
from fastapi_chain.events import Event
from fastapi_chain.outcome import RunState, TaskRecord


@record(eq=False, frozen=False, slots=True)
class PromisedRun:
    """What stands behind a `Run` until its endpoint has returned: a name, and the way to refuse it."""

    chain: str
    """The chain's name."""
    url: str | None = None
    """The path of the status page that it will have."""
    id: str = field(default_factory=lambda: secrets.token_hex(16))
    """The id that it will have."""
    created_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    """When the request came in (UTC)."""
    discarded: bool = False
    """Whether the endpoint wants no run."""

    state: Final[RunState] = "queued"
    reason: Final[None] = None
    started_at: Final[None] = None
    finished_at: Final[None] = None

    @property
    def tags(self) -> Mapping[str, str]:
        """None yet."""
        return {}

    @property
    def tasks(self) -> Mapping[str, TaskRecord]:
        """None yet."""
        return {}

    @property
    def outputs(self) -> Mapping[str, object]:
        """None yet."""
        return {}

    @property
    def errors(self) -> Mapping[str, BaseException]:
        """None yet."""
        return {}

    def discard(self) -> None:
        """Start nothing for this request."""
        self.discarded = True

    def _not_yet(self) -> NoReturn:
        raise RunNotFinished(run=self.id, state=self.state)

    def value(self, name: str) -> object:  # noqa: ARG002 - as the protocol has it, like all below
        """There is no value yet."""
        self._not_yet()

    def raise_for_error(self) -> None:
        """There is no end yet."""
        self._not_yet()

    async def wait(self, timeout: float | None) -> None:  # noqa: ARG002
        """Waiting here would wait for oneself: the run begins after the request."""
        self._not_yet()

    def events(self, after: int) -> AsyncIterator[Event]:  # noqa: ARG002
        """There are no events yet."""
        self._not_yet()

    async def cancel(self) -> None:
        """Refuse it, like `discard`."""
        self.discard()

    async def retry(self, from_: str) -> None:  # noqa: ARG002
        """There is nothing to repeat yet."""
        self._not_yet()
