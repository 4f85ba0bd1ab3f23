"""Step and Unit: a task of a plan, compiled, and one task or item within one run."""

from collections.abc import Callable
from typing import Protocol

from fastapi_chain._state import RunState
from fastapi_chain._state.ledger import (
    FAILED,
    RAISED_BY,
    RETRYING,
    RUNNING,
    SKIPPED,
    SUCCEEDED,
    Ledger,
    Words,
    words_of,
)
from fastapi_chain._state.lingering import Effect
from fastapi_chain._threads import Hopper
from fastapi_chain.errors import TaskTimeout
from fastapi_chain.events import TaskEvent, TaskFailed, TaskRetrying, TaskSkipped, TaskStarted, TaskSucceeded
from fastapi_chain.outcome import AttemptState, ErrorInfo, ProgressInfo
from fastapi_chain.spec import TaskSpec

from .call import ITEM_SLOT, Slots
from .gate import Gate
from .retry import RetryPolicy
from .validate import Check


class Step:
    """A task, compiled: what an attempt calls and what decides about it."""

    __slots__ = (
        "call",
        "check",
        "detached",
        "exact",
        "gate",
        "index",
        "inline",
        "light",
        "max_attempts",
        "name",
        "policy",
        "spec",
        "threaded",
    )

    def __init__(
        self,
        spec: TaskSpec,
        index: int,
        call: Callable[[Slots], object],
        *,
        threaded: bool,
        detached: bool,
        exact: type,
        check: Check,
        gate: Gate | None,
        policy: RetryPolicy | None,
    ) -> None:
        """Put the parts together; nothing is looked up again during a run."""
        self.spec = spec
        self.name: str = spec.name
        self.index = index
        self.call = call
        self.threaded = threaded  # `call` blocks and belongs in a thread; else it gives an awaitable
        self.detached = detached  # that awaitable hides a thread, so that it cannot be stopped either
        self.exact = exact
        self.check = check
        self.gate = gate
        self.policy = policy
        self.max_attempts = spec.retries + 1
        # Light steps have no more to them than a call: the fast path may run them in a row.
        plain = not detached and not (threaded and spec.timeout is not None)
        self.light = plain and gate is None and spec.each is None
        self.inline = self.light and not threaded  # any asyncio task of the run may go on with it


class Left(Protocol):
    """A call in a thread that has outlived its attempt."""

    def over(self, gate: Gate) -> bool:
        """Whether it has returned; if not, it gives back its place in *gate* itself as soon as it does."""

    async def end(self) -> None:
        """Return when it has."""


