"""All that one run owns: its values, its ledger, its clock. The plan is shared by all runs, nothing else is.

It knows no engine: the memory engine and a durable one fill it in the same way.
"""

import asyncio
import secrets
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import cached_property, partial
from types import MappingProxyType
from typing import Final

from ._clock import Clock, current_clock, utc
from ._ledger import CANCELLED, FAILED, PENDING, RUNNING, SKIPPED, SUCCEEDED, Ledger, error_info
from ._threads import post
from .errors import RunNotFinished, TaskCancelled, TaskFailed, TaskSkipped
from .events import Event
from .outcome import Failed, ProgressInfo, RunState as RunStateName, Skipped, Succeeded, TaskRecord
from .plan import Plan
from .run import Run, RunBackend

MISSING: Final = object()
"""The value of a task that has none."""

OFF_LINE: Final = -1
"""`RunState.pos` of a run that is not on the fast path: the ledger says it all."""


def rested(done: int) -> int:
    """Return the `RunState.pos` between two tasks, when *done* of them have ended; and *done* from that."""
    return -2 - done


Sink = Callable[[Event], None]
"""Where events go."""


class RunState:
    """One run: a plan, its values and what has become of its tasks."""

    # Most runs never need what stands here: it is the class's until a run sets its own, and costs nothing until then.
    pos: int = OFF_LINE
    """The task that the fast path is at (engines/line.py)."""
    state: RunStateName = "queued"
    reason: str | None = None
    error: BaseException | None = None
    """What ended the run as a whole: `DeadlineExceeded`."""
    cancel_reason: str | None = None
    """Set as soon as the run is to end early."""
    started: float | None = None
    finished: float | None = None
    deadline_at: float | None = None
    loop: asyncio.AbstractEventLoop | None = None
    backend: RunBackend | None = None
    """What a window on this run shows, while it goes on."""
    tags: Mapping[str, str] = MappingProxyType({})
    url: str | None = None
    app: object = None
    request_scope: Mapping[str, object] | None = None
    sinks: tuple[Sink, ...] = ()
    heed: tuple[Sink, ...] = ()
    """Who is told only what is told anyway: what goes wrong."""
    followed: bool = False
    """Whether anybody wants to know of more than what goes wrong."""
    seq: int = 0
    _ledger: Ledger | None = None
    _epoch: float | None = None

    # To look into `__dict__`, as `cached_property` does, makes an object slower for good: none of that before the first wait.

    def __init__(self, plan: Plan, values: Mapping[str, object], sinks: tuple[Sink, ...] = ()) -> None:
        """Prepare a run of *plan* with the inputs *values*, which have been checked to be complete."""
        self.clock: Clock = current_clock()
        self.plan = plan
        self.created = self.clock.monotonic()
        size = len(plan.nodes)
        self.ended = [0.0] * size
        # The last slot is the run itself: what a task takes from its surroundings, it finds there. The one before is for the
        # item of a fan-out, whose calls get a copy of the slots each.
        given = map(values.get, plan.input_names, plan.defaults)
        self.slots: list[object] = [*[MISSING] * size, *given, MISSING, None]
        if sinks:
            self.sinks = sinks
            self.followed = True

    @property
    def epoch(self) -> float:
        """What the monotonic clock lacks to the time of day; found out once, so that all stamps of a run agree."""
        if self._epoch is None:
            self._epoch = self.clock.time() - self.clock.monotonic()
        return self._epoch

    @property
    def ledger(self) -> Ledger:
        """What has become of the tasks. There is none as long as all is well on the straight line: see `settle`."""
        if self._ledger is None:
            self._ledger = Ledger(self.ended, self.epoch)
        return self._ledger

    @property
    def spotless(self) -> bool:
        """Whether there is nothing to write down but how far the line has come: no task has failed, or waited."""
        return self._ledger is None

    @cached_property
    def fans(self) -> dict[int, Ledger]:
        """The items of each fan-out that has begun."""
        return {}

    @cached_property
    def values(self) -> dict[int, list[object]]:
        """What the items of each fan-out returned."""
        return {}

    @cached_property
    def progress(self) -> dict[str, ProgressInfo]:
        """The last progress of each task or item that reported any."""
        return {}

    @cached_property
    def lingering(self) -> "dict[asyncio.Future[object], int | None]":
        """The threads that the run has turned away from."""
        return {}

    @cached_property
    def late(self) -> list[int]:
        """The tasks whose thread returned after the run had been cancelled."""
        return []

    def fill(self, values: Mapping[str, object]) -> None:
        """Give the inputs, where they were not known when the run was made."""
        size = len(self.plan.nodes)
        self.slots[size:-2] = map(values.get, self.plan.input_names, self.plan.defaults)

    def open(self, backend: RunBackend) -> None:
        """Begin, on the running loop.

        The run is put into its own last slot, and taken out at the end: a finished run without such circles is freed at once, not
        when the garbage collector comes by, which would cost more than the run did.
        """
        self.loop = asyncio.get_running_loop()
        self.backend = backend
        self.slots[-1] = self
        self.state = "running"
        self.started = self.clock.monotonic()

    def close(self, state: RunStateName) -> None:
        """End, as *state*."""
        self.state = state
        self.finished = self.clock.monotonic()
        self.slots[-1] = self.backend = None

    @property
    def run(self) -> Run:
        """A window on this run, for a task that asks for one."""
        assert self.backend is not None, "only a task asks, while the run goes on"
        return Run(self.backend)

    @cached_property
    def id(self) -> str:
        """128 random bits in hexadecimal, made when first asked for."""
        return secrets.token_hex(16)

    def now(self) -> float:
        """Return the monotonic time."""
        return self.clock.monotonic()

    def wall(self, moment: float | None) -> float | None:
        """Return a monotonic time as the time of day, in seconds since 1970."""
        return None if moment is None else moment + self.epoch

    # --- what has become of the tasks

    def settle(self) -> None:
        """Write down what the fast path has done up to `pos`: it keeps nothing but that number and the end stamps."""
        pos = self.pos
        if pos == OFF_LINE:
            return
        ledger = self.ledger
        done = pos if pos >= 0 else rested(pos)
        ledger.states[:done] = bytes([SUCCEEDED]) * done
        starts = [self.started or 0.0, *self.ended[:done]]
        if pos >= 0:
            ledger.states[pos] = RUNNING
        # A task on the line begins when the one before it ends.
        reached = done + (pos >= 0)
        ledger.began[:reached] = starts[:reached]

    def records(self) -> Iterator[TaskRecord]:
        """Yield how every task stands now, in order."""
        self.settle()
        for i in range(len(self.plan.nodes)):
            yield self.record(i)

    def record(self, i: int) -> TaskRecord:
        """Return how task *i* stands now."""
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
        items = {} if fan is None else {f"{node.name}[{k}]": self.item(i, k) for k in range(len(fan.states))}
        return replace(record, progress=self.progress.get(node.name), items=items)

    def item(self, i: int, k: int) -> TaskRecord:
        """Return how item *k* of fan-out *i* stands now."""
        node = self.plan.nodes[i]
        name = f"{node.name}[{k}]"
        record = self.fans[i].record(k, name, max_attempts=node.max_attempts, optional=node.spec.optional)
        return replace(record, progress=self.progress.get(name)) if self.progress else record

    def counts(self, i: int) -> bool:
        """Whether a failure of task *i* makes the run failed."""
        return not self.plan.nodes[i].spec.optional

    def outcome(self, i: int) -> Succeeded[object] | Failed | Skipped:
        """Return the outcome of task *i*, which has ended."""
        return _outcome(self.ledger, i, self.plan.names[i], self.slots[i])

    def value(self, name: str) -> object:
        """Return the output of the task called *name*, or raise why there is none.

        Raises:
            KeyError: There is no such task.
            TaskSkipped: It was skipped.
            TaskCancelled: It was cancelled.
            RunNotFinished: It has not ended yet.
            BaseException: It failed: its own exception.
        """
        i = self.plan.index.get(name)
        if i is None:
            text = f"chain {self.plan.chain!r} has no task {name!r}"
            raise KeyError(text)
        if self.slots[i] is not MISSING:
            return self.slots[i]
        state = self.ledger.states[i]
        if state == FAILED:
            raise self.ledger.errors[i]
        if state == SKIPPED:
            raise TaskSkipped(task=name, reason=self.ledger.reasons[i])
        if state == CANCELLED:
            raise TaskCancelled(task=name, reason=self.ledger.reasons[i])
        raise RunNotFinished(run=self.id, state=self.state)

    def outcomes(self, i: int) -> list[Succeeded[object] | Failed | Skipped]:
        """Return the outcome of every item of fan-out *i*, in order."""
        return [self.item_outcome(i, k) for k in range(len(self.fans[i].states))]

    def item_outcome(self, i: int, k: int) -> Succeeded[object] | Failed | Skipped:
        """Return the outcome of item *k* of fan-out *i*, which has ended."""
        fan = self.fans[i]
        return _outcome(fan, k, f"{self.plan.names[i]}[{k}]", self.values[i][k])

    # --- threads that it waits for no longer

    def linger(self, i: int | None, work: "asyncio.Future[object]") -> None:
        """Remember a thread that runs on although the run has turned away from it.

        Args:
            i: The task whose result it would have been: it then counts as done when the run is undone. None: of no account.
            work: Its future.
        """
        self.lingering[work] = i
        work.add_done_callback(_look)

    async def alone(self) -> None:
        """Wait until no such thread is left, and note which tasks have taken effect after all."""
        while self.lingering:
            await asyncio.wait(self.lingering)
            for work in [work for work in self.lingering if work.done()]:
                i = self.lingering.pop(work)
                if i is not None and not work.cancelled() and work.exception() is None:
                    self.slots[i] = work.result()
                    self.late.append(i)

    # --- what is told about it

    def tell(self, kind: type[Event], **fields: object) -> None:
        """Make an event and hand it to every sink. Call it on the loop only."""
        self.seq += 1
        at = utc(self.now() + self.epoch)
        event = kind(run_id=self.id, chain=self.plan.chain, seq=self.seq, at=at, **fields)
        for sink in self.heed:
            sink(event)
        for sink in self.sinks:
            sink(event)


    def tell_from_anywhere(self, kind: type[Event], **fields: object) -> None:
        """The same from any thread: the loop makes the event."""
        if self.loop is not None:
            post(self.loop, partial(self.tell, kind, **fields))


def _look(work: "asyncio.Future[object]") -> None:
    """Look at the result: the loop reports exceptions that nobody has looked at."""
    if not work.cancelled():
        work.exception()


def _outcome(ledger: Ledger, i: int, name: str, value: object) -> Succeeded[object] | Failed | Skipped:
    state = ledger.states[i]
    if state == FAILED:
        error = ledger.errors[i]
        return Failed(name, error_info(error), len(ledger.past[i]), error)
    if state == SKIPPED:
        return Skipped(ledger.reasons[i])
    return Succeeded(value)
