"""How runs are found, and what may be done with them from anywhere. Everything here blocks, and belongs in a thread."""

import json
from collections.abc import Iterable, Sequence
from typing import Final

import sqlalchemy as sa

from .carrying import put_order
from .database import events, inputs, keys, orders, outputs, workflows
from .link import Link
from .names import RUN, RUNS, TASK
from .snapshot import Base
from .stored import ACTIVE, FINISHED, WAITING, Row, row_of

_CHUNK: Final = 500
"""How many runs and calls are deleted at once."""


class Looking:
    """The runs in a database, for whoever looks at them."""

    def __init__(self, link: Link) -> None:
        """Ask through *link*."""
        self._link = link

    def row(self, run: str) -> Row | None:
        """Return a run as DBOS knows it; None if there is none."""
        return next(iter(self.rows(workflows.c.workflow_uuid == run)), None)

    def rows(self, *wanted: sa.ColumnElement[bool], limit: int | None = None) -> list[Row]:
        """Return runs, newest first."""
        query = (
            sa.select(
                workflows.c.workflow_uuid,
                workflows.c.status,
                workflows.c.queue_name,
                workflows.c.created_at,
                workflows.c.completed_at,
                self._link.tie.label("tie"),
                inputs.c.inputs,
                outputs.c.output,
                outputs.c.error,
            )
            .select_from(
                workflows.join(inputs, inputs.c.workflow_uuid == workflows.c.workflow_uuid, isouter=True).join(
                    outputs, outputs.c.workflow_uuid == workflows.c.workflow_uuid, isouter=True
                )
            )
            .where(workflows.c.name == RUN, *wanted)
            .order_by(workflows.c.created_at.desc(), self._link.tie.desc())
            .limit(limit)
        )
        with self._link.reading() as connection:
            return [row_of(found) for found in connection.execute(query)]

    def events(self, run: str, after: int) -> list[str]:
        """Return the events of a run with a greater number than *after*."""
        with self._link.reading() as connection:
            query = sa.select(events.c.event).where(events.c.run == run, events.c.seq > after).order_by(events.c.seq)
            return list(connection.execute(query).scalars())

    def last(self, runs: Sequence[str]) -> dict[str, int]:
        """Return the number of the last event of each run that has any in the database."""
        with self._link.reading() as connection:
            query = sa.select(events.c.run, sa.func.max(events.c.seq)).where(events.c.run.in_(runs))
            return {row[0]: row[1] for row in connection.execute(query.group_by(events.c.run))}

    def is_told(self, run: str) -> bool:
        """Whether the database knows any event of a run."""
        with self._link.reading() as connection:
            return connection.execute(sa.select(events.c.seq).where(events.c.run == run).limit(1)).first() is not None

    def pending(self, chain: str | None) -> int:
        """Return how many runs of *chain*, or of all chains, are waiting or running."""
        active = [workflows.c.name == RUN, workflows.c.status.in_(ACTIVE)]
        if chain is not None:
            active.append(self._link.attribute("chain") == chain)
        query = sa.select(sa.func.count()).select_from(workflows).where(*active)
        with self._link.reading() as connection:
            return connection.execute(query).scalar_one()

    def cancel(self, run: str) -> str | None:
        """Cancel a run; return the state of one that has finished already, None for others."""
        with self._link.writing() as connection:
            ordered = sa.exists().where(orders.c.run == run)
            done = connection.execute(
                sa.update(workflows)
                .where(
                    workflows.c.workflow_uuid == run,
                    workflows.c.status.in_(WAITING),
                    # One that has begun before has something to undo.
                    workflows.c.recovery_attempts == 0,
                    ~ordered,
                )
                .values(status="CANCELLED", queue_name=RUNS, completed_at=self._link.now_ms)
            )
            if done.rowcount:
                return None
            status = connection.execute(sa.select(workflows.c.status).where(workflows.c.workflow_uuid == run)).scalar()
            if status in ACTIVE:
                put_order(connection, run, {"cancel": "run_cancelled"})
                return None
        row = self.row(run)
        return "gone" if row is None else row.state

    def reopen(self, run: str, round_: int, base: Base) -> bool:
        """Let a finished run begin again; return whether it was finished."""
        with self._link.writing() as connection:
            done = connection.execute(
                sa.update(workflows)
                .where(workflows.c.workflow_uuid == run, workflows.c.status.in_(FINISHED))
                .values(
                    status="ENQUEUED",
                    queue_name=RUNS,
                    owner_xid=None,
                    recovery_attempts=0,
                    started_at_epoch_ms=None,
                    completed_at=None,
                )
            )
            if not done.rowcount:
                return False
            connection.execute(sa.delete(outputs).where(outputs.c.workflow_uuid == run))
            since = connection.execute(sa.select(sa.func.max(events.c.seq)).where(events.c.run == run)).scalar()
            values = {"round": round_, "base": json.dumps(base), "cancel": None, "started": None, "since": since or 0}
            put_order(connection, run, values)
        return True

    def forget(self, runs: Iterable[str]) -> None:
        """Delete runs, with the calls that were made for them elsewhere, and all that is kept of them."""
        wanted = list(runs)
        if not wanted:
            return
        with self._link.reading() as connection:
            # Their ids begin with that of the run.
            of = sa.func.substr(workflows.c.workflow_uuid, 1, len(wanted[0]))
            query = sa.select(workflows.c.workflow_uuid).where(workflows.c.name == TASK, of.in_(wanted))
            gone = [*wanted, *connection.execute(query).scalars()]
        for start in range(0, len(gone), _CHUNK):
            chunk = gone[start : start + _CHUNK]
            self._link.client.delete_workflows(chunk)
            with self._link.writing() as connection:
                for table in (keys, orders, events):
                    connection.execute(sa.delete(table).where(table.c.run.in_(chunk)))
