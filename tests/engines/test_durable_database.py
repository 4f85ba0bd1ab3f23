"""Databases that are missing, down, read-only, of another version: a clear error, nothing half-written, and recovery without a restart."""

import asyncio
import os
import sys
import threading
from pathlib import Path

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError

from fastapi_chain import EngineUnavailable, Progress, Registry, chain
from fastapi_chain.engines.durable import database as database_module
from fastapi_chain.engines.durable import keeper as keeper_module
from fastapi_chain.engines.durable import link as link_module
from fastapi_chain.engines.durable.backend import DurableRun
from fastapi_chain.engines.durable.database import Database
from fastapi_chain.engines.durable.engine import DurableEngine
from fastapi_chain.engines.durable.names import _read, here, holder_of
from fastapi_chain.engines.memory import MemoryEngine
from fastapi_chain.engines.select import make_engine
from fastapi_chain.errors import EngineError, EngineNotInstalled
from tests.engines.durable_kit import Databases
from tests.engines.kit import Log
from tests.engines.opened import opened, until


def plain(seen: Log) -> object:
    registry = Registry("r")

    @registry.task
    async def only(n: int = 0) -> int:
        seen(n)
        return n

    return chain(registry, name="ours")


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://localhost", "redis://localhost"),  # no dialect of that name
        ("mysql://root:secret@localhost/x", "mysql://root:***@localhost/x"),  # one that we do not speak
        ("nonsense", "nonsense"),  # no URL at all
    ],
)
def test_there_is_no_such_engine(url: str, shown: str):
    """An unknown URL is refused at once, without its password, with those that there are."""
    with pytest.raises(EngineError) as caught:
        DurableEngine(url)
    assert str(caught.value) == (
        f"There is no engine {shown!r}.\nFix, one of:\n"
        '  - engine="memory"\n  - engine="sqlite:///chains.db"\n  - engine="postgresql://user:password@host/name"\n'
        "See errors#engine"
    )


def test_a_database_that_does_not_answer():
    """Start-up fails with the driver's reason; nothing stays behind, so that another engine can be opened."""
    url = "postgresql://postgres:secret@127.0.0.1:1/none"

    async def main() -> None:
        engine = DurableEngine(url)
        with pytest.raises(EngineUnavailable) as caught:
            await engine.open()
        assert str(caught.value).startswith("Engine 'postgresql://postgres:***@127.0.0.1:1/none' does not answer.")
        assert "refused" in caught.value.reason

    asyncio.run(main())


def test_a_file_that_cannot_be_made(tmp_path: Path):
    """A folder that is not there is told as such."""

    async def main() -> None:
        with pytest.raises(EngineUnavailable) as caught:
            await DurableEngine(f"sqlite:///{tmp_path}/missing/x.db").open()
        assert caught.value.reason == "unable to open database file"

    asyncio.run(main())


def test_a_database_of_a_newer_version(url: str, monkeypatch: pytest.MonkeyPatch):
    """What a newer version has set up is left alone."""

    async def main() -> None:
        monkeypatch.setattr(database_module, "FORMAT", 2)
        async with opened(url):
            pass
        monkeypatch.setattr(database_module, "FORMAT", 1)
        with pytest.raises(EngineError, match="was set up by a newer fastapi_chain: it has format 2, not 1"):
            await DurableEngine(url).open()

    asyncio.run(main())


def test_two_engines_in_one_process(url: str, databases: Databases):
    """One worker for each process; the second is told to share the first."""

    async def main() -> None:
        async with opened(url):
            with pytest.raises(EngineError, match="Another durable engine runs in this process already"):
                await DurableEngine(databases.sqlite()).open()
        async with opened(url):
            assert await asyncio.to_thread(lambda: "the loop has its threads again") == "the loop has its threads again"

    asyncio.run(main())


def test_a_server_that_goes_away_and_comes_back(tmp_path_factory: pytest.TempPathFactory):
    """While it is away, what is asked fails soon, and what was promised waits; when it is back, all goes on by itself."""
    databases = Databases(tmp_path_factory.mktemp("away"))
    url, server = databases.postgres(), databases.server
    registry, seen, go_on = Registry("r"), Log(), asyncio.Event()

    @registry.task
    async def first() -> int:
        seen("first")
        await go_on.wait()
        return 1

    @registry.task(after=[first])
    async def second(first: int) -> int:
        return first + 1

    ours = chain(registry, name="ours")

    async def main() -> None:
        async with opened(url, ours, time_to_live=2.0) as engine, opened(url, ours, here=False, worker=False) as other:
            run = await ours.start()
            await until(lambda: "first" in seen)
            elsewhere = await other.find(run.id)
            assert elsewhere is not None
            held = engine.take(ours._blueprint.asked(engine.name, {}))
            await engine.hold_soon(held, sure=False)
            engine._reached = 0.0
            server.stop()
            with pytest.raises(EngineUnavailable):
                await ours.start()
            with pytest.raises(EngineUnavailable):
                await engine.find("0" * 32)
            await asyncio.sleep(1.2)
            promised = engine.start(held)
            # What is known is shown as long as nobody can say more.
            assert (run.state, held.state, elsewhere.state) == ("running", "queued", "running")
            go_on.set()
            await asyncio.sleep(0.5)
            server.start()
            await promised
            await run.wait(40)
            await held.wait(40)
            assert [(one.state, one.outputs) for one in (run, held)] == [("succeeded", {"first": 1, "second": 2})] * 2

    try:
        asyncio.run(main())
    finally:
        databases.close()


