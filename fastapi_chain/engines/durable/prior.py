"""How a run has ended, and what one must know that is carried on."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NotRequired, TypedDict

from fastapi_chain.events import TaskLogged
from fastapi_chain.outcome import RunState as StateName

from .documents import OutcomeDoc
from .snapshot import Base


class EndDoc(TypedDict):
    """How a run ended."""

    state: StateName
    started: float
    finished: float
    tasks: list[OutcomeDoc]
    fans: dict[str, int]
    names: list[str]
    round: int
    reason: NotRequired[str]
    error: NotRequired[str]


@dataclass(slots=True, kw_only=True)
class Prior:
    """What a run that is carried on must know."""

    round: int = 0
    """How often it has been retried."""
    base: Base | None = None
    """What stood at the beginning of this round; None in the first."""
    cancel: str | None = None
    """Why it is to end early."""
    started: float | None = None
    """When it began, in seconds since 1970."""
    since: int = 0
    """The number of the last event before this round."""
    seq: int = 0
    """The number of the last event that the database knows."""
    told: frozenset[tuple[str, str]] = field(default_factory=frozenset)
    """The kinds of these events, each with its task."""
    logged: Sequence[TaskLogged] = ()
    """What its tasks have logged."""
    kept: frozenset[int] = frozenset()
    """The numbers under which something is kept."""
    recorded: Mapping[int, OutcomeDoc] = field(default_factory=dict)
    """The outcomes that are kept."""
