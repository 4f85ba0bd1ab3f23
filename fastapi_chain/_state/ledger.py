"""What has become of each task of a run, or of each item of a fan-out: flat arrays, read as records when somebody asks.

The arrays are what makes a run cheap: a task that succeeds at once costs one byte and two numbers. What is rare
(further attempts, errors, reasons) lies in dictionaries that stay empty.
"""

from functools import cached_property
from traceback import TracebackException
from typing import Any, Final

from fastapi_chain._clock import utc
from fastapi_chain.errors import TaskFailed
from fastapi_chain.outcome import Attempt, AttemptState, ErrorInfo, TaskRecord, TaskState

PENDING: Final = 0
RUNNING: Final = 1
RETRYING: Final = 2
SUCCEEDED: Final = 3
FAILED: Final = 4
SKIPPED: Final = 5
CANCELLED: Final = 6

STATES: Final[tuple[TaskState, ...]] = (
    "pending",
    "running",
    "retrying",
    "succeeded",
    "failed",
    "skipped",
    "cancelled",
)
"""The names of the states, by number; from `SUCCEEDED` on they are terminal."""

_ENDED_AS: Final[dict[int, AttemptState]] = {RUNNING: "running", SUCCEEDED: "succeeded"}


Words = tuple[str, str]
"""An error in words: the name of its class and its text."""


def words_of(error: BaseException) -> Words:
    """Return *error* in words; most are never looked at, so they are made an `ErrorInfo` only for those who look."""
    try:
        text = str(error)
    except Exception:  # noqa: BLE001 - an exception of the user's own, whose `__str__` may fail as well
        text = "(its text cannot be made)"
    return type(error).__name__, text


def error_info(error: BaseException) -> ErrorInfo:
    """Return *error* in words."""
    return ErrorInfo(*words_of(error))


RAISED_BY: Final = "raised by task "
"""How the note begins that the last error of each attempt gets."""

_LONGEST: Final = 8000
"""As much of a traceback is kept, in characters; of a longer one, its end."""


def traceback_of(error: BaseException) -> str | None:
    """Return where *error* was raised and what caused it, as Python prints it, without the text of *error* itself."""
    if isinstance(error, TaskFailed):
        return error.traceback
    told = TracebackException.from_exception(error)
    part: TracebackException | None = told
    while part is not None:
        if part.__context__ is not None and _of_attempt(part.__context__):
            part.__context__ = None
        part = part.__cause__ or part.__context__
    lines = list(told.format())
    own = len(list(told.format_exception_only()))
    return "".join(lines[:-own])[-_LONGEST:]


def _of_attempt(told: TracebackException) -> bool:
    """Whether *told* is what an earlier attempt raised: that is no part of this one."""
    notes = told.__notes__
    return isinstance(notes, list) and any(str(note).startswith(RAISED_BY) for note in notes)


class Rough:
    """An attempt that is over, as it was put down: few attempts are ever looked at, so a record is made only then."""

    __slots__ = ("_words", "began", "ended", "state")

    def __init__(self, state: AttemptState, began: float, ended: float, words: Words | None) -> None:
        """Keep what an `Attempt` tells; *began* and *ended* are on the monotonic clock."""
        self.state: Final = state
        self.began: Final = began
        self.ended: Final = ended
        self._words: Final = words

    @property
    def error(self) -> ErrorInfo | None:
        """What went wrong, if anything did."""
        return None if self._words is None else ErrorInfo(*self._words)


