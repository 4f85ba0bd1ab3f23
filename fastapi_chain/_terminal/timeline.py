"""A run: a bar on a time axis for each task, then what went wrong."""

import traceback
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Final

from fastapi_chain._text import counted, listed
from fastapi_chain.outcome import Attempt, ErrorInfo, TaskRecord

from .frames import own_frames, own_frames_of
from .styled import Line, Span, Style
from .view import Shown
from .words import SIGNS, lasted, why_skipped

BAR: Final = 46
"""How many characters wide the time axis is."""

_ITEMS: Final = 8
"""How many items of a fan-out are shown, those that did not go well first."""

_BEHIND: Final = "upstream_failed: "


def draw_run(run: Shown, *, now: datetime, full: bool = False) -> list[Line]:
    """Return a drawing of *run*.

    Args:
        run: What to draw.
        now: Where the bars of what still runs end.
        full: Whether all frames of tracebacks are shown, not only those of the user's own code.
    """
    rows = [_row for record in run.tasks.values() for _row in _rows(record)]
    began = run.started_at or now
    axis = _Axis(began, max(0.001, ((run.finished_at or now) - began).total_seconds()))
    width = max((len(label) for label, _ in rows), default=0)
    lines: list[Line] = [_head(run, now), ()]
    for label, record in rows:
        sign, style = SIGNS[record.state]
        quiet: Style = "dim" if record.state in {"pending", "skipped", "cancelled"} else "strong"
        detail = Span(f"  {_detail(record, now)}", style if style != "good" else "dim")
        bar = axis.bar(record, now)
        lines.append((Span(f"{sign}  ", style), Span(f"{label:<{width}}  ", quiet), *bar, detail, *_undo(record)))
    return [*lines, *_mishaps(run, full=full)]


def _head(run: Shown, now: datetime) -> Line:
    sign, style = SIGNS[run.state]
    about = [getattr(run, "started_by", None), run.reason]
    if run.started_at is not None:
        about.append(lasted(((run.finished_at or now) - run.started_at).total_seconds()))
    return (
        Span(run.chain, "strong"),
        Span(f" {run.id[:12]}  ", "dim"),
        Span(f"{sign} {run.state}", style),
        Span(f"  {' · '.join(text for text in about if text)}", "dim"),
    )


def _rows(record: TaskRecord) -> Iterator[tuple[str, TaskRecord]]:
    """Yield a task, and below a fan-out the items that a reader wants to see."""
    yield record.name, record
    telling = [item for item in record.items.values() if item.state not in {"succeeded", "pending"}]
    for item in telling[:_ITEMS]:
        yield f"  {item.name}", item


class _Axis:
    """Where moments lie on the bars."""

    def __init__(self, began: datetime, seconds: float) -> None:
        self._began = began
        self._seconds = seconds

    def bar(self, record: TaskRecord, now: datetime) -> Iterator[Span]:
        """Yield the bar of a task: a line for each attempt, a dotted one for the waits between."""
        cells: list[tuple[str, Style]] = [(" ", "")] * BAR
        before: int | None = None
        for attempt in record.attempts:
            left = min(BAR - 1, self._cell(attempt.started_at))
            right = max(left + 1, self._cell(attempt.finished_at or now))
            if before is not None and before < left:
                cells[before:left] = [("╌", "waiting")] * (left - before)
            cells[left:right] = [("━", SIGNS[attempt.state][1])] * (right - left)
            before = right
        yield from _joined(cells)

    def _cell(self, moment: datetime) -> int:
        part = (moment - self._began).total_seconds() / self._seconds
        return min(BAR, max(0, round(part * BAR)))


def _joined(cells: Sequence[tuple[str, Style]]) -> Iterator[Span]:
    """Yield cells of one style as one span."""
    text, style = "", cells[0][1]
    for sign, its_style in cells:
        if its_style != style:
            yield Span(text, style)
            text, style = "", its_style
        text += sign
    yield Span(text, style)


def _detail(record: TaskRecord, now: datetime) -> str:
    """Return what the end of a task's row says."""
    attempts = len(record.attempts)
    match record.state:
        case "skipped":
            return why_skipped(record.skip_reason or "")
        case "cancelled":
            return record.cancel_reason or "cancelled"
        case "pending":
            return "waiting"
        case "retrying":
            at = record.next_attempt_at or now
            return f"attempt {attempts + 1}/{record.max_attempts} in {lasted(max(0.0, (at - now).total_seconds()))}"
        case "running" if record.progress is not None:
            return _progress(record)
    if record.items:
        return f"{counted(len(record.items), 'item')} · {_took(record.attempts, now)}"
    if record.state == "failed" and record.max_attempts > 1:
        return f"{attempts} of {record.max_attempts} attempts"
    tries = f" · attempt {attempts}/{record.max_attempts}" if attempts > 1 else ""
    return f"{_took(record.attempts, now)}{tries}"


def _undo(record: TaskRecord) -> Iterator[Span]:
    """Yield what became of the effect of a task that was to be undone."""
    if record.undo_error is not None:
        yield Span(" · undo failed", "bad")
    elif record.undone:
        yield Span(" · undone", "dim")


def _took(attempts: Sequence[Attempt], now: datetime) -> str:
    if not attempts:
        return ""
    return lasted(((attempts[-1].finished_at or now) - attempts[0].started_at).total_seconds())


def _progress(record: TaskRecord) -> str:
    progress = record.progress
    assert progress is not None, "asked only where there is one"
    of = f" of {progress.total:g}" if progress.total else ""
    percent = f"{100 * progress.done / progress.total:.0f} % · " if progress.total else ""
    text = f" · {progress.text}" if progress.text else ""
    return f"{percent}{progress.done:g}{of}{text}"


def _mishaps(run: Shown, *, full: bool) -> Iterator[Line]:
    """Yield what is to be said about each task that failed, and about each undo that did."""
    for record in run.tasks.values():
        if record.undo_error is not None:
            yield from ((), (Span(record.name, "bad"), Span(" could not be undone")), *_words(record.undo_error))
        if record.state != "failed":
            continue
        tries = len(record.attempts)
        yield ()
        yield (Span(record.name, "bad"), Span(f" failed after {counted(tries, 'attempt')}"))
        yield from _traceback(run, record, full=full)
        if record.error is not None:
            yield from _words(record.error)
        behind = [r.name for r in run.tasks.values() if r.skip_reason == f"{_BEHIND}{record.name}"]
        if behind:
            yield (Span(f"  skipped because of it: {listed(behind)}", "dim"),)


def _words(error: ErrorInfo) -> Iterator[Line]:
    """Yield an error in its own words, on as many lines as it has."""
    first, *more = str(error).removeprefix(error.type).splitlines() or [""]
    yield (Span("  "), Span(error.type, "bad"), Span(first))
    yield from ((Span(f"    {line}"),) for line in more)


def _traceback(run: Shown, record: TaskRecord, *, full: bool) -> Iterator[Line]:
    """Yield where a task failed, as far as that is known here."""
    error = run.errors.get(record.name)
    text: str | None = getattr(run, "tracebacks", {}).get(record.name)
    if not full:
        yield from own_frames_of(text or "") if error is None else own_frames(error)
        return
    if error is not None:
        text = "".join(traceback.format_tb(error.__traceback__))
    if text is not None:
        yield from ((Span(f"  {line}"),) for line in text.rstrip().splitlines())
