"""What pages show in a console: it is typed in, and what is printed is what the page says."""

import logging
import os
import re
import subprocess
import sys
import time
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI

from fastapi_chain.testing import chain_client
from tests.docs.pages import ALL_COMMANDS, DOCS, EXAMPLES, ID, PAGES, Command, blocks, commands, fits, load, title

KNOWN = {"cd", "curl", "fastapi", "fastapi-chain", "git", "granian", "gunicorn", "hypercorn", "kill", "make", "pip"}
KNOWN |= {"cat", "echo", "psql", "pytest", "python", "sqlite3", "uvicorn"}

ELSEWHERE = {DOCS / name for name in ("guide/deploy.md", "guide/several-machines.md", "reference/http.md")}
"""The pages whose processes test_processes.py starts."""

CLI = Path(sys.executable).with_name("fastapi-chain")


def app_of(page: Path) -> str | None:
    """Return the example whose app the page talks to: the first that it includes, but what was there before."""
    if page.name == "README.md":
        return "first_chain"
    names = (name.removesuffix(".py") for block in blocks(page) for name in block.snippets)
    return next((name for name in names if not name.startswith("before/")), None)


def requests(page: Path) -> dict[str, list[Command]]:
    """Return what a page sends with curl, by the app it is sent to: a program that is shown as a whole is the next one."""
    app, found = app_of(page), {}
    for block in blocks(page):
        if block.language == "python" and block.is_included and block.whole:
            app = block.whole.removesuffix(".py")
        elif block.language == "console" and app is not None:
            found.setdefault(app, []).extend(one for one in commands(block) if one.words[0] in {"curl", "echo"})
    return {app: sent for app, sent in found.items() if sent}


def send(client: Any, words: list[str]) -> Any:
    """Send what curl would be told to send."""
    method, headers, body, url, files = "GET", {}, None, "", {}
    options = iter(words[1:])
    for word in options:
        if word == "-X":
            method = next(options)
        elif word == "-H":
            name, _, value = next(options).partition(":")
            headers[name] = value.strip()
        elif word == "-d":
            body = next(options)
        elif word == "-u":
            headers["authorization"] = f"Basic {b64encode(next(options).encode()).decode()}"
        elif word == "-F":
            field, _, name = next(options).partition("=@")
            files[field] = (name, Path(name).read_bytes())
        elif word not in {"-i", "-N", "-s"}:
            url = word
    path = re.sub(r"^(https?://)?[\w.-]+(:\d+)?(?=/)", "", url)
    return client.request(method, path, headers=headers, content=body, files=files or None)


def answered(client: Any, words: list[str]) -> Any:
    """Send a request; one for something that has not happened yet is repeated for a while, as a reader would."""
    until = time.monotonic() + 20
    while True:
        response = send(client, words)
        asked = response.request.method == "GET"
        if not (asked and b'"done":false' in response.content) or time.monotonic() > until:
            return response
        time.sleep(0.1)


def started(response: Any) -> str | None:
    """Return the id of the run that an endpoint tells of in its answer."""
    found = re.search(r'^\{"run":"(\w+)"\}$', response.text)
    return found and found[1]


@pytest.fixture
def _no_log_of_dbos() -> Iterator[None]:
    """Let DBOS forget where it logs: that ends with the test."""
    yield
    logging.getLogger("dbos").handlers.clear()


@pytest.mark.usefixtures("_no_log_of_dbos")
@pytest.mark.parametrize("page", [page for page in PAGES if requests(page) and page not in ELSEWHERE], ids=title)
def test_curl(page: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each request is answered as the page shows, and its chain prints what the page shows and nothing else."""
    monkeypatch.chdir(tmp_path)
    for app, sent in requests(page).items():
        check(load(app).app, sent, capsys)


def check(app: FastAPI, sent: list[Command], capsys: pytest.CaptureFixture[str]) -> None:
    """Send what a page sends to one app, and compare."""
    with chain_client(app) as client:
        run = ID
        for command in sent:
            if command.words[0] == "echo":
                Path(command.words[-1]).write_text(" ".join(command.words[1:-2]))
                continue
            response = answered(client, [word.replace(ID, run) for word in command.words])
            run = response.headers.get("x-chain-run") or started(response) or run
            printed = capsys.readouterr().out.splitlines()
            head = [f"HTTP/1.1 {response.status_code} {response.reason_phrase}"]
            head += [f"{name}: {value}" for name, value in response.headers.items()]
            said = [*(head if "-i" in command.words else ()), *response.text.splitlines(), *printed]
            shown = command.printed
            missing = [line for line in shown if not any(fits(line, there) for there in said)]
            assert missing == [], f"{command}: not printed, but\n" + "\n".join(said)
            unsaid = [line for line in printed if not any(fits(line_, line) for line_ in shown)]
            assert unsaid == [], f"{command}: printed, but not shown"


def is_run(command: Command) -> bool:
    """Whether a command of ours is run as it stands: it needs no server, and the page shows what it prints."""
    return command.words[0] == "fastapi-chain" and bool(command.printed)


@pytest.mark.parametrize("command", [command for command in ALL_COMMANDS if is_run(command)], ids=str)
def test_fastapi_chain(command: Command) -> None:
    """Our own command prints what the page shows; `…` stands for what is different each time."""
    environment = {**os.environ, "COLUMNS": "80", "NO_COLOR": "1", "TERM": "dumb"}
    done = subprocess.run(
        [CLI, *command.words[1:]],
        cwd=EXAMPLES / folder_of(command),
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    printed = [line.rstrip() for line in (done.stdout + done.stderr).splitlines() if line.strip()]
    assert len(printed) == len(command.printed), done.stdout + done.stderr
    unlike = [line for line in command.printed if not any(fits(line, there) for there in printed)]
    assert unlike == [], done.stdout + done.stderr


def folder_of(command: Command) -> str:
    """Return the folder of the app that a command is about."""
    name = app_of(command.block.page)
    return "" if name is None else str(Path(name.replace("/shop/", "/")).parent)


@pytest.mark.parametrize("command", [command for command in ALL_COMMANDS if command.words[0] == "pytest"], ids=str)
def test_pytest(command: Command) -> None:
    """The tests that a page shows pass, as a user would run them."""
    options = ["-q", "-p", "no:cacheprovider", "--rootdir", "."]
    done = subprocess.run(
        [sys.executable, "-m", *command.words, *options],
        cwd=EXAMPLES / folder_of(command),
        capture_output=True,
        text=True,
        check=False,
    )
    assert all(line in done.stdout for line in command.printed), done.stdout + done.stderr


@pytest.mark.parametrize("command", ALL_COMMANDS, ids=str)
def test_options_exist(command: Command, helps: dict[str, str]) -> None:
    """A command that a page shows is one that we know, and our own has the options that it is given."""
    words = [word for word in command.words if not re.match(r"[A-Z_]+=", word)]
    assert words[0] in KNOWN, f"{command}: is that a command?"
    if words[0] != "fastapi-chain":
        return
    name = next((word for word in words[1:] if not word.startswith("-")), "")
    known = helps[name]
    for word in words[1:]:
        if word.startswith("--"):
            assert word.partition("=")[0] in known, f"{command}: no such option"


@pytest.fixture(scope="session")
def helps() -> dict[str, str]:
    """What `--help` says of each command."""
    names = ["", "check", "graph", "runs", "show", "retry", "cancel", "run", "worker", "typecheck"]
    return {
        name: subprocess.run([CLI, *filter(None, [name]), "--help"], capture_output=True, text=True, check=True).stdout
        for name in names
    }
