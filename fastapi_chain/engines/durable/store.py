"""What is asked of the database about runs. Everything here blocks, and belongs in a thread."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple, TypedDict, cast

import sqlalchemy as sa
from sqlalchemy.orm import Session

from fastapi_chain.outcome import RunState as StateName
from fastapi_chain.spec import Rate

from .adapter import client_of, register
from .children import ChildDoc
from .database import Database, events, inputs, keys, orders, outputs, steps, workflows
from .documents import OutcomeDoc
from .execution import EndDoc, Prior
from .names import HELD, RUN, RUNS, TASK, VERSION, held_by
from .snapshot import Base

WAITING: Final = ("ENQUEUED", "DELAYED")
ACTIVE: Final = (*WAITING, "PENDING")
FINISHED: Final = ("SUCCESS", "ERROR", "CANCELLED", "MAX_RECOVERY_ATTEMPTS_EXCEEDED")

_CHUNK: Final = 500
"""How many ids one statement takes."""


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
    def attributes(self) -> dict[str, object]:
        """What one can look for."""
        return {name: self.doc[name] for name in ("chain", "tags", "started_by")}  # type: ignore[literal-required]


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
    tie: int | str
    """What tells which of two runs of one moment came first."""

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


class Store:
    """The runs in a database."""

    def __init__(self, database: Database, process: str) -> None:
        """Look at the runs in *database* on behalf of *process*."""
        self.database = database
        self.engine = database.connect(patient=False, size=10)
        self._client = client_of(self.engine)
        self.process = process

    def probe(self) -> None:
        """Find out whether the database answers.

        Raises:
            EngineUnavailable: It does not.
        """
        with self.database.reached(), self.engine.connect() as connection:
            connection.execute(sa.select(1))

    def register(self, queue: str, *, at_once: int | None, together: int | None = None, rate: Rate | None = None) -> None:
        """Make sure that *queue* is there: see `adapter.register`."""
        with self.database.reached():
            register(self._client, queue, at_once=at_once, together=together, rate=rate)

    def close(self) -> None:
        """End all connections."""
        self.engine.dispose()

    # --- a run comes

    def hold(self, order: Order, *, sure: bool) -> str:
        """Store a run whose request is not over; return its id, or that of the run that has its key already.

        Args:
            order: The run.
            sure: Whether nothing can roll its request back any more.
        """
        return self._insert(order, held_by(self.process, sure=sure), delay=None)

    def enqueue(self, order: Order) -> str:
        """Store a run that may begin; return its id, or that of the run that has its key already."""
        return self._insert(order, RUNS, delay=order.delay)

    def _insert(self, order: Order, queue: str, delay: float | None) -> str:
        with self.database.reached(), self.engine.begin() as connection:
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
        self._client.enqueue_in_transaction(connection, cast("Any", options), order.doc)
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

    def claim(self, order: Order) -> str:
        """Return the run that has the key of *order*, which claims it for itself if nobody has it."""
        assert order.key is not None, "only a run with a key claims it"
        with self.database.reached(), self.engine.begin() as connection:
            return self._claim(connection, order.doc["chain"], order.key, order.run)

    def release(self, order: Order, run: str) -> None:
        """Let a run begin whose request is over; one that has been let already is left alone."""
        values: dict[str, object] = {"queue_name": RUNS, "status": "ENQUEUED", "completed_at": None}
        if order.delay is not None:
            values["status"] = "DELAYED"
            values["delay_until_epoch_ms"] = sa.literal(int(order.delay * 1000)) + self.now_ms
        with self.database.reached(), self.engine.begin() as connection:
            if order.key is not None:
                self._leave(connection, order)
            connection.execute(
                sa.update(workflows)
                .where(workflows.c.workflow_uuid == run, workflows.c.queue_name.startswith(HELD))
                .values(values)
            )

    @property
    def now_ms(self) -> sa.ColumnElement[int]:
        """The time of day by the database's clock, in milliseconds since 1970."""
        return sa.cast(sa.literal_column(f"({self.database.clock.text}) * 1000"), sa.BigInteger)

    def _leave(self, connection: sa.Connection, order: Order) -> int:
        """Count one request less that shares the key; return how many are left."""
        left = connection.execute(
            sa.update(keys)
            .where(keys.c.chain == order.doc["chain"], keys.c.key == order.key)
            .values(takers=keys.c.takers - 1)
            .returning(keys.c.takers)
        ).scalar()
        return left or 0

    def leave(self, order: Order) -> None:
        """Count one request less that shares the key of *order*."""
        with self.database.reached(), self.engine.begin() as connection:
            self._leave(connection, order)

    def drop(self, order: Order, run: str) -> None:
        """Forget a run whose request has failed, unless another request shares it."""
        with self.database.reached(), self.engine.begin() as connection:
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

    # --- a run is carried on

    def prior(self, run: str) -> Prior:
        """Return what a run must know that is carried on."""
        with self.database.reached(), self.engine.connect() as connection:
            order = connection.execute(sa.select(orders).where(orders.c.run == run)).first()
            told = connection.execute(
                sa.select(events.c.seq, events.c.event).where(events.c.run == run).order_by(events.c.seq)
            ).all()
        # What was told in an earlier round is told again.
        since = 0 if order is None else order.since
        docs = [json.loads(row.event) for row in told if row.seq > since]
        return Prior(
            round=0 if order is None else order.round,
            base=None if order is None or order.base is None else cast("Base", json.loads(order.base)),
            cancel=None if order is None else order.cancel,
            started=None if order is None else order.started,
            seq=told[-1].seq if told else 0,
            told=frozenset((doc["kind"], doc.get("task", "")) for doc in docs),
        )

    def recorded(self, run: str) -> dict[int, OutcomeDoc]:
        """Return all outcomes of a run that are kept, by number."""
        with self.database.reached(), self.engine.connect() as connection:
            rows = connection.execute(
                sa.select(steps.c.function_id, steps.c.output).where(
                    steps.c.workflow_uuid == run, steps.c.output.is_not(None)
                )
            ).all()
        found = ((row.function_id, json.loads(row.output)) for row in rows)
        return {number: doc for number, doc in found if isinstance(doc, dict) and "state" in doc}

    def begun(self, run: str, at: float) -> None:
        """Keep when a run with a deadline began."""
        self._upsert(run, {"started": at})

    def _upsert(self, run: str, values: Mapping[str, object]) -> None:
        with self.database.reached(), self.engine.begin() as connection:
            self._put_order(connection, run, values)

    @staticmethod
    def _put_order(connection: sa.Connection, run: str, values: Mapping[str, object]) -> None:
        changed = connection.execute(sa.update(orders).where(orders.c.run == run).values(dict(values)))
        if not changed.rowcount:
            connection.execute(sa.insert(orders).values({"run": run, "round": 0, "since": 0, **values}))

    def told(self, rows: Sequence[tuple[str, int, str]]) -> None:
        """Keep events: run, number and text of each."""
        with self.database.reached(), self.engine.begin() as connection:
            connection.execute(
                sa.text(
                    "INSERT INTO fastapi_chain_events (run, seq, event) VALUES (:run, :seq, :event) "
                    "ON CONFLICT (run, seq) DO NOTHING"
                ),
                [{"run": run, "seq": seq, "event": event} for run, seq, event in rows],
            )

    def cancelled(self, runs: Sequence[str]) -> dict[str, str]:
        """Return those of *runs* that are to end early, each with the reason."""
        found: dict[str, str] = {}
        with self.database.reached(), self.engine.connect() as connection:
            for start in range(0, len(runs), _CHUNK):
                chunk = runs[start : start + _CHUNK]
                rows = connection.execute(
                    sa.select(orders.c.run, orders.c.cancel).where(orders.c.run.in_(chunk), orders.c.cancel.is_not(None))
                )
                found |= {row.run: row.cancel for row in rows}
        return found

    # --- tasks with workers of their own

    def call(self, id_: str, queue: str, doc: ChildDoc) -> None:
        """Store a call of a task, unless it is there."""
        with self.database.reached(), self.engine.begin() as connection:
            options = {"workflow_name": TASK, "queue_name": queue, "workflow_id": id_, "app_version": VERSION}
            self._client.enqueue_in_transaction(connection, cast("Any", options), doc)

    def outcomes(self, ids: Sequence[str]) -> dict[str, OutcomeDoc | str]:
        """Return the outcomes of those calls that have one; text where there will never be one."""
        found: dict[str, OutcomeDoc | str] = {}
        joined = workflows.join(outputs, outputs.c.workflow_uuid == workflows.c.workflow_uuid, isouter=True)
        with self.database.reached(), self.engine.connect() as connection:
            for start in range(0, len(ids), _CHUNK):
                query = (
                    sa.select(workflows.c.workflow_uuid, workflows.c.status, outputs.c.output)
                    .select_from(joined)
                    .where(
                        workflows.c.workflow_uuid.in_(ids[start : start + _CHUNK]), workflows.c.status.in_(FINISHED)
                    )
                )
                for row in connection.execute(query):
                    found[row.workflow_uuid] = row.status.lower() if row.output is None else json.loads(row.output)
        return found

    def revoke(self, ids: Sequence[str]) -> None:
        """Let calls not begin, or end, that nobody waits for any more."""
        with self.database.reached(), self.engine.begin() as connection:
            connection.execute(
                sa.update(workflows)
                .where(workflows.c.workflow_uuid.in_(ids), workflows.c.status.in_(ACTIVE))
                .values(status="CANCELLED", owner_xid=None, completed_at=self.now_ms)
            )

    def revoked(self, ids: Sequence[str]) -> set[str]:
        """Return those calls that were revoked."""
        query = sa.select(workflows.c.workflow_uuid).where(
            workflows.c.workflow_uuid.in_(ids), workflows.c.status == "CANCELLED"
        )
        with self.database.reached(), self.engine.connect() as connection:
            return set(connection.execute(query).scalars())

    # --- somebody wants something of a run

    def cancel(self, run: str) -> str | None:
        """Cancel a run; return the state of one that has finished already, None for others."""
        with self.database.reached(), self.engine.begin() as connection:
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
                .values(status="CANCELLED", queue_name=RUNS, completed_at=self.now_ms)
            )
            if done.rowcount:
                return None
            status = connection.execute(
                sa.select(workflows.c.status).where(workflows.c.workflow_uuid == run)
            ).scalar()
            if status in ACTIVE:
                self._put_order(connection, run, {"cancel": "run_cancelled"})
                return None
        row = self.row(run)
        return "gone" if row is None else row.state

    def reopen(self, run: str, round_: int, base: Base) -> bool:
        """Let a finished run begin again; return whether it was finished."""
        with self.database.reached(), self.engine.begin() as connection:
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
            self._put_order(connection, run, values)
        return True

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
                self.tie.label("tie"),
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
            .order_by(workflows.c.created_at.desc(), self.tie.desc())
            .limit(limit)
        )
        with self.database.reached(), self.engine.connect() as connection:
            return [_row(found) for found in connection.execute(query)]

    def events(self, run: str, after: int) -> list[str]:
        """Return the events of a run with a greater number than *after*."""
        with self.database.reached(), self.engine.connect() as connection:
            query = sa.select(events.c.event).where(events.c.run == run, events.c.seq > after).order_by(events.c.seq)
            return list(connection.execute(query).scalars())

    def is_told(self, run: str) -> bool:
        """Whether the database knows any event of a run."""
        with self.database.reached(), self.engine.connect() as connection:
            return connection.execute(sa.select(events.c.seq).where(events.c.run == run).limit(1)).first() is not None

    @property
    def tie(self) -> sa.ColumnElement[Any]:
        """What tells which of two runs of one moment came first: DBOS's moments last a second on an older SQLite."""
        return sa.literal_column("workflow_status.rowid") if self.database.is_sqlite else workflows.c.workflow_uuid

    def attribute(self, *path: str) -> sa.ColumnElement[str]:
        """Return an attribute of runs, as an expression."""
        if self.database.is_sqlite:
            quoted = "".join(f'."{part}"' for part in path)
            return sa.func.json_extract(workflows.c.attributes, f"${quoted}")
        return sa.func.jsonb_extract_path_text(workflows.c.attributes, *path)

    def pending(self, chain: str | None) -> int:
        """Return how many runs of *chain*, or of all chains, are waiting or running."""
        active = [workflows.c.name == RUN, workflows.c.status.in_(ACTIVE)]
        if chain is not None:
            active.append(self.attribute("chain") == chain)
        query = sa.select(sa.func.count()).select_from(workflows).where(*active)
        with self.database.reached(), self.engine.connect() as connection:
            return connection.execute(query).scalar_one()

    def forget(self, runs: Iterable[str]) -> None:
        """Delete runs, and all that is kept of them."""
        gone = list(runs)
        if not gone:
            return
        self._client.delete_workflows(gone)
        with self.database.reached(), self.engine.begin() as connection:
            for table in (keys, orders, events):
                connection.execute(sa.delete(table).where(table.c.run.in_(gone)))


def _row(found: Any) -> Row:  # noqa: ANN401 - a row of SQLAlchemy's
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
        tie=found.tie,
    )