def test_what_must_be_done_waits_for_the_database(tmp_path_factory: pytest.TempPathFactory):
    """What a run cannot do without is tried until the server is back; an engine comes to its end without it, too."""
    databases = Databases(tmp_path_factory.mktemp("gone"))
    url, server = databases.postgres(), databases.server
    registry, begun, go_on = Registry("r"), asyncio.Event(), asyncio.Event()

    @registry.task
    async def only(progress: Progress) -> None:
        progress(1, 2, "half")
        begun.set()
        await go_on.wait()

    ours = chain(registry, name="ours")

    async def main() -> None:
        async with opened(url) as engine:
            server.stop()
            with pytest.raises(EngineUnavailable):
                await engine.link(engine.link.probe)
            surely = asyncio.ensure_future(engine.link.surely(lambda: engine.link.probe() or "done"))
            await asyncio.sleep(0.3)
            assert not surely.done()
            server.start()
            assert await surely == "done"
        async with opened(url, ours) as gone:
            run = await ours.start()
            await begun.wait()
            server.stop()
        server.start()
        go_on.set()
        async with opened(url, ours) as engine:
            # Nobody has let it go, so it is carried on only when that process counts as dead.
            engine.keeper.let_go([gone.process])
            found = await engine.find(run.id)
            assert found is not None
            await found.wait(20)
            assert found.state == "succeeded"

    try:
        asyncio.run(main())
    finally:
        databases.close()


@pytest.mark.skipif(sys.platform == "win32", reason="no such modes there")
def test_a_full_disk(tmp_path: Path):
    """A database that cannot grow refuses runs, and takes them again when it can."""
    path = tmp_path / "full.db"
    ours = plain(Log())

    async def main() -> None:
        async with opened(f"sqlite:///{path}", ours, worker=False) as engine:  # type: ignore[arg-type]
            for connection in [engine.link.engine.connect() for _ in range(5)]:
                # No page more than there are.
                connection.exec_driver_sql("PRAGMA max_page_count = 1")
                connection.close()
            with pytest.raises(EngineUnavailable) as caught:
                for n in range(200):
                    await ours.start(n=n)  # type: ignore[attr-defined]
            assert caught.value.reason == "database or disk is full"
            for connection in [engine.link.engine.connect() for _ in range(5)]:
                connection.exec_driver_sql("PRAGMA max_page_count = 1000000")
                connection.close()
            run = await ours.start(n=1)  # type: ignore[attr-defined]
            assert await engine.find(run.id) is not None

    asyncio.run(main())


def test_who_can_wait_waits_for_a_database_that_cannot_be_written(url: str):
    """For DBOS it is away, as one that is down: runs that are under way go on when it can be written again."""
    database = Database(url)
    read_only = "PRAGMA query_only = 1" if database.is_sqlite else "SET TRANSACTION READ ONLY"
    for patient in (True, False):
        engine = database.connect(patient=patient, size=1)
        for statement, passes in [("DELETE FROM missing", False), ("CREATE TABLE more (n INTEGER)", patient)]:
            with engine.connect() as connection:
                connection.exec_driver_sql(read_only)
                with pytest.raises(DBAPIError) as caught:
                    connection.exec_driver_sql(statement)
            assert caught.value.connection_invalidated is passes
        engine.dispose()


def test_a_database_that_says_nothing(url: str, monkeypatch: pytest.MonkeyPatch):
    """Nobody waits for it for long, least of all the loop; and what it was to write it does not write any more."""
    monkeypatch.setattr(link_module, "_LONGEST", 0.05)
    monkeypatch.setattr(link_module, "_SHORTEST", 0.05)
    ours = plain(Log())

    async def main() -> None:
        async with opened(url, ours, worker=False) as engine:  # type: ignore[arg-type]
            link, thawed, ends = engine.link, threading.Event(), Log()
            order = engine.take(ours._blueprint.asked(engine.name, {}))._backend.order  # type: ignore[attr-defined]

            def late() -> None:
                thawed.wait()
                try:
                    engine._intake.enqueue(order)
                except EngineUnavailable as error:
                    ends(error.reason)

            with pytest.raises(EngineUnavailable) as caught:
                await link(late)
            assert (caught.value.engine, caught.value.reason) == (engine.database.shown, "no answer within 0.05 s")
            for _ in range(2):
                with pytest.raises(EngineUnavailable, match="does not answer"):
                    link.shortly(thawed.wait)
            thawed.set()
            await until(lambda: ends == ["no answer within 0.05 s"])
            await until(lambda: link._slow is not None and link._slow.done())
            monkeypatch.setattr(link_module, "_LONGEST", 5.0)
            monkeypatch.setattr(link_module, "_SHORTEST", 5.0)
            assert link.shortly(lambda: "well") == "well"
            assert await engine.find(order.run) is None

    asyncio.run(main())