class Unit:
    """One task, or one item of a fan-out, within one run: what is executed, and what a `TaskContext` shows."""

    __slots__ = ("given", "hop", "i", "item", "kept", "ledger", "left", "name", "rests", "run", "step")

    def __init__(self, run: RunState, step: Step, hop: Hopper) -> None:
        """Stand for the task of *step*."""
        self.run = run
        self.step = step
        self.hop = hop
        self.ledger: Ledger = run.ledger
        self.i = step.index
        self.name = step.name
        self.item: int | None = None
        self.given: tuple[int, object] | None = None  # a slot, and what it holds for this unit alone
        self.kept: Slots | None = run.slots  # where the result goes, under number `i`
        self.left: Left | None = None
        self.rests: Callable[[], None] | None = None  # called when the unit begins to wait for its next attempt

    @classmethod
    def of_item(cls, run: RunState, step: Step, hop: Hopper, k: int, value: object) -> "Unit":
        """Stand for item number *k* of a fan-out, which is *value*."""
        unit = cls(run, step, hop)
        unit.ledger, unit.i, unit.kept = run.fans[step.index], k, run.values[step.index]
        unit.name = f"{step.name}[{k}]"
        unit.item = k
        unit.given = ITEM_SLOT, value
        return unit

    def slots(self) -> Slots:
        """Return the slots that its function takes its values from; a copy only while it is needed."""
        if self.given is None:
            return self.run.slots
        place, value = self.given
        slots = self.run.slots.copy()
        slots[place] = value
        return slots

    @property
    def effect(self) -> Effect | None:
        """Whose effect it is if it returns too late."""
        return self.step.index, self.item

    # --- what a TaskContext shows

    def link(self) -> "Unit":
        """Return itself: see `context.Here`."""
        return self

    @property
    def run_id(self) -> str:
        """The id of the run."""
        return self.run.id

    @property
    def task(self) -> str:
        """The task's name; for an item with its number."""
        return self.name

    @property
    def attempt(self) -> int:
        """The number of this attempt."""
        return self.ledger.attempt(self.i)

    @property
    def max_attempts(self) -> int:
        """How many there may be, those before a retry of the run included."""
        return self._most(self.attempt)

    def _most(self, attempt: int) -> int:
        """Return how many attempts there may be, given that *attempt* is under way."""
        most = self.step.max_attempts
        if self.ledger.retried:
            most += self.ledger.before(self.i)
        # A policy of the user's own may not know beforehand.
        return max(most, attempt)

    @property
    def cancelled(self) -> bool:
        """Whether the run is to end."""
        return self.run.cancel_reason is not None and not self.run.undoing

    def time_left(self) -> float | None:
        """Return the seconds until the deadline of the run."""
        at = None if self.run.undoing else self.run.deadline_at
        return None if at is None else max(0.0, at - self.run.now())

    def report(self, progress: ProgressInfo) -> None:
        """Keep *progress*, and tell it before long if somebody follows."""
        self.run.report(self.name, progress)

    def since_first(self) -> float:
        """Return how long ago its first attempt began, in seconds."""
        return self.run.now() - self.ledger.first(self.i)

    # --- what is put down about it

    def tell(self, kind: type[TaskEvent], **fields: object) -> None:
        """Tell what happens to it."""
        self.run.tell(kind, task=self.name, **fields)

    def begin(self) -> None:
        """An attempt begins."""
        ledger, i, run = self.ledger, self.i, self.run
        if ledger.states[i] == RETRYING:
            ledger.next_at.pop(i, None)
        ledger.states[i] = RUNNING
        ledger.began[i] = run.clock.monotonic()
        if run.followed:
            self.tell(TaskStarted, attempt=self.attempt, max_attempts=self.max_attempts)

    def succeed(self, value: object) -> None:
        """The task returned *value*, which is kept."""
        self.ledger.ended[self.i] = self.run.now()
        self.ledger.states[self.i] = SUCCEEDED
        if self.kept is not None:
            self.kept[self.i] = value
        if self.run.followed:
            self.tell(TaskSucceeded, attempt=self.attempt)

    def retry(self, error: BaseException, delay: float, attempt: int) -> None:
        """Number *attempt* has failed, and another one follows in *delay* seconds."""
        ledger, i, words = self.ledger, self.i, words_of(error)
        ledger.next_at[i] = self._over(_failed(error), words) + delay
        ledger.states[i] = RETRYING
        if not self.run.unheard(TaskRetrying):
            most, info = self._most(attempt), ErrorInfo(*words)
            self.tell(TaskRetrying, attempt=attempt, max_attempts=most, error=info, delay=delay, exception=error)
        if self.rests is not None:
            self.rests()

    def fail(self, error: BaseException) -> None:
        """The last attempt failed."""
        attempt, words = self.attempt, words_of(error)
        now = self._over(_failed(error), words)
        self.ledger.states[self.i] = FAILED
        self.ledger.errors[self.i] = error
        seconds = max(0.0, now - self.ledger.first(self.i))
        self.tell(TaskFailed, attempt=attempt, error=ErrorInfo(*words), seconds=seconds, exception=error)

    def skip(self, reason: str) -> None:
        """The task raised `Skip`."""
        self._over("skipped", None)
        self.ledger.states[self.i] = SKIPPED
        self.ledger.reasons[self.i] = reason
        self.ledger.roots[self.i] = self.i
        self.tell(TaskSkipped, reason=reason)

    def cancel(self) -> None:
        """The run ends early, and the task with it."""
        self.run.call_off(self.ledger, self.i, self.name)

    def _over(self, state: AttemptState, words: Words | None) -> float:
        ledger, i = self.ledger, self.i
        now = ledger.ended[i] = self.run.clock.monotonic()
        ledger.close(i, state, now, words)
        return now

    def note(self, error: BaseException, attempt: int) -> None:
        """Note on *error* who raised it, in place of an earlier note: some raise one and the same object for ever."""
        note = f"{RAISED_BY}{self.name!r}, attempt {attempt} of {self._most(attempt)}, run {self.run.id[:8]}"
        # A frozen dataclass, say, takes no notes.
        try:
            earlier = getattr(error, "__notes__", None)
            if earlier is None:
                error.add_note(note)
            else:
                error.__notes__ = [*[text for text in earlier if not text.startswith(RAISED_BY)], note]
        except Exception:  # noqa: BLE001, S110 - then it goes without; `suppress` would cost more than the note
            pass


def _failed(error: BaseException) -> AttemptState:
    return "timed_out" if isinstance(error, TaskTimeout) else "failed"
