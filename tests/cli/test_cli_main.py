"""`fastapi-chain` itself: help, version, what is not installed."""

import io
import subprocess
import sys
from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path

import pytest
import typer

from fastapi_chain import __version__
from fastapi_chain.cli import commands, main
from tests.cli.conftest import Cli


def test_help_lists_all_commands(cli: Cli) -> None:
    """Without a command the help is printed, with exit code 2; `--help` prints the same, with 0."""
    bare = cli()
    assert (bare.code, bare.err) == (2, "")
    asked = cli("--help")
    assert (asked.code, asked.out) == (0, bare.out)
    listed = bare.out.partition("Commands:\n")[2].split("\n")
    assert [line.split()[0] for line in listed if line[:3].strip()] == [
        "check",
        "graph",
        "runs",
        "show",
        "retry",
        "cancel",
        "run",
        "worker",
        "typecheck",
    ]


def test_each_command_explains_itself(cli: Cli) -> None:
    """Every command has a help text, and each of its options one."""
    for command in ("check", "graph", "runs", "show", "retry", "cancel", "run", "worker", "typecheck"):
        result = cli(command, "-h")
        assert (result.code, result.err) == (0, "")
        assert result.out.startswith(f"Usage: fastapi-chain {command}")


def test_importing_it_runs_nothing() -> None:
    """`fastapi_chain.__main__` runs a command only as `python -m fastapi_chain`."""
    assert import_module("fastapi_chain.__main__").main is main


def test_version(cli: Cli) -> None:
    """The version is that of the package."""
    assert cli("--version").out == f"fastapi-chain {__version__}\n"


def test_the_script(cli: Cli) -> None:
    """The script `fastapi-chain` is the same as `python -m fastapi_chain`."""
    (script,) = entry_points(group="console_scripts", name="fastapi-chain")
    assert script.load() is main
    path = Path(sys.executable).parent / "fastapi-chain"
    done = subprocess.run([path, "--version"], capture_output=True, text=True, check=False, env=cli.env)
    assert done.stdout == cli.process("--version").out


@pytest.mark.parametrize("lacking", ["typer", "rich", "fastapi_cli"])
def test_without_what_it_needs(cli: Cli, lacking: str) -> None:
    """Who lacks a part is told in one line what to install."""
    result = cli.process("check", without=[lacking])
    assert (result.code, result.out) == (2, "")
    assert result.err == f"fastapi-chain: error: {lacking} is not installed: pip install 'fastapi-chain[cli]'\n"


def test_another_part_that_is_missing_is_a_bug(monkeypatch: pytest.MonkeyPatch) -> None:
    """A module that is missing for another reason is told as Python tells it."""
    monkeypatch.setitem(sys.modules, "fastapi_chain.cli.commands", None)
    with pytest.raises(ModuleNotFoundError):
        main()


def test_ctrl_c(cli: Cli) -> None:
    """A command that is interrupted ends with 130 and says nothing."""
    cli.write("main.py", "raise KeyboardInterrupt\n")
    result = cli("check")
    assert (result.code, result.out, result.err) == (130, "", "")


def test_ctrl_c_as_other_versions_of_typer_tell_it(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where typer leaves it to us to say what an interrupt means, it means the same."""

    def interrupted(**_: object) -> int:
        raise typer.Abort

    monkeypatch.setattr(commands, "app", interrupted)
    result = cli("check")
    assert (result.code, result.out, result.err) == (130, "", "")


def test_a_bug_of_ours_is_no_line(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """What no command expects is raised as it is, with its traceback."""
    cli.write("main.py", "from fastapi import FastAPI\n\napp = FastAPI()\n")
    monkeypatch.setattr(commands.checking, "check_app", lambda _: {}["a bug"])
    with pytest.raises(KeyError):
        cli("check")


def test_an_error_of_ours_is_a_line(cli: Cli) -> None:
    """An error of the library that ends a command is told by its first line."""
    cli.write(
        "main.py",
        """
        from fastapi import FastAPI
        from fastapi_chain import chain, install, task

        app = FastAPI()
        install(app)

        @task(after=["nobody"])
        async def save() -> None:
            pass

        @task
        async def fine() -> None:
            pass

        good = chain(fine, name="good")

        @app.post("/")
        @chain(save)
        async def start() -> None:
            pass
        """,
    )
    result = cli("run", "good")
    assert (result.code, result.out) == (1, "")
    assert result.err == (
        "fastapi-chain: error: The chains of this app cannot run: 1 problem. fastapi-chain check says what is wrong\n"
    )


def test_a_pipe_that_is_closed_before_the_end(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is still to be written when nobody reads any more is dropped without a word."""

    class Closed(io.StringIO):
        def flush(self) -> None:
            raise BrokenPipeError

    monkeypatch.setattr(sys, "stdout", Closed())
    assert commands.run(["--help"]) == 1
    assert sys.stdout is None
