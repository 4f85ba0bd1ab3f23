"""Real tasks from the graphs of `reference.py`, and what to compare of their runs."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from threading import Lock
from typing import Annotated, Any

from fastapi_chain import (
    Failed,
    From,
    Outcome,
    Progress,
    Registry,
    RetryAfter,
    Run,
    Skip,
    Skipped,
    Succeeded,
    TaskContext,
    task,
)
from fastapi_chain.outcome import TaskRecord
from tests.property.reference import DEFAULT, Action, Result, Task, mix, name_of

TAKES = {
    "value": "{type}",
    "default": "{type} | int",
    "outcome": "Outcome[{type}]",
    "succeeded": "Succeeded[{type}]",
    "failed": "Failed",
    "skipped": "Skipped",
    "bad": "Failed | Skipped",
    "maybe": "Failed | None",
    "items": "list[Outcome[int]]",
    "failures": "list[Failed]",
}


@dataclass
class World:
    """What the tasks of one run do, and what they have done."""

    graph: Sequence[Task]
    done: list[tuple[int, int]] = field(default_factory=list)
    """Who has returned, in order: tasks, each with the number of its item."""
    undone: list[tuple[int, int]] = field(default_factory=list)
    """Whose undo has returned, in order."""
    left: list[tuple[int, int, int, float | None]] = field(default_factory=list)
    """How much time each attempt was told to have: task, item, attempt, seconds."""
    lock: Lock = field(default_factory=Lock)

    async def play(self, i: int, ctx: TaskContext, progress: Progress, *received: object) -> object:
        """Make an attempt of an `async` task."""
        for _ in range(self.graph[i].pauses):
            await asyncio.sleep(0)
        self.begin(i, ctx, progress)
        if self.graph[i].slow:
            await asyncio.sleep(self.graph[i].takes(i, number_of(ctx), ctx.attempt))
        result = self.end(i, ctx, *received)
        if self.graph[i].late:
            await asyncio.sleep(0)
        return result

    def act(self, i: int, ctx: TaskContext, progress: Progress, *received: object) -> object:
        """Make an attempt of a `def` task."""
        self.begin(i, ctx, progress)
        return self.end(i, ctx, *received)

    def begin(self, i: int, ctx: TaskContext, progress: Progress) -> None:
        """Report that an attempt begins."""
        progress(ctx.attempt, ctx.max_attempts)
        with self.lock:
            self.left.append((i, number_of(ctx), ctx.attempt, ctx.time_left()))

    def end(self, i: int, ctx: TaskContext, *received: object) -> object:
        """Do what an attempt does in the end."""
        task, k = self.graph[i], number_of(ctx)
        action = task.action(i, k, ctx.attempt)
        self.follow(action, i, ctx)
        if action == "wrong":
            return "neither a number nor a list"
        with self.lock:
            self.done.append((i, k))
        shown = [show(value) for value in received]
        return [mix(i, m, shown) for m in range(task.size)] if task.kind == "list" else mix(i, k, shown)

    def follow(self, action: Action, i: int, ctx: TaskContext) -> None:
        """Raise what *action* says."""
        match action:
            case "fail":
                raise ValueError(ctx.task)
            case "later":
                raise RetryAfter(2 * self.graph[i].backoff)
            case "fatal":
                raise KeyError(ctx.task)
            case "skip":
                raise Skip("enough")
            case "cancel":
                raise asyncio.CancelledError

    async def take_back(self, i: int, ctx: TaskContext) -> None:
        """Make an attempt of an undo."""
        script = self.graph[i].undo or ()
        await asyncio.sleep(0)
        self.follow(script[min(ctx.attempt, len(script)) - 1], i, ctx)
        self.undone.append((i, number_of(ctx)))


def number_of(ctx: TaskContext) -> int:
    """Return the number of the item; 0 for a task."""
    return int(ctx.task.partition("[")[2][:-1] or 0)


def show(received: object) -> object:
    """Write what a task received as the reference does."""
    match received:
        case Succeeded(value=value):
            return "succeeded", value
        case Failed():
            return "failed", received.task, received.error.type, received.attempts
        case Skipped(reason=reason):
            return "skipped", reason
        case list() if received and not isinstance(received[0], int):
            return [show(item) for item in received]
        case _:
            return received


def build(world: World, registry: Registry) -> list[Any]:
    """Declare the tasks of a world."""
    made: list[Any] = []
    above: list[set[int]] = []
    for i, spec in enumerate(world.graph):
        direct = {*spec.after, *([] if spec.over is None else [spec.over])}
        reach = direct.union(*(above[p] for p in direct))
        above.append(reach | {p for p, _ in spec.params}.union(*(above[p] for p, _ in spec.params)))
        fn = _function(world, i, spec, reach)
        options = _options(world, i, spec)
        made.append(registry.task(after=[made[p] for p in spec.after], **options)(fn))
    return made


def _function(world: World, i: int, spec: Task, reach: set[int]) -> Any:
    params = ["ctx: TaskContext", "progress: Progress"]
    if spec.over is not None:
        params.append("item: int")
    last = []
    for p, takes in spec.params:
        hint = TAKES[takes].format(type="int" if world.graph[p].kind == "plain" else "list[int]")
        if p not in reach:
            hint = f"Annotated[{hint}, From('{name_of(p)}')]"
        if takes == "default":
            last.append(f"{name_of(p)}: {hint} = DEFAULT")
        else:
            params.append(f"{name_of(p)}: {hint}")
    names = [*(["item"] if spec.over is not None else []), *(name_of(p) for p, _ in spec.params)]
    call = f"({', '.join([str(i), 'ctx', 'progress', *names])})"
    returns = "list[int]" if spec.kind == "list" else "int"
    how, act = ("async def", f"await world.play{call}") if spec.is_async else ("def", f"world.act{call}")
    source = f"{how} {name_of(i)}({', '.join(params + last)}) -> {returns}:\n    return {act}\n"
    names_known = {**globals(), "world": world, "DEFAULT": DEFAULT}
    exec(source, names_known)
    return names_known[name_of(i)]


def _options(world: World, i: int, spec: Task) -> dict[str, Any]:
    options: dict[str, Any] = {
        "run_if": spec.run_if,
        "optional": spec.optional,
        "retries": spec.retries,
        "backoff": spec.backoff,
        "timeout": spec.timeout,
        "limit": spec.limit,
        "rate": None if spec.rate is None else f"{round(spec.rate * 60)}/m",
        "give_up_on": KeyError,
    }
    if spec.over is not None:
        options["each"] = {"item": name_of(spec.over)}
    if spec.undo is not None:

        async def undo(ctx: TaskContext) -> None:
            await world.take_back(i, ctx)

        undos = Registry("undos")
        options["undo"] = (
            undos.task(name=f"undo_{i}", retries=spec.undo_retries, backoff=0)(undo) if spec.undo_retries else undo
        )
    return options


def what_became(run: Run) -> list[Result]:
    """Return what became of each task of *run*, as the reference says it."""
    return [_result(run, record) for record in run.tasks.values()]


def _result(run: Run, record: TaskRecord) -> Result:
    assert record.state in {"succeeded", "failed", "skipped", "cancelled"}, record
    assert [attempt.n for attempt in record.attempts] == list(range(1, len(record.attempts) + 1))
    result = Result(
        state=record.state,
        attempts=len(record.attempts),
        reason=record.skip_reason or record.cancel_reason,
        undone=record.undone,
    )
    if record.state == "failed":
        assert record.error is not None
        result.error = record.error.type
    if record.name in run.outputs:
        result.value = run.outputs[record.name]
    result.items = [_result(run, item) for item in record.items.values()]
    return result


__all__ = ["Annotated", "From", "Outcome", "build", "task", "what_became"]
