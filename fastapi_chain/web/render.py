"""Runs, tasks and events as the models of the router: what is shown of them, and to whom links lead."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Final

from fastapi_chain._state import RunState
from fastapi_chain._state.ledger import FAILED, STATES, SUCCEEDED, Ledger, error_info, traceback_of
from fastapi_chain.engines.base import KnownRun
from fastapi_chain.outcome import Attempt, ErrorInfo, ProgressInfo, TaskRecord, TaskState
from fastapi_chain.plan import Node

from .models import AttemptModel, ErrorModel, ProgressModel, RunLinks, RunModel, TaskErrorModel, TaskModel

ITEMS: Final = 200
"""How many items of one fan-out are listed with their run; where there are more, one asks for the task."""


def counted(states: bytes | bytearray) -> dict[TaskState, int]:
    """Return how many of *states* there are of each kind."""
    return {name: n for number, name in enumerate(STATES) if (n := states.count(number))}


class Renderer:
    """Makes models of what engines know."""

    def __init__(self, *, expose_errors: bool) -> None:
        """Show the classes, texts and tracebacks of errors, or not."""
        self._expose = expose_errors

    def run(self, run: KnownRun, base: str, *, items: bool = True) -> RunModel:
        """Return *run* as it stands.

        Args:
            run: The run.
            base: The path of the router, for its links.
            items: Whether to list the items of fan-outs, if they are not too many, and to say where errors were raised.
        """
        inner = run.inner
        most = ITEMS if items else 0
        tasks = [_Part(self, inner, node).model(most, traceback=items) for node in inner.plan.nodes]
        started, finished = run.started_at, run.finished_at
        return RunModel(
            id=run.id,
            chain=run.chain,
            state=run.state,
            done=finished is not None,
            reason=run.reason,
            created_at=run.created_at,
            started_at=started,
            finished_at=finished,
            duration_ms=_milliseconds(started, finished),
            seq=run.seq,
            counts=counted(inner.ledger.states),
            progress=1.0 if finished is not None else _progress(tasks),
            tags=dict(run.tags),
            started_by=run.started_by,
            trace_id=run.trace_id,
            error=self._error_of(inner),
            tasks=tasks,
            links=links(run, base),
        )

    def task(self, run: KnownRun, name: str) -> TaskModel | None:
        """Return one task of *run*, with all its items, or one item; None if there is none of that name."""
        inner = run.inner
        whole, _, rest = name.partition("[")
        i = inner.plan.index.get(name, inner.plan.index.get(whole))
        if i is None:
            return None
        part = _Part(self, inner, inner.plan.nodes[i])
        if name == inner.plan.names[i]:
            return part.model(None)
        number = rest.removesuffix("]")
        found = number.isdecimal() and name == f"{whole}[{int(number)}]" and int(number) < part.size
        return part.item(int(number)) if found else None

    def error(self, error: ErrorInfo, run: str, task: str | None = None) -> ErrorModel:
        """Return *error*, in its own words or in none."""
        if self._expose:
            return ErrorModel(title=error.type, detail=error.message, task=task)
        return ErrorModel(
            title="Error", detail=f"What went wrong is in the server's log, under run {run[:8]}.", task=task
        )

    def task_error(self, error: ErrorInfo, run: str, task: str, exception: BaseException | None) -> TaskErrorModel:
        """Return *error*, and where *exception* was raised if that is shown."""
        where = traceback_of(exception) if exception is not None and self._expose else None
        return TaskErrorModel(**self.error(error, run, task).model_dump(), traceback=where)

    def line(self, text: str) -> str:
        """Return what a task has logged; without the traceback that may follow where errors are not shown."""
        return text if self._expose else text.partition("\n")[0]

    def _error_of(self, inner: RunState) -> ErrorModel | None:
        """Return what made the run fail: what ended it as a whole, or the first task that did."""
        if inner.state != "failed":
            return None
        if inner.error is not None:
            return self.error(error_info(inner.error), inner.id)
        for i, state in enumerate(inner.ledger.states):
            if state == FAILED and inner.counts(i):
                return self.error(error_info(inner.ledger.errors[i]), inner.id, inner.plan.names[i])
        return None


class _Part:
    """One task of one run."""

    def __init__(self, renderer: Renderer, run: RunState, node: Node) -> None:
        """Look at the task of *node*."""
        run.settle()
        self._renderer = renderer
        self._run = run
        self._node = node
        self._fan: Ledger | None = run.fans.get(node.index)

    @property
    def size(self) -> int:
        """How many items it has."""
        return 0 if self._fan is None else len(self._fan.states)

    def model(self, most: int | None, *, traceback: bool = True) -> TaskModel:
        """Return the task, with its items unless there are more than *most*; None: with all of them.

        *traceback*: whether to say where its error was raised.
        """
        node, run = self._node, self._run
        names = run.plan.names
        record = run.ledger.record(
            node.index,
            node.name,
            after=tuple(names[p] for p in node.parents),
            max_attempts=node.max_attempts,
            optional=node.spec.optional,
        )
        exception = run.ledger.errors[node.index] if traceback and record.state == "failed" else None
        if self._fan is None:
            return self._model(record, exception)
        record = replace(record, undo_error=self._fan.undo_error)
        listed = most is None or self.size <= most
        items = [self.item(k, traceback=False) for k in range(self.size)] if listed else None
        return self._model(record, exception, items, counted(self._fan.states))

    def item(self, k: int, *, traceback: bool = True) -> TaskModel:
        """Return item number *k*; *traceback*: whether to say where its error was raised."""
        node, fan = self._node, self._fan
        assert fan is not None, "only a fan-out has items"
        name = f"{node.name}[{k}]"
        record = fan.record(k, name, max_attempts=node.max_attempts, optional=node.spec.optional)
        return self._model(record, fan.errors[k] if traceback and record.state == "failed" else None)

    def _model(
        self,
        record: TaskRecord,
        exception: BaseException | None,
        items: list[TaskModel] | None = None,
        item_counts: Mapping[TaskState, int] | None = None,
    ) -> TaskModel:
        error = record.error if record.state in {"failed", "retrying"} else None
        undo = record.undo_error
        return TaskModel(
            name=record.name,
            state=record.state,
            after=list(record.after),
            attempt=len(record.attempts),
            max_attempts=max(record.max_attempts, len(record.attempts)),
            optional=record.optional,
            started_at=record.started_at,
            finished_at=record.finished_at,
            next_attempt_at=record.next_attempt_at,
            progress=progress_model(self._run.progress.get(record.name)),
            error=None if error is None else self._renderer.task_error(error, self._run.id, record.name, exception),
            skip_reason=record.skip_reason,
            cancel_reason=record.cancel_reason,
            undone=record.undone,
            undo_error=None if undo is None else self._renderer.error(undo, self._run.id, record.name),
            attempts=list(self._attempts(record)),
            items=items,
            item_counts=item_counts,
        )

    def _attempts(self, record: TaskRecord) -> Iterator[AttemptModel]:
        for attempt in record.attempts:
            yield self._attempt(attempt, record.name)

    def _attempt(self, attempt: Attempt, task: str) -> AttemptModel:
        error = attempt.error
        return AttemptModel(
            n=attempt.n,
            state=attempt.state,
            started_at=attempt.started_at,
            finished_at=attempt.finished_at,
            backoff_ms=None if attempt.backoff is None else round(attempt.backoff * 1000, 3),
            error=None if error is None else self._renderer.error(error, self._run.id, task),
        )


def progress_model(progress: ProgressInfo | None) -> ProgressModel | None:
    """Return *progress* as a model."""
    return None if progress is None else ProgressModel(done=progress.done, total=progress.total, text=progress.text)


def links(run: KnownRun, base: str) -> RunLinks:
    """Return where to go from *run*."""
    page = f"{base}/runs/{run.id}"
    done = run.finished_at is not None
    return RunLinks(
        self=page,
        events=f"{page}/events",
        result=f"{page}/result",
        cancel=None if done else f"{page}/cancel",
        retry=f"{page}/retry" if done else None,
    )


def _milliseconds(started: datetime | None, finished: datetime | None) -> float | None:
    if started is None or finished is None:
        return None
    return round((finished - started).total_seconds() * 1000, 3)


def _progress(tasks: list[TaskModel]) -> float:
    """Return how much of *tasks* is over, from 0 to 1: a task that reports its progress counts in part."""
    return round(sum(map(_part, tasks)) / len(tasks), 3)


def _part(task: TaskModel) -> float:
    if STATES.index(task.state) >= SUCCEEDED:
        return 1.0
    if task.item_counts:
        over = sum(n for state, n in task.item_counts.items() if STATES.index(state) >= SUCCEEDED)
        return over / sum(task.item_counts.values())
    progress = task.progress
    if progress is None or not progress.total:
        return 0.0
    return min(1.0, max(0.0, progress.done / progress.total))
