"""OpenTelemetry: runs, tasks and attempts as spans, and what they take as metrics.

    from fastapi_chain.observe.otel import OpenTelemetry

    install(app, sinks=[OpenTelemetry()])

It needs only OpenTelemetry's API: where the spans go is settled by whoever sets up its SDK.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import ClassVar, Final, Protocol

from fastapi_chain.events import (
    Event,
    RunFinished,
    RunStarted,
    TaskCancelled,
    TaskEvent,
    TaskFailed,
    TaskRetrying,
    TaskSkipped,
    TaskStarted,
    TaskSucceeded,
    TaskUndone,
)
from fastapi_chain.outcome import ErrorInfo

try:
    from opentelemetry import context as otel_context
    from opentelemetry import metrics, trace
    from opentelemetry.context import Context
    from opentelemetry.metrics import CallbackOptions, MeterProvider, Observation
    from opentelemetry.trace import Link, Span, Status, StatusCode, TracerProvider
except ModuleNotFoundError as missing:
    needed = "fastapi_chain.observe.otel needs OpenTelemetry: pip install 'fastapi-chain[otel]'"
    raise ModuleNotFoundError(needed, name=missing.name) from None

_SCOPE: Final = "fastapi_chain"

_FAILED: Final = Status(StatusCode.ERROR)


class Pending(Protocol):
    """What tells how long the queue is: an engine, `runtime.engine`."""

    def pending(self, chain: str | None) -> int:
        """Return how many runs are queued or running; None: of all chains together."""


@dataclass(slots=True)
class _Task:
    """A task, or an item of a fan-out, between its first attempt and its end."""

    span: Span
    started: datetime
    attempt: Span | None = None
    attempts: int = 1


@dataclass(slots=True)
class _Run:
    """A run between its start and its end."""

    span: Span
    started: datetime
    before: Context
    """What was current where it started."""
    tasks: dict[str, _Task] = field(default_factory=dict)

    def owns(self, span: Span) -> bool:
        """Whether *span* is one of the run's."""
        ours = [self.span, *(task.attempt for task in self.tasks.values())]
        return any(span is one for one in ours)


