"""What the processes of a fleet do, and how tests speak with them."""

import contextlib
import http.client
import importlib
import json
import os
import signal
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import uvicorn

from fastapi_chain.cli import main
from tests.acceptance.fleet.network import enter
from tests.engines.crash import Trace
from tests.engines.postgres_server import free_port
from tests.engines.zygote import Zygote, alive, wait_for

MODULE = "tests.acceptance.fleet.fleet_app"
HOST = "127.0.0.1"


def serve(environment: dict[str, str], port: int) -> None:
    """Be a server on *port*; to be called in a new process."""
    _begin(environment)
    app = importlib.import_module(MODULE).app
    uvicorn.run(app, host=HOST, port=port, log_level="error", lifespan="on")


def work(environment: dict[str, str], *arguments: str) -> None:
    """Be `fastapi-chain worker`; to be called in a new process."""
    _begin(environment)
    sys.argv = ["fastapi-chain", "worker", "--app", f"{MODULE}:app", *arguments]
    with contextlib.suppress(SystemExit):
        main()


def _begin(environment: dict[str, str]) -> None:
    os.environ.update(environment)
    if "MACHINE" in environment:
        enter(environment["MACHINE"])
    os.dup2(os.open(environment["LOG"], os.O_WRONLY | os.O_CREAT | os.O_APPEND), 2)


