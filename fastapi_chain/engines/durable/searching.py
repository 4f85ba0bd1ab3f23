"""Looking for runs in the database."""

import base64
from typing import Final, NamedTuple

import sqlalchemy as sa

from fastapi_chain.engines.base import RunFilter
from fastapi_chain.outcome import RunState

from .database import workflows
from .link import Link
from .looking import Looking
from .names import HELD
from .stored import WAITING, Row

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
    before = [] if cursor is None else [_before(link, *_place(cursor))]
    rows = Looking(link).rows(*_conditions(link, wanted), *before, limit=limit + 1)
    return Found(rows[:limit], _cursor(rows[limit - 1]) if len(rows) > limit else None)


def _is(link: Link, state: RunState) -> "sa.ColumnElement[bool]":
    """Return the condition for runs in that state: the same as `Row.state` says."""
    status = workflows.c.status
    if state == "queued":
        return status.in_(WAITING)
    if state == "running":
        return status == "PENDING"
    # To DBOS, a run that has ended in order has succeeded, whatever the end.
    ended = sa.and_(status == "SUCCESS", link.end == state)
    if state == "succeeded":
        return ended
    held = workflows.c.queue_name.startswith(HELD)
    if state == "failed":
        return sa.or_(
            ended, status.in_(("ERROR", "MAX_RECOVERY_ATTEMPTS_EXCEEDED")), sa.and_(status == "CANCELLED", held)
        )
    return sa.or_(ended, sa.and_(status == "CANCELLED", sa.not_(sa.func.coalesce(held, sa.false()))))


def _conditions(link: Link, wanted: RunFilter) -> "list[sa.ColumnElement[bool]]":
    conditions: list[sa.ColumnElement[bool]] = []
    if wanted.states:
        conditions.append(sa.or_(*[_is(link, state) for state in sorted(wanted.states)]))
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


def _before(link: Link, created: float, tie: int | str) -> sa.ColumnElement[bool]:
    """Return the condition for what comes after that place, the newest being first."""
    earlier = workflows.c.created_at < created
    return sa.or_(earlier, sa.and_(workflows.c.created_at == created, link.tie < tie))


def _cursor(row: Row) -> str:
    created, tie = row.place
    return base64.urlsafe_b64encode(f"{created!r} {tie}".encode()).decode().rstrip("=")


def _place(cursor: str) -> tuple[float, int | str]:
    text = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode()
    created, _, tie = text.partition(" ")
    # On SQLite moments are fractions of a millisecond, too: rounded, they would be others.
    return float(created) if "." in created else int(created), int(tie) if len(tie) < _ID else tie
