"""The log of a run: what its tasks wrote, and what became of their attempts, in one order."""

from collections.abc import Iterator
from datetime import datetime
from typing import Final, NamedTuple

from fastapi_chain._clock import utc
from fastapi_chain.observe.tasklog import LogLine, lines_of
from fastapi_chain.outcome import TaskRecord

from .subject import Part, Subject
from .words import cancelled, duration, number, skipped

MOST: Final = 200
"""How many lines a page shows: the last ones."""
_ITEMS: Final = 200
"""Of how many items of a fan-out the failures are told."""


class Entry(NamedTuple):
    """A line of the log."""

    at: datetime
    level: str
    """`info`, `warning` or `error`."""
    task: str
    text: str


def entries(subject: Subject, only: Part | None = None) -> list[Entry]:
    """Return the last lines of a run's log, or of one task's or item's."""
    title = None if only is None else subject.title(only)
    told = [
        Entry(utc(line.moment + subject.state.epoch), line.level.lower(), line.task, line.text)
        for line in lines_of(subject.state)
        if title is None or _is_about(line, title)
    ]
    parts = subject.parts() if only is None else [only]
    for part in parts:
        told += _task(subject, part)
        if part.item is None:
            failed = subject.items(part.index, "failed")[:_ITEMS]
            told += [entry for k in failed for entry in _task(subject, Part(part.index, k))]
    told.sort(key=lambda entry: entry.at)
    return told[-MOST:]


def _is_about(line: LogLine, title: str) -> bool:
    return line.task == title or line.task.startswith(f"{title}[")


def _task(subject: Subject, part: Part) -> Iterator[Entry]:
    """Yield what became of the attempts of one task or item."""
    record = subject.record(part)
    last = len(record.attempts) - 1
    for i, attempt in enumerate(record.attempts):
        if attempt.error is not None and attempt.finished_at is not None:
            end = i == last and record.state == "failed"
            # The last error is told in full. What came before it is told by its class: it is most often the same.
            what = str(attempt.error) if i == last else attempt.error.type
            level = "error" if end else "warning"
            yield Entry(attempt.finished_at, level, record.name, f"{what}{_then(record, i)}")
    at = record.finished_at or subject.decided_at(part)
    if record.state == "skipped":
        yield Entry(at, "info", record.name, f"skipped: {skipped(record.skip_reason)}")
    elif record.state == "cancelled":
        yield Entry(at, "warning", record.name, f"cancelled: {cancelled(record.cancel_reason)}")
    fan = subject.fan(part.index) if part.item is None else None
    if fan is not None and record.state == "succeeded":
        yield Entry(at, "info", record.name, f"{number(len(fan.states))} items done")


def _then(record: TaskRecord, i: int) -> str:
    """Return what followed attempt *i*, which failed."""
    if i + 1 < len(record.attempts):
        return f", next attempt after {duration(record.attempts[i + 1].backoff or 0.0)}"
    if record.state == "retrying":
        return ", another attempt follows"
    return f", gave up after {len(record.attempts)} attempts" if len(record.attempts) > 1 else ""
