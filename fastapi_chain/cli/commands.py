"""Every command with its options."""

import asyncio
import sys
from collections.abc import Coroutine
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from fastapi_chain import __version__
from fastapi_chain.errors import ChainError, InvalidChain

from . import check as checking
from . import graph as drawing
from . import runs as looking
from .discovery import find_app
from .output import say, say_json, say_text
from .serve import work
from .source import Wanted
from .start import run_chain
from .stopping import Stop

app: Final = typer.Typer(
    name="fastapi-chain",
    help="Look at the chains of a FastAPI app: check them, draw them, watch and repeat their runs.",
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

App = Annotated[
    str | None,
    typer.Option(
        "--app", metavar="MODULE:APP", envvar="FASTAPI_CHAIN_APP", help="The app; default: that of `fastapi run`."
    ),
]
Url = Annotated[
    str | None,
    typer.Option(
        "--url", metavar="URL", envvar="FASTAPI_CHAIN_URL", help="A running app; default: the app's database."
    ),
]
Header = Annotated[
    list[str] | None, typer.Option("--header", metavar="NAME:VALUE", help="A header for --url; may be repeated.")
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Run = Annotated[str, typer.Argument(metavar="RUN", help="The id of a run, or its beginning.")]
Traceback = Annotated[bool, typer.Option("--traceback", help="Show whole tracebacks.")]


class State(StrEnum):
    """The state of a run."""

    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


class Form(StrEnum):
    """For whom the report of `check` is: a person, a program, or GitHub's pages."""

    TEXT = "text"
    JSON = "json"
    GITHUB = "github"


Format = Annotated[Form, typer.Option("--format", help="For a person, a program, or GitHub's pages.")]


def run(arguments: list[str] | None = None) -> int:
    """Run the command in *arguments*, those of this process by default; return the exit code."""
    try:
        code = int(app(args=arguments, prog_name="fastapi-chain", standalone_mode=False) or 0)
        sys.stdout.flush()
    except Stop as stop:
        return _ended(str(stop), stop.code)
    except InvalidChain as error:
        return _ended(f"{error.problem()} fastapi-chain check says what is wrong", 1)
    except ChainError as error:
        return _ended(error.problem(), 2)
    except (KeyboardInterrupt, typer.Abort):
        return 130
    except BrokenPipeError:
        # Whoever read the output has seen enough; Python would complain about it at its own end.
        sys.stdout = None
        return 1
    except Exception as error:
        # An error of typer's about what was typed in; of which module it is depends on the version.
        said = getattr(error, "format_message", None)
        if said is None:
            raise
        return _ended(f"{said()} (fastapi-chain --help says more)", 2)
    return code


def _ended(text: str, code: int) -> int:
    line = " ".join(text.split())
    sys.stderr.write(f"fastapi-chain: error: {line}\n")
    return code


def _done(action: Coroutine[Any, Any, int]) -> int:
    return asyncio.run(action)


@app.callback(invoke_without_command=True)
def every(
    context: typer.Context,
    *,
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    """Look at the chains of a FastAPI app: check them, draw them, watch and repeat their runs."""
    if version:
        say_text(f"fastapi-chain {__version__}")
        raise typer.Exit
    if context.invoked_subcommand is None:
        say_text(context.get_help())
        raise typer.Exit(2)


@app.command()
def check(*, app: App = None, form: Format = Form.TEXT, as_json: Json = False) -> int:
    """Check every chain of the app; exit with 1 if something is wrong."""
    return _print(checking.check_app(app), form, as_json=as_json)


def _print(report: checking.Report, form: Form, *, as_json: bool) -> int:
    if as_json or form is Form.JSON:
        say_json(report.document())
    elif form is Form.GITHUB:
        say_text(checking.as_github(report))
    else:
        say(checking.as_text(report))
    return 0 if report.ok else 1


@app.command()
def graph(
    chain: Annotated[str | None, typer.Argument(metavar="[CHAIN]", help="The chain; default: all.")] = None,
    *,
    app: App = None,
    form: Annotated[drawing.Format, typer.Option("--format", help="What to draw it as.")] = drawing.Format.TERMINAL,
    output: Annotated[Path | None, typer.Option("--output", "-o", metavar="FILE", help="Where to write it.")] = None,
    as_json: Json = False,
) -> int:
    """Draw a chain: as boxes or a tree here, or as Mermaid, SVG, Graphviz or JSON."""
    drawing.draw(drawing.chosen(find_app(app), chain), drawing.Format.JSON if as_json else form, output)
    return 0


@app.command()
def runs(
    *,
    app: App = None,
    url: Url = None,
    header: Header = None,
    state: Annotated[list[State] | None, typer.Option(help="Only runs in this state; may be repeated.")] = None,
    chain: Annotated[str | None, typer.Option(help="Only runs of this chain.")] = None,
    tag: Annotated[list[str] | None, typer.Option(metavar="NAME:VALUE", help="Only runs with this tag.")] = None,
    text: Annotated[str | None, typer.Option("--text", "-q", help="Only runs with this text.")] = None,
    since: Annotated[str | None, typer.Option(help="Only runs made since then: 5m, 2h, 7d, or a date.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=200, help="How many at most.")] = 20,
    cursor: Annotated[str | None, typer.Option(help="The next_cursor of the page before.")] = None,
    as_json: Json = False,
) -> int:
    """List runs, the newest first."""
    wrong = [text for text in tag or () if ":" not in text]
    if wrong:
        raise Stop(f"--tag {wrong[0]!r} is none: --tag order:1042")
    wanted = Wanted(
        states=tuple(state or ()),
        chain=chain,
        tags=tuple(tag or ()),
        text=text,
        since=None if since is None else looking.moment(since, datetime.now(UTC)),
        limit=limit,
        cursor=cursor,
    )

    async def main() -> int:
        async with looking.runs_of(app, url, header or ()) as source:
            return await looking.list_runs(source, wanted, as_json=as_json)

    return _done(main())


@app.command()
def show(
    run: Run,
    *,
    app: App = None,
    url: Url = None,
    header: Header = None,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Go on until it has finished.")] = False,
    traceback: Traceback = False,
    as_json: Json = False,
) -> int:
    """Show a run: each task with its attempts on a time axis, and what went wrong."""

    async def main() -> int:
        async with looking.runs_of(app, url, header or ()) as source:
            return await looking.show(source, run, watch=watch, full=traceback, as_json=as_json)

    return _done(main())


@app.command()
def retry(
    run: Run,
    *,
    from_: Annotated[str, typer.Option("--from", metavar="TASK", help="failed, start, or a task.")] = "failed",
    app: App = None,
    url: Url = None,
    header: Header = None,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Show it until it has finished.")] = False,
    as_json: Json = False,
) -> int:
    """Let a run that has failed go on; what succeeded is kept."""

    async def main() -> int:
        async with looking.runs_of(app, url, header or ()) as source:
            return await looking.retry(source, run, from_, watch=watch, as_json=as_json)

    return _done(main())


@app.command()
def cancel(
    run: Run,
    *,
    app: App = None,
    url: Url = None,
    header: Header = None,
    as_json: Json = False,
) -> int:
    """Cancel a run."""

    async def main() -> int:
        async with looking.runs_of(app, url, header or ()) as source:
            return await looking.cancel(source, run, as_json=as_json)

    return _done(main())


@app.command("run")
def run_here(
    chain: Annotated[str, typer.Argument(metavar="CHAIN", help="The chain.")],
    *,
    inputs: Annotated[
        list[str] | None,
        typer.Option("--input", "-i", metavar="NAME=VALUE", help="An input: JSON, text or @FILE."),
    ] = None,
    app: App = None,
    traceback: Traceback = False,
    as_json: Json = False,
) -> int:
    """Run a chain here and show the run; exit with 1 if it has not succeeded."""
    return _done(run_chain(find_app(app), chain, inputs or (), full=traceback, as_json=as_json))


@app.command()
def worker(
    app: App = None,
    queues: Annotated[
        str, typer.Option(metavar="NAMES", help="Queues of tasks with queue=... to work on: gpu,mail.")
    ] = "",
) -> int:
    """Run what waits in the database of the app's engine, without a server, until Ctrl-C."""
    return _done(work(find_app(app), [name for name in queues.split(",") if name]))


@app.command()
def typecheck(
    *,
    app: App = None,
    checker: Annotated[
        str | None, typer.Option(metavar="NAME", help="mypy, pyright, ty or pyrefly; default: the one of this project.")
    ] = None,
    form: Format = Form.TEXT,
    as_json: Json = False,
) -> int:
    """Check with any type checker what flows between tasks; exit with 1 if something is wrong."""
    return _print(checking.check_types(app, checker), form, as_json=as_json)
