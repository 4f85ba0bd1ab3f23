"""The whole language of chains, interpreted as simply as can be: one task after the other, no clock, no threads.

What the engines do is held against this. It shares no code with the library, and knows nothing of it: a graph is a list
of `Task`, each one with the script of what its attempts do.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

Action = Literal["ok", "fail", "fatal", "skip", "wrong", "cancel", "later"]
"""What one attempt does: return; raise something that is retried; raise something that is not; raise `Skip`; return
what the annotation does not allow; raise `CancelledError` out of nothing; raise `RetryAfter(0)`."""

Takes = Literal["value", "default", "outcome", "succeeded", "failed", "skipped", "bad", "items"]
"""How a parameter takes its task: the value; the value, or its default; `Outcome`; `Succeeded`; `Failed`; `Skipped`;
`Failed | Skipped`; `list[Outcome]` of a fan-out."""

ACCEPTED: dict[str, frozenset[str]] = {
    "value": frozenset({"succeeded"}),
    "default": frozenset({"succeeded"}),
    "outcome": frozenset({"succeeded", "failed", "skipped"}),
    "succeeded": frozenset({"succeeded"}),
    "failed": frozenset({"failed"}),
    "skipped": frozenset({"skipped"}),
    "bad": frozenset({"failed", "skipped"}),
    "items": frozenset({"succeeded", "failed"}),
}
"""With which outcomes of its task a parameter is content."""

ERRORS: dict[str, str] = {
    "fail": "ValueError",
    "later": "RetryAfter",
    "fatal": "KeyError",
    "wrong": "OutputValidationError",
    "cancel": "CancelledError",
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


@dataclass(kw_only=True)
class Result:
    """What becomes of one task or item."""

    state: Literal["succeeded", "failed", "skipped"]
    attempts: int = 0
    value: object = None
    error: str | None = None
    reason: str | None = None
    root: int = -1
    """Because of which task it was skipped."""
    undone: bool = False
    items: "list[Result]" = field(default_factory=list)


@dataclass(kw_only=True)
class Ended:
    """What becomes of a run."""

    state: Literal["succeeded", "failed"]
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
    done: list[Result] = []
    for i, task in enumerate(graph):
        verdict = _verdict(graph, done, i)
        if verdict is not None:
            reason, root = verdict
            done.append(Result(state="skipped", reason=reason, root=root))
        elif task.kind == "each":
            done.append(_fan_out(task, i, done, graph))
        else:
            received = [_received(done, graph, p, takes) for p, takes in task.params]
            done.append(_call(task, i, 0, received))
    failed = any(r.state == "failed" and not t.optional for r, t in zip(done, graph, strict=True))
    if failed:
        for task, result in zip(graph, done, strict=True):
            _undo(task, result)
    return Ended(state="failed" if failed else "succeeded", tasks=done)


# --- whether a task runs


def _verdict(graph: Sequence[Task], done: list[Result], i: int) -> tuple[str, int] | None:
    """Return why task *i* does not run, and because of which task; None: it runs."""
    task = graph[i]
    blocked: list[int] = []
    unmet = False
    for p, takes in task.params:
        no_items = takes == "items" and not _ran(graph, done, p)
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


def _root(done: list[Result], p: int) -> int:
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
    if takes == "items":
        return [_outcome(item, f"{name_of(p)}[{k}]") for k, item in enumerate(result.items)]
    if takes in {"value", "default"}:
        return result.value if result.state == "succeeded" else DEFAULT
    return _outcome(result, name_of(p))


def _outcome(result: Result, name: str) -> tuple[object, ...]:
    """Return an outcome as `show` in the tests writes the library's own."""
    if result.state == "succeeded":
        return "succeeded", result.value
    if result.state == "failed":
        return "failed", name, result.error, result.attempts
    return "skipped", result.reason


def _call(task: Task, i: int, k: int, received: list[object]) -> Result:
    """Make attempts until one succeeds or no further one follows."""
    script = task.scripts[k % len(task.scripts)]
    attempts = 0
    while True:
        action = script[min(attempts, len(script) - 1)]
        attempts += 1
        if action == "ok":
            value: object = mix(i, k, received)
            if task.kind == "list":
                value = [mix(i, n, received) for n in range(task.size)]
            return Result(state="succeeded", attempts=attempts, value=value)
        if action == "skip":
            return Result(state="skipped", attempts=attempts, reason="skip: enough", root=i)
        if action not in {"fail", "later"} or attempts > task.retries:
            return Result(state="failed", attempts=attempts, error=ERRORS[action])


def _fan_out(task: Task, i: int, done: list[Result], graph: Sequence[Task]) -> Result:
    assert task.over is not None
    values = done[task.over].value
    assert isinstance(values, list)
    received = [_received(done, graph, p, takes) for p, takes in task.params]
    items = [_call(task, i, k, [item, *received]) for k, item in enumerate(values)]
    failed = next((item for item in items if item.state == "failed"), None)
    if failed is not None and not task.optional:
        return Result(state="failed", attempts=1, error=failed.error, items=items)
    value = [item.value for item in items if item.state == "succeeded"]
    return Result(state="succeeded", attempts=1, value=value, items=items)


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
