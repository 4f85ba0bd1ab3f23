"""What a run that runs here asks of the database and tells it. Everything here blocks, and belongs in a thread."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final, cast

import sqlalchemy as sa

from fastapi_chain.events import TaskLogged

from .children import ChildDoc
from .database import events, orders, outputs, steps, workflows
from .documents import OutcomeDoc
from .link import Link
from .names import TASK, VERSION
from .prior import Prior
from .snapshot import Base
from .stored import ACTIVE, FINISHED
from .telling import load_event, task_of

_CHUNK: Final = 500
"""How many ids one statement takes."""


class Carrying:
    """What runs that run here have in the database."""

    def __init__(self, link: Link) -> None:
        """Ask through *link*."""
        self._link = link

    def prior(self, run: str) -> Prior:
        """Return what a run must know that is carried on."""
        prior = self.priors([run])[run]
        with self._link.reading() as connection:
            told = connection.execute(
                sa.select(events.c.seq, events.c.event).where(events.c.run == run).order_by(events.c.seq)
            ).all()
        # What was told in an earlier round is told again.
        docs = [load_event(row.event) for row in told if row.seq > prior.since]
        return replace(
            prior,
            seq=told[-1].seq if told else 0,
            told=frozenset(map(task_of, docs)),
            logged=[event for event in docs if isinstance(event, TaskLogged)],
        )

    def priors(self, runs: Sequence[str]) -> dict[str, Prior]:
        """Return the same of several runs, without what was told of them."""
        found = {run: Prior() for run in runs}
        with self._link.reading() as connection:
            for row in in_chunks(connection, sa.select(orders), orders.c.run, runs):
                base = None if row.base is None else cast("Base", json.loads(row.base))
                found[row.run] = Prior(
                    round=row.round, base=base, cancel=row.cancel, started=row.started, since=row.since
                )
        return found

    def kept(self, run: str) -> frozenset[int]:
        """Return the numbers under which something of a run is kept."""
        with self._link.reading() as connection:
            query = sa.select(steps.c.function_id).where(steps.c.workflow_uuid == run)
            return frozenset(connection.execute(query).scalars())

    def recorded(self, runs: Sequence[str]) -> dict[str, dict[int, OutcomeDoc]]:
        """Return all outcomes of each run that are kept, by number."""
        found: dict[str, dict[int, OutcomeDoc]] = {run: {} for run in runs}
        query = sa.select(steps.c.workflow_uuid, steps.c.function_id, steps.c.output).where(steps.c.output.is_not(None))
        with self._link.reading() as connection:
            for row in in_chunks(connection, query, steps.c.workflow_uuid, runs):
                # A note that a task is about to begin is text, and no outcome.
                if row.output.startswith("{"):
                    found[row.workflow_uuid][row.function_id] = json.loads(row.output)
        return found

    def begun(self, run: str, at: float) -> None:
        """Keep when a run with a deadline began."""
        with self._link.writing() as connection:
            put_order(connection, run, {"started": at})

    def told(self, rows: Sequence[tuple[str, int, str]]) -> None:
        """Keep events: run, number and text of each."""
        with self._link.writing() as connection:
            connection.execute(
                sa.text(
                    "INSERT INTO fastapi_chain_events (run, seq, event) VALUES (:run, :seq, :event) "
                    "ON CONFLICT (run, seq) DO NOTHING"
                ),
                [{"run": run, "seq": seq, "event": event} for run, seq, event in rows],
            )

    def cancelled(self, runs: Sequence[str]) -> dict[str, str]:
        """Return those of *runs* that are to end early, each with the reason."""
        with self._link.reading() as connection:
            query = sa.select(orders.c.run, orders.c.cancel).where(orders.c.cancel.is_not(None))
            return {row.run: row.cancel for row in in_chunks(connection, query, orders.c.run, runs)}

    def call(self, id_: str, queue: str, doc: ChildDoc) -> None:
        """Store a call of a task, unless it is there."""
        with self._link.writing() as connection:
            options = {"workflow_name": TASK, "queue_name": queue, "workflow_id": id_, "app_version": VERSION}
            self._link.client.enqueue_in_transaction(connection, cast("Any", options), doc)

    def outcomes(self, ids: Sequence[str]) -> dict[str, OutcomeDoc | str]:
        """Return the outcomes of those calls that have one; text where there will never be one."""
        found: dict[str, OutcomeDoc | str] = {}
        joined = workflows.join(outputs, outputs.c.workflow_uuid == workflows.c.workflow_uuid, isouter=True)
        with self._link.reading() as connection:
            query = (
                sa.select(workflows.c.workflow_uuid, workflows.c.status, outputs.c.output)
                .select_from(joined)
                .where(workflows.c.status.in_(FINISHED))
            )
            for row in in_chunks(connection, query, workflows.c.workflow_uuid, ids):
                found[row.workflow_uuid] = row.status.lower() if row.output is None else json.loads(row.output)
        return found

    def report(self, id_: str, texts: Sequence[str]) -> None:
        """Keep what a call has to report until the run that waits for it hears of it."""
        with self._link.writing() as connection:
            # One after the other, even if a process tells that was only asleep.
            connection.execute(
                sa.select(workflows.c.workflow_uuid).where(workflows.c.workflow_uuid == id_).with_for_update()
            )
            last = connection.execute(sa.select(sa.func.max(events.c.seq)).where(events.c.run == id_)).scalar() or 0
            rows = [{"run": id_, "seq": seq, "event": text} for seq, text in enumerate(texts, start=last + 1)]
            connection.execute(sa.insert(events), rows)

    def reports(self, ids: Sequence[str]) -> list[tuple[str, str]]:
        """Return what calls have reported, each with the id of the call, and keep it no longer."""
        found: list[tuple[str, str]] = []
        for start in range(0, len(ids), _CHUNK):
            wanted = events.c.run.in_(ids[start : start + _CHUNK])
            with self._link.reading() as connection:
                rows = connection.execute(sa.select(events).where(wanted).order_by(events.c.run, events.c.seq)).all()
            if rows:
                keys = [{"of": row.run, "up_to": row.seq} for row in rows]
                with self._link.writing() as connection:
                    read = sa.and_(events.c.run == sa.bindparam("of"), events.c.seq == sa.bindparam("up_to"))
                    connection.execute(sa.delete(events).where(read), keys)
            found += [(row.run, row.event) for row in rows]
        return found

    def revoke(self, ids: Sequence[str]) -> None:
        """Let calls not begin, or end, that nobody waits for any more."""
        with self._link.writing() as connection:
            connection.execute(
                sa.update(workflows)
                .where(workflows.c.workflow_uuid.in_(ids), workflows.c.status.in_(ACTIVE))
                .values(status="CANCELLED", owner_xid=None, completed_at=self._link.now_ms)
            )

    def revoked(self, ids: Sequence[str]) -> set[str]:
        """Return those calls that were revoked."""
        query = sa.select(workflows.c.workflow_uuid).where(
            workflows.c.workflow_uuid.in_(ids), workflows.c.status == "CANCELLED"
        )
        with self._link.reading() as connection:
            return set(connection.execute(query).scalars())


def in_chunks(
    connection: sa.Connection, query: "sa.Select[Any]", column: "sa.ColumnElement[str]", wanted: Sequence[str]
) -> Iterator[Any]:
    """Yield the rows of *query* whose *column* is one of *wanted*, however many these are."""
    for start in range(0, len(wanted), _CHUNK):
        yield from connection.execute(query.where(column.in_(wanted[start : start + _CHUNK])))


def put_order(connection: sa.Connection, run: str, values: Mapping[str, object]) -> None:
    """Note what *run* must know when it is carried on."""
    changed = connection.execute(sa.update(orders).where(orders.c.run == run).values(dict(values)))
    if not changed.rowcount:
        connection.execute(sa.insert(orders).values({"run": run, "round": 0, "since": 0, **values}))
