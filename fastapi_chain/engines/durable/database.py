"""Connections to the database, and our own tables beside DBOS's.

There are two sets of connections. DBOS's own waits until the database is back, since runs that have begun can wait.
That of requests gives up soon, since clients cannot.
"""

import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.engine import ExceptionContext
from sqlalchemy.exc import ArgumentError, DBAPIError, IntegrityError, NoSuchModuleError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from fastapi_chain.errors import EngineError, EngineUnavailable

SCHEMA: Final = "dbos"
"""Where DBOS keeps its tables on Postgres."""

FORMAT: Final = 1
"""The version of our own tables."""

_PATIENCE: Final = 5
"""Seconds that a request waits for the database."""

_LIBPQ: Final = {
    "connect_timeout": _PATIENCE,
    "application_name": "fastapi_chain",
    # A machine that is gone says nothing: without these, it would be waited for a quarter of an hour.
    "tcp_user_timeout": 10_000,
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 3,
}
"""What libpq is told where the URL says nothing of it."""

_PASSING: Final = frozenset(
    {sqlite3.SQLITE_FULL, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN}
)
"""What SQLite says when it cannot write now, and may be able to later."""

_READ_ONLY: Final = "25006"
"""What Postgres says to whoever writes to a standby, for example."""

_SQLITE_WITH_CLOCK: Final = (3, 42, 0)
"""The first SQLite whose `unixepoch('subsec')` DBOS can use."""

_metadata = sa.MetaData()

meta = sa.Table("fastapi_chain_meta", _metadata, sa.Column("format", sa.Integer, primary_key=True, autoincrement=False))

processes = sa.Table(
    "fastapi_chain_processes",
    _metadata,
    sa.Column("id", sa.String(200), primary_key=True),
    sa.Column("place", sa.String(400), nullable=False),
    sa.Column("pid", sa.Integer, nullable=False),
    sa.Column("seen", sa.Float(53), nullable=False),
)
"""Who is alive: every process with an engine, with the time of its last heartbeat by the database's clock."""

keys = sa.Table(
    "fastapi_chain_keys",
    _metadata,
    sa.Column("chain", sa.Text, primary_key=True),
    sa.Column("key", sa.Text, primary_key=True),
    sa.Column("run", sa.Text, nullable=False, index=True),
    sa.Column("takers", sa.Integer, nullable=False),
)
"""The one run of each key, and how many requests share it that are not over."""

orders = sa.Table(
    "fastapi_chain_orders",
    _metadata,
    sa.Column("run", sa.Text, primary_key=True),
    sa.Column("round", sa.Integer, nullable=False),
    sa.Column("base", sa.Text),
    sa.Column("cancel", sa.Text),
    sa.Column("started", sa.Float(53)),
    sa.Column("since", sa.Integer, nullable=False),
)
"""What a run must know that is carried on.

Which round it is in, what stood at its beginning, whether it is to end early, when it began, and which event was the
last one before.
"""

answers = sa.Table(
    "fastapi_chain_answers",
    _metadata,
    sa.Column("chain", sa.Text, primary_key=True),
    sa.Column("key", sa.Text, primary_key=True),
    sa.Column("payload", sa.Text, nullable=False),
    sa.Column("answer", sa.Text),
    sa.Column("process", sa.Text, nullable=False),
    sa.Column("at", sa.Float(53), nullable=False),
)
"""The idempotency keys of requests, each with the first answer to it; without one as long as that is on its way."""

