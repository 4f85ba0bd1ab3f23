"""The first five minutes of a new user, with what README says and nothing else."""

import http.client
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import pytest

from tests.docs.pages import ROOT, blocks, commands, fits

README = [block for block in blocks(ROOT / "README.md") if block.language in {"console", "python"}]
COMMANDS = [command for block in README if block.language == "console" for command in commands(block)]
BIN = Path(sys.executable).parent


class Visitor:
    """Somebody with a terminal and a browser."""

    def __init__(self, folder: Path, port: int, log: IO[str]) -> None:
        self.folder = folder
        self.port = port
        self.log = log

    def wait_for(self, text: str) -> str:
        """Read what the server prints, until a line says *text*; return that line."""
        for line in self.log:
            if text in line:
                return line.rstrip("\n")
        raise AssertionError(f"the server ended without saying {text!r}")

    def ask(self, method: str, path: str, body: str | None = None) -> tuple[int, dict[str, str], str]:
        """Send a request, as soon as somebody answers: uvicorn says that it has started just before it listens."""
        headers = {"content-type": "application/json"} if body else {}
        until = time.monotonic() + 30
        while True:
            connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
            try:
                connection.request(method, path, body, headers)
                answer = connection.getresponse()
                text = answer.read().decode()
                return answer.status, {name.lower(): value for name, value in answer.getheaders()}, text
            except ConnectionError:
                if time.monotonic() > until:
                    raise
                time.sleep(0.05)
            finally:
                connection.close()

    def post(self) -> tuple[int, dict[str, str], str]:
        """Send the request that README shows."""
        (curl, *_) = [command for command in COMMANDS if command.words[0] == "curl"]
        return self.ask("POST", "/data", curl.words[curl.words.index("-d") + 1])

    def page(self, run: str) -> str:
        """Return the page of a run when it has finished."""
        self.ask("GET", f"/chains/runs/{run}/events")  # the stream ends with the run
        status, _, page = self.ask("GET", f"/chains/ui/runs/{run}")
        assert status == 200
        return page


@pytest.fixture
def port() -> int:
    """A port that is free."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def visitor(tmp_path: Path, port: int) -> Iterator[Visitor]:
    """Both files of README in an empty folder, and `fastapi dev`."""
    first, second = [block.text for block in README if block.language == "python"]
    (tmp_path / "first_chain.py").write_text(first)
    (tmp_path / "main.py").write_text(second)
    (words,) = [command.words for command in COMMANDS if command.words[0] == "fastapi"]
    server = subprocess.Popen(
        [str(BIN / words[0]), *words[1:], "--port", str(port)],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert server.stdout is not None
    yield Visitor(tmp_path, port, server.stdout)
    server.terminate()
    server.communicate(timeout=30)


def states(page: str) -> dict[str, str]:
    """Return the state of each task as the graph on the page of a run shows it."""
    return {name: state for state, name in re.findall(r'<\w+ class="node (\w+)".*?<title>(\w+):', page)}


def test_the_first_five_minutes(visitor: Visitor) -> None:
    """The log says where the dashboard is; a run is seen to succeed, another to fail and to be retried."""
    (shown,) = [command.printed for command in COMMANDS if command.words[0] == "fastapi"]
    said = visitor.wait_for("dashboard")
    assert fits(shown[0].replace(":8000", f":{visitor.port}"), said.strip())
    visitor.wait_for("startup complete")
    status, headers, body = visitor.post()
    assert (status, headers["location"]) == (202, f"/chains/runs/{headers['x-chain-run']}")
    assert set(states(visitor.page(headers["x-chain-run"])).values()) == {"succeeded"}

    file = visitor.folder / "first_chain.py"
    file.write_text(file.read_text().replace("    db.append(", '    raise OSError("the disk is full")\n    db.append('))
    visitor.wait_for("startup complete")  # it has loaded itself again
    failed = visitor.post()
    run = failed[1]["x-chain-run"]
    assert (failed[0], failed[2]) == (status, body)
    page = visitor.page(run)
    assert "OSError" in page
    assert "the disk is full" in page
    assert states(page) == {"clean": "succeeded", "save": "failed", "notify": "skipped", "index": "succeeded"}

    form = re.search(r'action="([^"]*/retry\?from=failed)"', page)
    assert form is not None
    assert visitor.ask("POST", f"/chains/ui/runs/{form[1].rpartition('runs/')[2]}")[0] == 303
    listed = subprocess.run(
        [str(BIN / "fastapi-chain"), "runs", "--url", f"http://127.0.0.1:{visitor.port}"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert run[:12] in listed.stdout
