"""The events of a run that nobody followed, told afterwards from its ledger."""

from collections.abc import Iterator, Mapping
from datetime import datetime

from fastapi_chain._clock import utc
from fastapi_chain._state import RunState
from fastapi_chain._state.ledger import CANCELLED, RETRYING, SKIPPED, Ledger
from fastapi_chain.events import (
    Event,
    RunFinished,
    RunStarted,
    TaskCancelled,
    TaskFailed,
    TaskLogged,
    TaskProgressed,
    TaskRetrying,
    TaskSkipped,
    TaskStarted,
    TaskSucceeded,
    TaskUndone,
)
from fastapi_chain.observe.tasklog import lines_of
from fastapi_chain.outcome import Attempt, ErrorInfo
from fastapi_chain.plan import Node

_Told = tuple[datetime, type[Event], Mapping[str, object]]


def replay(run: RunState) -> list[Event]:
    """Return what has happened in *run* so far, in order, numbered from 1.

    Of a run that was retried, its earlier rounds are told as far as the attempts of its tasks still show them.
    """
    run.settle()
    rows = [*(row for node in run.plan.nodes for row in _task(run, node)), *_logged(run)]
    # Sorting keeps the order of what happened at the same time: that of the tasks, and for each its own. Undo comes
    # last.
    told = sorted(rows, key=lambda row: (row[0], row[1] is TaskUndone))
    if run.started is not None:
        told.insert(0, (utc(run.started + run.epoch), RunStarted, {}))
    if run.finished is not None:
        told.append((utc(run.finished + run.epoch), RunFinished, {"state": run.state, "reason": run.reason}))
    return [
        kind(run_id=run.id, chain=run.plan.chain, seq=seq, at=at, **fields)
        for seq, (at, kind, fields) in enumerate(told, start=1)
    ]


def _logged(run: RunState) -> Iterator[_Told]:
    """Yield what the tasks have logged."""
    for line in lines_of(run):
        fields = {"task": line.task, "attempt": line.attempt, "level": line.level, "text": line.text}
        yield utc(line.moment + run.epoch), TaskLogged, fields


def _task(run: RunState, node: Node) -> Iterator[_Told]:
    """Yield what has happened to one task, and to its items between its beginning and its end."""
    rows = _One(run, run.ledger, node, node.index, node.name).rows()
    fan = run.fans.get(node.index)
    if fan is None:
        yield from rows
        return
    yield next(rows)
    for k in range(len(fan.states)):
        yield from _One(run, fan, node, k, f"{node.name}[{k}]").rows()
    yield from rows


class _One:
    """What has happened to one task or item."""

    def __init__(self, run: RunState, ledger: Ledger, node: Node, i: int, name: str) -> None:
        """Look at number *i* of *ledger*."""
        self._run = run
        self._ledger = ledger
        self._i = i
        self._name = name
        self._before = ledger.before(i)
        self._most = node.max_attempts + self._before
        self._state = ledger.states[i]
        self._attempts = ledger.attempts(i)

    def rows(self) -> Iterator[_Told]:
        """Yield it in order."""
        for attempt in self._attempts:
            yield from self._attempt(attempt)
        ended = self._at(self._ledger.ended[self._i])
        reason = self._ledger.reasons.get(self._i)
        if self._state == SKIPPED:
            yield ended, TaskSkipped, {"task": self._name, "reason": reason}
        if self._state == CANCELLED:
            yield ended, TaskCancelled, {"task": self._name, "reason": reason}
        undo = self._ledger.undos.get(self._i)
        if undo is not None:
            yield self._at(undo[0]), TaskUndone, {"task": self._name, "error": undo[1]}

    def _attempt(self, attempt: Attempt) -> Iterator[_Told]:
        about = {"task": self._name, "attempt": attempt.n}
        yield attempt.started_at, TaskStarted, {**about, "max_attempts": max(self._most, attempt.n)}
        progress = self._run.progress.get(self._name)
        if progress is not None and attempt is self._attempts[-1]:
            moment = attempt.finished_at or self._at(self._run.now())
            yield moment, TaskProgressed, {"task": self._name, "progress": progress}
        if attempt.finished_at is None:
            return
        if attempt.state == "succeeded":
            yield attempt.finished_at, TaskSucceeded, about
        elif attempt.error is not None:
            yield self._failure(attempt, attempt.finished_at, attempt.error, about)

    def _failure(self, attempt: Attempt, at: datetime, error: ErrorInfo, about: Mapping[str, object]) -> _Told:
        """Return how a failed attempt is told: as the last one of its round, or as one that another follows."""
        n = attempt.n
        last = n == self._before or (n == len(self._attempts) and self._state != RETRYING)
        if last:
            first = self._attempts[self._before if n > self._before else 0]
            seconds = (at - first.started_at).total_seconds()
            return at, TaskFailed, {**about, "error": error, "seconds": seconds}
        following = n < len(self._attempts)
        begins = self._attempts[n].started_at if following else self._at(self._ledger.next_at[self._i])
        delay = max(0.0, (begins - at).total_seconds())
        return at, TaskRetrying, {**about, "max_attempts": max(self._most, n), "error": error, "delay": delay}

    def _at(self, moment: float) -> datetime:
        return utc(moment + self._run.epoch)
