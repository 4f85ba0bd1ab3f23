"""3. SCHEDULE: which task may start now, and what becomes of those that never will.

There are no levels: each task waits for a number of others, its own number, and starts when that has come down to
nought. So a fast branch never waits for a slow sibling.

`Schedule` is the bookkeeping alone, without a clock or a loop; `PlanRun` drives it with a step runner that an engine
passes in.
"""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress

from anyio import CancelScope

from ._state import RunState
from ._state.ledger import FAILED, PENDING, SKIPPED, SUCCEEDED
from .events import TaskSkipped
from .plan import Node
from .plan.nodes import Fill
from .spec import OutcomeKind

RunTask = Callable[[int], Coroutine[object, object, None]]
"""Runs the task of that number to its outcome, which it puts down in the ledger."""

_KIND: dict[int, OutcomeKind] = {SUCCEEDED: "succeeded", FAILED: "failed", SKIPPED: "skipped"}


class Schedule:
    """The ready counts of one run.

    Not safe for threads by itself: the fast path holds a lock while it counts down.
    """

    __slots__ = ("_takers", "children", "left", "run", "states", "strict", "sure")

    def __init__(self, run: RunState) -> None:
        """Count what each task of *run* still waits for; tasks that have ended already are counted as such."""
        run.settle()
        plan = run.plan
        self.run = run
        self.states = states = run.ledger.states
        self.left = left = list(plan.indegrees)
        self.children = children = plan.children
        # Tasks with an upstream that has not succeeded, or with a condition of their own, need a decision.
        self.strict = bytearray(plan.conditional)
        # Whether there are none of those: then what may start is clear.
        self.sure = 1 not in self.strict
        self._takers: dict[int, list[int]] | None = None
        if max(states) >= SUCCEEDED:
            for i, state in enumerate(states):
                if state >= SUCCEEDED:
                    for child in children[i]:
                        left[child] -= 1
                    if state != SUCCEEDED:
                        self._doubt(i)

    def ready(self) -> list[int]:
        """Return the tasks that may start now and have not, and skip those that must not."""
        left, states = self.left, self.states
        if left.count(0) + states.count(PENDING) == len(left):
            # All that wait for nothing have begun.
            return []
        free = [i for i, count in enumerate(left) if not count and states[i] == PENDING]
        return free if self.sure else self._decide(free)

    def ended(self, i: int) -> list[int]:
        """Count task *i*, whose outcome is in the ledger, and return the tasks that may start because of it."""
        free = self._count(i)
        return free if self.sure else self._decide(free)

    def _count(self, i: int) -> list[int]:
        """Count task *i* as ended; return the tasks that wait for nothing any more."""
        left, free = self.left, []
        if self.states[i] != SUCCEEDED:
            self._doubt(i)
        for child in self.children[i]:
            left[child] -= 1
            if not left[child]:
                free.append(child)
        return free

    def _doubt(self, i: int) -> None:
        """Have a decision made about all that need task *i*, which has not succeeded: who follows, and who takes."""
        self.sure = False
        for child in self.children[i]:
            self.strict[child] = 1
        if self._takers is None:
            self._takers = {}
            for node in self.run.plan.nodes:
                parents = frozenset(node.parents)
                for fill in node.fills:
                    if fill.kind == "task" and fill.slot not in parents:
                        self._takers.setdefault(fill.slot, []).append(node.index)
        for taker in self._takers.get(i, ()):
            self.strict[taker] = 1

    def _decide(self, free: list[int]) -> list[int]:
        """Return those of *free* that start; skip the others, which may free, or skip, more."""
        strict = self.strict
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
        ledger.ended[i] = self.run.now()
        ledger.states[i] = SKIPPED
        ledger.reasons[i] = reason
        ledger.roots[i] = root
        if self.run.plan.nodes[i].over is not None:
            self.run.drop_items(i)
        self.run.tell_from_anywhere(TaskSkipped, task=self.run.plan.names[i], reason=reason)


