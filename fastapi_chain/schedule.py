"""3. SCHEDULE: which task may start now, and what becomes of those that never will.

There are no levels: each task waits for a number of others, its own number, and starts when that has come down to nought. So a
fast branch never waits for a slow sibling.

`Schedule` is the bookkeeping alone, without a clock or a loop; `run_plan` drives it with a step runner that an engine passes in.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from ._ledger import FAILED, PENDING, SKIPPED, SUCCEEDED
from ._state import RunState
from .events import TaskSkipped
from .plan import Node
from .spec import OutcomeKind

RunTask = Callable[[int], Awaitable[None]]
"""Runs the task of that number to its outcome, which it puts down in the ledger."""

_KIND: dict[int, OutcomeKind] = {SUCCEEDED: "succeeded", FAILED: "failed", SKIPPED: "skipped"}


class Schedule:
    """The ready counts of one run.

    Not safe for threads by itself: the fast path holds a lock while it counts down.
    """

    __slots__ = ("left", "open", "run", "strict")

    def __init__(self, run: RunState) -> None:
        """Count what each task of *run* still waits for; tasks that have ended already are counted as such."""
        run.settle()
        states = run.ledger.states
        nodes = run.plan.nodes
        self.run = run
        self.left = list(run.plan.indegrees)
        self.open = len(nodes)
        # Tasks with an upstream that has not succeeded, or with a condition of their own, need a decision.
        self.strict = bytearray(run.plan.conditional)
        for i, state in enumerate(states):
            if state < SUCCEEDED:
                continue
            self.open -= 1
            for child in nodes[i].children:
                self.left[child] -= 1
                if state != SUCCEEDED:
                    self.strict[child] = 1

    def ready(self) -> list[int]:
        """Return the tasks that may start now and have not, and skip those that must not."""
        states = self.run.ledger.states
        return self._decide([i for i, left in enumerate(self.left) if not left and states[i] == PENDING])

    def ended(self, i: int) -> list[int]:
        """Count task *i*, whose outcome is in the ledger, and return the tasks that may start because of it."""
        free = self._count(i)
        return self._decide(free) if free else free

    def _count(self, i: int) -> list[int]:
        """Count task *i* as ended; return the tasks that wait for nothing any more."""
        self.open -= 1
        left, free = self.left, []
        succeeded = self.run.ledger.states[i] == SUCCEEDED
        for child in self.run.plan.children[i]:
            if not succeeded:
                self.strict[child] = 1
            left[child] -= 1
            if not left[child]:
                free.append(child)
        return free

    def _decide(self, free: list[int]) -> list[int]:
        """Return those of *free* that start; skip the others, which may free, or skip, more."""
        strict = self.strict
        if not any([strict[i] for i in free]):
            return free
        starting: list[int] = []
        todo = free[::-1]
        while todo:
            i = todo.pop()
            verdict = decide(self.run, self.run.plan.nodes[i]) if strict[i] else None
            if verdict is None:
                starting.append(i)
            else:
                self._skip(i, *verdict)
                todo.extend(reversed(self._count(i)))
        return starting

    def _skip(self, i: int, reason: str, root: int) -> None:
        ledger = self.run.ledger
        ledger.states[i] = SKIPPED
        ledger.reasons[i] = reason
        ledger.roots[i] = root
        self.run.tell_from_anywhere(TaskSkipped, task=self.run.plan.names[i], reason=reason)


def decide(run: RunState, node: Node) -> tuple[str, int] | None:
    """Return why *node* does not run, and the task that is the root of it; None: it runs. All upstream has ended.

    A task that it takes a value from must have ended in a way its parameter accepts; where the default can stand in, a skip or
    a failure that does not count is as good. About the others in `after`, `run_if` decides.
    """
    taken: set[int] = set()
    blocked: list[int] = []
    unmet = False
    for fill in node.fills:
        if fill.kind != "task":
            continue
        taken.add(fill.slot)
        kind = _KIND[run.ledger.states[fill.slot]]
        if kind in fill.param.accepts or (fill.param.has_default and _stands_in(run, fill.slot)):
            continue
        if "succeeded" not in fill.param.accepts:
            unmet = True  # it wants a failure, and there was none
        else:
            blocked.append(fill.slot)
    blocked += [p for p in node.parents if p not in taken and p not in node.after and not _succeeded(run, p)]
    if not unmet and not blocked:
        return _condition(run, node, taken)
    if blocked:
        return _because_of(run, blocked)
    return "condition", node.index


def _condition(run: RunState, node: Node, taken: set[int]) -> tuple[str, int] | None:
    """Return why `run_if` keeps *node* from running; None if it does not."""
    rule = node.spec.run_if
    if rule == "all_done" or not node.after:
        return None
    if rule == "all_succeeded":
        bad = [p for p in node.after if p not in taken and not _succeeded(run, p)]
        return _because_of(run, bad) if bad else None
    if rule == "any_succeeded":
        met = any(_succeeded(run, p) for p in node.after)
    else:
        met = any(_root_failed(run, p) for p in node.after)
    return None if met else ("condition", node.index)


def _because_of(run: RunState, blocked: Sequence[int]) -> tuple[str, int]:
    """Return the reason that weighs most among *blocked*: a failure before a skip."""
    failed = [p for p in blocked if _root_failed(run, p)]
    root = _root((failed or blocked)[0], run)
    word = "upstream_failed" if failed else "upstream_skipped"
    return f"{word}: {run.plan.names[root]}", root


def _root(i: int, run: RunState) -> int:
    """Return the task because of which *i* did not succeed: itself, or what skipped it."""
    return run.ledger.roots.get(i, i)


def _succeeded(run: RunState, i: int) -> bool:
    return run.ledger.states[i] == SUCCEEDED


def _root_failed(run: RunState, i: int) -> bool:
    """Whether *i* failed, or was skipped because something failed."""
    return run.ledger.states[_root(i, run)] == FAILED


def _stands_in(run: RunState, i: int) -> bool:
    """Whether a default may stand in for *i*: it was skipped, or failed in a way that does not count."""
    root = _root(i, run)
    return run.ledger.states[root] != FAILED or run.plan.nodes[root].spec.optional


async def run_plan(run: RunState, run_task: RunTask) -> None:
    """Run every task of *run* that is to run, each in an asyncio task of its own, and return when all have ended.

    The order in which tasks are started is the plan's wherever the graph leaves a choice.

    Args:
        run: The run; what its ledger says has ended is not run again.
        run_task: Runs one task to its outcome.

    Raises:
        asyncio.CancelledError: The run was cancelled; all its tasks have ended.
    """
    schedule = Schedule(run)
    active: dict[asyncio.Task[None], int] = {}

    def start(ready: Sequence[int]) -> None:
        for i in ready:
            active[asyncio.ensure_future(run_task(i))] = i  # type: ignore[arg-type]  # a coroutine gives a Task

    try:
        start(schedule.ready())
        while active:
            done, _ = await asyncio.wait(active, return_when=asyncio.FIRST_COMPLETED)
            # In the plan's order, whatever order the set has.
            for i, task in sorted((active.pop(task), task) for task in done):
                task.result()
                start(schedule.ended(i))
    except BaseException:
        for task in active:
            task.cancel()
        if active:
            await asyncio.wait(active)
        raise
