"""The timeline of a run: a row for each task, a bar for each attempt, hatching for each wait before one."""

from collections.abc import Callable
from itertools import pairwise
from typing import NamedTuple

from fastapi_chain.outcome import Attempt, TaskRecord

from .axis import Axis, Span, Tick
from .subject import Part, Subject
from .task_words import about, taken
from .words import duration


class Bar(NamedTuple):
    """One attempt, or one wait."""

    x: float
    """Where it begins, in percent."""
    width: float
    """How wide it is, in percent."""
    kind: str
    """How it looks."""
    title: str = ""
    """What is said about it."""


class Row(NamedTuple):
    """One task."""

    name: str
    state: str
    href: str
    current: bool
    about: str
    bars: tuple[Bar, ...]
    waits: tuple[Bar, ...]
    label: str
    """What stands beside its bars."""
    label_x: float
    """Where, in percent."""
    label_place: str
    """`right` of there, `left` where there is no room, `in` the bar where there is none on either side."""


class Timeline(NamedTuple):
    """The whole of it."""

    rows: list[Row]
    ticks: list[Tick]
    cuts: list[float]
    now: float | None
    """Where now is, in percent; None when the run is over."""


_NARROWEST = 0.6
_FULL = 82.0
"""A bar that ends beyond this, in percent, has no room for a label to its right."""
_HALF = 60.0
"""The same for a label without a bar, which is longer."""


def timeline(subject: Subject, current: Part | None, href: Callable[[str], str]) -> Timeline:
    """Return the timeline of a run.

    Args:
        subject: The run.
        current: The task that is looked at.
        href: The link to a task.
    """
    records = [subject.record(part) for part in subject.parts()]
    start = min([record.started_at for record in records if record.started_at], default=None)
    start = subject.run.started_at if start is None else min(start, subject.run.started_at or start)
    zero = (start or subject.run.created_at).timestamp()
    now = (subject.run.finished_at or subject.now).timestamp() - zero
    busy = [span for record in records for span in _busy(record, zero, now)]
    axis = Axis(busy, now)
    drawing = _Drawing(subject, axis, zero, now)
    rows = [drawing.row(part, record, current, href) for part, record in zip(subject.parts(), records, strict=True)]
    return Timeline(rows, axis.ticks(closed=subject.done), axis.cuts, None if subject.done else axis.x(now))


def _busy(record: TaskRecord, zero: float, now: float) -> list[Span]:
    """Return when something happened to a task: its attempts, and the waits within one round of the run."""
    spans = [Span(begin, end) for begin, end in (_times(attempt, zero, now) for attempt in record.attempts)]
    waits = [Span(a.end, b.begin) for a, b in pairwise(spans)][: record.max_attempts - 1]
    return [*spans, *(wait for wait in waits if _is_wait(wait))] if record.max_attempts > 1 else spans


_LONGEST_WAIT = 120.0
"""A pause longer than this, in seconds, is one between two rounds of a run: the default back-off ends at 60 s."""


def _is_wait(span: Span) -> bool:
    return 0 < span.end - span.begin <= _LONGEST_WAIT


def _times(attempt: Attempt, zero: float, now: float) -> tuple[float, float]:
    end = now if attempt.finished_at is None else attempt.finished_at.timestamp() - zero
    begin = attempt.started_at.timestamp() - zero
    return begin, max(begin, end)


class _Drawing:
    """What all rows share."""

    def __init__(self, subject: Subject, axis: Axis, zero: float, now: float) -> None:
        self._subject = subject
        self._axis = axis
        self._zero = zero
        self._now = now

    def row(self, part: Part, record: TaskRecord, current: Part | None, href: Callable[[str], str]) -> Row:
        """Return the row of one task."""
        bars = [self._bar(record, i) for i in range(len(record.attempts))]
        said = about(self._subject, part, record)
        after = bars[-1].x + bars[-1].width if bars else self._idle_x(part, record)
        place = "right" if after <= (_FULL if bars else _HALF) else "left"
        if place == "left" and bars and bars[0].x < 100 - _FULL:
            place = "in"
        beside = self._beside(record, part, said)
        return Row(
            name=record.name,
            state=record.state,
            href=href(record.name),
            current=current is not None and current.index == part.index,
            about=said,
            bars=tuple(bars),
            waits=tuple(self._waits(record, bars)),
            label=beside,
            label_x=bars[0].x if bars and place != "right" else after,
            label_place=place,
        )

    def _beside(self, record: TaskRecord, part: Part, said: str) -> str:
        if not record.attempts or self._subject.fan(part.index) is not None:
            return said
        return duration(taken(self._subject, part, record))

    def _idle_x(self, part: Part, record: TaskRecord) -> float:
        """Return where it is said of a task that it did not run: when that was clear."""
        if record.state == "pending":
            return 0.0
        return self._axis.x(self._subject.decided_at(part).timestamp() - self._zero)

    def _bar(self, record: TaskRecord, i: int) -> Bar:
        attempt = record.attempts[i]
        begin, end = _times(attempt, self._zero, self._now)
        x = self._axis.x(begin)
        width = max(self._axis.x(end) - x, _NARROWEST)
        error = f": {attempt.error}" if attempt.error is not None else ""
        title = f"attempt {attempt.n}, {attempt.state.replace('_', ' ')}, {duration(end - begin)}{error}"
        return Bar(min(x, 100 - _NARROWEST), round(width, 2), self._kind(record, i), title)

    def _kind(self, record: TaskRecord, i: int) -> str:
        """Return how a bar looks: a failure that was not the end is paler."""
        state = record.attempts[i].state
        if state in {"failed", "timed_out"}:
            return "failed" if record.state == "failed" and i == len(record.attempts) - 1 else "tried"
        return state

    def _waits(self, record: TaskRecord, bars: list[Bar]) -> list[Bar]:
        waits = []
        for i, (before, after) in enumerate(pairwise(bars), start=1):
            begin, end = before.x + before.width, after.x
            pause = record.attempts[i].backoff or 0.0
            if end > begin and pause <= _LONGEST_WAIT:
                waits.append(Bar(round(begin, 2), round(end - begin, 2), "wait", f"backed off {duration(pause)}"))
        if record.state == "retrying" and bars:
            begin = bars[-1].x + bars[-1].width
            waits.append(Bar(begin, round(max(0.0, self._axis.x(self._now) - begin), 2), "wait", "backs off"))
        return waits
