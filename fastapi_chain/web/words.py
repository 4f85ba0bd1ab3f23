"""The events of a run as text/event-stream."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Final

from fastapi_chain.engines.base import KnownRun
from fastapi_chain.events import (
    Event,
    RunFinished,
    TaskCancelled,
    TaskEvent,
    TaskFailed,
    TaskLogged,
    TaskProgressed,
    TaskRetrying,
    TaskSkipped,
    TaskStarted,
    TaskSucceeded,
    TaskUndone,
)

from .encoding import json_of
from .render import Renderer, counted

RETRY: Final = b"retry: 1000\n\n"
"""A client that has lost us comes back after this many milliseconds."""

HEARTBEAT: Final = b": still here\n\n"
"""A comment: it keeps proxies from closing a quiet connection."""


def chunk(name: str, seq: int, data: bytes) -> bytes:
    """Return one event; *data* is JSON, which has no line breaks."""
    return b"event: %b\nid: %d\ndata: %b\n\n" % (name.encode(), seq, data)


class Words:
    """Puts events into words."""

    def __init__(self, renderer: Renderer) -> None:
        """Let *renderer* decide what is shown."""
        self._renderer = renderer

    def snapshot(self, run: KnownRun, base: str, seq: int) -> bytes:
        """Return the whole of *run*, which stands at event number *seq*."""
        model = self._renderer.run(run, base)
        # The end is an event of its own: whoever has only the snapshot has not heard it yet.
        return chunk("run.snapshot", seq - 1 if model.done else seq, json_of(model))

    def finished(self, run: KnownRun) -> bytes:
        """Return the end of *run*, which has finished."""
        return chunk("run.finished", run.seq, json_of(self._end(run, run.state, run.reason)))

    def event(self, event: Event, run: KnownRun) -> bytes:
        """Return what is sent for *event*; nothing for the start of a run, which its tasks show."""
        if isinstance(event, RunFinished):
            return chunk("run.finished", event.seq, json_of(self._end(run, event.state, event.reason)))
        if not isinstance(event, TaskEvent):
            return b""
        name = event.kind if isinstance(event, TaskProgressed | TaskLogged) else "task.changed"
        return chunk(name, event.seq, json_of({"task": event.task, **self._about(event), "at": event.at}))

    def _end(self, run: KnownRun, state: str, reason: str | None) -> Mapping[str, Any]:
        inner = run.inner
        inner.settle()
        return {"state": state, "reason": reason, "counts": counted(inner.ledger.states)}

    def _about(self, event: TaskEvent) -> Mapping[str, Any]:
        match event:
            case TaskStarted():
                return {"state": "running", "attempt": event.attempt, "max_attempts": event.max_attempts}
            case TaskSucceeded():
                return {"state": "succeeded", "attempt": event.attempt}
            case TaskRetrying():
                return {
                    "state": "retrying",
                    "attempt": event.attempt,
                    "max_attempts": event.max_attempts,
                    "next_attempt_at": event.at + timedelta(seconds=event.delay),
                    "error": self._renderer.error(event.error, event.run_id, event.task).model_dump(),
                }
            case TaskFailed():
                error = self._renderer.error(event.error, event.run_id, event.task).model_dump()
                return {"state": "failed", "attempt": event.attempt, "error": error}
            case TaskSkipped():
                return {"state": "skipped", "skip_reason": event.reason}
            case TaskCancelled():
                return {"state": "cancelled", "cancel_reason": event.reason}
            case _:
                return self._beside(event)

    def _beside(self, event: TaskEvent) -> Mapping[str, Any]:
        """Return what is said about an event that leaves the state of its task as it is."""
        match event:
            case TaskUndone():
                error = event.error and self._renderer.error(event.error, event.run_id, event.task).model_dump()
                return {"undone": error is None, "undo_error": error}
            case TaskProgressed():
                progress = event.progress
                return {"done": progress.done, "total": progress.total, "text": progress.text}
            case _:
                assert isinstance(event, TaskLogged), "there are no other events of tasks"
                return {"attempt": event.attempt, "level": event.level.lower(), "text": self._renderer.line(event.text)}
