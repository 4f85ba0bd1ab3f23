"""The connections of one engine, and the threads that wait for them."""

import asyncio
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import copy_context
from typing import Any, Final, ParamSpec, TypeVar

import sqlalchemy as sa

from fastapi_chain.errors import EngineUnavailable

from .adapter import client_of
from .database import Database, workflows

P = ParamSpec("P")
R = TypeVar("R")

_PAUSES: Final = (0.1, 0.5, 1.0, 2.0)
"""Seconds between attempts to do what must be done while the database is away; the last one for all further ones."""


class Link:
    """What an engine asks its database through; on behalf of requests, so that nobody waits for long."""

    def __init__(self, database: Database, process: str) -> None:
        """Prepare to ask *database* on behalf of *process*."""
        self.database = database
        self.process = process
        self.engine = database.connect(patient=False, size=10)
        self.client = client_of(self.engine)
        self._threads = ThreadPoolExecutor(8, thread_name_prefix="fastapi-chain-store")

    async def __call__(self, fn: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
        """Call *fn*, which waits for the database, in a thread."""
        context = copy_context()
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, lambda: context.run(fn, *args, **kwargs))

    async def surely(self, fn: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
        """Do the same for what must be done, however long the database is away."""
        pauses = iter(_PAUSES)
        pause = 0.0
        while True:
            try:
                return await self(fn, *args, **kwargs)
            except EngineUnavailable:
                pause = next(pauses, pause)
                await asyncio.sleep(pause)

    @contextmanager
    def writing(self) -> Iterator[sa.Connection]:
        """One transaction.

        Raises:
            EngineUnavailable: The database does not answer, is full, or cannot be written.
        """
        with self.database.reached(), self.engine.begin() as connection:
            yield connection

    @contextmanager
    def reading(self) -> Iterator[sa.Connection]:
        """A connection for questions only; errors as for `writing`."""
        with self.database.reached(), self.engine.connect() as connection:
            yield connection

    def probe(self) -> None:
        """Find out whether the database answers.

        Raises:
            EngineUnavailable: It does not.
        """
        with self.reading() as connection:
            connection.execute(sa.select(1))

    @property
    def now_ms(self) -> sa.ColumnElement[int]:
        """The time of day by the database's clock, in milliseconds since 1970."""
        return sa.cast(sa.literal_column(f"({self.database.clock.text}) * 1000"), sa.BigInteger)

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

    def close(self) -> None:
        """End all connections."""
        self._threads.shutdown(wait=False)
        self.engine.dispose()