class Ledger:
    """The states of some tasks or items, by number."""

    failed: bool = False
    """Whether to look into `errors` at all."""
    retried: bool = False
    """Whether to look into `earlier` at all."""

    def __init__(self, ended: list[float], epoch: float) -> None:
        """Start with all of them pending.

        Args:
            ended: When each one ended; as many numbers as there are tasks or items.
            epoch: What the monotonic clock lacks to the time of day.
        """
        self.epoch = epoch
        self.states = bytearray(len(ended))
        self.began = [0.0] * len(ended)
        self.ended = ended

    @cached_property
    def past(self) -> dict[int, list[Attempt | Rough]]:
        """The attempts that are over, the last success excepted; `over` gives them as records."""
        return {}

    @cached_property
    def errors(self) -> dict[int, BaseException]:
        """What the last attempt raised."""
        self.failed = True
        return {}

    @cached_property
    def reasons(self) -> dict[int, str]:
        """Why it was skipped, or cancelled."""
        return {}

    @cached_property
    def roots(self) -> dict[int, int]:
        """Which task a skipped one was skipped because of."""
        return {}

    @cached_property
    def next_at(self) -> dict[int, float]:
        """When the next attempt begins, while it is retrying."""
        return {}

    @cached_property
    def undone(self) -> set[int]:
        """What has been undone."""
        return set()

    @cached_property
    def undos(self) -> dict[int, tuple[float, ErrorInfo | None]]:
        """When each undo ended, and what went wrong with it."""
        return {}

    @cached_property
    def earlier(self) -> dict[int, int]:
        """How many attempts there were before the run was last retried: they do not count against what is allowed."""
        self.retried = True
        return {}

    def before(self, i: int) -> int:
        """Return how many attempts there were before the run was last retried."""
        return self.earlier.get(i, 0) if self.retried else 0

    def attempt(self, i: int) -> int:
        """Return the number of the attempt that runs, or that would come next."""
        past = self.past.get(i)
        return 1 if past is None else len(past) + 1

    def first(self, i: int) -> float:
        """Return when the first attempt began, those before the run was last retried not counted."""
        past = self.past.get(i, ())
        before = self.before(i)
        if len(past) <= before:
            return self.began[i]
        one = past[before]
        return one.began if isinstance(one, Rough) else one.started_at.timestamp() - self.epoch

    def close(self, i: int, state: AttemptState, now: float, words: Words | None) -> None:
        """Put the running attempt down as over."""
        attempt, past = Rough(state, self.began[i], now, words), self.past
        if i in past:
            past[i].append(attempt)
        else:
            past[i] = [attempt]

    def over(self, i: int) -> list[Attempt]:
        """Return the attempts that are over, the last success excepted, in order."""
        records: list[Attempt] = []
        for k, one in enumerate(self.past.get(i, ())):
            if isinstance(one, Rough):
                made = self._attempt(records, one.state, one.began, one.ended, one.error)
                self.past[i][k] = made
                records.append(made)
            else:
                records.append(one)
        return records

    def _attempt(
        self, past: list[Attempt], state: AttemptState, began: float, end: float | None, error: ErrorInfo | None
    ) -> Attempt:
        """Return the attempt that came after *past*."""
        # The wait before this attempt is the gap after the one before it.
        last = past[-1].finished_at if past else None
        at = began + self.epoch
        return Attempt(
            n=len(past) + 1,
            state=state,
            started_at=utc(at),
            finished_at=None if end is None else utc(end + self.epoch),
            error=error,
            backoff=None if last is None else max(0.0, at - last.timestamp()),
        )

    def attempts(self, i: int) -> tuple[Attempt, ...]:
        """Return all attempts, in order."""
        past = self.over(i)
        state = _ENDED_AS.get(self.states[i])
        if state is None:
            return tuple(past)
        end = self.ended[i] if state == "succeeded" else None
        return (*past, self._attempt(past, state, self.began[i], end, None))

    def record(
        self, i: int, name: str, *, after: tuple[str, ...] = (), max_attempts: int = 1, optional: bool = False
    ) -> TaskRecord:
        """Return how task or item *i* stands now."""
        state = STATES[self.states[i]]
        reason = self.reasons.get(i)
        next_at = self.next_at.get(i)
        return TaskRecord(
            name=name,
            state=state,
            after=after,
            attempts=self.attempts(i),
            max_attempts=max_attempts + self.before(i),
            optional=optional,
            skip_reason=reason if state == "skipped" else None,
            cancel_reason=reason if state == "cancelled" else None,
            next_attempt_at=None if next_at is None else utc(next_at + self.epoch),
            undone=i in self.undone,
            undo_error=self.undos[i][1] if i in self.undos else None,
        )

    @property
    def undo_error(self) -> ErrorInfo | None:
        """What went wrong with the first undo that failed, of all tasks or items."""
        return next((error for _, error in self.undos.values() if error is not None), None)

    def reset(self, i: int) -> None:
        """Make *i* pending again; its attempts go on counting."""
        past = self.attempts(i)
        if past:
            self.past[i] = list(past)
            self.earlier[i] = len(past)
        self.states[i] = PENDING
        self.undone.discard(i)
        tables: tuple[dict[int, Any], ...] = (self.errors, self.reasons, self.roots, self.next_at, self.undos)
        for table in tables:
            table.pop(i, None)
