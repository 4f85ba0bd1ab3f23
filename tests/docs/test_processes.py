"""Pages that speak of several processes and of signals: they are started and ended as the page says."""

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.docs.pages import DOCS, EXAMPLES, blocks, commands, fits

BIN = Path(sys.executable).parent
HOST = "127.0.0.1"

Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def port() -> int:
    """A port that is free."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start a program in an empty folder, with the examples of the guides to import; it is ended with the test."""
    started = []

    def begin(*command: str, **environment: str) -> "subprocess.Popen[str]":
        variables = {**os.environ, "PYTHONPATH": str(EXAMPLES / "guide"), "PYTHONUNBUFFERED": "1", **environment}
        process = subprocess.Popen(
            [str(BIN / command[0]), *command[1:]],
            cwd=tmp_path,
            env=variables,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    yield begin
    for process in started:
        if process.poll() is None:
            process.kill()
        process.communicate()


def ask(port: int, method: str, path: str) -> tuple[int, dict[str, str], Any]:
    """Send a request, as soon as somebody answers."""
    until = time.monotonic() + 30
    while True:
        connection = http.client.HTTPConnection(HOST, port, timeout=10)
        try:
            connection.request(method, path)
            answer = connection.getresponse()
            headers = {name.lower(): value for name, value in answer.getheaders()}
            return answer.status, headers, json.loads(answer.read())
        except ConnectionError:
            if time.monotonic() > until:
                raise
            time.sleep(0.05)
        finally:
            connection.close()


def typed_in(page: str, program: str) -> list[list[str]]:
    """Return the commands of *program* that a page shows, without what puts them into the background."""
    lines = [
        command.words for block in blocks(DOCS / page) if block.language == "console" for command in commands(block)
    ]
    bare = [[word for word in words if "=" not in word or word.startswith("-")] for words in lines]
    return [[word for word in words if word != "&"] for words in bare if words and words[0] == program]


def test_several_machines(start: Start, port: int) -> None:
    """A server that only takes runs leaves them alone; a worker runs them, and the server shows the result."""
    (server,) = typed_in("guide/several-machines.md", "uvicorn")
    worker = typed_in("guide/several-machines.md", "fastapi-chain")[-1]
    start(*server, "--port", str(port), WORKER="no")
    status, headers, _ = ask(port, "POST", "/pictures?name=cat")
    assert status == 202
    path = f"/chains/runs/{headers['x-chain-run']}"
    run = ask(port, "GET", path)[2]
    assert (run["chain"], run["state"], run["done"]) == ("picture", "queued", False)
    arguments = [word.replace("several.py", str(EXAMPLES / "guide" / "several.py")) for word in worker]
    start(*arguments)
    until = time.monotonic() + 30
    while (answer := ask(port, "GET", f"{path}/result"))[0] == 202 and time.monotonic() < until:
        time.sleep(0.1)
    assert answer[2] == {"resize": "cat.png"}


def test_deploy(start: Start, port: int) -> None:
    """Links begin with the path that the proxy cuts off; the server ends when the run has, not before."""
    (server,) = typed_in("guide/deploy.md", "uvicorn")
    process = start(*server, "--port", str(port))
    status, headers, _ = ask(port, "POST", "/orders?seconds=1")
    assert status == 202
    assert headers["location"] == f"/api/chains/runs/{headers['x-chain-run']}"
    process.send_signal(signal.SIGTERM)
    assert process.communicate(timeout=30)[0].splitlines()[-1] == "shipped"
    assert process.returncode in {0, -signal.SIGTERM}


def test_observability(start: Start, port: int) -> None:
    """What the log says of a task that fails twice is what the page shows, line by line."""
    (server,) = typed_in("guide/observability.md", "uvicorn")
    process = start(*server, "--port", str(port))
    assert ask(port, "POST", "/mails?address=ann")[0] == 202
    process.send_signal(signal.SIGTERM)
    printed = process.communicate(timeout=30)[1].splitlines()
    (shown,) = [block.text for block in blocks(DOCS / "guide/observability.md") if block.title.startswith("on the")]
    assert [line for line in shown.splitlines() if not any(fits(line, there) for there in printed)] == []
