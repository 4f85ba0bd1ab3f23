"""What uvicorn does with processes: `--workers`, `--reload`; the commands are those that people type in."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.acceptance.fleet.stage import MODULE, Fleet, Member
from tests.engines.durable_kit import Databases
from tests.engines.postgres_server import free_port
from tests.engines.zygote import Zygote, wait_for


class Uvicorn:
    """`uvicorn`, as it is typed in."""

    def __init__(self, fleet: Fleet, *arguments: str, **environment: str) -> None:
        port = free_port()
        command = [sys.executable, "-m", "uvicorn", f"{MODULE}:app", "--port", str(port), *arguments]
        with (fleet.folder / "log").open("a") as log:
            self.process = subprocess.Popen(
                command, env={**os.environ, **fleet.environment(**environment)}, stdout=log, stderr=log
            )
        self.any = Member(fleet, self.process.pid, port)
        """Whoever answers."""

    def close(self) -> None:
        if self.process.poll() is None:
            # Its children end when it does; without it they would not.
            self.process.send_signal(signal.SIGTERM)
            self.process.wait(20)


@pytest.fixture(params=["sqlite", "postgresql"])
def fresh(request: pytest.FixtureRequest, databases: Databases, tmp_path: Path, zygote: Zygote) -> Fleet:
    """A fleet on a database without any tables."""
    url = databases.server.new_database() if request.param == "postgresql" else f"sqlite:///{tmp_path}/fresh.db"
    return Fleet(zygote, url, tmp_path)


@pytest.fixture
def commands() -> Iterator[list[Uvicorn]]:
    """The commands of a test; they end with it."""
    started: list[Uvicorn] = []
    yield started
    for one in started:
        one.close()


def test_two_workers_share_runs(fresh: Fleet, commands: list[Uvicorn]):
    """On a database that is empty: both serve, each has a name of its own, each shows the runs of both, and both end."""
    command = Uvicorn(fresh, "--workers", "2")
    commands.append(command)
    fresh.until("lifespan begins", count=2)
    wait_for(command.any._listens, "a server to listen")
    runs: dict[str, str] = {}
    names: dict[int, str] = {}
    while len(names) < 2 or len(runs) < 20:
        answer = command.any.post("/quick?n=1")
        assert answer.status == 202, fresh.log
        runs[answer.body["run"]] = answer.body["executor"]
        names[answer.body["pid"]] = answer.body["executor"]
    assert len(set(names.values())) == 2
    for run in runs:
        # Whoever answers knows it.
        assert command.any.finished(run)["state"] == "succeeded"
    assert {line[3] for line in fresh.told("begin")} == set(runs)
    assert len(fresh.told("begin")) == len(runs)
    waits = command.any.start("endless")
    fresh.until("begin", waits)
    command.process.send_signal(signal.SIGTERM)
    assert command.process.wait(15) in {0, -signal.SIGTERM}
    assert len(fresh.told("lifespan ends")) == 2
    assert "Traceback" not in fresh.log
    # What did not end in time is left to others.
    again = fresh.server().up()
    fresh.until("begin", waits, 2)
    assert again.post(f"/chains/runs/{waits}/cancel").status == 202
    assert again.finished(waits)["state"] == "cancelled"
    again.stop()


def test_a_worker_of_uvicorn_that_is_killed(fleet: Fleet, commands: list[Uvicorn]):
    """Its run is carried on by its sibling, or by the one that uvicorn starts in its place."""
    command = Uvicorn(fleet, "--workers", "2")
    commands.append(command)
    fleet.until("lifespan begins", count=2)
    wait_for(command.any._listens, "a server to listen")
    run = command.any.start("frozen")
    (first,) = fleet.until("begin", run)
    os.kill(first[1], signal.SIGKILL)
    second = fleet.until("begin", run, 2)[1]
    assert first[1] != second[1]
    fleet.tell("go on")
    fleet.until("write", run)
    fleet.until("lifespan begins", count=3)
    assert command.any.finished(run)["state"] == "succeeded"
    assert [line[1:] for line in fleet.told("write", run)] == [[second[1], "write", run, second[1]]]


def test_a_reload_goes_on_with_runs(fleet: Fleet, commands: list[Uvicorn]):
    """A run that does not end in time is carried on by the process that comes after."""
    watched = fleet.folder / "watched"
    watched.mkdir()
    command = Uvicorn(fleet, "--reload", "--reload-dir", str(watched), DRAIN="0.1")
    commands.append(command)
    fleet.until("lifespan begins")
    wait_for(command.any._listens, "a server to listen")
    run = command.any.start("watched")
    (first,) = fleet.until("begin", run)
    follower = command.any.follow(run)
    follower.until("run.snapshot")
    (watched / "changed.py").write_text("changed = True\n")
    # The stream does not hold it.
    follower.rest()
    fleet.until("begin", run, 2)
    fleet.tell("go on")
    wait_for(lambda: len(fleet.told("lifespan begins")) == 2, "the new process")
    assert command.any.finished(run)["state"] == "succeeded"
    assert command.any.get(f"/chains/runs/{run}/result").body == {"second": "2 open real"}
    begun = fleet.told("begin", run)
    assert [line[4] for line in begun] == ["first", "first", "second"]
    assert begun[1][1] == begun[2][1] != first[1]
    command.process.send_signal(signal.SIGTERM)
    assert command.process.wait(15) in {0, -signal.SIGTERM}
