"""The whole language of chains, interpreted as simply as can be: one task after the other, no clock, no threads.

What the engines do is held against this. It shares no code with the library, and knows nothing of it: a graph is a list
of `Task`, each one with the script of what its attempts do. When things happen is found out afterwards: `timeline.py`.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Literal

Action = Literal["ok", "fail", "fatal", "skip", "wrong", "cancel", "later", "slow"]
"""What one attempt does: return; raise something that is retried; raise something that is not; raise `Skip`; return
what the annotation does not allow; raise `CancelledError` out of nothing; raise `RetryAfter`; take longer than its
time-out."""

Takes = Literal["value", "default", "outcome", "succeeded", "failed", "skipped", "bad", "maybe", "items", "failures"]
"""How a parameter takes its task: the value; the value, or its default; `Outcome`; `Succeeded`; `Failed`; `Skipped`;
`Failed | Skipped`; `Failed | None`; of a fan-out: `list[Outcome]`, `list[Failed]`."""

ACCEPTED: dict[str, frozenset[str]] = {
    "value": frozenset({"succeeded"}),
    "default": frozenset({"succeeded"}),
    "outcome": frozenset({"succeeded", "failed", "skipped"}),
    "succeeded": frozenset({"succeeded"}),
    "failed": frozenset({"failed"}),
    "skipped": frozenset({"skipped"}),
    "bad": frozenset({"failed", "skipped"}),
    "maybe": frozenset({"succeeded", "failed", "skipped"}),
    "items": frozenset({"succeeded", "failed"}),
    "failures": frozenset({"succeeded", "failed"}),
}
"""With which outcomes of its task a parameter is content."""

ERRORS: dict[str, str] = {
    "fail": "ValueError",
    "later": "RetryAfter",
    "fatal": "KeyError",
    "wrong": "OutputValidationError",
    "cancel": "CancelledError",
    "slow": "TaskTimeout",
}
"""The class of what an attempt fails with."""

DEFAULT = -1
"""The value of a parameter whose default stands in."""


@dataclass(frozen=True, kw_only=True)
class Task:
    """One task of a graph; it may refer only to tasks before it."""

    kind: Literal["plain", "list", "each"] = "plain"
    """Whether it returns a number, a list of numbers, or is called for each item of another one's list."""
    over: int | None = None
    """Of an "each" task: the task whose items it is called for."""
    after: tuple[int, ...] = ()
    params: tuple[tuple[int, Takes], ...] = ()
    """The tasks that it takes, and how."""
    run_if: Literal["all_succeeded", "all_done", "any_failed", "any_succeeded"] = "all_succeeded"
    optional: bool = False
    retries: int = 0
    scripts: tuple[tuple[Action, ...], ...] = (("ok",),)
    """What the attempts do, for each item in turn; the last action goes on for ever, and so do the scripts."""
    size: int = 0
    """Of a "list" task: how many numbers it returns."""
    undo: tuple[Action, ...] | None = None
    """What the attempts of its undo do, for each call; None: it has none."""
    undo_retries: int = 0
    is_async: bool = True
    pauses: int = 0
    """How often it suspends before it does anything else; of no account here."""
    late: bool = False
    """Whether it suspends between its last pause and its end, too; of no account here."""
    slow: int = 0
    """How long its attempts take: `slow` times between 0.5 and 1.5 seconds; 0: no time."""
    timeout: float | None = None
    """Seconds for one attempt."""
    backoff: int = 0
    """Seconds between two attempts; twice that after `RetryAfter`."""
    limit: int | None = None
    """How many calls at once."""
    rate: float | None = None
    """How many starts a second."""

    def takes(self, i: int, k: int, attempt: int) -> float:
        """Return how long an attempt of task *i*, or of its item *k*, takes; hardly ever as long as another one."""
        return self.slow * (0.5 + Random(f"{i} {k} {attempt}").randrange(2**20) / 2**20)

    def action(self, i: int, k: int, attempt: int) -> Action:
        """Return what that attempt does."""
        if self.timeout is not None and self.takes(i, k, attempt) > self.timeout:
            return "slow"
        script = self.scripts[k % len(self.scripts)]
        return script[min(attempt, len(script)) - 1]


@dataclass(kw_only=True)
class Result:
    """What becomes of one task or item."""

    state: Literal["succeeded", "failed", "skipped", "cancelled"]
    attempts: int = 0
    earlier: int = 0
    """How many of them are from before the run was retried."""
    value: object = None
    error: str | None = None
    reason: str | None = None
    root: int = -1
    """Because of which task it was skipped."""
    undone: bool = False
    items: "list[Result]" = field(default_factory=list)
    began: list[float] = field(default_factory=list)
    """When its attempts began, those from before a retry of the run excepted."""
    ended: float | None = None


