"""4. EXECUTE: one task, from its first attempt to its outcome; it never knows other tasks.

enter -> begin -> attempt -> classify -> record, each a function of its own. The same code runs a task, an item of a fan-out and an
undo, on every engine.
"""

import asyncio
from collections.abc import Callable
from typing import Final

from ._call import ITEM_SLOT, Slots
from ._gate import Gate
from ._ledger import CANCELLED, FAILED, RETRYING, RUNNING, SKIPPED, SUCCEEDED, Ledger, error_info
from ._retry import RetryPolicy
from ._state import RunState
from ._threads import Hopper, post
from ._validate import Check
from .context import running
from .errors import Skip, TaskTimeout
from .events import TaskCancelled, TaskFailed, TaskProgressed, TaskRetrying, TaskSkipped, TaskStarted, TaskSucceeded
from .outcome import AttemptState, ProgressInfo
from .spec import TaskSpec

PROGRESS_SECONDS: Final = 0.1
"""The shortest time between two events of one task's progress: a loop that reports each row floods nobody."""


class Step:
    """A task, compiled: what an attempt calls and what decides about it."""

    __slots__ = (
        "call",
        "check",
        "exact",
        "gate",
        "index",
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
        self.exact = exact
        self.check = check
        self.gate = gate
        self.policy = policy
        self.max_attempts = spec.retries + 1
        # Light steps have no more to them than a call: the fast path may run them in a row.
        self.light = gate is None and spec.each is None and not (threaded and spec.timeout is not None)


class Unit:
    """One task, or one item of a fan-out, within one run: what is executed, and what a `TaskContext` shows."""

    __slots__ = ("hop", "i", "kept", "ledger", "name", "pending", "run", "slots", "step", "told")

    def __init__(self, run: RunState, step: Step, hop: Hopper) -> None:
        """Stand for the task of *step*."""
        self.run = run
        self.step = step
        self.hop = hop
        self.ledger: Ledger = run.ledger
        self.i = step.index
        self.name = step.name
        self.slots: Slots = run.slots
        self.kept: Slots | None = run.slots  # where the result goes, under number `i`
        self.pending: asyncio.Future[object] | None = None  # a thread that outlived its time-out
        self.told = 0.0

    @classmethod
    def of_item(cls, run: RunState, step: Step, hop: Hopper, k: int, value: object) -> "Unit":
        """Stand for item number *k* of a fan-out, which is *value*."""
        unit = cls(run, step, hop)
        unit.ledger, unit.i, unit.kept = run.fans[step.index], k, run.values[step.index]
        unit.name = f"{step.name}[{k}]"
        unit.slots = run.slots.copy()
        unit.slots[ITEM_SLOT] = value
        return unit

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
        """How many there may be."""
        return self.step.max_attempts

    @property
    def cancelled(self) -> bool:
        """Whether the run is to end."""
        return self.run.cancel_reason is not None

    def time_left(self) -> float | None:
        """Return the seconds until the deadline of the run."""
        at = self.run.deadline_at
        return None if at is None else max(0.0, at - self.run.now())

    def report(self, progress: ProgressInfo) -> None:
        """Keep *progress*, and tell it if somebody follows and the last one is long enough ago."""
        run = self.run
        run.progress[self.name] = progress
        now = run.now()
        if run.followed and now - self.told >= PROGRESS_SECONDS:
            self.told = now
            run.tell_from_anywhere(TaskProgressed, task=self.name, progress=progress)

    # --- what is put down about it

    def begin(self) -> None:
        """An attempt begins."""
        self.ledger.states[self.i] = RUNNING
        self.ledger.next_at.pop(self.i, None)
        self.ledger.began[self.i] = self.run.now()
        if self.run.followed:
            self.run.tell(TaskStarted, task=self.name, attempt=self.attempt, max_attempts=self.max_attempts)

    def succeed(self, value: object) -> None:
        """The task returned; the caller keeps the value where it belongs."""
        self.ledger.ended[self.i] = self.run.now()
        self.ledger.states[self.i] = SUCCEEDED
        if self.kept is not None:
            self.kept[self.i] = value
        if self.run.followed:
            self.run.tell(TaskSucceeded, task=self.name, attempt=self.attempt)

    def retry(self, error: BaseException, delay: float) -> None:
        """The attempt failed and another one follows in *delay* seconds."""
        attempt = self.attempt
        now = self._over(_failed(error), error)
        self.ledger.states[self.i] = RETRYING
        self.ledger.next_at[self.i] = now + delay
        self.run.tell(
            TaskRetrying,
            task=self.name,
            attempt=attempt,
            max_attempts=self.max_attempts,
            error=error_info(error),
            delay=delay,
            exception=error,
        )

    def fail(self, error: BaseException) -> None:
        """The last attempt failed."""
        attempt = self.attempt
        began = self.ledger.past[self.i][0].started_at.timestamp() if attempt > 1 else None
        now = self._over(_failed(error), error)
        self.ledger.states[self.i] = FAILED
        self.ledger.errors[self.i] = error
        first = self.ledger.began[self.i] if began is None else began - self.run.epoch
        info = error_info(error)
        self.run.tell(
            TaskFailed, task=self.name, attempt=attempt, error=info, seconds=max(0.0, now - first), exception=error
        )

    def skip(self, reason: str) -> None:
        """The task raised `Skip`."""
        self._over("skipped", None)
        self.ledger.states[self.i] = SKIPPED
        self.ledger.reasons[self.i] = reason
        self.ledger.roots[self.i] = self.i
        self.run.tell(TaskSkipped, task=self.name, reason=reason)

    def cancel(self) -> None:
        """The run ends early, and the task with it."""
        if self.ledger.states[self.i] == RUNNING:
            self._over("cancelled", None)
        reason = self.run.cancel_reason or "run_cancelled"
        self.ledger.states[self.i] = CANCELLED
        self.ledger.reasons[self.i] = reason
        self.run.tell(TaskCancelled, task=self.name, reason=reason)

    def _over(self, state: AttemptState, error: BaseException | None) -> float:
        now = self.run.now()
        self.ledger.ended[self.i] = now
        if error is not None:
            note = f"raised by task {self.name!r}, attempt {self.attempt} of {self.max_attempts}, run {self.run.id[:8]}"
            error.add_note(note)
        self.ledger.close(self.i, state, now, error)
        return now


def _failed(error: BaseException) -> AttemptState:
    return "timed_out" if isinstance(error, TaskTimeout) else "failed"


async def execute(unit: Unit, *, entered: bool = False) -> None:
    """Run *unit* to its outcome and put it down in the ledger.

    Args:
        unit: What to run.
        entered: It has passed its gate already.

    Raises:
        asyncio.CancelledError: The run was cancelled; the ledger says so.
    """
    gate = unit.step.gate
    running.set(unit)
    try:
        if gate is not None and not entered:
            await gate.enter(unit.run.clock)
        try:
            unit.begin()
            value = await attempt(unit)
        finally:
            if gate is not None:
                gate.leave()
    except asyncio.CancelledError as error:
        if ends_run(unit.run):
            unit.cancel()
            raise
        unit.fail(error)
    except Exception as error:  # noqa: BLE001 - whatever the user's code raises is an outcome
        await recover(unit, error)
    else:
        unit.succeed(value)


def ends_run(run: RunState) -> bool:
    """Whether a cancellation was meant for the run, and not raised by the user's own code out of nothing."""
    task = asyncio.current_task()
    return run.cancel_reason is not None or (task is not None and task.cancelling() > 0)


async def attempt(unit: Unit) -> object:
    """Make one attempt: call the function and check what it returns."""
    step = unit.step
    if not step.threaded:
        value = await step.call(unit.slots)  # type: ignore[misc]  # not threaded: the call gives an awaitable
    else:
        value = await _in_thread(unit, step.spec.timeout)
    if type(value) is not step.exact:
        step.check(value)
    return value


async def _in_thread(unit: Unit, seconds: float | None) -> object:
    """Call a `def` task in a thread and wait for it, for at most *seconds*.

    A thread cannot be stopped. One that is not waited for any more, for lack of time or because the run was cancelled, runs on and is
    remembered: in `unit.pending`, so that no second one starts beside it, and in `run.lingering`.
    """
    loop = asyncio.get_running_loop()
    began = loop.create_future()

    def call(slots: Slots) -> object:
        if seconds is not None:
            # A task that waits for a free thread has not begun, so its time does not run yet.
            post(loop, _begin, began)
        return unit.step.call(slots)

    work = unit.hop.start(call, unit.slots)
    try:
        if seconds is not None:
            await asyncio.wait((work, began), return_when=asyncio.FIRST_COMPLETED)
        await asyncio.wait((work,), timeout=seconds)
    except asyncio.CancelledError:
        unit.run.linger(unit.i if unit.ledger is unit.run.ledger else None, work)
        raise
    if work.done():
        return work.result()
    unit.pending = work
    unit.run.linger(None, work)
    raise timed_out(unit)


def _begin(began: "asyncio.Future[None]") -> None:
    if not began.done():
        began.set_result(None)


def timed_out(unit: Unit) -> TaskTimeout:
    """Return the error of an attempt that took too long."""
    return TaskTimeout(
        task=unit.name,
        seconds=unit.step.spec.timeout or 0.0,
        attempt=unit.attempt,
        max_attempts=unit.max_attempts,
    )


async def recover(unit: Unit, error: BaseException) -> None:
    """Go on after a failed attempt: try again as long as the policy says so, then put the outcome down.

    The fast path comes here with the error of an attempt that it made itself.
    """
    while True:
        delay = _next_delay(unit, error)
        if delay is None:
            _conclude(unit, error)
            return
        unit.retry(error, delay)
        try:
            value = await _again(unit, delay)
        except asyncio.CancelledError as cancelled:
            if ends_run(unit.run):
                unit.cancel()
                raise
            unit.fail(cancelled)
            return
        except Exception as another:  # noqa: BLE001 - whatever the user's code raises is an outcome
            error = another
        else:
            unit.succeed(value)
            return


def _next_delay(unit: Unit, error: BaseException) -> float | None:
    """Return the seconds to wait before the next attempt; None: there is none."""
    policy = unit.step.policy
    if policy is None or unit.run.cancel_reason is not None:
        return None
    past = unit.ledger.past.get(unit.i)
    first = past[0].started_at.timestamp() - unit.run.epoch if past else unit.ledger.began[unit.i]
    return policy.delay(unit.attempt, error, unit.run.now() - first)


def _conclude(unit: Unit, error: BaseException) -> None:
    """Put down an error that is not retried."""
    if isinstance(error, Skip):
        unit.skip(f"skip: {error.reason}")
    else:
        unit.fail(error)


async def _again(unit: Unit, delay: float) -> object:
    """Wait, with no slot held, and make one more attempt."""
    clock, gate = unit.run.clock, unit.step.gate
    if delay > 0:
        await clock.sleep(delay)
    if unit.pending is not None:
        # Two threads in one task at once would be worse than waiting.
        pending, unit.pending = unit.pending, None
        await asyncio.wait((pending,))
        # Its result comes too late to count; looking at it keeps the loop from reporting it.
        pending.exception()
    if gate is not None:
        await gate.enter(clock)
    try:
        unit.begin()
        return await attempt(unit)
    finally:
        if gate is not None:
            gate.leave()