class Member:
    """One process of a fleet."""

    def __init__(self, fleet: "Fleet", pid: int, port: int = 0) -> None:
        self.pid = pid
        self.port = port
        self._fleet = fleet

    def up(self) -> "Member":
        """Return when it has started."""
        wait_for(lambda: self.says("lifespan begins") or not alive(self.pid), "a process to start")
        assert alive(self.pid), self._fleet.log
        if self.port:
            wait_for(self._listens, "a server to listen")
        return self

    def _listens(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex((HOST, self.port)) == 0

    def says(self, what: str) -> bool:
        """Whether it has written *what* into the trace."""
        return any(line[1:3] == [self.pid, what] for line in self._fleet.trace.lines())

    def kill(self) -> None:
        self._fleet.zygote.kill(self.pid)

    def stop(self) -> None:
        """Ask it to end, and wait until it has."""
        self._fleet.zygote.kill(self.pid, signal.SIGTERM)

    def signal(self, number: int) -> None:
        os.kill(self.pid, number)

    def ask(self, method: str, path: str, body: object = None, **headers: str) -> "Answer":
        """Send a request, and return the answer to it."""
        connection = http.client.HTTPConnection(HOST, self.port, timeout=40)
        named = {name.replace("_", "-"): text for name, text in headers.items()}
        content = None if body is None else json.dumps(body)
        try:
            connection.request(method, path, body=content, headers=named | {"content-type": "application/json"})
            return Answer(connection.getresponse())
        finally:
            connection.close()

    def post(self, path: str, body: object = None, **headers: str) -> "Answer":
        return self.ask("POST", path, body, **headers)

    def get(self, path: str, **headers: str) -> "Answer":
        return self.ask("GET", path, **headers)

    def start(self, chain: str, n: int = 1, **headers: str) -> str:
        """Start a run; return its id."""
        answer = self.post(f"/{chain}?n={n}", **headers)
        assert answer.status == 202, (answer.status, answer.body, self._fleet.log)
        run: str = answer.body["run"]
        return run

    def run(self, run: str) -> dict[str, Any]:
        """Return a run as it stands."""
        answer = self.get(f"/chains/runs/{run}")
        assert answer.status == 200, (answer.status, answer.body, self._fleet.log)
        found: dict[str, Any] = answer.body
        return found

    def finished(self, run: str) -> dict[str, Any]:
        """Return a run when it has ended."""
        wait_for(lambda: self.run(run)["done"], f"the end of a run, which is {self.run(run)}")
        return self.run(run)

    def follow(self, run: str, **headers: str) -> "Follower":
        follower = Follower(self.port, f"/chains/runs/{run}/events", headers)
        self._fleet.followers.append(follower)
        return follower


class Answer:
    """What a server has answered."""

    def __init__(self, response: http.client.HTTPResponse) -> None:
        self.status = response.status
        self.headers = {name.lower(): text for name, text in response.getheaders()}
        content = response.read()
        self.body: Any = json.loads(content) if "json" in self.headers.get("content-type", "") else content.decode()


class Follower:
    """A client of a stream of events."""

    def __init__(self, port: int, path: str, headers: dict[str, str]) -> None:
        self._connection = http.client.HTTPConnection(HOST, port, timeout=40)
        self._connection.request("GET", path, headers={name.replace("_", "-"): text for name, text in headers.items()})
        self._answer = self._connection.getresponse()
        self.status = self._answer.status
        self.events: list[tuple[int, str, Any]] = []
        """Number, name and data of each event so far."""

    def until(self, name: str) -> Any:
        """Read on to the next event called *name*; return its data."""
        for event in self._read():
            self.events.append(event)
            if event[1] == name:
                return event[2]
        raise AssertionError(f"no {name} came after {self.events}")

    def _read(self) -> Iterator[tuple[int, str, Any]]:
        told: dict[str, str] = {}
        for line in iter(self._answer.readline, b""):
            field, _, text = line.decode().strip().partition(": ")
            if field:
                told[field] = text
            elif "event" in told:
                yield int(told["id"]), told["event"], json.loads(told["data"])
                told = {}

    def rest(self) -> list[str]:
        """Read to the end; return the names of what has come since."""
        fresh = list(self._read())
        self.events += fresh
        return [name for _, name, _ in fresh]

    def close(self) -> None:
        self._answer.close()
        self._connection.close()


class Fleet:
    """Processes on one database."""

    def __init__(self, zygote: Zygote, url: str, folder: Path) -> None:
        self.zygote = zygote
        self.url = url
        self.folder = folder
        self.trace = Trace(str(folder / "trace"))
        self._log = folder / "log"
        self.members: list[Member] = []
        self.followers: list[Follower] = []

    @property
    def log(self) -> str:
        """What all processes have printed."""
        return self._log.read_text() if self._log.exists() else ""

    def environment(self, **changes: str) -> dict[str, str]:
        return {"DATABASE": self.url, "TRACE": self.trace.path, "LOG": str(self._log), **changes}

    def server(self, **environment: str) -> Member:
        """Start a server; `WORKER="no"` makes it one that only takes runs."""
        port = free_port()
        pid = self.zygote.start("tests.acceptance.fleet.stage:serve", self.environment(**environment), port)
        return self._joined(Member(self, pid, port))

    def worker(self, *arguments: str, **environment: str) -> Member:
        """Start `fastapi-chain worker`."""
        pid = self.zygote.start("tests.acceptance.fleet.stage:work", self.environment(**environment), *arguments)
        return self._joined(Member(self, pid))

    def _joined(self, member: Member) -> Member:
        self.members.append(member)
        return member

    def tell(self, name: str) -> None:
        """Make a file that tasks wait for."""
        (self.folder / name).touch()

    def told(self, what: str, run: str | None = None) -> list[list[Any]]:
        """Return the lines of the trace that say *what*: time, process, what, run and more."""
        return [line for line in self.trace.lines() if line[2] == what and run in {None, *line[3:4]}]

    def until(self, what: str, run: str | None = None, count: int = 1) -> list[list[Any]]:
        """Return when the trace says *what*."""
        wait_for(lambda: len(self.told(what, run)) >= count, f"{what} of {run}, among {self.trace.lines()}\n{self.log}")
        return self.told(what, run)

    def close(self) -> None:
        for follower in self.followers:
            follower.close()
        for member in self.members:
            if alive(member.pid):
                os.kill(member.pid, signal.SIGCONT)
                member.kill()