@dataclass(kw_only=True)
class Ended:
    """What becomes of a run."""

    state: Literal["succeeded", "failed", "cancelled"]
    tasks: list[Result]


def mix(*parts: object) -> int:
    """Return a number that tells whether all *parts* are right."""
    number = 17
    for char in repr(parts):
        number = (number * 31 + ord(char)) % 1_000_003
    return number


def name_of(i: int) -> str:
    """Return the name of task *i*."""
    return f"t{i}"


def interpret(graph: Sequence[Task]) -> Ended:
    """Return what becomes of a run of *graph*."""
    done = outcomes(graph)
    failed = fails(graph, done)
    if failed:
        undo(graph, done)
    return Ended(state="failed" if failed else "succeeded", tasks=done)


def outcomes(graph: Sequence[Task], before: Sequence[Result] = (), again: "Again | None" = None) -> list[Result]:
    """Return what becomes of each task, if nothing ends the run early.

    Args:
        graph: The tasks.
        before: What had become of them before the run was retried.
        again: Which of them run again.
    """
    done: list[Result] = []
    for i, task in enumerate(graph):
        if again is not None and i not in again.tasks:
            done.append(before[i])
            continue
        old = before[i] if before else Result(state="skipped")
        verdict = _verdict(graph, done, i)
        if verdict is not None:
            reason, root = verdict
            done.append(Result(state="skipped", reason=reason, root=root, attempts=old.attempts, earlier=old.attempts))
        elif task.kind == "each":
            done.append(_fan_out(task, i, done, graph, old, keep=again is not None and i in again.items))
        else:
            received = [_received(done, graph, p, takes) for p, takes in task.params]
            done.append(_call(task, i, 0, received, old.attempts))
    return done


def fails(graph: Sequence[Task], done: Sequence[Result]) -> bool:
    """Whether a run has failed in which that became of its tasks."""
    return any(r.state == "failed" and not t.optional for r, t in zip(done, graph, strict=True))


def undo(graph: Sequence[Task], done: Sequence[Result]) -> None:
    """Undo what has succeeded."""
    for task, result in zip(graph, done, strict=True):
        _undo(task, result)


def parents_of(task: Task) -> set[int]:
    """Return the tasks that come right before *task*."""
    return {*task.after, *(p for p, _ in task.params), *([] if task.over is None else [task.over])}


# --- what runs again


@dataclass(frozen=True)
class Again:
    """What runs again when a run is retried."""

    tasks: set[int]
    items: set[int]
    """The fan-outs of which only items run again that have not succeeded, or were undone."""


def again(graph: Sequence[Task], done: Sequence[Result], start: int | Literal["failed", "start"]) -> Again | None:
    """Return what runs again if it begins at *start*; None: nothing has failed."""
    chosen = {start} if isinstance(start, int) else set(range(len(graph))) if start == "start" else _failed(done)
    chosen |= {i for i, result in enumerate(done) if result.undone}
    if not chosen:
        return None
    chosen |= {i for i, result in enumerate(done) if result.state == "cancelled"}
    tasks, items = set(chosen), set()
    for i, task in enumerate(graph):
        below = not tasks.isdisjoint(parents_of(task))
        if below:
            tasks.add(i)
        elif start == "failed" and i in tasks and task.kind == "each":
            items.add(i)
    return Again(tasks, items)


def _failed(done: Sequence[Result]) -> set[int]:
    """Return what has failed, wholly or in part, or was skipped because of it."""
    return {
        i
        for i, result in enumerate(done)
        if result.state in {"failed", "cancelled"}
        or any(item.state == "failed" for item in result.items)
        or (result.state == "skipped" and done[_root(done, i)].state == "failed")
    }


# --- whether a task runs


def _verdict(graph: Sequence[Task], done: list[Result], i: int) -> tuple[str, int] | None:
    """Return why task *i* does not run, and because of which task; None: it runs."""
    task = graph[i]
    blocked: list[int] = []
    unmet = False
    for p, takes in task.params:
        no_items = takes in {"items", "failures"} and not _ran(graph, done, p)
        if done[p].state in ACCEPTED[takes] and not no_items:
            continue
        if takes == "default" and not _behind_a_failure_that_counts(graph, done, p):
            continue
        if "succeeded" in ACCEPTED[takes]:
            blocked.append(p)
        else:
            unmet = True
    if task.over is not None and done[task.over].state != "succeeded":
        blocked.append(task.over)
    if blocked:
        return _because_of(done, blocked)
    if unmet:
        return "condition", i
    return _condition(task, done, i)


