"""The one line on top of a run: what went wrong, and what that led to."""

from typing import NamedTuple

from fastapi_chain._text import counted
from fastapi_chain.outcome import TaskRecord

from .subject import Part, Subject
from .task_words import allowed
from .words import cancelled, number


class Headline(NamedTuple):
    """What a reader must know first."""

    kind: str
    """`failed` or `cancelled`."""
    who: str
    """The task it is about; empty where it is about the whole run."""
    cause: str
    """What happened to it."""
    error: str
    """The error, in its own words; empty without one."""
    consequence: str
    """What that led to."""


def headline(subject: Subject) -> Headline | None:
    """Return the headline of a run; None where all is well, or nothing is decided yet."""
    reason, whole = subject.state.reason, subject.state.error
    if subject.name == "cancelled":
        return Headline("cancelled", "", f"Cancelled: {cancelled(reason)}.", "", consequence(subject))
    if whole is not None:
        return Headline("failed", "", "Out of time:", str(whole).partition("\n")[0], consequence(subject))
    part = subject.first_failed()
    if part is not None:
        return _of_task(subject, part, subject.record(part))
    if subject.name == "failed":
        return Headline("failed", "", f"Failed: {cancelled(reason).replace('_', ' ')}.", "", consequence(subject))
    return None


def _of_task(subject: Subject, part: Part, record: TaskRecord) -> Headline:
    fan = subject.fan(part.index)
    tries = len(record.attempts)
    if fan is not None and (failed := len(subject.items(part.index, "failed"))):
        cause = f"failed for {number(failed)} of {number(len(fan.states))} items:"
    elif allowed(record) > 1:
        cause = f"gave up after {counted(tries, 'attempt')}:"
    else:
        cause = "failed:"
    return Headline("failed", record.name, cause, str(record.error or ""), consequence(subject, besides=part))


def consequence(subject: Subject, besides: Part | None = None) -> str:
    """Return what became of the other tasks, and that the client has noticed nothing.

    Args:
        subject: The run.
        besides: The failed task that is spoken of already.
    """
    counts = dict(subject.counts())
    others = counts.get("failed", 0) - (besides is not None)
    parts = [f"{counted(others, 'other task')} failed"] if others > 0 and besides is not None else []
    skipped = sum(
        (subject.ledger.reasons.get(i) or "").startswith("upstream_failed") for i in subject.indices("skipped")
    )
    if skipped:
        parts.append(f"{counted(skipped, 'task')} skipped because of it")
    if counts.get("cancelled"):
        parts.append(f"{counted(counts['cancelled'], 'task')} cancelled")
    if subject.ledger.undone:
        parts.append(f"{counted(len(subject.ledger.undone), 'task')} undone")
    failed = undos_that_failed(subject)
    if failed:
        parts.append(f"{counted(failed, 'undo')} failed")
    if subject.started_by is not None:
        parts.append("the response was not affected")
    return " · ".join(parts)


def undos_that_failed(subject: Subject) -> int:
    """Return how many undos have failed, those of items included."""
    ledgers = (subject.ledger, *subject.state.fans.values())
    return sum(error is not None for ledger in ledgers for _, error in ledger.undos.values())