def test_whoever_follows_a_run_waits_for_the_database(url: str, monkeypatch: pytest.MonkeyPatch):
    """As long as it says nothing there is nothing to hear; then all that has happened meanwhile is told."""
    registry, go_on = Registry("r"), asyncio.Event()

    @registry.task
    async def only() -> None:
        await go_on.wait()

    ours = chain(registry, name="ours")

    async def main() -> None:
        async with opened(url, ours), opened(url, ours, here=False, worker=False) as other:
            run = await ours.start()
            await until(lambda: run.tasks["only"].state == "running")
            found = await other.find(run.id)
            assert found is not None
            monkeypatch.setattr(link_module, "_LONGEST", 0.0)
            reader = asyncio.create_task(_kinds(found))
            await asyncio.sleep(0.4)
            assert not reader.done()
            monkeypatch.setattr(link_module, "_LONGEST", 5.0)
            go_on.set()
            assert await reader == ["run.started", "task.started", "task.succeeded", "run.finished"]

    asyncio.run(main())


async def _kinds(run: DurableRun) -> list[str]:
    return [event.kind async for event in run.events(0)]


def test_the_keeper_outlives_its_errors(url: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch):
    """Whatever goes wrong in a beat, the next one comes."""
    monkeypatch.setattr(keeper_module, "_TICK", 0.05)

    async def main() -> None:
        failures: list[Exception] = [ValueError("a bug"), EngineUnavailable(engine="x", reason="away")]

        async with opened(url) as engine:

            def chore() -> None:
                if failures:
                    raise failures.pop(0)

            engine.keeper._chores = (chore,)
            await until(lambda: not failures)
            await asyncio.sleep(0.2)

    asyncio.run(main())
    messages = [record.message for record in caplog.records if "engine" in record.message]
    assert any(message.endswith("met an error") for message in messages)
    assert any(message.endswith("does not answer: away") for message in messages)


def test_who_is_dead(url: str, monkeypatch: pytest.MonkeyPatch):
    """Dead is who has been silent for long, or whose process is gone from this machine; nobody else."""

    async def main() -> None:
        async with opened(url, worker=False, here=False) as engine:
            keeper = engine.keeper
            keeper.beat()
            with engine.link.reading() as connection:
                row = connection.execute(sa.select(database_module.processes)).one()
            assert row.pid == os.getpid()
            assert not keeper._is_dead(row, row.seen + 1)
            assert keeper._is_dead(row, row.seen + 100)
            assert keeper._is_dead(None, 0.0)
            assert not keeper_module._runs(2**22 + 1)

            def forbidden(_pid: int, _signal: int) -> None:
                raise PermissionError

            monkeypatch.setattr(os, "kill", forbidden)
            assert keeper_module._runs(1)
            assert not keeper._is_dead(row, row.seen + 1)

    asyncio.run(main())


def test_names(tmp_path: Path):
    """A machine is told by what Linux says of it; elsewhere by its name."""
    assert here() == here()
    assert _read(tmp_path / "missing") == ""
    assert holder_of("fastapi_chain.held/sure/host:1:ab") == ("host:1:ab", True)


def test_an_engine_of_the_users_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """`install(engine=…)` takes a name or an engine; without the package of one, it says what to install."""
    options = {
        "plans": lambda _: None,
        "crons": tuple,
        "app": None,
        "worker": False,
        "pool": None,
        "sinks": (),
        "max_running": None,
        "history": 10,
        "kept": None,
    }
    own = MemoryEngine()
    assert make_engine(own, **options) is own  # type: ignore[arg-type]
    assert make_engine("memory", **options).name == "memory"  # type: ignore[arg-type]
    assert make_engine(f"sqlite:///{tmp_path}/x.db", **options).name == "sqlite"  # type: ignore[arg-type]
    monkeypatch.setitem(sys.modules, "fastapi_chain.engines.durable.engine", None)
    for url, extra in [("sqlite:///x.db", "durable"), ("postgresql://x/y", "postgres")]:
        with pytest.raises(EngineNotInstalled, match=rf"pip install 'fastapi-chain\[{extra}\]'"):
            make_engine(url, **options)  # type: ignore[arg-type]


def test_a_stamp_that_is_missing():
    """Both databases have a clock; only the first part of a URL says which database it is."""
    assert Database("sqlite:///x.db").is_sqlite
    assert "clock_timestamp" in Database("postgresql://x/y").clock.text