def _condition(task: Task, done: list[Result], i: int) -> tuple[str, int] | None:
    taken = {p for p, _ in task.params}
    if not task.after or task.run_if == "all_done":
        return None
    if task.run_if == "all_succeeded":
        bad = [p for p in task.after if p not in taken and done[p].state != "succeeded"]
        return _because_of(done, bad) if bad else None
    if task.run_if == "any_succeeded":
        met = any(done[p].state == "succeeded" for p in task.after)
    else:
        met = any(_behind_a_failure(done, p) for p in task.after)
    return None if met else ("condition", i)


def _root(done: Sequence[Result], p: int) -> int:
    return done[p].root if done[p].state == "skipped" else p


def _behind_a_failure(done: list[Result], p: int) -> bool:
    return done[_root(done, p)].state == "failed"


def _behind_a_failure_that_counts(graph: Sequence[Task], done: list[Result], p: int) -> bool:
    return _behind_a_failure(done, p) and not graph[_root(done, p)].optional


def _because_of(done: list[Result], blocked: list[int]) -> tuple[str, int]:
    for p in blocked:
        if _behind_a_failure(done, p):
            return f"upstream_failed: {name_of(_root(done, p))}", _root(done, p)
    root = _root(done, blocked[0])
    return f"upstream_skipped: {name_of(root)}", root


def _ran(graph: Sequence[Task], done: list[Result], p: int) -> bool:
    return graph[p].kind == "each" and done[p].state != "skipped"


# --- what it receives, and what it does with it


def _received(done: list[Result], graph: Sequence[Task], p: int, takes: Takes) -> object:
    result = done[p]
    if takes in {"items", "failures"}:
        items = [_outcome(item, f"{name_of(p)}[{k}]") for k, item in enumerate(result.items)]
        return [item for item in items if takes == "items" or item[0] == "failed"]
    if takes in {"value", "default"}:
        return result.value if result.state == "succeeded" else DEFAULT
    if takes == "maybe" and result.state != "failed":
        return None
    return _outcome(result, name_of(p))


def _outcome(result: Result, name: str) -> tuple[object, ...]:
    """Return an outcome as `show` in the tests writes the library's own."""
    if result.state == "succeeded":
        return "succeeded", result.value
    if result.state == "failed":
        return "failed", name, result.error, result.attempts
    return "skipped", result.reason


def _call(task: Task, i: int, k: int, received: list[object], earlier: int = 0) -> Result:
    """Make attempts until one succeeds or no further one follows; there were *earlier* ones before a retry."""
    attempts = earlier
    while True:
        attempts += 1
        action = task.action(i, k, attempts)
        if action == "ok":
            value: object = mix(i, k, received)
            if task.kind == "list":
                value = [mix(i, n, received) for n in range(task.size)]
            return Result(state="succeeded", attempts=attempts, earlier=earlier, value=value)
        if action == "skip":
            return Result(state="skipped", attempts=attempts, earlier=earlier, reason="skip: enough", root=i)
        if action not in {"fail", "later", "slow"} or attempts > earlier + task.retries:
            return Result(state="failed", attempts=attempts, earlier=earlier, error=ERRORS[action])


def _fan_out(task: Task, i: int, done: list[Result], graph: Sequence[Task], old: Result, *, keep: bool) -> Result:
    """Call *task* for each item; *old* is what had become of it before, of which good items may be kept."""
    assert task.over is not None
    values = done[task.over].value
    assert isinstance(values, list)
    received = [_received(done, graph, p, takes) for p, takes in task.params]
    # If it is another number of items, they are others.
    known = old.items if len(old.items) == len(values) else [Result(state="skipped")] * len(values)
    items = [
        was
        if keep and was.attempts and was.state in {"succeeded", "skipped"} and not was.undone
        else _call(task, i, k, [item, *received], was.attempts)
        for k, (item, was) in enumerate(zip(values, known, strict=True))
    ]
    result = Result(state="succeeded", attempts=old.attempts + 1, earlier=old.attempts, items=items)
    failed = next((item for item in items if item.state == "failed"), None)
    if failed is not None and not task.optional:
        result.state, result.error = "failed", failed.error
    else:
        result.value = [item.value for item in items if item.state == "succeeded"]
    return result


# --- undo


def _undo(task: Task, result: Result) -> None:
    if task.undo is None:
        return
    calls = result.items if task.kind == "each" else [result]
    for call in calls:
        if call.state == "succeeded":
            tries = [task.undo[min(n, len(task.undo) - 1)] for n in range(task.undo_retries + 1)]
            call.undone = "ok" in tries
    result.undone = any(call.undone for call in calls)
