"""When things happen in a run of the reference, in virtual time; and what is left of it if it is ended early.

What becomes of each task is known before (`reference.py`); here attempts only pass their gates, take their time and
wait for the next one. Nothing that is over at the moment at which a run is cut off depends on anything that is not.
"""

import heapq
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from typing import Literal

from tests.property.reference import Again, Ended, Result, Task, fails, outcomes, parents_of, undo


@dataclass(frozen=True)
class Cut:
    """What ends a run early, unless it is over by then."""

    by: Literal["deadline", "run_cancelled"]
    after: float
    """Seconds since it began."""


Process = Iterator["float | Gate"]
"""Calls one task or item; it yields the seconds that it waits, or the gate that it wants to pass."""


@dataclass
class Gate:
    """The limit and the rate of one task: first come, first served."""

    free: float
    gap: float
    """Seconds between two starts."""
    credit: float
    """How many seconds earlier than that they may come, after a pause."""
    due: float = 0.0
    """When the next start comes without that credit."""
    queue: deque[Process] = field(default_factory=deque)


def _gate(task: Task) -> Gate:
    gap = 0.0 if task.rate is None else 1.0 / task.rate
    burst = max(1.0, task.rate or 1.0)
    return Gate(free=float("inf") if task.limit is None else task.limit, gap=gap, credit=(burst - 1.0) * gap)


class Life:
    """One run, through all its rounds."""

    def __init__(self, graph: Sequence[Task]) -> None:
        """Begin at the time 0."""
        self.graph = graph
        self.now = 0.0
        self.tasks: list[Result] = []
        self._gates = [_gate(task) for task in graph]
        self._number = count()
        self._due: list[tuple[float, int, Callable[[], object]]] = []
        self._left: list[set[int]] = []

    def round(self, again: Again | None, cuts: Sequence[Cut]) -> Ended:
        """Run everything, or what runs *again*, unless one of *cuts* comes before the end."""
        before, self.tasks = self.tasks, outcomes(self.graph, self.tasks, again)
        running = set(range(len(self.graph))) if again is None else again.tasks
        first = min(cuts, key=lambda cut: cut.after, default=None)
        if self._play(running, float("inf") if first is None else self.now + first.after):
            state: Literal["succeeded", "failed", "cancelled"] = (
                "failed" if fails(self.graph, self.tasks) else "succeeded"
            )
        else:
            assert first is not None
            self._cut(first, before)
            state = "failed" if first.by == "deadline" else "cancelled"
        if state != "succeeded":
            undo(self.graph, self.tasks)
        return Ended(state=state, tasks=self.tasks)

    # --- time

    def _play(self, running: set[int], until: float) -> bool:
        """Let time pass; return whether everything has ended before *until*."""
        self._left = [parents_of(task) & running for task in self.graph]
        for i in sorted(running):
            if not self._left[i]:
                self._at(self.now, partial(self._start, i))
        while self._due and self._due[0][0] < until:
            self.now, _, happen = heapq.heappop(self._due)
            happen()
        self._due.clear()
        ends = [self.tasks[i].ended for i in running]
        over = [end for end in ends if end is not None]
        self.now = max(over) if len(over) == len(ends) else until
        return len(over) == len(ends)

    def _at(self, when: float, happen: Callable[[], object]) -> None:
        heapq.heappush(self._due, (when, next(self._number), happen))

    # --- tasks

    def _start(self, i: int) -> None:
        task, result = self.graph[i], self.tasks[i]
        if result.attempts == result.earlier:
            self._end(i)  # skipped
        elif task.kind != "each":
            self._go_on(self._call(i, 0, result))
        else:
            result.began.append(self.now)
            for k, item in enumerate(result.items):
                if item.ended is None:
                    self._go_on(self._call(i, k, item))
            self._end_of_items(i)

    def _call(self, i: int, k: int, result: Result) -> Process:
        task, gate = self.graph[i], self._gates[i]
        for attempt in range(result.earlier + 1, result.attempts + 1):
            yield gate
            result.began.append(self.now)
            takes = task.takes(i, k, attempt)
            yield takes if task.timeout is None else min(takes, task.timeout)
            gate.free += 1
            self._serve(gate)
            if attempt < result.attempts:
                yield task.backoff * (2.0 if task.action(i, k, attempt) == "later" else 1.0)
        result.ended = self.now
        if task.kind == "each":
            self._end_of_items(i)
        else:
            self._end(i)

    def _end_of_items(self, i: int) -> None:
        if self.tasks[i].ended is None and all(item.ended is not None for item in self.tasks[i].items):
            self._end(i)

    def _end(self, i: int) -> None:
        self.tasks[i].ended = self.now
        for below, left in enumerate(self._left):
            if i in left:
                left.discard(i)
                if not left:
                    self._start(below)

    # --- waiting

    def _go_on(self, process: Process) -> None:
        """Let *process* go on until it waits again, or ends."""
        wanted = next(process, None)
        if isinstance(wanted, Gate):
            wanted.queue.append(process)
            self._serve(wanted)
        elif wanted is not None:
            self._at(self.now + wanted, partial(self._go_on, process))

    def _serve(self, gate: Gate) -> None:
        """Let in who may come in; if only the time for it has not come, come again then."""
        while gate.queue and gate.free:
            start = max(self.now, gate.due - gate.credit)
            if start > self.now:
                self._at(start, partial(self._serve, gate))
                return
            gate.due = max(start, gate.due) + gate.gap
            gate.free -= 1
            self._go_on(gate.queue.popleft())

    # --- an early end

    def _cut(self, cut: Cut, before: Sequence[Result]) -> None:
        for i, (task, gate, result) in enumerate(zip(self.graph, self._gates, self.tasks, strict=True)):
            gate.queue.clear()
            gate.free = _gate(task).free
            if result.ended is None:
                if not result.began:
                    old = before[i].items if before else []
                    result.items = [Result(state="cancelled", earlier=item.attempts) for item in old]
                for call in (result, *result.items):
                    if call.ended is None:
                        _cancel(call, cut)


def _cancel(call: Result, cut: Cut) -> None:
    call.state, call.reason = "cancelled", cut.by
    call.attempts = call.earlier + len(call.began)
    call.value, call.error, call.root = None, None, -1
