"""How a run comes into the database, and begins or is dropped. Everything here blocks, and belongs in a thread."""

from typing import Any, cast

import sqlalchemy as sa
from sqlalchemy.orm import Session

from fastapi_chain.spec import Rate

from .adapter import register
from .database import inputs, keys, workflows
from .link import Link
from .names import HELD, RUN, RUNS, VERSION, held_by
from .stored import Order


class Intake:
    """Where runs come in."""

    def __init__(self, link: Link) -> None:
        """Ask through *link*."""
        self._link = link

    def register(
        self, queue: str, *, at_once: int | None, together: int | None = None, rate: Rate | None = None
    ) -> None:
        """Make sure that *queue* is there: see `adapter.register`."""
        with self._link.database.reached():
            register(self._link.client, queue, at_once=at_once, together=together, rate=rate)

    def hold(self, order: Order, *, sure: bool) -> str:
        """Store a run whose request is not over; return its id, or that of the run that has its key already.

        Args:
            order: The run.
            sure: Whether nothing can roll its request back any more.
        """
        return self._insert(order, held_by(self._link.process, sure=sure), delay=None)

    def enqueue(self, order: Order) -> str:
        """Store a run that may begin; return its id, or that of the run that has its key already."""
        return self._insert(order, RUNS, delay=order.delay)

    def _insert(self, order: Order, queue: str, delay: float | None) -> str:
        with self._link.writing() as connection:
            return self.insert(connection, order, queue, delay)

    def insert(self, connection: "sa.Connection | Session", order: Order, queue: str, delay: float | None) -> str:
        """Do the same within somebody's transaction."""
        if order.key is not None:
            owner = self._claim(connection, order.doc["chain"], order.key, order.run)
            if owner != order.run:
                return owner
        options: dict[str, object] = {
            "workflow_name": RUN,
            "queue_name": queue,
            "workflow_id": order.run,
            "app_version": VERSION,
            "attributes": order.attributes,
        }
        if order.priority is not None:
            options["priority"] = order.priority
        if delay is not None:
            options["delay_seconds"] = delay
        self._link.client.enqueue_in_transaction(connection, cast("Any", options), order.doc)
        return order.run

    def _claim(self, connection: "sa.Connection | Session", chain: str, key: str, run: str) -> str:
        """Return the run that has the key: *run*, unless another one came first."""
        claimed = connection.execute(
            sa.text(
                "INSERT INTO fastapi_chain_keys (chain, key, run, takers) VALUES (:chain, :key, :run, 1) "
                "ON CONFLICT (chain, key) DO UPDATE SET takers = fastapi_chain_keys.takers + 1 RETURNING run"
            ),
            {"chain": chain, "key": key, "run": run},
        )
        return cast("str", claimed.scalar_one())

    def release(self, order: Order, run: str) -> None:
        """Let a run begin whose request is over; one that has been let already is left alone."""
        values: dict[str, object] = {"queue_name": RUNS, "status": "ENQUEUED", "completed_at": None}
        if order.delay is not None:
            values["status"] = "DELAYED"
            values["delay_until_epoch_ms"] = sa.literal(int(order.delay * 1000)) + self._link.now_ms
        with self._link.writing() as connection:
            if order.key is not None:
                self._leave(connection, order)
            connection.execute(
                sa.update(workflows)
                .where(workflows.c.workflow_uuid == run, workflows.c.queue_name.startswith(HELD))
                .values(values)
            )

    def leave(self, order: Order) -> None:
        """Count one request less that shares the key of *order*."""
        with self._link.writing() as connection:
            self._leave(connection, order)

    def _leave(self, connection: sa.Connection, order: Order) -> int:
        """Count one request less that shares the key; return how many are left."""
        left = connection.execute(
            sa.update(keys)
            .where(keys.c.chain == order.doc["chain"], keys.c.key == order.key)
            .values(takers=keys.c.takers - 1)
            .returning(keys.c.takers)
        ).scalar()
        return left or 0

    def drop(self, order: Order, run: str) -> None:
        """Forget a run whose request has failed, unless another request shares it."""
        with self._link.writing() as connection:
            if order.key is not None and self._leave(connection, order) > 0:
                return
            gone = connection.execute(
                sa.delete(workflows).where(
                    workflows.c.workflow_uuid == run,
                    workflows.c.queue_name.startswith(HELD),
                    workflows.c.status.in_(("ENQUEUED", "CANCELLED")),
                )
            )
            if gone.rowcount:
                connection.execute(sa.delete(inputs).where(inputs.c.workflow_uuid == run))
                connection.execute(sa.delete(keys).where(keys.c.run == run))
