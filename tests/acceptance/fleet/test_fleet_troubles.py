"""A database that is down, slow, frozen, read-only, full, or of a newer version, as clients of a server see it.

A clear error, or a 503 that says when to try again; nothing half-written; and all is well again without a restart.
"""

import contextlib
import os
import shutil
import signal
import sqlite3
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import psycopg
import pytest
import sqlalchemy as sa

from fastapi_chain.engines.durable.database import Database, workflows
from tests.acceptance.fleet.stage import Answer, Fleet, Member
from tests.engines.durable_kit import Databases
from tests.engines.postgres_server import Postgres
from tests.engines.zygote import Zygote, alive, wait_for


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Databases]:
    """A Postgres that no other test minds to be stopped."""
    made = Databases(tmp_path_factory.mktemp("own"))
    yield made
    made.close()


@pytest.fixture
def on_postgres(own: Databases, tmp_path: Path, zygote: Zygote) -> Iterator[Fleet]:
    """A fleet on that Postgres."""
    made = Fleet(zygote, own.postgres(), tmp_path)
    yield made
    made.close()


def is_unavailable(answer: Answer) -> None:
    """Assert that *answer* says what a database that is away is said by."""
    assert answer.status == 503, answer.body
    assert answer.headers["retry-after"] in {"1", "5"}
    assert answer.body["type"] == "urn:fastapi-chain:problem:engine-unavailable"


def known(url: str) -> set[str]:
    """Return the runs that a database has."""
    engine = Database(url).connect(patient=True, size=1)
    with engine.connect() as connection:
        found = set(connection.execute(sa.select(workflows.c.workflow_uuid)).scalars())
    engine.dispose()
    return found


def works(server: Member) -> str:
    """Assert that a server does; return the run."""
    run = server.start("quick")
    assert server.finished(run)["state"] == "succeeded"
    return run


@contextmanager
def locked(url: str) -> Iterator[None]:
    """Let nobody else write, as a long transaction does."""
    if url.startswith("sqlite"):
        with closing(sqlite3.connect(url.removeprefix("sqlite:///"), isolation_level=None)) as holder:
            holder.execute("BEGIN IMMEDIATE")
            yield
            holder.execute("ROLLBACK")
        return
    with psycopg.connect(url) as other:
        other.execute("LOCK TABLE dbos.workflow_status IN ACCESS EXCLUSIVE MODE")
        yield
        other.rollback()


def test_a_slow_database(fleet: Fleet):
    """A request waits for some seconds, no longer; what it did not store does not appear later."""
    server = fleet.server().up()
    before = works(server)
    with locked(fleet.url):
        begun = time.monotonic()
        is_unavailable(server.post("/quick?n=1"))
        assert 4 < time.monotonic() - begun < 15
    after = works(server)
    assert known(fleet.url) == {before, after}


def backends(server: Postgres) -> list[int]:
    assert server.process is not None
    children = Path(f"/proc/{server.process.pid}/task/{server.process.pid}/children").read_text()
    return [server.process.pid, *map(int, children.split())]


@contextmanager
def frozen(server: Postgres) -> Iterator[None]:
    """Stop the processes of a server: it takes what is sent, and says nothing."""
    pids = backends(server)
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)


def test_a_frozen_database(on_postgres: Fleet, own: Databases):
    """The same of one that takes questions, and answers none."""
    server = on_postgres.server().up()
    before = works(server)
    with frozen(own.server):
        begun = time.monotonic()
        is_unavailable(server.post("/quick?n=1"))
        assert time.monotonic() - begun < 15
        is_unavailable(server.get(f"/chains/runs/{before}"))
        assert time.monotonic() - begun < 30
    after = works(server)
    assert known(on_postgres.url) == {before, after}


def test_a_database_that_stops_and_starts(on_postgres: Fleet, own: Databases):
    """Requests are refused meanwhile, wherever they ask; what was accepted before goes on by itself."""
    web, worker = on_postgres.server(WORKER="no"), on_postgres.worker()
    web.up(), worker.up()
    waits = web.start("watched")
    on_postgres.until("begin", waits)
    follower = web.follow(waits)
    follower.until("task.progress")
    own.server.stop()
    is_unavailable(web.post("/quick?n=1"))
    is_unavailable(web.get("/chains/runs"))
    is_unavailable(web.get(f"/chains/runs/{waits}"))
    is_unavailable(web.post(f"/chains/runs/{waits}/cancel"))
    # It comes to the end of its first task, and cannot keep that yet.
    on_postgres.tell("go on")
    own.server.start()
    # Whoever follows it has waited, and misses nothing.
    assert follower.until("run.finished")["state"] == "succeeded"
    numbers = [number for number, _, _ in follower.events[1:]]
    assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
    assert web.finished(waits)["state"] == "succeeded"
    assert web.get(f"/chains/runs/{waits}/result").body == {"second": "2 open real"}
    assert [line[4] for line in on_postgres.told("begin", waits)] == ["first", "second"]
    after = works(web)
    assert known(on_postgres.url) == {waits, after}
    own.server.stop()
    begun = time.monotonic()
    for member in (web, worker):
        member.stop()
    # Both end though they can tell nobody.
    assert time.monotonic() - begun < 20
    late = on_postgres.server()
    wait_for(lambda: not alive(late.pid), "the end of a server that has no database")
    assert "does not answer." in on_postgres.log
    assert "start its database, or wait until it is back" in on_postgres.log
    own.server.start()


