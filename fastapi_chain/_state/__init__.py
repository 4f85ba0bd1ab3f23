"""All that one run owns: its values, its ledger, its clock. The plan is shared by all runs, nothing else is.

It knows no engine: the memory engine and a durable one fill it in the same way.
"""

import asyncio
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import cached_property
from types import MappingProxyType
from typing import Final

from fastapi_chain._clock import current_clock
from fastapi_chain.errors import RunCancelled, RunNotFinished, TaskCancelled, TaskFailed, TaskSkipped
from fastapi_chain.events import Event
from fastapi_chain.events import TaskCancelled as TaskWasCancelled
from fastapi_chain.outcome import Failed, Skipped, Succeeded, TaskRecord
from fastapi_chain.outcome import RunState as RunStateName
from fastapi_chain.plan import Plan
from fastapi_chain.plan.nodes import MISSING
from fastapi_chain.run import Run, RunBackend

from .ledger import CANCELLED, FAILED, PENDING, RUNNING, SKIPPED, STATES, SUCCEEDED, Ledger, error_info
from .lingering import Lingering
from .telling import Telling

OFF_LINE: Final = -1
"""`RunState.pos` of a run that is not on the fast path: the ledger says it all."""


def rested(done: int) -> int:
    """Return the `RunState.pos` between two tasks, when *done* of them have ended; and *done* from that."""
    return -2 - done


Sink = Callable[[Event], None]
"""Where events go."""


class TaskRecords(Mapping[str, TaskRecord]):
    """The tasks of a run by name. The items of a fan-out are found under theirs, `ship[3]`, but not listed."""

    __slots__ = ("_tasks",)

    def __init__(self, records: Iterator[TaskRecord]) -> None:
        """Hold *records*, one for each task."""
        self._tasks: Final = {record.name: record for record in records}

    def __getitem__(self, name: str) -> TaskRecord:
        record = self._tasks.get(name)
        return self._tasks[name.partition("[")[0]].items[name] if record is None else record

    def __iter__(self) -> Iterator[str]:
        return iter(self._tasks)

    def __len__(self) -> int:
        return len(self._tasks)

    def __repr__(self) -> str:
        return repr(self._tasks)


