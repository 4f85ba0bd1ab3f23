"""`runs`, `show`, `retry`, `cancel`: the runs of an app, wherever they are."""

from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from fastapi_chain._terminal import Line, Span, ago, draw_run, lasted, view_of
from fastapi_chain._terminal.words import SIGNS
from fastapi_chain._text import counted, shortened

from .discovery import find_app
from .http import HttpRuns
from .output import follow, say, say_json
from .source import Document, Runs, Wanted, whole_id
from .stopping import Stop
from .store import opened

_UNITS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_SHORT: Final = 12
"""As much of an id as is shown, and as is enough to find it again."""
_MANY: Final = 12
"""Up to how many tasks each has a sign of its own in a list."""


@asynccontextmanager
async def runs_of(app: str | None, url: str | None, headers: Sequence[str]) -> AsyncIterator[Runs]:
    """Find the runs of the app at *url*, else those in the database of *app*.

    Raises:
        Stop: There are none to be found.
    """
    if url is not None:
        yield HttpRuns(url, headers)
        return
    async with opened(find_app(app)) as stored:
        yield stored


def moment(text: str, now: datetime) -> datetime:
    """Return the moment that *text* means: so long ago (`90s`, `5m`, `2h`, `7d`), or a date.

    Raises:
        Stop: It means none.
    """
    number, unit = text[:-1], text[-1:]
    if unit in _UNITS and number.isdigit():
        return now - timedelta(seconds=int(number) * _UNITS[unit])
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise Stop(f"--since {text!r} is no time: 90s, 5m, 2h, 7d, or 2026-11-24T12:00") from None
    return at.astimezone(UTC)


# ----------------------------------------------------------------------------------------------------------------------
# A list of runs
# ----------------------------------------------------------------------------------------------------------------------


async def list_runs(runs: Runs, wanted: Wanted, *, as_json: bool) -> int:
    """Print the runs that are looked for."""
    page = await runs.page(wanted)
    if as_json:
        say_json(page)
    else:
        say(_table(page, datetime.now(UTC)))
    return 0


def _table(page: Document, now: datetime) -> list[Line]:
    items = page["items"]
    if not items:
        return [(Span("no runs", "dim"),)]
    rows: list[list[Line]] = [
        [(Span(title, "dim"),) for title in ("state", "run", "chain", "tasks", "started", "took", "error")]
    ]
    rows += [_row(item, now) for item in items]
    widths = [max(sum(len(span.text) for span in row[column]) for row in rows) for column in range(len(rows[0]))]
    more = ", and more: --limit" if page.get("next_cursor") else ""
    foot = f"{counted(len(items), 'run')}{more} · fastapi-chain show RUN for the details"
    return [*(_aligned(row, widths) for row in rows), (), (Span(foot, "dim"),)]


def _aligned(cells: Sequence[Line], widths: Sequence[int]) -> Line:
    spans: list[Span] = []
    for cell, width in zip(cells, widths, strict=True):
        spans += [*cell, Span(" " * (width - sum(len(span.text) for span in cell) + 2))]
    return tuple(spans[:-1])


def _row(item: Document, now: datetime) -> list[Line]:
    run = view_of(item)
    sign, style = SIGNS[run.state]
    took = "" if run.started_at is None else lasted(((run.finished_at or now) - run.started_at).total_seconds())
    failed = [record for record in run.tasks.values() if record.state == "failed" and record.error is not None]
    text = f"{failed[0].name}: {failed[0].error}" if failed else run.reason or ""
    return [
        (Span(f"{sign} {run.state}", style),),
        (Span(run.id[:_SHORT]),),
        (Span(run.chain, "strong"),),
        tuple(_strip(item)),
        (Span("" if run.started_at is None else ago(run.started_at, now), "dim"),),
        (Span(took),),
        (Span(shortened(text, 80), "bad"),),
    ]


def _strip(item: Document) -> Iterator[Span]:
    """Yield a sign for each task, or where there are many how many there are of each sign."""
    tasks = item["tasks"]
    if len(tasks) <= _MANY:
        yield from (Span(*SIGNS[task["state"]]) for task in tasks)
        return
    counts = item["counts"]
    for place, state in enumerate(counts):
        sign, style = SIGNS[state]
        yield Span(f"{' ' if place else ''}{counts[state]}{sign}", style)


# ----------------------------------------------------------------------------------------------------------------------
# One run
# ----------------------------------------------------------------------------------------------------------------------


def drawn(document: Document, *, full: bool) -> list[Line]:
    """Return the drawing of a run, with what can be done about it."""
    view = view_of(document)
    lines = draw_run(view, now=datetime.now(UTC), full=full)
    if document["state"] in {"failed", "cancelled"}:
        more = " · --traceback shows all frames" if view.tracebacks and not full else ""
        lines += [(), (Span(f"fastapi-chain retry {document['id'][:_SHORT]} runs again what failed{more}", "dim"),)]
    return lines


async def show(runs: Runs, run: str, *, watch: bool, full: bool, as_json: bool) -> int:
    """Print a run; if it is watched, as long as it goes on."""
    found = await whole_id(runs, run)
    if watch:
        return await watched(runs, found, full=full, as_json=as_json)
    document = await runs.get(found)
    if as_json:
        say_json(document)
    else:
        say(drawn(document, full=full))
    return 0


async def watched(runs: Runs, run: str, *, full: bool = False, as_json: bool = False) -> int:
    """Print a run until it has finished; return 1 if it has not succeeded."""
    document: Any = None
    if as_json:
        async for last in runs.watch(run):
            document = last
        say_json(document)
    else:
        document = await follow(runs.watch(run), lambda last: drawn(last, full=full))
    return 0 if document["state"] == "succeeded" else 1


async def retry(runs: Runs, run: str, from_: str, *, watch: bool, as_json: bool) -> int:
    """Let a run go on."""
    found = await whole_id(runs, run)
    document = await runs.retry(found, from_)
    if watch:
        return await watched(runs, found, as_json=as_json)
    _tell(document, f"runs again, from {from_}", as_json=as_json)
    return 0


async def cancel(runs: Runs, run: str, *, as_json: bool) -> int:
    """Cancel a run."""
    found = await whole_id(runs, run)
    _tell(await runs.cancel(found), "is cancelled", as_json=as_json)
    return 0


def _tell(document: Document, what: str, *, as_json: bool) -> None:
    if as_json:
        say_json(document)
    else:
        say([(Span(document["chain"], "strong"), Span(f" {document['id'][:_SHORT]} {what}"))])