def test_a_database_that_may_only_be_read(on_postgres: Fleet, own: Databases):
    """As a standby is, or one whose disk is being saved: runs are shown, and none is taken."""
    server = on_postgres.server().up()
    before = works(server)
    waits = server.start("watched")
    on_postgres.until("begin", waits)
    with psycopg.connect(own.server.url("postgres"), autocommit=True) as admin:
        admin.execute("ALTER SYSTEM SET default_transaction_read_only = on")
        admin.execute("SELECT pg_reload_conf()")
        try:
            wait_for(lambda: server.post("/quick?n=1").status == 503, "the setting to be read")
            answer = server.post("/quick?n=1")
            is_unavailable(answer)
            assert server.run(before)["state"] == "succeeded"
            # It comes to the end of a task, and cannot keep that yet.
            on_postgres.tell("go on")
            on_postgres.until("woke", waits)
            time.sleep(1)
        finally:
            admin.execute("SET default_transaction_read_only = off")
            admin.execute("ALTER SYSTEM RESET default_transaction_read_only")
            admin.execute("SELECT pg_reload_conf()")
    wait_for(lambda: server.post("/quick?n=1").status == 202, "the setting to be read")
    works(server)
    assert server.finished(waits)["state"] == "succeeded"
    assert [line[4] for line in on_postgres.told("begin", waits)] == ["first", "second"]


@contextmanager
def small_disk(folder: Path, megabytes: int) -> Iterator[Path]:
    """A disk of so many megabytes; the test is skipped where none can be made."""
    folder.mkdir()
    made = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "small", folder], check=False)
    if made.returncode:
        pytest.skip("no file system can be mounted here")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", folder], check=True)


def fill(disk: Path) -> Path:
    """Fill a disk to the last byte; return the file that does it."""
    ballast = disk / "ballast"
    with contextlib.suppress(OSError), ballast.open("wb", buffering=0) as file:
        while True:
            file.write(b"x" * 4096)
    return ballast


def test_a_full_disk_below_sqlite(tmp_path: Path, zygote: Zygote):
    """Requests are refused until there is room again."""
    with small_disk(tmp_path / "disk", 8) as disk:
        fleet = Fleet(zygote, f"sqlite:///{disk}/chains.db", tmp_path)
        _full(fleet, disk)


def test_a_full_disk_below_postgres(own: Databases, tmp_path: Path, zygote: Zygote):
    """The same where the tables lie on a disk of their own."""
    folder = own.server.folder / "disk"
    with small_disk(folder, 24) as disk, psycopg.connect(own.server.url("postgres"), autocommit=True) as admin:
        place = disk / "tables"
        place.mkdir()
        if os.geteuid() == 0:
            shutil.chown(place, "nobody")
        admin.execute(f"CREATE TABLESPACE small LOCATION '{place}'".encode())
        admin.execute(b"CREATE DATABASE small TABLESPACE small")
        fleet = Fleet(zygote, own.server.url("small"), tmp_path)
        _full(fleet, disk)
        admin.execute(b"DROP DATABASE small WITH (FORCE)")
        admin.execute(b"DROP TABLESPACE small")


def _full(fleet: Fleet, disk: Path) -> None:
    server = fleet.server().up()
    accepted = {works(server), waits := server.start("watched")}
    fleet.until("begin", waits)
    ballast = fill(disk)
    # There is some room left in what the database has of the disk already.
    while (answer := server.post("/quick?n=1", padding="x" * 2000)).status == 202:
        accepted.add(answer.body["run"])
    is_unavailable(answer)
    # One comes to the end of a task, and cannot keep that yet.
    fleet.tell("go on")
    fleet.until("woke", waits)
    time.sleep(1)
    ballast.unlink()
    accepted.add(works(server))
    for run in accepted:
        assert server.finished(run)["state"] == "succeeded"
    assert known(fleet.url) == accepted
    server.stop()


def test_a_database_of_the_future(fleet: Fleet):
    """A server that is older than its database does not start, and says what to do."""
    engine = Database(fleet.url).connect(patient=True, size=1)
    fleet.server().up().stop()
    with engine.begin() as connection:
        connection.execute(sa.text("UPDATE fastapi_chain_meta SET format = 7"))
    engine.dispose()
    older = fleet.server()
    wait_for(lambda: not alive(older.pid), "the end of the older server")
    assert "was set up by a newer fastapi_chain: it has format 7, not 1." in fleet.log
    assert "pip install --upgrade fastapi-chain" in fleet.log