events = sa.Table(
    "fastapi_chain_events",
    _metadata,
    sa.Column("run", sa.Text, primary_key=True),
    sa.Column("seq", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("event", sa.Text, nullable=False),
)
"""What has happened in runs that take longer than a moment."""


_theirs = sa.MetaData(schema=SCHEMA)

workflows = sa.Table(
    "workflow_status",
    _theirs,
    sa.Column("workflow_uuid", sa.Text, primary_key=True),
    *[sa.Column(name, sa.Text) for name in ("status", "name", "queue_name", "executor_id", "owner_xid", "attributes")],
    *[sa.Column(name, sa.BigInteger) for name in ("created_at", "started_at_epoch_ms", "completed_at")],
    *[sa.Column(name, sa.BigInteger) for name in ("recovery_attempts", "delay_until_epoch_ms", "priority")],
)
"""DBOS's table of runs; here and below, the columns that we look at."""

inputs = sa.Table(
    "workflow_input", _theirs, sa.Column("workflow_uuid", sa.Text, primary_key=True), sa.Column("inputs", sa.Text)
)

outputs = sa.Table(
    "workflow_output",
    _theirs,
    sa.Column("workflow_uuid", sa.Text, primary_key=True),
    sa.Column("output", sa.Text),
    sa.Column("error", sa.Text),
)

steps = sa.Table(
    "operation_outputs",
    _theirs,
    sa.Column("workflow_uuid", sa.Text, primary_key=True),
    sa.Column("function_id", sa.Integer, primary_key=True),
    sa.Column("function_name", sa.Text),
    sa.Column("output", sa.Text),
)


class Database:
    """A database that holds runs."""

    def __init__(self, url: str) -> None:
        """Prepare for the database at *url*; nothing is connected yet.

        Args:
            url: `sqlite:///chains.db` (relative) or `postgresql://user:password@host/name`.

        Raises:
            EngineError: The URL is of another kind.
        """
        try:
            parsed = sa.make_url(url)
        except ArgumentError as error:
            raise _unknown(url) from error
        self.is_sqlite = parsed.get_backend_name() == "sqlite"
        self.name: str = parsed.get_backend_name()
        """`sqlite` or `postgresql`."""
        self.shown = parsed.render_as_string(hide_password=True)
        """The URL without its password."""
        if self.name not in {"sqlite", "postgresql"}:
            raise _unknown(self.shown)
        self._said = frozenset(parsed.query)
        if not self.is_sqlite:
            parsed = parsed.set(drivername="postgresql+psycopg")
        self.url = parsed.render_as_string(hide_password=False)

    def connect(self, *, patient: bool, size: int) -> sa.Engine:
        """Return a new set of connections.

        Args:
            patient: Whether its users can wait until the database is back; else they are told soon.
            size: How many there are at most.
        """
        waits = 30 if patient else _PATIENCE
        if self.is_sqlite:
            engine = sa.create_engine(self.url, pool_size=min(size, 5), max_overflow=0, pool_timeout=waits)
            event.listen(engine, "connect", _SqliteSetup(waits))
            if patient:
                event.listen(engine, "before_cursor_execute", _count_alone)
        else:
            engine = sa.create_engine(
                self.url,
                pool_size=size,
                max_overflow=0,
                pool_timeout=waits,
                pool_pre_ping=True,
                connect_args={name: value for name, value in _LIBPQ.items() if name not in self._said},
            )
            if not patient:
                event.listen(engine, "connect", _hurry)
        if patient:
            event.listen(engine, "handle_error", _wait_for_room)
        schema = None if self.is_sqlite else SCHEMA
        return engine.execution_options(schema_translate_map={SCHEMA: schema})

    def create_tables(self, engine: sa.Engine) -> None:
        """Make our own tables where they are missing.

        Raises:
            EngineUnavailable: The database does not answer, or cannot be written.
            EngineError: A newer version of this library has been here.
        """
        with self.reached(), engine.begin() as connection:
            # Two processes that start at once would both find nothing.
            if not self.is_sqlite:
                connection.execute(sa.text("SET LOCAL statement_timeout = 0"))
                connection.execute(sa.text("SELECT pg_advisory_xact_lock(727274)"))
            else:
                connection.exec_driver_sql("BEGIN IMMEDIATE")
            _metadata.create_all(connection)
            found = connection.execute(sa.select(meta.c.format)).scalar()
            if found is None:
                connection.execute(sa.insert(meta).values(format=FORMAT))
        if found is not None and found > FORMAT:
            what = f"Database {self.shown!r} was set up by a newer fastapi_chain: it has format {found}, not {FORMAT}."
            raise EngineError(
                what=what,
                fixes=("pip install --upgrade fastapi-chain",),
            )

    @contextmanager
    def reached(self) -> Iterator[None]:
        """Turn what the driver says about a database that does not answer into an error of ours.

        Raises:
            EngineUnavailable: The database does not answer, is full, or cannot be written.
        """
        try:
            yield
        except IntegrityError:
            raise
        except (DBAPIError, PoolTimeout, OSError) as error:
            raise EngineUnavailable(engine=self.shown, reason=str(getattr(error, "orig", None) or error)) from error

    @property
    def clock(self) -> sa.TextClause:
        """The time of day by the database's clock, in seconds since 1970."""
        if self.is_sqlite:
            return sa.text("(julianday('now') - 2440587.5) * 86400.0")
        return sa.text("extract(epoch from clock_timestamp())")


def _wait_for_room(context: ExceptionContext) -> None:
    """Take a database that is full or read-only for one that is away.

    DBOS waits until that is back; of any other error it would leave the run behind that it could not write of.
    """
    error: Any = context.original_exception
    passes = (
        getattr(error, "sqlite_errorcode", 0) & 0xFF in _PASSING
        if isinstance(error, sqlite3.OperationalError)
        else getattr(error, "sqlstate", None) == _READ_ONLY
    )
    if passes:
        context.is_disconnect = True
        context.invalidate_pool_on_disconnect = False


def _hurry(connection: Any, _record: object) -> None:  # noqa: ANN401 - the driver's connection
    """Let each question have its time: whoever asks here cannot wait for a table that somebody else has locked."""
    connection.execute(f"SET statement_timeout = {_PATIENCE * 1000}")
    connection.commit()


def _count_alone(connection: sa.Connection, _cursor: object, statement: str, *_: object) -> None:
    """Let nobody else take from a queue whose runs are being counted, until the count has been acted on.

    DBOS counts before it writes, and pysqlite begins a transaction with the first write only: two processes would each
    find room for the same last one.
    """
    driver: Any = connection.connection.driver_connection
    if "count(" in statement and "queue_name" in statement and not driver.in_transaction:
        driver.execute("BEGIN IMMEDIATE")


class _SqliteSetup:
    """Makes each new SQLite connection fit for several writers."""

    def __init__(self, waits: float) -> None:
        self._waits = waits

    def __call__(self, connection: Any, _record: object) -> None:  # noqa: ANN401 - the driver's connection
        # A transaction that reads first and then writes would fail as soon as another one writes in between.
        connection.isolation_level = "IMMEDIATE"
        for pragma in (
            f"busy_timeout={int(self._waits * 1000)}",
            "foreign_keys=ON",
            "journal_mode=WAL",
            "synchronous=NORMAL",
        ):
            connection.execute(f"PRAGMA {pragma}")
        if sqlite3.sqlite_version_info < _SQLITE_WITH_CLOCK:
            # DBOS goes by the version of Python, but an older SQLite answers NULL.
            connection.create_function("unixepoch", -1, lambda *_: time.time())
        connection.create_function("strftime", -1, _strftime)


def _strftime(*arguments: object) -> object:
    """Return what SQLite's `strftime` does; but the time of day, which DBOS asks for like this, to the millisecond.

    It is what the rates of tasks are counted by.
    """
    if arguments == ("%s", "now"):
        return time.time()
    with closing(sqlite3.connect(":memory:")) as plain:
        row = plain.execute(f"SELECT strftime({', '.join('?' * len(arguments))})", arguments).fetchone()
        return row[0]


def _unknown(url: str) -> EngineError:
    return EngineError(
        what=f"There is no engine {url!r}.",
        fixes=('engine="memory"', 'engine="sqlite:///chains.db"', 'engine="postgresql://user:password@host/name"'),
    )


NO_DRIVER: Final = (NoSuchModuleError, ModuleNotFoundError)
"""What is raised where the driver of a database is not installed."""
