"""Looking for runs in the database."""

import base64
from typing import Final, NamedTuple

import sqlalchemy as sa

from fastapi_chain.engines.base import RunFilter
from fastapi_chain.outcome import RunState

from .database import workflows
from .link import Link
from .looking import Looking
from .stored import WAITING, Row

_STATES: Final[dict[RunState, tuple[str, ...]]] = {
    "queued": WAITING,
    "running": ("PENDING",),
    "succeeded": ("SUCCESS",),
    "failed": ("SUCCESS", "ERROR", "MAX_RECOVERY_ATTEMPTS_EXCEEDED", "CANCELLED"),
    "cancelled": ("SUCCESS", "CANCELLED"),
}
"""The states of DBOS's in which runs of each state of ours may be.

To DBOS, a run that has ended in order has succeeded.
"""

_AT_ONCE: Final = 200
"""How many rows are asked for at once."""


_ID: Final = 32
"""The length of a run's id, which breaks ties on Postgres; on SQLite a row number does."""


class Found(NamedTuple):
    """Some of the runs that were looked for."""

    rows: list[Row]
    cursor: str | None


def search(link: Link, wanted: RunFilter, limit: int, cursor: str | None) -> Found:
    """Return at most *limit* runs, the newest first; blocks.

    Raises:
        ValueError: The cursor is none of ours.
        EngineUnavailable: The database does not answer.
    """
    place = None if cursor is None else _place(cursor)
    conditions = list(_conditions(link, wanted))
    rows: list[Row] = []
    while True:
        before = [] if place is None else [_before(link, *place)]
        batch = Looking(link).rows(*conditions, *before, limit=_AT_ONCE)
        for row in batch:
            # What DBOS calls a success may be any end of ours.
            if not wanted.states or row.state in wanted.states:
                if len(rows) == limit:
                    return Found(rows, _cursor(rows[-1]))
                rows.append(row)
        if len(batch) < _AT_ONCE:
            return Found(rows, None)
        place = round(batch[-1].created * 1000), batch[-1].tie


def _conditions(link: Link, wanted: RunFilter) -> "list[sa.ColumnElement[bool]]":
    conditions: list[sa.ColumnElement[bool]] = []
    if wanted.states:
        known = sorted({status for state in wanted.states for status in _STATES[state]})
        conditions.append(workflows.c.status.in_(known))
    if wanted.chain is not None:
        conditions.append(link.attribute("chain") == wanted.chain)
    conditions += [link.attribute("tags", name) == value for name, value in wanted.tags.items()]
    if wanted.since is not None:
        conditions.append(workflows.c.created_at >= int(wanted.since.timestamp() * 1000))
    if wanted.text is not None:
        fields = [workflows.c.workflow_uuid, *(link.attribute(name) for name in ("chain", "started_by", "tags"))]
        text = wanted.text.lower()
        conditions.append(sa.or_(*[sa.func.lower(field).contains(text, autoescape=True) for field in fields]))
    return conditions


def _before(link: Link, created: int, tie: int | str) -> sa.ColumnElement[bool]:
    """Return the condition for what comes after that place, the newest being first."""
    earlier = workflows.c.created_at < created
    return sa.or_(earlier, sa.and_(workflows.c.created_at == created, link.tie < tie))


def _cursor(row: Row) -> str:
    return base64.urlsafe_b64encode(f"{round(row.created * 1000)} {row.tie}".encode()).decode().rstrip("=")


def _place(cursor: str) -> tuple[int, int | str]:
    text = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode()
    created, _, tie = text.partition(" ")
    return int(created), int(tie) if len(tie) < _ID else tie
