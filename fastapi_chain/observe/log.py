"""What goes wrong, as lines of the standard log: one each, and the same as fields for whoever reads logs by machine."""

import logging
from typing import Final

from fastapi_chain._state.ledger import RAISED_BY
from fastapi_chain._text import counted, seconds
from fastapi_chain.events import Event, RunFinished, TaskEvent, TaskFailed, TaskRetrying, TaskSkipped, TaskUndone

_log: Final = logging.getLogger("fastapi_chain")

_LEVELS: Final[dict[type[Event], int]] = {
    TaskRetrying: logging.WARNING,
    TaskFailed: logging.ERROR,
    TaskSkipped: logging.WARNING,
    TaskUndone: logging.ERROR,
    RunFinished: logging.WARNING,
}

_BEHIND: Final = "upstream_failed: "


class _Log:
    """Writes events to the log `fastapi_chain`."""

    __slots__ = ()

    def wants(self, kind: type[Event]) -> bool:
        """Whether an event of that class may be worth a line, and somebody reads such lines."""
        level = _LEVELS.get(kind)
        return level is not None and _log.isEnabledFor(level)

    def __call__(self, event: Event) -> None:
        """Write *event* to the log `fastapi_chain`, if it is one that somebody should know of.

        Failures are errors, with the traceback; attempts that another one follows and tasks that are skipped because of
        a failure are warnings; what was skipped on purpose is not worth a line, nor is a fan-out that failed because of
        an item, which has a line of its own.
        """
        args: tuple[object, ...]
        match event:
            case TaskRetrying():
                text = "task %r failed (attempt %d of %d), next try in %s: %s"
                args = event.task, event.attempt, event.max_attempts, seconds(event.delay), event.error
                _write(event, text, args, attempt=event.attempt)
            case TaskFailed() if not _told_of_item(event):
                text = "task %r failed after %s in %s: %s (run %.8s, chain %r)"
                times = counted(event.attempt, "attempt")
                args = event.task, times, seconds(round(event.seconds, 3)), event.error, event.run_id, event.chain
                _write(event, text, args, attempt=event.attempt, exception=event.exception)
            case TaskSkipped() if event.reason.startswith(_BEHIND):
                text = "task %r skipped: it needs %r, which failed"
                _write(event, text, (event.task, event.reason.removeprefix(_BEHIND)))
            case TaskUndone() if event.error is not None:
                text = "undo of task %r failed: %s (run %.8s, chain %r)"
                _write(event, text, (event.task, event.error, event.run_id, event.chain))
            case RunFinished() if event.reason is not None:
                text = "run %.8s of chain %r ended %s: %s"
                _write(event, text, (event.run_id, event.chain, event.state, event.reason))
            case _:
                pass


log_event: Final = _Log()
"""Writes the events that it is given, and says which ones it wants."""


def _told_of_item(event: TaskFailed) -> bool:
    """Whether *event* is about a fan-out, and its exception that of an item: that was told before."""
    begins = f"{RAISED_BY}{event.task + '['!r}".removesuffix("'")
    return any(note.startswith(begins) for note in getattr(event.exception, "__notes__", ()))


def _write(
    event: Event,
    text: str,
    args: tuple[object, ...],
    *,
    attempt: int | None = None,
    exception: BaseException | None = None,
) -> None:
    """Write a line; it may still be that nobody reads it, and then its text is never put together."""
    fields = {
        "chain": event.chain,
        "run_id": event.run_id,
        "task": event.task if isinstance(event, TaskEvent) else None,
        "attempt": attempt,
    }
    _log.log(_LEVELS[type(event)], text, *args, exc_info=exception, extra=fields)
