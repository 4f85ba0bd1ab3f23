"""The events of a run that nobody followed, told afterwards from its records."""

from collections.abc import Iterator
from datetime import datetime

from ._clock import utc
from ._state import RunState
from .events import (
    Event,
    RunFinished,
    RunStarted,
    TaskCancelled,
    TaskFailed,
    TaskRetrying,
    TaskSkipped,
    TaskStarted,
    TaskSucceeded,
)
from .outcome import Attempt, ErrorInfo, TaskRecord

_Told = tuple[datetime, type[Event], dict[str, object]]


def replay(run: RunState) -> list[Event]:
    """Return what has happened in *run* so far, in order, numbered from 1."""
    told: list[_Told] = []
    for record in run.records():
        told.extend(_task(record, run))
        for item in record.items.values():
            told.extend(_task(item, run))
    told.sort(key=lambda row: row[0])
    if run.started is not None:
        told.insert(0, (utc(run.started + run.epoch), RunStarted, {}))
    if run.finished is not None:
        told.append((utc(run.finished + run.epoch), RunFinished, {"state": run.state, "reason": run.reason}))
    return [
        kind(run_id=run.id, chain=run.plan.chain, seq=seq, at=at, **fields)
        for seq, (at, kind, fields) in enumerate(told, start=1)
    ]


def _task(record: TaskRecord, run: RunState) -> Iterator[_Told]:
    """Yield what has happened to one task or item."""
    for i, attempt in enumerate(record.attempts):
        following = record.attempts[i + 1] if i + 1 < len(record.attempts) else None
        about = {"task": record.name, "attempt": attempt.n}
        yield attempt.started_at, TaskStarted, {**about, "max_attempts": record.max_attempts}
        if attempt.finished_at is None:
            continue
        if attempt.state == "succeeded":
            yield attempt.finished_at, TaskSucceeded, about
        elif attempt.error is not None:
            yield _failure(record, attempt, attempt.error, following, about)
    now = utc(run.now() + run.epoch)
    if record.state == "skipped":
        yield record.finished_at or now, TaskSkipped, {"task": record.name, "reason": record.skip_reason}
    if record.state == "cancelled":
        yield record.finished_at or now, TaskCancelled, {"task": record.name, "reason": record.cancel_reason}


def _failure(
    record: TaskRecord, attempt: Attempt, error: ErrorInfo, following: Attempt | None, about: dict[str, object]
) -> _Told:
    """Return how a failed attempt is told: as the last one, or as one that another follows."""
    at = attempt.finished_at or attempt.started_at
    if following is None and record.state != "retrying":
        seconds = (at - record.attempts[0].started_at).total_seconds()
        return at, TaskFailed, {**about, "error": error, "seconds": seconds}
    begins = following.started_at if following is not None else record.next_attempt_at or at
    delay = max(0.0, (begins - at).total_seconds())
    return at, TaskRetrying, {**about, "max_attempts": record.max_attempts, "error": error, "delay": delay}