class OpenTelemetry:
    """A sink for `install(sinks=[...])` that makes spans and metrics of what happens.

    - A span for each run, with a link to the span of the request that started it (or as its child: see `same_trace`);
      below it one for each task, and below that one for each attempt. What a task calls, a database or another
      service, makes its own spans below its attempt.
    - `fastapi_chain.run.duration` and `fastapi_chain.task.duration`: histograms in seconds, by chain, task and state;
      their counts are the numbers of runs and tasks.
    - `fastapi_chain.task.retries`: how many attempts were followed by another one.
    - `fastapi_chain.runs.active`: how many runs are under way.
    - `fastapi_chain.runs.pending`: how many are queued or under way, once `watch` was told of an engine.
    """

    in_context: Final = True
    """The engine tells of each attempt in the very context in which the task is then called."""

    def __init__(
        self,
        *,
        tracer_provider: TracerProvider | None = None,
        meter_provider: MeterProvider | None = None,
        same_trace: bool = False,
    ) -> None:
        """Begin to listen.

        Args:
            tracer_provider: Where spans go; default: the global one.
            meter_provider: Where metrics go; default: the global one.
            same_trace: Whether runs are part of the trace of their request. Default False: each is a trace of its own
                with a link to the request's, so that a run of an hour makes no request look as if it had taken an
                hour.
        """
        self._tracer = trace.get_tracer(_SCOPE, tracer_provider=tracer_provider)
        self._meter = metrics.get_meter(_SCOPE, meter_provider=meter_provider)
        self._same_trace = same_trace
        self._runs: dict[str, _Run] = {}
        self._run_seconds = self._meter.create_histogram(
            "fastapi_chain.run.duration", unit="s", description="Time from the start of a run to its end"
        )
        self._task_seconds = self._meter.create_histogram(
            "fastapi_chain.task.duration", unit="s", description="Time from the first attempt of a task to its end"
        )
        self._retries = self._meter.create_counter(
            "fastapi_chain.task.retries", unit="{attempt}", description="Failed attempts that another one followed"
        )
        self._active = self._meter.create_up_down_counter(
            "fastapi_chain.runs.active", unit="{run}", description="Runs that are under way"
        )

    def watch(self, engine: Pending) -> None:
        """Let `fastapi_chain.runs.pending` say how many runs are queued or running on *engine*.

        runtime = install(app, sinks=[telemetry])
        telemetry.watch(runtime.engine)
        """

        def observe(_options: CallbackOptions) -> Iterable[Observation]:
            yield Observation(engine.pending(None))

        self._meter.create_observable_gauge(
            "fastapi_chain.runs.pending", [observe], unit="{run}", description="Runs that are queued or running"
        )

    def __call__(self, event: Event) -> None:
        """Take one event."""
        if isinstance(event, RunStarted):
            self._begin(event)
            return
        run = self._runs.get(event.run_id)
        if run is not None:
            handle = self._handlers.get(type(event))
            if handle is not None:
                handle(self, run, event)

    # --- the run

    def _begin(self, event: RunStarted) -> None:
        request = trace.get_current_span().get_span_context()
        before = otel_context.get_current()
        linked = request.is_valid and not self._same_trace
        span = self._tracer.start_span(
            f"chain {event.chain}",
            context=before if self._same_trace else Context(),
            links=[Link(request)] if linked else [],
            attributes={"fastapi_chain.chain": event.chain, "fastapi_chain.run_id": event.run_id},
            start_time=_nanoseconds(event.at),
        )
        self._runs[event.run_id] = _Run(span=span, started=event.at, before=before)
        self._active.add(1, {"fastapi_chain.chain": event.chain})
        _enter(span)

    def _end(self, run: _Run, event: RunFinished) -> None:
        del self._runs[event.run_id]
        run.span.set_attribute("fastapi_chain.state", event.state)
        if event.reason is not None:
            run.span.set_attribute("fastapi_chain.reason", event.reason)
        if event.state == "failed":
            run.span.set_status(_FAILED)
        if run.owns(trace.get_current_span()):
            # The task that has awaited the run goes on, with what was current before.
            otel_context.attach(run.before)
        run.span.end(_nanoseconds(event.at))
        about = {"fastapi_chain.chain": event.chain}
        self._active.add(-1, about)
        seconds = (event.at - run.started).total_seconds()
        self._run_seconds.record(seconds, {**about, "fastapi_chain.state": event.state})

    # --- its tasks

    def _attempt(self, run: _Run, event: TaskStarted) -> None:
        task = run.tasks.get(event.task)
        if task is None:
            span = self._tracer.start_span(
                f"task {event.task}",
                context=trace.set_span_in_context(self._above(run, event.task)),
                attributes={"fastapi_chain.task": event.task, "fastapi_chain.max_attempts": event.max_attempts},
                start_time=_nanoseconds(event.at),
            )
            task = run.tasks[event.task] = _Task(span=span, started=event.at)
        task.attempts = event.attempt
        task.attempt = self._tracer.start_span(
            f"attempt {event.attempt}",
            context=trace.set_span_in_context(task.span),
            attributes={"fastapi_chain.task": event.task, "fastapi_chain.attempt": event.attempt},
            start_time=_nanoseconds(event.at),
        )
        _enter(task.attempt)

    def _above(self, run: _Run, name: str) -> Span:
        """Return the span above that of a task: the run's, or for an item that of its fan-out."""
        whole = run.tasks.get(name.partition("[")[0])
        return run.span if whole is None else whole.span

    def _retry(self, run: _Run, event: TaskRetrying) -> None:
        task = run.tasks.get(event.task)
        if task is not None:
            self._close_attempt(task, event, event.error, event.exception)
            _enter(run.span)
        self._retries.add(1, _about(event))

    def _succeed(self, run: _Run, event: TaskSucceeded) -> None:
        self._close(run, event, "succeeded")

    def _fail(self, run: _Run, event: TaskFailed) -> None:
        self._close(run, event, "failed", event.error, event.exception)

    def _skip(self, run: _Run, event: TaskSkipped) -> None:
        about = {"fastapi_chain.task": event.task, "fastapi_chain.reason": event.reason}
        run.span.add_event("task skipped", about, _nanoseconds(event.at))
        self._close(run, event, "skipped")

    def _cancel(self, run: _Run, event: TaskCancelled) -> None:
        about = {"fastapi_chain.task": event.task, "fastapi_chain.reason": event.reason}
        run.span.add_event("task cancelled", about, _nanoseconds(event.at))
        self._close(run, event, "cancelled")

    def _undone(self, run: _Run, event: TaskUndone) -> None:
        about = {"fastapi_chain.task": event.task, "fastapi_chain.error": str(event.error or "")}
        run.span.add_event("task undone", about, _nanoseconds(event.at))

    def _close(
        self,
        run: _Run,
        event: TaskEvent,
        state: str,
        error: ErrorInfo | None = None,
        exception: BaseException | None = None,
    ) -> None:
        """End the spans of a task, if it has begun at all."""
        task = run.tasks.pop(event.task, None)
        if task is None:
            return
        inside = task.attempt is not None and trace.get_current_span() is task.attempt
        self._close_attempt(task, event, error, exception)
        task.span.set_attributes({"fastapi_chain.state": state, "fastapi_chain.attempts": task.attempts})
        if error is not None:
            task.span.set_status(Status(StatusCode.ERROR, str(error)))
        task.span.end(_nanoseconds(event.at))
        if inside:
            _enter(run.span)
        seconds = (event.at - task.started).total_seconds()
        self._task_seconds.record(seconds, {**_about(event), "fastapi_chain.state": state})

    def _close_attempt(
        self, task: _Task, event: TaskEvent, error: ErrorInfo | None, exception: BaseException | None
    ) -> None:
        span, task.attempt = task.attempt, None
        if span is None:
            return
        if exception is not None:
            span.record_exception(exception, timestamp=_nanoseconds(event.at))
        if error is not None:
            span.set_status(Status(StatusCode.ERROR, str(error)))
        span.end(_nanoseconds(event.at))

    _handlers: ClassVar[dict[type[Event], Callable[..., None]]] = {
        RunFinished: _end,
        TaskStarted: _attempt,
        TaskRetrying: _retry,
        TaskSucceeded: _succeed,
        TaskFailed: _fail,
        TaskSkipped: _skip,
        TaskCancelled: _cancel,
        TaskUndone: _undone,
    }


def _about(event: TaskEvent) -> dict[str, str]:
    """Return what the metrics of a task are counted by: not single items of a fan-out, for there may be many."""
    return {"fastapi_chain.chain": event.chain, "fastapi_chain.task": event.task.partition("[")[0]}


def _enter(span: Span) -> None:
    """Make *span* current here: see `OpenTelemetry.in_context`."""
    otel_context.attach(trace.set_span_in_context(span))


def _nanoseconds(at: datetime) -> int:
    """Return a moment as OpenTelemetry counts time."""
    return int(at.timestamp() * 1e9)
