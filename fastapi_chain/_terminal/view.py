"""A run as it is drawn: the run itself, or what its JSON document says."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol, TypeAlias

from fastapi_chain.outcome import Attempt, ErrorInfo, ProgressInfo, RunState, TaskRecord

Document: TypeAlias = Mapping[str, Any]
"""A JSON object of the HTTP interface."""


class Shown(Protocol):
    """What is drawn of a run; a `Run` has all of it."""

    @property
    def id(self) -> str: ...
    @property
    def chain(self) -> str: ...
    @property
    def state(self) -> RunState: ...
    @property
    def reason(self) -> str | None: ...
    @property
    def started_at(self) -> datetime | None: ...
    @property
    def finished_at(self) -> datetime | None: ...
    @property
    def tasks(self) -> Mapping[str, TaskRecord]: ...
    @property
    def errors(self) -> Mapping[str, BaseException]: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class RunView:
    """A run as its document describes it."""

    id: str
    chain: str
    state: RunState
    reason: str | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None
    started_by: str | None = None
    """The route of the request that started it."""
    tasks: Mapping[str, TaskRecord] = field(default_factory=dict)
    errors: Mapping[str, BaseException] = field(default_factory=dict)
    """None: an exception does not leave its process."""
    tracebacks: Mapping[str, str] = field(default_factory=dict)
    """The traceback of each failed task, as text, where it is shown at all."""


def view_of(document: Document) -> RunView:
    """Return the run that *document* describes."""
    tasks = document.get("tasks") or ()
    return RunView(
        id=document["id"],
        chain=document["chain"],
        state=document["state"],
        reason=document.get("reason"),
        started_at=_moment(document.get("started_at")),
        finished_at=_moment(document.get("finished_at")),
        started_by=document.get("started_by"),
        tasks={task["name"]: _task(task) for task in tasks},
        tracebacks={
            task["name"]: task["error"]["traceback"] for task in tasks if (task.get("error") or {}).get("traceback")
        },
    )


def _task(document: Document) -> TaskRecord:
    progress = document.get("progress")
    return TaskRecord(
        name=document["name"],
        state=document["state"],
        after=tuple(document.get("after") or ()),
        attempts=tuple(_attempt(attempt) for attempt in document.get("attempts") or ()),
        max_attempts=document.get("max_attempts") or 1,
        skip_reason=document.get("skip_reason"),
        cancel_reason=document.get("cancel_reason"),
        progress=None if progress is None else _progress(progress),
        next_attempt_at=_moment(document.get("next_attempt_at")),
        items={item["name"]: _task(item) for item in document.get("items") or ()},
        undone=bool(document.get("undone")),
        undo_error=_error(document.get("undo_error")),
    )


def _attempt(document: Document) -> Attempt:
    started = _moment(document["started_at"])
    assert started is not None, "an attempt that has not begun is none"
    return Attempt(
        n=document["n"],
        state=document["state"],
        started_at=started,
        finished_at=_moment(document.get("finished_at")),
        error=_error(document.get("error")),
    )


def _progress(document: Document) -> ProgressInfo:
    return ProgressInfo(done=document["done"], total=document.get("total"), text=document.get("text") or "")


def _error(document: Document | None) -> ErrorInfo | None:
    if document is None:
        return None
    return ErrorInfo(document.get("title") or document.get("type") or "", document.get("detail") or "")


def _moment(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)