class RunState(Telling):
    """One run: a plan, its values and what has become of its tasks."""

    # Most runs never need what stands here: it is the class's until a run sets its own, and costs nothing until then.
    pos: int = OFF_LINE
    """The task that the fast path is at (engines/line.py)."""
    state: RunStateName = "queued"
    reason: str | None = None
    error: Exception | None = None
    """What ended the run as a whole: `DeadlineExceeded`."""
    cancel_reason: str | None = None
    """Set as soon as the run is to end early."""
    started: float | None = None
    deadline_at: float | None = None
    backend: RunBackend | None = None
    """What a window on this run shows, while it goes on."""
    tags: Mapping[str, str] = MappingProxyType({})
    url: str | None = None
    app: object = None
    request_scope: Mapping[str, object] | None = None
    in_context: bool = False
    """Whether a sink is to be told of an attempt in the context in which the task is then called: tracing."""
    undoing: bool = False
    """Whether it is being undone: that is not cut short by what has ended the run."""
    cancelling: int = 0
    """How often the task that performs it had been cancelled before."""
    leaving: bool = False
    """Whether whoever performs it was cancelled, so that nothing more begins."""
    main: "asyncio.Task[object] | None" = None
    """The task that performs it, once tasks of the run have to share it with others (engines/line.py)."""
    left_behind: int = 0
    """How many cancellations of that task nobody has meant (engines/driving.py)."""
    spotless: bool = True
    """Whether there is nothing to write down but how far the line has come: no task has failed, or waited."""
    _ledger: Ledger | None = None

    # To look into `__dict__`, as `cached_property` does, makes an object slower for good: none of that before the first
    # wait.

    def __init__(self, plan: Plan, values: Mapping[str, object], sinks: tuple[Sink, ...] = ()) -> None:
        """Prepare a run of *plan* with the inputs *values*, which have been checked to be complete."""
        clock = self.clock = current_clock.get()
        self.plan = plan
        self.created = clock.monotonic()
        blank = plan.blank
        self.ended = blank.ended.copy()
        self.slots = blank.filled(values)
        # Read by every run: quicker here than on the class.
        self.followed = False
        self.spotless = True
        self.cancel_reason = None
        self.finished = None
        self.app = None
        self.request_scope = None
        self.cancelling = 0
        if sinks:
            self.sinks = sinks
            self.followed = True
            self.in_context = any(getattr(sink, "in_context", False) for sink in sinks)

    @property
    def ledger(self) -> Ledger:
        """What has become of the tasks. There is none as long as all is well on the straight line: see `settle`."""
        if self._ledger is None:
            self._ledger = Ledger(self.ended, self.epoch)
            self.spotless = False
        return self._ledger

    @cached_property
    def fans(self) -> dict[int, Ledger]:
        """The items of each fan-out that has begun."""
        return {}

    @cached_property
    def values(self) -> dict[int, list[object]]:
        """What the items of each fan-out returned."""
        return {}

    @cached_property
    def items(self) -> dict[int, list[object]]:
        """What each fan-out that has begun is called for."""
        return {}

    @cached_property
    def lingering(self) -> Lingering:
        """The threads that it has turned away from."""
        return Lingering(self.now)

    def fill(self, values: Mapping[str, object]) -> None:
        """Give the inputs, where they were not known when the run was made."""
        given = slice(len(self.plan.nodes), -2)
        self.slots[given] = self.plan.blank.filled(values)[given]

    def open(self, backend: RunBackend) -> None:
        """Begin, on the running loop.

        The run is put into its own last slot, and taken out at the end: a finished run without such circles is freed at
        once, not when the garbage collector comes by, which would cost more than the run did.
        """
        self.loop = asyncio.get_running_loop()
        self.backend = backend
        self.slots[-1] = self
        self.state = "running"
        self.started = self.clock.monotonic()

    def close(self, state: RunStateName) -> None:
        """End, as *state*."""
        if self.followed:
            self._flush()
        self.state = state
        self.finished = self.clock.monotonic()
        self.slots[-1] = self.backend = None

    @property
    def run(self) -> Run:
        """A window on this run, for a task that asks for one."""
        assert self.backend is not None, "only a task asks, while the run goes on"
        return Run(self.backend)

    def wall(self, moment: float | None) -> float | None:
        """Return a monotonic time as the time of day, in seconds since 1970."""
        return None if moment is None else moment + self.epoch

    # --- what has become of the tasks

    def settle(self) -> None:
        """Write down what the fast path has done up to `pos`: it keeps nothing but that number and the end stamps."""
        pos = self.pos
        if pos == OFF_LINE:
            return
        ledger, ended = self.ledger, self.ended
        states, began = ledger.states, ledger.began
        done = pos if pos >= 0 else rested(pos)
        # A task on the line begins when the one before it ends, and the first one with the run.
        if done:
            states[:done] = bytes([SUCCEEDED]) * done
            began[0] = self.started or 0.0
            began[1:done] = ended[: done - 1]
        if pos >= 0:
            states[pos] = RUNNING
            began[pos] = ended[pos - 1] if pos else self.started or 0.0
        if self.finished is not None:
            self.pos = OFF_LINE

    def records(self) -> TaskRecords:
        """Return how every task stands now, in order."""
        self.settle()
        return TaskRecords(map(self._record, range(len(self.plan.nodes))))

    def _record(self, i: int) -> TaskRecord:
        node = self.plan.nodes[i]
        names = self.plan.names
        record = self.ledger.record(
            i,
            node.name,
            after=tuple(names[p] for p in node.parents),
            max_attempts=node.max_attempts,
            optional=node.spec.optional,
        )
        fan = self.fans.get(i)
        if fan is None and not self.progress:
            return record
        progress = self.progress.get(node.name)
        if fan is None:
            return replace(record, progress=progress)
        items = {f"{node.name}[{k}]": self._item(i, k) for k in range(len(fan.states))}
        return replace(record, progress=progress, items=items, undo_error=fan.undo_error)

    def _item(self, i: int, k: int) -> TaskRecord:
        node = self.plan.nodes[i]
        name = f"{node.name}[{k}]"
        record = self.fans[i].record(k, name, max_attempts=node.max_attempts, optional=node.spec.optional)
        return replace(record, progress=self.progress.get(name)) if self.progress else record

    def counts(self, i: int) -> bool:
        """Whether a failure of task *i* makes the run failed."""
        return not self.plan.nodes[i].spec.optional

    def outcome(self, i: int, value: object) -> Succeeded[object] | Failed | Skipped:
        """Return the outcome of task *i*, which has ended, and has returned *value* if anything."""
        return _outcome(self.ledger, i, self.plan.names[i], value)

    def value(self, name: str) -> object:
        """Return the output of the task called *name*, or raise why there is none.

        Raises:
            KeyError: There is no such task.
            TaskSkipped: It was skipped.
            TaskCancelled: It was cancelled.
            RunNotFinished: It has not ended yet.
            Exception: It failed: its own exception.
        """
        i = self.plan.index.get(name)
        if i is None:
            text = f"chain {self.plan.chain!r} has no task {name!r}"
            raise KeyError(text)
        if self.state == "succeeded" and self.spotless:
            # Nothing need be written down to know that it has succeeded too.
            return self.slots[i]
        self.settle()
        state = self.ledger.states[i]
        if state == SUCCEEDED:
            return self.slots[i]
        if state == FAILED:
            raise self.exception(i)
        if state == SKIPPED:
            raise TaskSkipped(task=name, reason=self.ledger.reasons[i], run=self.id)
        if state == CANCELLED:
            raise TaskCancelled(task=name, reason=self.ledger.reasons[i], run=self.id)
        raise RunNotFinished(run=self.id, state=STATES[state], task=name)

    def exception(self, i: int) -> Exception:
        """Return what task *i* failed with, as something that can be raised without ending more than it should."""
        error = self.ledger.errors[i]
        if isinstance(error, Exception):
            return error
        # A CancelledError would look as if whoever asks had been cancelled.
        info = error_info(error)
        failed = TaskFailed(task=self.plan.names[i], error=info, attempts=len(self.ledger.past[i]), run=self.id)
        failed.__cause__ = error
        return failed

    def raise_for_error(self) -> None:
        """Raise an `ExceptionGroup` of what failed.

        Raises:
            ExceptionGroup: The run failed.
            RunCancelled: It was cancelled.
            RunNotFinished: It has not finished.
        """
        if self.finished is None:
            raise RunNotFinished(run=self.id, state=self.state)
        if self.state == "cancelled":
            raise RunCancelled(run=self.id, reason=self.reason)
        if self.state == "failed":
            counting: list[Exception] = [self.exception(i) for i in sorted(self.ledger.errors) if self.counts(i)]
            if self.error is not None:
                counting.append(self.error)
            text = f"run {self.id[:8]} of chain {self.plan.chain!r} failed"
            raise ExceptionGroup(text, counting)

    def has_items(self, i: int) -> bool:
        """Whether fan-out *i* has come to its items, so that it is known what has become of each."""
        fan = self.fans.get(i)
        # What is pending is left from before a retry of the run.
        return fan is not None and PENDING not in fan.states

    def outcomes(self, i: int) -> list[Succeeded[object] | Failed | Skipped]:
        """Return the outcome of every item of fan-out *i*, in order."""
        fan, values, name = self.fans[i], self.values[i], self.plan.names[i]
        return [_outcome(fan, k, f"{name}[{k}]", value) for k, value in enumerate(values)]

    def drop_items(self, i: int) -> None:
        """Forget the items that fan-out *i*, which is skipped, had before the run was retried."""
        for table in (self.fans, self.values, self.items):
            table.pop(i, None)

    def call_off(self, ledger: Ledger, i: int, name: str) -> None:
        """Put number *i* of *ledger* down as cancelled, with its items that never began: the run ends early."""
        if ledger is self._ledger and i in self.fans:
            fan = self.fans[i]
            for k, state in enumerate(fan.states):
                if state == PENDING:
                    self.call_off(fan, k, f"{name}[{k}]")
        now = self.now()
        if ledger.states[i] == RUNNING:
            ledger.close(i, "cancelled", now, None)
        reason = self.cancel_reason or "run_cancelled"
        ledger.ended[i] = now
        ledger.states[i] = CANCELLED
        ledger.reasons[i] = reason
        ledger.next_at.pop(i, None)
        self.tell(TaskWasCancelled, task=name, reason=reason)


def _outcome(ledger: Ledger, i: int, name: str, value: object) -> Succeeded[object] | Failed | Skipped:
    state = ledger.states[i]
    if state == FAILED:
        error, last = ledger.errors[i], ledger.past[i][-1].error
        # What another process has met is known in words only.
        kept = None if isinstance(error, TaskFailed) and error.error == last else error
        return Failed(name, last or error_info(error), len(ledger.past[i]), kept)
    # One that was cancelled is asked for by undos alone. It has returned too late, or it never ran.
    return Skipped(ledger.reasons[i]) if value is MISSING else Succeeded(value)
