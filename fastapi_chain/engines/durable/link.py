"""The connections of one engine, and the threads that wait for them."""

import asyncio
import math
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import ContextVar, copy_context
from typing import Any, Final, ParamSpec, TypeVar

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB

from fastapi_chain.errors import EngineUnavailable

from .adapter import client_of
from .database import Database, outputs, workflows

P = ParamSpec("P")
R = TypeVar("R")

_PAUSES: Final = (0.1, 0.5, 1.0, 2.0)
"""Seconds between attempts to do what must be done while the database is away; the last one for all further ones."""

_LONGEST: Final = 7.0
"""Seconds after which a database that takes questions and answers none counts as away."""

_SHORTEST: Final = 2.0
"""Seconds after which it does for whoever cannot wait at all."""

_until: ContextVar[float] = ContextVar("_until", default=math.inf)
"""When whoever waits for what is done here gives up, by the monotonic clock."""


class Link:
    """What an engine asks its database through; on behalf of requests, so that nobody waits for long."""

    def __init__(self, database: Database, process: str) -> None:
        """Prepare to ask *database* on behalf of *process*."""
        self.database = database
        self.process = process
        self.engine = database.connect(patient=False, size=10)
        self.client = client_of(self.engine)
        self._threads = ThreadPoolExecutor(8, thread_name_prefix="fastapi-chain-store")
        self._slow: Future[Any] | None = None

    async def __call__(self, fn: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
        """Call *fn*, which waits for the database, in a thread.

        Raises:
            EngineUnavailable: The database does not answer; what *fn* writes when it does is rolled back.
        """
        future = self._begin(lambda: fn(*args, **kwargs), _LONGEST)
        await asyncio.wait((future,), timeout=_LONGEST)
        if not future.done():
            raise self._silent(_LONGEST)
        return future.result()

    async def patiently(self, fn: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
        """Do the same for what may take its time."""
        future = self._begin(lambda: fn(*args, **kwargs), math.inf)
        await asyncio.wait((future,))
        return future.result()

    def _begin(self, fn: Callable[[], R], seconds: float) -> "asyncio.Future[R]":
        context = copy_context()
        context.run(_until.set, time.monotonic() + seconds)
        future = asyncio.get_running_loop().run_in_executor(self._threads, lambda: context.run(fn))
        # Nobody may be there any more to hear what it raises. Cancelled it is by nobody: it is left where it is.
        future.add_done_callback(lambda done: done.exception())
        return future

    def shortly(self, fn: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
        """Call *fn* from the loop, which waits for it, but not for long.

        Raises:
            EngineUnavailable: The database does not answer.
        """
        if self._slow is not None and not self._slow.done():
            raise self._silent(_SHORTEST)
        future = self._threads.submit(fn, *args, **kwargs)
        try:
            return future.result(_SHORTEST)
        except TimeoutError:
            self._slow = future
            raise self._silent(_SHORTEST) from None

    def _silent(self, seconds: float) -> EngineUnavailable:
        return EngineUnavailable(engine=self.database.shown, reason=f"no answer within {seconds:g} s")

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
            if time.monotonic() > _until.get():
                # Whoever wanted it was told that it was not done.
                raise self._silent(_LONGEST)

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

    @property
    def end(self) -> sa.ColumnElement[str]:
        """How a run has ended, as an expression; NULL where nothing is kept of its end."""
        if self.database.is_sqlite:
            return sa.func.json_extract(outputs.c.output, "$.state")
        return sa.func.jsonb_extract_path_text(sa.cast(outputs.c.output, JSONB), "state")

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
