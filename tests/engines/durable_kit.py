"""The durable engine under test.

On a file of its own, or on a database of its own in a Postgres that the tests have started.
"""

import asyncio
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from fastapi_chain._clock import Clock, use_clock
from fastapi_chain._state import Sink
from fastapi_chain._threads import ThreadPool
from fastapi_chain.engines.durable.adapter import migrate
from fastapi_chain.engines.durable.database import Database
from fastapi_chain.engines.durable.engine import DurableEngine
from fastapi_chain.engines.here import set_engine
from tests.engines.kit import Jumping, Main, VirtualClock, VirtualLoop, settle
from tests.engines.postgres_server import Postgres

TEMPLATE = "template_chain"


class Databases:
    """Makes databases, with DBOS's tables in them: to make those takes longer than most tests."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._template: bytes | None = None
        self._postgres: Postgres | None = None
        self._count = 0

    def sqlite(self) -> str:
        """Return the URL of a new file."""
        if self._template is None:
            path = self.folder / "template.db"
            migrate(Database(f"sqlite:///{path}"))
            self._template = path.read_bytes()
        self._count += 1
        path = self.folder / f"t{self._count}.db"
        path.write_bytes(self._template)
        return f"sqlite:///{path}"

    @property
    def server(self) -> Postgres:
        """The server; it starts when it is first needed."""
        if self._postgres is None:
            # Not below pytest's own folder, which every other run of pytest closes to other users.
            self._postgres = Postgres(Path(tempfile.mkdtemp(prefix="fastapi-chain-")))
            self._postgres.start()
            migrate(Database(self._postgres.new_database(name=TEMPLATE)))
        return self._postgres

    def postgres(self) -> str:
        """Return the URL of a new database."""
        return self.server.new_database(TEMPLATE)

    def close(self) -> None:
        if self._postgres is not None:
            self._postgres.stop()
            shutil.rmtree(self._postgres.folder, ignore_errors=True)


class BusyLoop(VirtualLoop):
    """Time stands still while a thread waits for the database."""

    waiting = 0

    def run_in_executor(self, executor: Any, func: Callable[..., Any], *args: Any) -> Any:  # type: ignore[override]
        self.waiting += 1
        future = super().run_in_executor(executor, func, *args)
        future.add_done_callback(self._heard)
        return future

    def _heard(self, _future: object) -> None:
        self.waiting -= 1


class DurableKit:
    """The durable engine on a new database for each play."""

    def __init__(self, new_url: Callable[[], str]) -> None:
        self._new_url = new_url
        self.engine: DurableEngine

    def _engine(
        self, *, max_running: int | None = None, sinks: tuple[Sink, ...] = (), threads: int = 16
    ) -> DurableEngine:
        engine = DurableEngine(self._new_url(), pool=ThreadPool(threads), max_running=max_running, sinks=sinks)
        engine.heed = ()
        return engine

    def play(self, main: Main, **options: Any) -> Any:
        jumping = Jumping()
        engine = self.engine = self._engine(**options)
        loop = BusyLoop(jumping)
        jumping.busy = lambda: engine.hop.pool._threads > len(engine.hop.pool._idle) or loop.waiting > 0
        with asyncio.Runner(loop_factory=lambda: loop) as runner:
            return runner.run(self._play(main, engine, VirtualClock(jumping)))

    def play_for_real(self, main: Main, **options: Any) -> Any:
        engine = self.engine = self._engine(**options)
        return asyncio.run(self._play(main, engine, Clock()))

    async def _play(self, main: Main, engine: DurableEngine, clock: Clock) -> Any:
        loop = asyncio.get_running_loop()
        problems: list[dict[str, Any]] = []
        loop.set_exception_handler(lambda _loop, context: problems.append(context))
        await engine.open()
        set_engine(loop, engine)
        back = use_clock(clock)
        try:
            result = await main()
            await engine.idle()
            await settle()
        finally:
            back()
            set_engine(loop, None)
            await engine.drain(0)
        assert problems == []
        return result
