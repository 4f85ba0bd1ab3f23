"""Events as text and back."""

import json
from dataclasses import fields
from datetime import UTC, datetime
from typing import Any, Final

from fastapi_chain import events as known
from fastapi_chain.events import Event
from fastapi_chain.outcome import ErrorInfo, ProgressInfo

_KINDS: Final[dict[str, type[Event]]] = {
    kind.kind: kind
    for kind in vars(known).values()
    if isinstance(kind, type) and issubclass(kind, Event) and kind not in {Event, known.TaskEvent}
}


def dump_event(event: Event) -> str:
    """Return *event* as text; an exception itself is left out."""
    doc: dict[str, Any] = {"kind": event.kind}
    for field in fields(event):
        value = getattr(event, field.name)
        if field.name == "exception" or value is None:
            continue
        if isinstance(value, datetime):
            value = value.timestamp()
        elif isinstance(value, ErrorInfo):
            value = [value.type, value.message]
        elif isinstance(value, ProgressInfo):
            value = [value.done, value.total, value.text]
        doc[field.name] = value
    return json.dumps(doc, ensure_ascii=False)


def load_event(text: str) -> Event:
    """Return the event of a text."""
    doc = json.loads(text)
    doc["at"] = datetime.fromtimestamp(doc["at"], UTC)
    if "error" in doc:
        doc["error"] = ErrorInfo(*doc["error"])
    if "progress" in doc:
        doc["progress"] = ProgressInfo(done=doc["progress"][0], total=doc["progress"][1], text=doc["progress"][2])
    return _KINDS[doc.pop("kind")](**doc)


def task_of(event: Event) -> tuple[str, str]:
    """Return the kind of *event* and its task, if it is about one."""
    return event.kind, getattr(event, "task", "")
