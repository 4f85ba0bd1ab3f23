"""What is said about a task in the one line that a box, a row or a list has for it."""

from fastapi_chain._state.ledger import STATES, Ledger
from fastapi_chain.outcome import TaskRecord

from .subject import Part, Subject, counted_states
from .words import cancelled, duration, number, percent, skipped


def about(subject: Subject, part: Part, record: TaskRecord) -> str:
    """Return where a task or item stands, in a few words."""
    fan = subject.fan(part.index) if part.item is None else None
    said = _of_task(subject, part, record) if fan is None else _of_fan(subject, part, fan, record)
    if record.undo_error is not None:
        return f"{said} · undo failed"
    return f"{said} · undone" if record.undone else said


def taken(subject: Subject, part: Part, record: TaskRecord) -> float:
    """Return the seconds from its first attempt, since the run was last retried, to its end or to now."""
    attempts = record.attempts[record.max_attempts - subject.node(part).max_attempts :] or record.attempts
    if not attempts:
        return 0.0
    return ((record.finished_at or subject.now) - attempts[0].started_at).total_seconds()


def allowed(record: TaskRecord) -> int:
    """Return how many attempts it may make; a policy of the user's own does not say, so at least those it has made."""
    return max(record.max_attempts, len(record.attempts))


def _of_task(subject: Subject, part: Part, record: TaskRecord) -> str:
    match record.state:
        case "running":
            return _running(subject, record)
        case "retrying":
            return _retrying(subject, record)
        case "succeeded":
            return f"{duration(taken(subject, part, record))}{_attempt(record)}"
        case "failed":
            tries = len(record.attempts)
            return f"{tries} of {allowed(record)} attempts" if allowed(record) > 1 else "failed"
        case "skipped":
            return skipped(record.skip_reason)
        case "cancelled":
            return cancelled(record.cancel_reason)
        case _:
            return "waiting"


def _attempt(record: TaskRecord) -> str:
    tries = len(record.attempts)
    return f" · attempt {tries}/{allowed(record)}" if tries > 1 else ""


def _running(subject: Subject, record: TaskRecord) -> str:
    progress = record.progress
    if progress is None:
        since = record.attempts[-1].started_at if record.attempts else subject.now
        return f"{duration((subject.now - since).total_seconds())}{_attempt(record)}"
    done = number(progress.done)
    if progress.total:
        return f"{percent(progress.done / progress.total)} · {done} of {number(progress.total)}"
    return f"{done} done"


def _retrying(subject: Subject, record: TaskRecord) -> str:
    tries = len(record.attempts) + 1
    following = f"retry {tries}/{max(tries, record.max_attempts)}"
    if record.next_attempt_at is None:
        return following
    wait = (record.next_attempt_at - subject.now).total_seconds()
    return f"{following} in {duration(wait)}" if wait > 0 else f"{following} now"


def _of_fan(subject: Subject, part: Part, fan: Ledger, record: TaskRecord) -> str:
    """Return where a fan-out stands: how many of its items are done, and how many failed."""
    counts = dict(counted_states(fan))
    total = len(fan.states)
    failed = counts.get("failed", 0)
    if record.state == "succeeded" and not failed:
        return f"{number(total)} {'item' if total == 1 else 'items'} · {duration(taken(subject, part, record))}"
    if record.state in {"failed", "succeeded"}:
        return f"{number(failed)} of {number(total)} failed"
    if record.state == "cancelled":
        return f"{cancelled(record.cancel_reason)} · {number(total)} items"
    said = f"{number(ended(fan))} of {number(total)}"
    return f"{said} · {number(failed)} failed" if failed else said


def ended(fan: Ledger) -> int:
    """Return how many items have ended."""
    return sum(fan.states.count(i) for i, state in enumerate(STATES) if state not in {"pending", "running", "retrying"})


def share(subject: Subject, part: Part, record: TaskRecord) -> float | None:
    """Return how much of a running task or fan-out is done, from 0 to 1; None where that is not known."""
    if record.state not in {"running", "retrying"}:
        return None
    fan = subject.fan(part.index) if part.item is None else None
    if fan is not None and fan.states:
        return ended(fan) / len(fan.states)
    progress = record.progress
    return progress.done / progress.total if progress is not None and progress.total else None
