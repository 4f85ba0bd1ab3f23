"""`fastapi-chain runs`, `show`, `retry`, `cancel`, over the HTTP interface of an app that runs."""

import io
import json
import os
import pty
import re
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from fastapi_chain.cli.http import _lines
from fastapi_chain.cli.runs import moment
from fastapi_chain.cli.stopping import Stop
from fastapi_chain.web.models import RunModel, RunPage
from tests.cli.conftest import Cli, schema_holds

APP = """
import asyncio
import socket
import uvicorn
from fastapi import Depends, FastAPI, Header, HTTPException
from fastapi_chain import chain, install, task
from typing import Annotated

app = FastAPI()
runtime = install(app, expose_errors=True)


def guard(token: Annotated[str, Header()] = ""):
    if token == "wrong":
        raise HTTPException(401, "who are you?")


app.include_router(runtime.router(), prefix="/chains", dependencies=[Depends(guard)])
gate = asyncio.Event()
failing = {"yes": True}


@task(retries=1, backoff=0.01)
async def charge(order: str) -> str:
    if order == "bad" and failing["yes"]:
        raise PermissionError("declined")
    if order == "slow":
        await gate.wait()
    return order


@task(after=[charge])
async def receipt(charge: str) -> str:
    return charge


@task
async def numbers() -> list[int]:
    return list(range(15))


@task(each=numbers)
async def item(number: int) -> int:
    return number


many = [task(name=f"t{i}")(lambda: None) for i in range(14)]


@app.post("/orders/{order}", status_code=202)
@chain(receipt, tags={"order": "{order}"})
async def checkout(order: str) -> None:
    pass


@app.post("/many", status_code=202)
@chain(*many)
async def plenty() -> None:
    pass


@app.post("/mend")
async def mend() -> None:
    failing["yes"] = False


@app.post("/go")
async def go() -> None:
    gate.set()


if __name__ == "__main__":
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen()
    print(listener.getsockname()[1], flush=True)
    uvicorn.Server(uvicorn.Config(app, log_level="critical")).run(sockets=[listener])
"""


