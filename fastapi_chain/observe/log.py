"""What goes wrong, as lines of the standard log: one each, and the same as fields for whoever reads logs by machine."""

import logging
from typing import Final

from fastapi_chain._state.ledger import RAISED_BY
from fastapi_chain._text import seconds
from fastapi_chain.events import Event, RunFinished, TaskEvent, TaskFailed, TaskRetrying, TaskSkipped, TaskUndone

_log: Final = logging.getLogger("fastapi_chain")

_BEHIND: Final = "upstream_failed: "


def log_event(event: Event) -> None:
    """Write *event* to the log `fastapi_chain`, if it is one that somebody should know of.

    Failures are errors, with the traceback; attempts that another one follows and tasks that are skipped because of a
    failure are warnings; what was skipped on purpose is not worth a line, nor is a fan-out that failed because of an
    item, which has a line of its own.
    """
    match event:
        case TaskRetrying():
            which = f"attempt {event.attempt} of {event.max_attempts}"
            text = f"task {event.task!r} failed ({which}), next try in {seconds(event.delay)}: {event.error}"
            _write(logging.WARNING, event, text, attempt=event.attempt)
        case TaskFailed() if not _told_of_item(event):
            times = "attempt" if event.attempt == 1 else "attempts"
            took = f"after {event.attempt} {times} in {seconds(event.seconds)}"
            text = f"task {event.task!r} failed {took}: {event.error} (run {event.run_id[:8]}, chain {event.chain!r})"
            _write(logging.ERROR, event, text, attempt=event.attempt, exception=event.exception)
        case TaskSkipped() if event.reason.startswith(_BEHIND):
            text = f"task {event.task!r} skipped: it needs {event.reason.removeprefix(_BEHIND)!r}, which failed"
            _write(logging.WARNING, event, text)
        case TaskUndone() if event.error is not None:
            text = f"undo of task {event.task!r} failed: {event.error} (run {event.run_id[:8]}, chain {event.chain!r})"
            _write(logging.ERROR, event, text)
        case RunFinished() if event.reason is not None:
            text = f"run {event.run_id[:8]} of chain {event.chain!r} ended {event.state}: {event.reason}"
            _write(logging.WARNING, event, text)
        case _:
            pass


def _told_of_item(event: TaskFailed) -> bool:
    """Whether *event* is about a fan-out, and its exception that of an item: that was told before."""
    begins = f"{RAISED_BY}{event.task + '['!r}".removesuffix("'")
    return any(note.startswith(begins) for note in getattr(event.exception, "__notes__", ()))


def _write(
    level: int, event: Event, text: str, *, attempt: int | None = None, exception: BaseException | None = None
) -> None:
    fields = {
        "chain": event.chain,
        "run_id": event.run_id,
        "task": event.task if isinstance(event, TaskEvent) else None,
        "attempt": attempt,
    }
    # %s, for a text may hold a percent sign of the user's.
    _log.log(level, "%s", text, exc_info=exception, extra=fields)
