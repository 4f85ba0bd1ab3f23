"""Real servers, each on a free port of 127.0.0.1, ended by the test."""

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent
HOST = "127.0.0.1"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


class Server:
    """One server process, and all that it starts."""

    def __init__(self, arguments: Sequence[str], folder: Path, **environment: str) -> None:
        self.port = free_port()
        self.told_in = folder / "told.txt"
        self.told_in.touch()
        self.log_in = folder / "log.txt"
        command = [sys.executable, "-m", *(text.format(port=self.port) for text in arguments)]
        variables = {**os.environ, "TOLD": str(self.told_in), "PYTHONPATH": str(HERE), **environment}
        with self.log_in.open("w") as log:
            # In a process group of its own, as in a terminal.
            self.process = subprocess.Popen(
                command, cwd=folder, env=variables, stdout=log, stderr=log, start_new_session=True
            )
        self._until_it_answers()

    def _until_it_answers(self) -> None:
        end = time.monotonic() + 30
        while True:
            try:
                self.get("/chains/chains")
            except OSError:
                assert time.monotonic() < end, self.log
                assert self.process.poll() is None, self.log
                time.sleep(0.02)
            else:
                return

    @property
    def log(self) -> str:
        return self.log_in.read_text()

    @property
    def told(self) -> list[str]:
        return self.told_in.read_text().split()

    def request(self, method: str, url: str, **headers: str) -> tuple[int, dict[str, str], Any]:
        """Return status, headers and JSON."""
        connection = http.client.HTTPConnection(HOST, self.port, timeout=40)
        try:
            connection.request(method, url, headers={name.replace("_", "-"): text for name, text in headers.items()})
            answer = connection.getresponse()
            body = answer.read()
            named = {name.lower(): text for name, text in answer.getheaders()}
            is_json = "json" in named.get("content-type", "")
            return answer.status, named, json.loads(body) if is_json else body
        finally:
            connection.close()

    def get(self, url: str, **headers: str) -> tuple[int, dict[str, str], Any]:
        return self.request("GET", url, **headers)

    def post(self, url: str, **headers: str) -> tuple[int, dict[str, str], Any]:
        return self.request("POST", url, **headers)

    def follow(self, url: str) -> "Follower":
        return Follower(self.port, url)

    def signal(self, number: int = signal.SIGTERM) -> None:
        self.process.send_signal(number)

    def interrupt_all(self) -> None:
        """Do what a terminal does on Ctrl-C: all processes of the server get the signal."""
        os.killpg(self.process.pid, signal.SIGINT)

    def seconds_until_it_ends(self) -> float:
        begun = time.monotonic()
        self.process.wait(40)
        return time.monotonic() - begun

    def close(self) -> None:
        if self.process.poll() is None:
            # Its workers as well.
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()


class Follower:
    """A client of a stream of events."""

    def __init__(self, port: int, url: str) -> None:
        self.connection = http.client.HTTPConnection(HOST, port, timeout=40)
        self.connection.request("GET", url)
        self.answer = self.connection.getresponse()
        if self.answer.status != 200:
            self.close()
            raise AssertionError(f"{url} answered {self.answer.status}")
        self.names: list[str] = []

    def read(self, last: str | None = None) -> str:
        """Read on to the event called *last*, or to the end; return the name of the last event."""
        for line in iter(self.answer.readline, b""):
            if line.startswith(b"event: "):
                self.names.append(line[7:].decode().strip())
                if self.names[-1] == last:
                    break
        return self.names[-1]

    def close(self) -> None:
        self.connection.close()


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[..., Server]]:
    """Return what starts a server: `serve("uvicorn", "shop:app", "--port", "{port}")`."""
    servers: list[Server] = []

    def start(*arguments: str, **environment: str) -> Server:
        servers.append(Server(arguments, tmp_path, **environment))
        return servers[-1]

    yield start
    for server in servers:
        server.close()
