"""The command line as a process: what goes in, what comes out."""

import importlib
import json
import linecache
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest
from pydantic import BaseModel

from fastapi_chain.chains import all_chains
from fastapi_chain.cli.commands import run
from fastapi_chain.declare import default_registry

GOOD = """
from fastapi import FastAPI
from fastapi_chain import chain, task

app = FastAPI()


@task(retries=2)
async def clean(raw: str) -> int:
    return len(raw)


@task(after=[clean])
def save(clean: int) -> str:
    return f"saved {clean}"


@task(after=[clean, save])
async def notify() -> None:
    pass


@app.post("/data/{raw}", status_code=202)
@chain(notify)
async def ingest(raw: str) -> None:
    pass
"""


@dataclass(frozen=True)
class Result:
    """What a command has done."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """What it has printed, as JSON."""
        return json.loads(self.out)

    @property
    def lines(self) -> list[str]:
        """What it has printed, line by line."""
        return self.out.splitlines()


class Cli:
    """Runs commands in a folder of its own: in this process, or, as users do, in one of their own."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self.folder = folder
        self.monkeypatch = monkeypatch
        self.capsys = capsys
        self.env = {"PATH": os.environ["PATH"], "PYTHONPATH": os.pathsep.join(sys.path), "COLUMNS": "100"}
        self.env |= {name: value for name, value in os.environ.items() if name.startswith("COVERAGE")}

    def write(self, name: str, text: str) -> Path:
        """Write a file into the folder."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(dedent(text).lstrip())
        return path

    def __call__(self, *arguments: str, without: Sequence[str] = (), **env: str) -> Result:
        """Run a command in this process, as if the modules in *without* were not installed."""
        with self.monkeypatch.context() as patch, alone():
            patch.chdir(self.folder)
            for name, value in env.items():
                patch.setenv(name, value)
            for name in without:
                patch.setitem(sys.modules, name, None)
            self.capsys.readouterr()
            code = run(list(arguments))
        out, err = self.capsys.readouterr()
        return Result(code, out, err)

    def process(self, *arguments: str, without: Sequence[str] = (), **env: str) -> Result:
        """Run a command as a process."""
        command = [sys.executable, "-m", "fastapi_chain", *arguments]
        if without:
            lacking = f"import sys; sys.modules.update(dict.fromkeys({list(without)!r}))"
            command = [sys.executable, "-c", f"{lacking}; from fastapi_chain.cli import main; main()", *arguments]
        done = subprocess.run(
            command, cwd=self.folder, env={**self.env, **env}, capture_output=True, text=True, check=False, timeout=50
        )
        return Result(done.returncode, done.stdout, done.stderr)

    def python(self, *arguments: str) -> str:
        """Run a script of the folder; return what it has printed."""
        command = [sys.executable, *arguments]
        return subprocess.run(command, cwd=self.folder, env=self.env, capture_output=True, text=True, check=True).stdout

    def start(self, *arguments: str) -> "subprocess.Popen[str]":
        """Start a command that goes on until it is told to stop."""
        command = [sys.executable, "-m", "fastapi_chain", *arguments]
        return subprocess.Popen(
            command, cwd=self.folder, env=self.env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )


def schema_holds(schema: type[BaseModel], document: object) -> bool:
    """Whether a document has exactly the keys of *schema*, at every depth, and values of its types."""
    read = schema.model_validate(document)
    return read.model_dump(mode="json", by_alias=True) == document


@contextmanager
def alone() -> Iterator[None]:
    """Let no chain, module or path of before be seen within the block, and none of it afterwards."""
    chains, modules, path = list(all_chains), set(sys.modules), list(sys.path)
    all_chains.clear()
    try:
        with default_registry.emptied():
            yield
    finally:
        all_chains.clear()
        all_chains.update(chains)
        sys.path[:] = path
        for name in set(sys.modules) - modules:
            if not name.partition(".")[0].startswith("fastapi"):
                del sys.modules[name]
        importlib.invalidate_caches()
        linecache.clearcache()


@pytest.fixture
def cli(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Cli:
    """Commands in an empty folder."""
    return Cli(tmp_path, monkeypatch, capsys)


@pytest.fixture
def good(cli: Cli) -> Cli:
    """Commands in a folder with an app in which all is well."""
    cli.write("main.py", GOOD)
    return cli