class Server:
    """An app that runs in a process of its own."""

    def __init__(self, url: str, folder: Path) -> None:
        self.url = url
        self.folder = folder

    def post(self, path: str) -> str:
        """Send a request; return the run that it has started."""
        request = urllib.request.Request(self.url + path, method="POST")
        with urllib.request.urlopen(request, timeout=10) as answer:
            return str(answer.headers.get("x-chain-run"))

    def run(self, order: str) -> str:
        """Start a run, and return its id when it has finished."""
        run = self.post(f"/orders/{order}")
        request = urllib.request.Request(f"{self.url}/chains/runs/{run}/events")
        with urllib.request.urlopen(request, timeout=10) as answer:
            answer.read()
        return run


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The app."""
    folder = tmp_path_factory.mktemp("served")
    (folder / "main.py").write_text(APP)
    process = subprocess.Popen([sys.executable, "main.py"], cwd=folder, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    yield Server(f"http://127.0.0.1:{int(process.stdout.readline())}", folder)
    process.terminate()
    process.wait(20)
    process.stdout.close()


def test_a_list_of_runs(cli: Cli, server: Server) -> None:
    """Each run with its state, the beginning of its id, a sign for each task, and what went wrong."""
    good, bad = server.run("pen"), server.run("bad")
    result = cli("runs", "--url", server.url)
    assert (result.code, result.err) == (0, "")
    rows = [re.split(" {2,}", line) for line in result.lines]
    assert rows[0] == ["state", "run", "chain", "tasks", "started", "took", "error"]
    (first,) = [row for row in rows if len(row) > 1 and row[1] == bad[:12]]
    assert [first[0], first[2], first[3], first[6]] == [
        "✗ failed",
        "checkout",
        "✗»",
        "charge: PermissionError: declined",
    ]
    (second,) = [row for row in rows if len(row) > 1 and row[1] == good[:12]]
    assert [second[0], second[3]] == ["✓ succeeded", "✓✓"]
    assert result.lines[-1].endswith("fastapi-chain show RUN for the details")
    listed = cli.process("runs", "--json", "--header", "token: right", "--url", f"{server.url}/chains/")
    assert (listed.code, listed.err, schema_holds(RunPage, listed.json)) == (0, "", True)


def test_filters(cli: Cli, server: Server) -> None:
    """Runs are looked for by state, chain, tag, text and age, and page by page."""
    run = server.run("ink")
    server.run("ink")

    def found(*arguments: str) -> list[str]:
        result = cli("runs", *arguments, "--json", FASTAPI_CHAIN_URL=server.url)
        assert list(result.json) == ["items", "next_cursor"]
        return [item["id"] for item in result.json["items"]]

    assert run in found("--state", "succeeded", "--state", "failed", "--chain", "checkout", "--tag", "order:ink")
    assert found("-q", run) == [run]
    assert found("--since", "1h", "--tag", "order:no such") == []
    assert found("--since", "2999-01-01") == []
    page = cli("runs", "--limit", "1", "--tag", "order:ink", "--json", "--url", server.url).json
    assert found("--limit", "1", "--tag", "order:ink", "--cursor", page["next_cursor"]) == [run]
    assert "1 run, and more: --limit" in cli("runs", "--limit", "1", "--url", server.url).out
    assert cli("runs", "--chain", "none", "--url", server.url).out == "no runs\n"


def test_many_tasks_are_counted(cli: Cli, server: Server) -> None:
    """Where there are too many tasks for a sign each, their states are counted."""
    run = server.post("/many")
    assert " 14✓ " in cli("runs", "-q", run, "--url", server.url).out


def test_a_run(cli: Cli, server: Server) -> None:
    """A run is shown on a time axis, by the beginning of its id; `--json` is what the app answers."""
    run = server.run("bad")
    result = cli("show", run[:10], "--url", server.url)
    assert (result.code, result.err) == (0, "")
    assert re.fullmatch(rf"checkout {run[:12]}  ✗ failed  POST /orders/\{{order\}} · .*", result.lines[0])
    assert re.fullmatch(r"✗  charge   +━[━╌ ]*  2 of 2 attempts", result.lines[2])
    assert re.fullmatch(r"»  receipt  +needs charge", result.lines[3])
    assert result.lines[4:] == [
        "",
        "charge failed after 2 attempts",
        f'  {server.folder}/main.py:26   raise PermissionError("declined")',
        "  PermissionError: declined",
        "  skipped because of it: receipt",
        "",
        f"fastapi-chain retry {run[:12]} runs again what failed · --traceback shows all frames",
    ]
    document = cli.process("show", run, "--json", "--url", server.url).json
    assert schema_holds(RunModel, document)
    assert (document["id"], document["state"], document["done"]) == (run, "failed", True)


def test_a_traceback(cli: Cli, server: Server) -> None:
    """`--traceback` shows all frames of a task that failed elsewhere, as far as that app shows its errors."""
    run = server.run("bad")
    shown = cli("show", run, "--url", f"{server.url}/chains")
    whole = cli("show", run, "--url", f"{server.url}/chains", "--traceback")
    frame = '      raise PermissionError("declined")'
    assert (frame in shown.lines, frame in whole.lines) == (False, True)
    assert ("/execute/" in shown.out, "--traceback" in whole.out) == (False, False)


def test_a_run_that_is_watched(cli: Cli, server: Server) -> None:
    """Where there is no terminal, a run that is watched is shown when it has finished; the exit code says how."""
    run = server.run("pen")
    assert cli("show", run, "--watch", "--url", server.url).code == 0
    run = server.run("bad")
    result = cli("show", run, "-w", "--json", "--url", server.url)
    assert (result.code, result.json["state"]) == (1, "failed")


def test_retry_and_cancel(cli: Cli, server: Server) -> None:
    """A failed run goes on, a running one is cancelled; what makes no sense is told in one line, with exit code 1."""
    run = server.run("bad")
    result = cli("cancel", run, "--url", server.url)
    assert (result.code, result.out) == (1, "")
    assert result.err.startswith(f"fastapi-chain: error: Run '{run}' has already failed")
    server.post("/mend")
    result = cli.process("retry", run[:12], "--url", server.url)
    assert (result.code, result.out) == (0, f"checkout {run[:12]} runs again, from failed\n")
    assert cli("show", run, "--watch", "--url", server.url).code == 0
    assert cli("retry", run, "--from", "start", "--watch", "--url", server.url).code == 0
    assert cli("retry", run, "--from", "nope", "--url", server.url).code == 2
    slow = server.post("/orders/slow")
    assert cli("retry", slow, "--url", server.url).code == 1
    result = cli("cancel", slow, "--url", server.url)
    assert (result.code, result.out) == (0, f"checkout {slow[:12]} is cancelled\n")
    assert cli("show", slow, "--watch", "--url", server.url).code == 1
    again = cli("retry", slow, "--json", "--url", server.url)
    assert (again.code, again.json["id"]) == (0, slow)
    cancelled = cli.process("cancel", slow, "--json", "--url", server.url)
    assert (cancelled.code, cancelled.err, schema_holds(RunModel, cancelled.json)) == (0, "", True)
    assert (cancelled.json["id"], schema_holds(RunModel, again.json)) == (slow, True)


def read_terminal(cli: Cli, *arguments: str, until: str = "", then: Any = None, **env: str) -> str:
    """Run a command on a terminal and return what it has printed; call *then* when it has printed *until*."""
    master, slave = pty.openpty()
    command = [sys.executable, "-m", "fastapi_chain", *arguments]
    given = {**cli.env, "TERM": "xterm-256color", **env}
    process = subprocess.Popen(command, cwd=cli.folder, env=given, stdin=slave, stdout=slave, stderr=slave)
    os.close(slave)
    text = ""
    while True:
        try:
            chunk = os.read(master, 4096)
        except OSError:
            break
        if not chunk:
            break
        text += chunk.decode(errors="replace")
        if then is not None and until in text:
            then()
            then = None
    os.close(master)
    process.wait(20)
    return text


def test_on_a_terminal(cli: Cli, server: Server) -> None:
    """On a terminal there are colours, unless NO_COLOR is set; a run that is watched is drawn again and again."""
    run = server.run("pen")
    assert "\x1b[32m✓" in read_terminal(cli, "show", run, "--url", server.url)
    assert "\x1b[" not in read_terminal(cli, "show", run, "--url", server.url, NO_COLOR="1")
    slow = server.post("/orders/slow")
    text = read_terminal(
        cli, "show", slow, "--watch", "--url", server.url, until="● running", then=lambda: server.post("/go")
    )
    assert text.index("● running") < text.rindex("✓ succeeded")


@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [
        (["show", "0" * 32], 1, "There is no run '00000000000000000000000000000000'."),  # the app's own words
        (["show", "nope"], 1, "there is no run 'nope'"),
        (["runs", "--tag", "order"], 2, "--tag 'order' is none: --tag order:1042"),
        (["runs", "--since", "soon"], 2, "--since 'soon' is no time: 90s, 5m, 2h, 7d, or 2026-11-24T12:00"),
        (["runs", "--header", "token"], 2, "--header 'token' is none: --header 'Authorization: Bearer ...'"),
        (["runs", "--header", "token: wrong"], 2, "/chains refuses with 401: give --header 'Authorization: ...'"),
        (["runs", "--state", "lost"], 2, "'lost' is not one of"),
        (["runs", "--nonsense"], 2, "No such option"),
        (["show"], 2, "Missing argument 'RUN'"),
        (["runs", "--url", "ftp://x"], 2, "--url 'ftp://x' is no address: --url http://127.0.0.1:8000"),
        (["runs", "--url", "http://127.0.0.1:1"], 2, "http://127.0.0.1:1 does not answer: "),
        (["runs", "--cursor", "nonsense"], 2, "cursor"),
    ],
)
def test_what_cannot_be_done(cli: Cli, server: Server, arguments: list[str], code: int, text: str) -> None:
    """One line says why; the exit code says whether something was found or nothing could be done."""
    result = cli(*arguments, FASTAPI_CHAIN_URL=server.url)
    assert (result.code, result.out) == (code, "")
    assert result.err.count("\n") == 1
    assert text in result.err


class Table(ThreadingHTTPServer):
    """A server that answers by a table of paths."""

    def __init__(self, answers: dict[str, Any]) -> None:
        """Answer each path with one of its answers after the other, the last one again and again."""
        self.answers = answers
        super().__init__(("127.0.0.1", 0), Handler)

    @property
    def url(self) -> str:
        """Where it is."""
        return f"http://127.0.0.1:{self.server_address[1]}"


class Handler(BaseHTTPRequestHandler):
    """Answers by the table of its server."""

    def do_GET(self) -> None:
        """Answer."""
        server = self.server
        assert isinstance(server, Table)
        answers = server.answers.get(self.path.partition("?")[0], [(404, "nothing here")])
        status, body = answers.pop(0) if len(answers) > 1 else answers[0]
        data = body.encode() if isinstance(body, str) else json.dumps(body).encode()
        self.send_response(status)
        self.send_header("content-length", str(len(data) + (status == 299)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def table() -> Iterator[Table]:
    """A server that knows nothing yet."""
    server = Table({})
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def document(state: str, **more: object) -> dict[str, object]:
    """Return a run as an app would answer."""
    return {
        "id": "a" * 32,
        "chain": "shop",
        "state": state,
        "done": state != "running",
        "tasks": [],
        "counts": {},
        **more,
    }


def test_a_stream_that_is_cut_off_is_taken_up_again(cli: Cli, table: Table) -> None:
    """A run is watched over as many streams as it takes, and each change is looked at."""
    running, done = document("running"), document("succeeded", started_at="2026-01-01T00:00:00Z")
    table.answers[f"/runs/{'a' * 32}"] = [(200, running)] * 3 + [(200, done)]
    events = "event: run.snapshot\nid: 1\ndata: {}\n\n"
    table.answers[f"/runs/{'a' * 32}/events"] = [(200, ""), (299, events), (200, events)]
    assert cli("show", "a" * 32, "--watch", "--url", table.url).out.startswith("shop aaaaaaaaaaaa  ✓ succeeded")


@pytest.mark.parametrize(
    ("status", "body", "text"),
    [
        (404, {"detail": "Not Found"}, "has no runs: give the address of fastapi_chain's router, prefix included"),
        (500, "oops", "answers 500"),
        (500, {"detail": "oops"}, "answers 500: oops"),
        (503, {"type": "urn:fastapi-chain:problem:engine-unavailable", "detail": "no database"}, "error: no database"),
        (200, "<html>", "is no app with fastapi_chain's router: give its address, prefix included"),
        (200, [], "is no app with fastapi_chain's router: give its address, prefix included"),
    ],
)
def test_an_answer_that_is_none(cli: Cli, table: Table, status: int, body: object, text: str) -> None:
    """What is no app of ours, or has troubles of its own, is told in one line; exit code 2."""
    table.answers["/runs"] = [(status, body)]
    result = cli("runs", "--url", table.url)
    assert (result.code, result.out) == (2, "")
    assert result.err.rstrip("\n").endswith(text)


def test_an_id_that_fits_two_runs(cli: Cli, table: Table) -> None:
    """The beginning of an id must be that of one run."""
    items = [document("running"), {**document("failed"), "id": "ab" * 16}]
    table.answers["/runs"] = [(200, {"items": items, "next_cursor": None})]
    result = cli("show", "a", "--url", table.url)
    assert (result.code, result.err) == (2, "fastapi-chain: error: 2 runs begin with 'a': give more of the id\n")


def test_a_run_that_has_not_begun(cli: Cli, table: Table) -> None:
    """A run that waits in a queue has no times yet; one that was ended as a whole says why."""
    items = [document("queued"), document("failed", reason="unconfirmed")]
    table.answers["/runs"] = [(200, {"items": items, "next_cursor": None})]
    rows = [re.split(" {2,}", line.strip()) for line in cli("runs", "--url", table.url).lines]
    assert rows[1:3] == [["· queued", "a" * 12, "shop"], ["✗ failed", "a" * 12, "shop", "unconfirmed"]]


def test_a_stream_that_breaks_off() -> None:
    """A connection that is lost ends the events as if the server had ended them."""

    class Lost(io.BytesIO):
        def __next__(self) -> bytes:
            line = super().__next__()
            if line == b"lost\n":
                raise ConnectionResetError
            return line

    assert list(_lines(Lost(b"event: task.changed\ndata: {}\nlost\n"))) == ["task.changed"]


def test_moments() -> None:
    """An age or a date, with its own zone or that of the machine, means a moment."""
    now = datetime(2026, 11, 24, 12, tzinfo=UTC)
    assert [moment(text, now).isoformat() for text in ("90s", "5m", "2h", "7d", "2026-01-02T03:04+00:00")] == [
        "2026-11-24T11:58:30+00:00",
        "2026-11-24T11:55:00+00:00",
        "2026-11-24T10:00:00+00:00",
        "2026-11-17T12:00:00+00:00",
        "2026-01-02T03:04:00+00:00",
    ]
    with pytest.raises(Stop):
        moment("", now)


def test_whoever_reads_may_go(cli: Cli, server: Server, tmp_path: Path) -> None:
    """A pipe that is closed, as by `head`, ends the command without a word."""
    command = (
        f"{sys.executable} -m fastapi_chain runs --url {server.url} 2>{tmp_path}/err | true; echo ${{PIPESTATUS[0]}}"
    )
    done = subprocess.run(["bash", "-c", command], env=cli.env, capture_output=True, text=True, check=False)
    assert (done.stdout, (tmp_path / "err").read_text()) == ("1\n", "")
