"""The panel of one task of a run: its error and attempts, its values, its items, its log, its definition."""

from collections.abc import Callable
from typing import Any, Final, NamedTuple

from fastapi_chain._drawing import GLYPHS
from fastapi_chain.outcome import Attempt, TaskRecord
from fastapi_chain.plan.nodes import MISSING

from .definition import Definition, Param, definition, params
from .failure import Failure, failures
from .items import Items, items
from .log import Entry, entries
from .subject import Part, Subject
from .task_words import about
from .values import shown
from .words import duration

TABS: Final = ("error", "items", "values", "log", "code")
"""The tabs, by the names that stand in addresses."""

_LABELS: Final = {
    "error": "Attempts",
    "items": "Items",
    "values": "Inputs and output",
    "log": "Log",
    "code": "Definition",
}


class Tab(NamedTuple):
    """A tab."""

    key: str
    label: str
    href: str
    current: bool


class Try(NamedTuple):
    """An attempt, in words."""

    n: int
    state: str
    took: str
    note: str


class Value(NamedTuple):
    """An input, and what it was."""

    param: Param
    text: str | None
    """None: it is not recorded."""


class Query(NamedTuple):
    """What of a run is looked at."""

    task: str = ""
    tab: str = ""
    state: str = ""
    """The state of the items that are listed."""
    first: int = 0
    """The first item that is listed."""


class Panel(NamedTuple):
    """What the page shows of one task."""

    part: Part
    name: str
    whole: str
    """Of an item: the fan-out that it belongs to."""
    state: str
    about: str
    place: str
    tab: str
    tabs: list[Tab]
    error: str
    error_type: str
    undo_error: str
    """What went wrong with its undo; empty if nothing did."""
    tries: list[Try]
    failures: list[Failure]
    items: Items | None
    inputs: list[Value]
    output: str | None
    """None: there is none."""
    log: list[Entry]
    definition: Definition | None
    glyph: str


def panel(subject: Subject, part: Part, query: Query, href: Callable[..., str], *, values: bool) -> Panel:
    """Return the panel of a task or item.

    Args:
        subject: The run.
        part: The task or item.
        query: What of it is looked at.
        href: The link to a task, and to one of its tabs with `tab=`.
        values: Whether inputs and outputs may be shown.
    """
    record = subject.record(part)
    node, name = subject.node(part), record.name
    fan = subject.fan(part.index) is not None and part.item is None
    keys = [key for key in TABS if key != "items" or fan]
    tab = query.tab if query.tab in keys else "items" if fan else "error"
    error = subject.error(part) if tab == "error" else None
    labels = _LABELS | ({"error": "Error"} if record.error is not None and record.state != "succeeded" else {})
    made: dict[str, Any] = {
        "tabs": [Tab(key, labels[key], href(name, tab=key), key == tab) for key in keys],
        "tries": [_try(record, i) for i in range(len(record.attempts))] if tab == "error" else [],
        "failures": failures(error) if error is not None else [],
        "items": items(subject, part.index, query.state, query.first, href) if tab == "items" else None,
        "inputs": _inputs(subject, part) if tab == "values" and values else [],
        "output": _output(subject, part, record) if tab == "values" and values else None,
        "log": entries(subject, part) if tab == "log" else [],
        "definition": definition(subject.plan, node) if tab == "code" else None,
    }
    return Panel(
        part=part,
        name=name,
        whole="" if part.item is None else node.name,
        state=record.state,
        about=about(subject, part, record),
        place=node.spec.source.at,
        tab=tab,
        error="" if record.error is None else record.error.message,
        error_type="" if record.error is None or record.state == "succeeded" else record.error.type,
        undo_error="" if record.undo_error is None else str(record.undo_error),
        glyph=GLYPHS[record.state],
        **made,
    )


def _try(record: TaskRecord, i: int) -> Try:
    attempt = record.attempts[i]
    end = attempt.finished_at
    took = "" if end is None else duration((end - attempt.started_at).total_seconds())
    return Try(attempt.n, attempt.state, took, _note(record, i, attempt))


def _note(record: TaskRecord, i: int, attempt: Attempt) -> str:
    """Return what came after an attempt."""
    if i + 1 < len(record.attempts):
        wait = record.attempts[i + 1].backoff
        return "then again" if wait is None else f"backed off {duration(wait)}"
    if attempt.finished_at is None:
        return "running"
    if record.state == "retrying":
        return "another attempt follows"
    if record.state == "failed":
        return "gave up" if len(record.attempts) > 1 else "no retries"
    return ""


def _inputs(subject: Subject, part: Part) -> list[Value]:
    node = subject.node(part)
    found = []
    for param, fill in zip(params(subject.plan, node), node.fills, strict=True):
        value: object = MISSING
        if fill.kind in {"task", "input"}:
            value = subject.state.slots[fill.slot]
        elif fill.kind == "item" and part.item is not None:
            value = subject.state.items[part.index][part.item]
        found.append(Value(param, None if value is MISSING else shown(value, param.name)))
    return found


def _output(subject: Subject, part: Part, record: TaskRecord) -> str | None:
    if record.state != "succeeded":
        return None
    state = subject.state
    value = state.slots[part.index] if part.item is None else state.values[part.index][part.item]
    return shown(value, subject.node(part).spec.output)
