"""What has become of a task, an item or an undo, as a JSON document and back.

Times are the time of day, in seconds since 1970. The value is text of its own (`_serialize`), so that whoever only
wants to know how things stand need not understand it.
"""

from datetime import datetime
from typing import Final, NotRequired, TypedDict

from fastapi_chain._clock import utc
from fastapi_chain._state.ledger import CANCELLED, FAILED, SKIPPED, STATES, SUCCEEDED, Ledger, error_info, traceback_of
from fastapi_chain.errors import TaskFailed
from fastapi_chain.outcome import Attempt, AttemptState, ErrorInfo, TaskState

_NUMBERS: Final = {name: number for number, name in enumerate(STATES)}


class AttemptDoc(TypedDict):
    """One attempt that is over."""

    n: int
    state: AttemptState
    start: float
    end: float | None
    error: NotRequired[list[str]]
    backoff: NotRequired[float]


class UndoDoc(TypedDict):
    """How an undo ended."""

    at: float
    error: NotRequired[list[str]]


class OutcomeDoc(TypedDict):
    """How a task ended."""

    state: TaskState
    began: NotRequired[float]
    ended: NotRequired[float]
    attempts: NotRequired[list[AttemptDoc]]
    value: NotRequired[str]
    reason: NotRequired[str]
    root: NotRequired[int]
    undone: NotRequired[bool]
    undo: NotRequired[UndoDoc]
    earlier: NotRequired[int]
    traceback: NotRequired[str]


def dump_outcome(ledger: Ledger, i: int, value: str | None = None) -> OutcomeDoc:
    """Return how number *i* of *ledger* stands; *value* is what it returned, as text."""
    doc = OutcomeDoc(state=STATES[ledger.states[i]])
    if ledger.began[i]:
        doc["began"] = ledger.began[i] + ledger.epoch
    if ledger.ended[i]:
        doc["ended"] = ledger.ended[i] + ledger.epoch
    if i in ledger.past:
        doc["attempts"] = [_attempt_doc(attempt) for attempt in ledger.over(i)]
    if i in ledger.reasons:
        doc["reason"] = ledger.reasons[i]
    if i in ledger.roots:
        doc["root"] = ledger.roots[i]
    if i in ledger.earlier:
        doc["earlier"] = ledger.earlier[i]
    if ledger.states[i] == FAILED and (where := traceback_of(ledger.errors[i])) is not None:
        doc["traceback"] = where
    if value is not None:
        doc["value"] = value
    _dump_undo(ledger, i, doc)
    return doc


def _dump_undo(ledger: Ledger, i: int, doc: OutcomeDoc) -> None:
    if i in ledger.undone:
        doc["undone"] = True
    if i in ledger.undos:
        at, error = ledger.undos[i]
        doc["undo"] = UndoDoc(at=at + ledger.epoch)
        if error is not None:
            doc["undo"]["error"] = [error.type, error.message]


def load_outcome(ledger: Ledger, i: int, doc: OutcomeDoc, *, name: str, run: str) -> None:
    """Put *doc* down as what has become of number *i* of *ledger*.

    Args:
        ledger: Where to.
        i: The number.
        doc: What `dump_outcome` has returned, perhaps in another process.
        name: The name of the task or item, for its error.
        run: The id of the run, for its error.
    """
    state = _NUMBERS[doc["state"]]
    ledger.states[i] = state
    ledger.began[i] = doc.get("began", ledger.epoch) - ledger.epoch
    ledger.ended[i] = doc.get("ended", ledger.epoch) - ledger.epoch
    attempts = [_attempt(attempt) for attempt in doc.get("attempts", ())]
    if attempts:
        ledger.past[i] = [*attempts]
    if state in {SKIPPED, CANCELLED}:
        ledger.reasons[i] = doc.get("reason", "")
    if "root" in doc:
        ledger.roots[i] = doc["root"]
    if doc.get("undone", False):
        ledger.undone.add(i)
    if "undo" in doc:
        undo = doc["undo"]
        ledger.undos[i] = undo["at"] - ledger.epoch, ErrorInfo(*undo["error"]) if "error" in undo else None
    if "earlier" in doc:
        ledger.earlier[i] = doc["earlier"]
    if state == FAILED:
        error = attempts[-1].error if attempts else None
        unknown = ErrorInfo("Exception", "")
        ledger.errors[i] = TaskFailed(
            task=name, error=error or unknown, attempts=len(attempts), run=run, traceback=doc.get("traceback")
        )


def load_loss(ledger: Ledger, i: int, error: BaseException) -> None:
    """Put number *i*, which had succeeded, down as failed: its value cannot be read any more."""
    began, ended = ledger.began[i], ledger.ended[i]
    past = ledger.past.setdefault(i, [])
    past.append(
        Attempt(
            n=len(past) + 1,
            state="failed",
            started_at=utc(began + ledger.epoch),
            finished_at=utc(ended + ledger.epoch),
            error=error_info(error),
        )
    )
    ledger.states[i] = FAILED
    ledger.errors[i] = error


def has_value(doc: OutcomeDoc) -> bool:
    """Whether *doc* is of something that succeeded and kept what it returned."""
    return _NUMBERS[doc["state"]] == SUCCEEDED and "value" in doc


def _attempt_doc(attempt: Attempt) -> AttemptDoc:
    doc = AttemptDoc(
        n=attempt.n, state=attempt.state, start=attempt.started_at.timestamp(), end=_stamp(attempt.finished_at)
    )
    if attempt.error is not None:
        doc["error"] = [attempt.error.type, attempt.error.message]
    if attempt.backoff is not None:
        doc["backoff"] = attempt.backoff
    return doc


def _stamp(moment: datetime | None) -> float | None:
    return None if moment is None else moment.timestamp()


def _attempt(doc: AttemptDoc) -> Attempt:
    end = doc["end"]
    return Attempt(
        n=doc["n"],
        state=doc["state"],
        started_at=utc(doc["start"]),
        finished_at=None if end is None else utc(end),
        error=ErrorInfo(*doc["error"]) if "error" in doc else None,
        backoff=doc.get("backoff"),
    )
