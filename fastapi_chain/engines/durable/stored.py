"""What is stored of a run: what it is made from, and how DBOS knows it."""

import json
from dataclasses import dataclass
from typing import Any, Final, NamedTuple, TypedDict

from fastapi_chain.outcome import RunState as StateName

from .names import HELD
from .prior import EndDoc

WAITING: Final = ("ENQUEUED", "DELAYED")
ACTIVE: Final = (*WAITING, "PENDING")
FINISHED: Final = ("SUCCESS", "ERROR", "CANCELLED", "MAX_RECOVERY_ATTEMPTS_EXCEEDED")


class RunDoc(TypedDict):
    """What a run is made from."""

    chain: str
    names: list[str]
    values: dict[str, str]
    deadline: float | None
    tags: dict[str, str]
    started_by: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """A run to be stored."""

    run: str
    """Its id."""
    doc: RunDoc
    """What it is made from."""
    key: str | None = None
    """What makes it the only one of its chain."""
    priority: int | None = None
    """A lower number goes first."""
    delay: float | None = None
    """Seconds until it may begin."""

    @property
    def plain(self) -> bool:
        """Whether it may begin wherever it was taken: nothing has to be asked of the database before."""
        return self.key is None and self.delay is None and self.priority is None

    @property
    def attributes(self) -> dict[str, object]:
        """What one can look for."""
        return {name: self.doc[name] for name in ("chain", "tags", "started_by")}


class Row(NamedTuple):
    """A run as DBOS knows it."""

    run: str
    status: str
    queue: str | None
    doc: RunDoc
    created: float
    end: EndDoc | None
    error: str | None
    completed: float | None
    place: tuple[float, int | str]
    """Where it stands among all: its moment just as the database has it, and what tells which of two of one moment came
    first."""

    @property
    def held(self) -> bool:
        """Whether its request is not over, or was not when its process died."""
        return self.queue is not None and self.queue.startswith(HELD)

    @property
    def state(self) -> StateName:
        """Its state."""
        if self.end is not None:
            return self.end["state"]
        if self.status == "PENDING":
            return "running"
        if self.status in WAITING:
            return "queued"
        return "cancelled" if self.status == "CANCELLED" and not self.held else "failed"

    @property
    def reason(self) -> str | None:
        """Why it ended as it did, where the tasks do not say."""
        if self.end is not None:
            return self.end.get("reason")
        if self.status == "CANCELLED":
            return "unconfirmed" if self.held else "run_cancelled"
        if self.status == "MAX_RECOVERY_ATTEMPTS_EXCEEDED":
            return "recovery_limit"
        return self.error


def row_of(found: Any) -> Row:  # noqa: ANN401 - a row of SQLAlchemy's
    """Return the run of a row of the database."""
    arguments = json.loads(found.inputs)["args"]
    end = None if found.output is None else json.loads(found.output)
    error = None
    if found.error is not None:
        parsed = json.loads(found.error)
        error = ": ".join(parsed["fastapi_chain_error"]) if "fastapi_chain_error" in parsed else str(parsed)
    return Row(
        run=found.workflow_uuid,
        status=found.status,
        queue=found.queue_name,
        doc=arguments[0],
        created=found.created_at / 1000,
        end=end,
        error=error,
        completed=None if found.completed_at is None else found.completed_at / 1000,
        place=(found.created_at, found.tie),
    )