def decide(run: RunState, node: Node) -> tuple[str, int] | None:
    """Return why *node* does not run, and the task that is the root of it; None: it runs. All upstream has ended.

    A task that it takes a value from must have ended in a way its parameter accepts; where the default can stand in, a
    skip or a failure that does not count is as good. About the others in `after`, `run_if` decides.
    """
    taken: set[int] = set()
    blocked: list[int] = []
    unmet = False
    for fill in node.fills:
        if fill.kind != "task":
            continue
        taken.add(fill.slot)
        if fits(run, fill):
            continue
        if fill.param.has_default and _stands_in(run, fill.slot):
            continue
        if "succeeded" not in fill.param.accepts:
            unmet = True  # it wants a failure, and there was none
        else:
            blocked.append(fill.slot)
    if node.over is not None and not _succeeded(run, node.over):
        blocked.append(node.over)  # whatever its parameters tolerate, there is nothing to call it for
    if not unmet and not blocked:
        return _condition(run, node, taken)
    if blocked:
        return _because_of(run, blocked)
    return "condition", node.index


def fits(run: RunState, fill: Fill) -> bool:
    """Whether the task that *fill* names has ended in a way that the parameter takes."""
    # For an undo, what was cancelled is as good as skipped.
    kind = _KIND.get(run.ledger.states[fill.slot], "skipped")
    itemless = fill.param.collects and kind == "failed" and not run.has_items(fill.slot)
    return kind in fill.param.accepts and not itemless


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


class PlanRun:
    """One run of a plan, each task in an asyncio task of its own.

    The order in which tasks are started is the plan's wherever the graph leaves a choice.
    """

    def __init__(self, run: RunState, run_task: RunTask) -> None:
        """Prepare to run what has not ended of *run*.

        Args:
            run: The run.
            run_task: Runs one task to its outcome.
        """
        self._run = run
        self._run_task = run_task
        self._active: dict[asyncio.Task[None], int] = {}
        self._over: list[tuple[int, asyncio.Task[None]]] = []
        self._news = asyncio.Event()

    async def go(self) -> None:
        """Run until every task has ended, or the run was stopped and what was under way has ended.

        Raises:
            asyncio.CancelledError: The task that waits here was cancelled.
        """
        schedule = Schedule(self._run)
        self._run.leaving = False
        try:
            self._start(schedule.ready())
            while self._active or self._over:
                await self._news.wait()
                self._news.clear()
                over, self._over = sorted(self._over, key=lambda pair: pair[0]), []
                for i, task in over:
                    if self._ended_well(task):
                        self._start(schedule.ended(i))
        except BaseException:
            self._run.leaving = True
            self.stop()
            await self._rest()
            raise

    def stop(self) -> None:
        """End what is under way, and start nothing more; `run.cancel_reason` says why."""
        for task in self._active:
            if not task.cancelling():
                task.cancel()

    def take_over(self) -> None:
        """Whatever may run has been started already."""

    def listen(self, begin: Callable[[], None]) -> None:
        """Call *begin*: everything is told as soon as it happens, if somebody follows."""
        begin()

    def _start(self, ready: Sequence[int]) -> None:
        if self._run.cancel_reason is None:
            for i in ready:
                task = asyncio.ensure_future(self._run_task(i))
                self._active[task] = i
                task.add_done_callback(self._done)

    def _done(self, task: "asyncio.Task[None]") -> None:
        self._over.append((self._active.pop(task), task))
        self._news.set()

    def _ended_well(self, task: "asyncio.Task[None]") -> bool:
        """Whether *task* has come to its outcome; if somebody has cancelled it, the run is cancelled with it."""
        if not task.cancelled():
            # The outcome is in the ledger: what is raised here is SystemExit, or a bug of ours.
            task.result()
            return True
        if self._run.cancel_reason is None:
            self._run.cancel_reason = "run_cancelled"
            self.stop()
        return False

    async def _rest(self) -> None:
        """Wait for what is under way, however often that is cancelled."""
        with CancelScope(shield=True):
            while self._active:
                with suppress(asyncio.CancelledError):
                    await asyncio.wait(tuple(self._active))
