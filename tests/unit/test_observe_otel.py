"""OpenTelemetry: spans of a failing, retried, parallel chain, and metrics, through the SDK's in-memory exporters."""

import asyncio
import sys
from collections.abc import Iterator, Sequence
from contextvars import copy_context
from datetime import UTC, datetime
from importlib import import_module
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from opentelemetry import trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode

from fastapi_chain import Skip, chain, install, task
from fastapi_chain.engines.here import set_engine
from fastapi_chain.engines.memory import MemoryEngine
from fastapi_chain.events import (
    RunFinished,
    RunStarted,
    TaskCancelled,
    TaskFailed,
    TaskProgressed,
    TaskRetrying,
    TaskStarted,
)
from fastapi_chain.observe import otel
from fastapi_chain.outcome import ErrorInfo, ProgressInfo


class Telemetry:
    """A sink and what it has exported."""

    def __init__(self) -> None:
        self.provider = TracerProvider()
        self.reader = InMemoryMetricReader()
        self.exporter = InMemorySpanExporter()
        self.provider.add_span_processor(SimpleSpanProcessor(self.exporter))
        self.meters = MeterProvider([self.reader])
        self.sink = self.make()

    def make(self, **options: bool) -> otel.OpenTelemetry:
        """Return a sink that exports to here."""
        return otel.OpenTelemetry(tracer_provider=self.provider, meter_provider=self.meters, **options)

    @property
    def spans(self) -> Sequence[ReadableSpan]:
        """All spans that have ended."""
        return self.exporter.get_finished_spans()

    def span(self, name: str) -> ReadableSpan:
        """Return the one span called *name*."""
        (found,) = [span for span in self.spans if span.name == name]
        return found

    def tree(self) -> list[str]:
        """Return the names of all spans, each indented below the one above it."""
        return list(self._below(None, ""))

    def _below(self, parent: int | None, indent: str) -> Iterator[str]:
        for span in sorted(self.spans, key=lambda span: (span.start_time or 0, span.name)):
            if (None if span.parent is None else span.parent.span_id) == parent:
                yield indent + span.name
                yield from self._below(span.context.span_id, indent + "  ")

    def numbers(self) -> dict[str, list[tuple[dict[str, object], float]]]:
        """Return all metrics: the count of each histogram, the value of each other one."""
        data: Any = self.reader.get_metrics_data()
        return {
            metric.name: sorted(
                (
                    (
                        {key.removeprefix("fastapi_chain."): value for key, value in dict(point.attributes).items()},
                        point.count if hasattr(point, "count") else point.value,
                    )
                    for point in metric.data.data_points
                ),
                key=str,
            )
            for scope in data.resource_metrics[0].scope_metrics
            for metric in scope.metrics
        }


@pytest.fixture
def telemetry() -> Telemetry:
    """A sink with exporters in memory."""
    return Telemetry()


def run_with(sink: otel.OpenTelemetry, body: Any) -> None:
    """Run *body* on a loop whose engine tells *sink*."""

    async def main() -> None:
        set_engine(asyncio.get_running_loop(), MemoryEngine(sinks=(sink,)))
        await body()

    asyncio.run(main())


def attributes(span: ReadableSpan) -> dict[str, object]:
    """Return what *span* says of itself."""
    return {name.removeprefix("fastapi_chain."): value for name, value in dict(span.attributes or {}).items()}


def test_a_failing_retried_parallel_chain(telemetry: Telemetry) -> None:
    """Each run, task and attempt is a span below the one it belongs to; failures say why; what was skipped is noted."""
    tries: list[int] = []
    tracer = telemetry.provider.get_tracer("user")

    @task
    async def clean() -> int:
        return 1

    @task(after=[clean], retries=1, backoff=0)
    async def save() -> None:
        with tracer.start_as_current_span("insert"):
            tries.append(1)
            if len(tries) == 1:
                raise ConnectionError("no route")

    @task(after=[clean])
    def charge() -> None:
        with tracer.start_as_current_span("http call"):
            raise PermissionError("insufficient funds")

    @task(after=[charge])
    async def receipt() -> None:
        pass

    async def body() -> None:
        with tracer.start_as_current_span("caller"):
            await chain(save, receipt, name="shop").run()
            with tracer.start_as_current_span("afterwards"):
                pass

    run_with(telemetry.sink, body)

    below = {span.name: span for span in telemetry.spans}
    by_id = {span.context.span_id: span.name for span in telemetry.spans}
    assert sorted((span.name, by_id.get(span.parent.span_id if span.parent else 0)) for span in telemetry.spans) == [
        ("afterwards", "caller"),
        ("attempt 1", "task charge"),
        ("attempt 1", "task clean"),
        ("attempt 1", "task save"),
        ("attempt 2", "task save"),
        ("caller", None),
        ("chain shop", None),
        ("http call", "attempt 1"),
        ("insert", "attempt 1"),
        ("insert", "attempt 2"),
        ("task charge", "chain shop"),
        ("task clean", "chain shop"),
        ("task save", "chain shop"),
    ]
    run = below["chain shop"]
    assert [link.context.span_id for link in run.links] == [below["caller"].context.span_id]
    assert run.context.trace_id != below["caller"].context.trace_id
    assert attributes(run) | {"run_id": ""} == {"chain": "shop", "run_id": "", "state": "failed"}
    assert run.status.status_code is StatusCode.ERROR
    assert [(event.name, dict(event.attributes or {})) for event in run.events] == [
        ("task skipped", {"fastapi_chain.task": "receipt", "fastapi_chain.reason": "upstream_failed: charge"})
    ]
    assert attributes(below["task save"]) == {"task": "save", "max_attempts": 2, "state": "succeeded", "attempts": 2}
    assert below["task save"].status.status_code is StatusCode.UNSET
    charge_span = below["task charge"]
    assert attributes(charge_span) == {"task": "charge", "max_attempts": 1, "state": "failed", "attempts": 1}
    assert charge_span.status.description == "PermissionError: insufficient funds"
    (first, second) = [
        span for span in telemetry.spans if attributes(span).get("task") == "save" and "attempt " in span.name
    ]
    assert [event.name for event in first.events] == ["exception"]
    assert first.status.description == "ConnectionError: no route"
    assert second.events == ()
    assert telemetry.numbers() == {
        "fastapi_chain.run.duration": [({"chain": "shop", "state": "failed"}, 1)],
        "fastapi_chain.task.duration": [
            ({"chain": "shop", "task": "charge", "state": "failed"}, 1),
            ({"chain": "shop", "task": "clean", "state": "succeeded"}, 1),
            ({"chain": "shop", "task": "save", "state": "succeeded"}, 1),
        ],
        "fastapi_chain.task.retries": [({"chain": "shop", "task": "save"}, 1)],
        "fastapi_chain.runs.active": [({"chain": "shop"}, 0)],
    }


def test_items_of_a_fan_out(telemetry: Telemetry) -> None:
    """Items are spans below their fan-out, and are counted under its name."""

    @task
    async def lines() -> list[int]:
        return [1, 2]

    @task(each=lines)
    async def ship(line: int) -> int:
        if line == 2:
            raise Skip("nothing to ship")
        return line

    async def body() -> None:
        await chain(ship).run()

    run_with(telemetry.sink, body)
    assert telemetry.tree() == [
        "chain ship",
        "  task lines",
        "    attempt 1",
        "  task ship",
        "    attempt 1",
        "    task ship[0]",
        "      attempt 1",
        "    task ship[1]",
        "      attempt 1",
    ]
    assert attributes(telemetry.span("task ship[1]"))["state"] == "skipped"
    assert telemetry.numbers()["fastapi_chain.task.duration"] == [
        ({"chain": "ship", "task": "lines", "state": "succeeded"}, 1),
        ({"chain": "ship", "task": "ship", "state": "skipped"}, 1),
        ({"chain": "ship", "task": "ship", "state": "succeeded"}, 2),
    ]


def test_a_run_that_is_cancelled_and_undone(telemetry: Telemetry) -> None:
    """A cancelled run says so with its reason; what was cancelled or undone is noted in its span."""

    async def refund() -> None:
        raise OSError("no answer")

    @task(undo=refund)
    async def pay() -> None:
        pass

    @task(after=[pay])
    async def wait() -> None:
        await asyncio.Event().wait()

    @task(after=[wait])
    async def never() -> None:
        pass

    async def body() -> None:
        run = await chain(never, name="shop").start()
        async for event in run.events():
            if event.kind == "task.started" and event.task == "wait":
                break
        await run.cancel()
        await run.wait()

    run_with(telemetry.sink, body)
    run = telemetry.span("chain shop")
    assert attributes(run) | {"run_id": ""} == {
        "chain": "shop",
        "run_id": "",
        "state": "cancelled",
        "reason": "run_cancelled",
    }
    assert run.status.status_code is StatusCode.UNSET
    assert [(event.name, *dict(event.attributes or {}).values()) for event in run.events] == [
        ("task cancelled", "wait", "run_cancelled"),
        ("task cancelled", "never", "run_cancelled"),
        ("task undone", "pay", "OSError: no answer"),
    ]
    assert attributes(telemetry.span("task wait")) == {
        "task": "wait",
        "max_attempts": 1,
        "state": "cancelled",
        "attempts": 1,
    }


def test_a_run_that_is_cancelled_in_the_queue(telemetry: Telemetry) -> None:
    """A run that is cancelled while it is queued is a span without tasks."""

    @task
    async def wait() -> None:
        pass

    async def body() -> None:
        engine = MemoryEngine(sinks=(telemetry.sink,), max_running=1)
        set_engine(asyncio.get_running_loop(), engine)
        first = await chain(wait).start()
        second = await chain(wait).start()
        await second.cancel()
        await first.wait()

    run_with(telemetry.sink, body)
    assert telemetry.tree() == ["chain wait", "  task wait", "    attempt 1", "chain wait"]


@pytest.mark.parametrize("same_trace", [False, True])
def test_beside_the_spans_of_fastapi(telemetry: Telemetry, same_trace: bool) -> None:
    """A run is linked to its request's span, or is below it; both are made by the same provider."""
    app = FastAPI()
    install(app, sinks=[telemetry.make(same_trace=same_trace)])
    tracer = telemetry.provider.get_tracer("fastapi")

    @app.middleware("http")
    async def instrument(request: Any, call_next: Any) -> Any:
        with tracer.start_as_current_span("POST /orders"):
            return await call_next(request)

    @task
    async def save() -> None:
        pass

    @app.post("/orders", status_code=202)
    @chain(save)
    async def orders() -> None:
        pass

    with TestClient(app) as client:
        assert client.post("/orders").status_code == 202
    request, run = telemetry.span("POST /orders"), telemetry.span("chain orders")
    if same_trace:
        assert run.parent is not None
        assert run.parent.span_id == request.context.span_id
        assert run.links == ()
    else:
        assert run.parent is None
        assert [link.context.span_id for link in run.links] == [request.context.span_id]


@pytest.mark.parametrize("first", [True, False])
def test_beside_the_instrumentor_of_fastapi(telemetry: Telemetry, *, first: bool) -> None:
    """The instrumentor works before `install` and after it; a failing, retried, parallel run is linked to its request."""
    instrumentor = pytest.importorskip("opentelemetry.instrumentation.fastapi").FastAPIInstrumentor
    app = FastAPI()
    if first:
        instrumentor.instrument_app(app, tracer_provider=telemetry.provider, meter_provider=telemetry.meters)
    install(app, sinks=[telemetry.sink])
    if not first:
        instrumentor.instrument_app(app, tracer_provider=telemetry.provider, meter_provider=telemetry.meters)
    tries: list[int] = []

    @task(retries=1, backoff=0)
    async def clean() -> None:
        tries.append(1)
        if len(tries) == 1:
            raise ConnectionError

    @task(after=[clean])
    def charge() -> None:
        raise PermissionError

    @task(after=[clean])
    async def save() -> None:
        pass

    @app.post("/orders", status_code=202)
    @chain(charge, save)
    async def orders() -> None:
        pass

    with TestClient(app) as client:
        assert client.post("/orders").headers["x-chain-run"]
    instrumentor.uninstrument_app(app)
    ours = {span.context.trace_id for span in telemetry.spans if span.name == "chain orders"}
    assert sorted(span.name for span in telemetry.spans if span.context.trace_id in ours) == [
        "attempt 1",
        "attempt 1",
        "attempt 1",
        "attempt 2",
        "chain orders",
        "task charge",
        "task clean",
        "task save",
    ]
    request = next(span for span in telemetry.spans if span.name == "POST /orders" and span.parent is None)
    (link,) = telemetry.span("chain orders").links
    assert link.context.trace_id == request.context.trace_id


def test_events_of_what_it_did_not_see_begin(telemetry: Telemetry) -> None:
    """What began before it listened is no reason to fail."""
    about: Any = {"run_id": "r", "chain": "shop", "seq": 1, "at": datetime(2026, 11, 24, tzinfo=UTC)}
    error = ErrorInfo("OSError", "no answer")

    def events() -> None:
        sink = telemetry.sink
        sink(RunFinished(**about, state="failed"))
        sink(RunStarted(**about))
        sink(TaskProgressed(**about, task="save", progress=ProgressInfo(done=1)))
        sink(TaskRetrying(**about, task="save", attempt=1, max_attempts=2, error=error, delay=1))
        sink(TaskFailed(**about, task="save", attempt=2, error=error, seconds=1))
        sink(TaskStarted(**about, task="send", attempt=1, max_attempts=2))
        sink(TaskRetrying(**about, task="send", attempt=1, max_attempts=2, error=error, delay=1))
        sink(TaskCancelled(**about, task="send", reason="deadline"))
        sink(RunFinished(**about, state="failed", reason="deadline"))

    # What it makes current is that of the context in which it is told.
    copy_context().run(events)
    assert telemetry.tree() == ["chain shop", "  task send", "    attempt 1"]
    assert telemetry.numbers()["fastapi_chain.task.retries"] == [
        ({"chain": "shop", "task": "save"}, 1),
        ({"chain": "shop", "task": "send"}, 1),
    ]
    assert telemetry.span("attempt 1").status.description == "OSError: no answer"


def test_a_run_that_is_ended_from_elsewhere(telemetry: Telemetry) -> None:
    """Whoever ends a run keeps what is current there."""
    about: Any = {"run_id": "r", "chain": "shop", "seq": 1, "at": datetime(2026, 11, 24, tzinfo=UTC)}
    copy_context().run(telemetry.sink, RunStarted(**about))
    with telemetry.provider.get_tracer("user").start_as_current_span("elsewhere") as span:
        telemetry.sink(RunFinished(**about, state="cancelled"))
        assert trace.get_current_span() is span


def test_the_queue(telemetry: Telemetry) -> None:
    """An engine that is watched is asked for its queue each time metrics are read."""
    app = FastAPI()
    telemetry.sink.watch(install(app).engine)
    assert telemetry.numbers()["fastapi_chain.runs.pending"] == [({}, 0)]


def test_global_providers_are_the_default() -> None:
    """Without providers it uses those of the process, which do nothing unless somebody has set up an SDK."""
    sink = otel.OpenTelemetry()

    @task
    async def save() -> bool:
        return trace.get_current_span().is_recording()

    async def body() -> None:
        run = await chain(save).run()
        assert run[save] is False

    run_with(sink, body)


def test_without_opentelemetry(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who lacks OpenTelemetry is told in one line what to install."""
    monkeypatch.setitem(sys.modules, "opentelemetry", None)
    monkeypatch.delitem(sys.modules, "fastapi_chain.observe.otel")
    with pytest.raises(ModuleNotFoundError) as caught:
        import_module("fastapi_chain.observe.otel")
    assert str(caught.value) == "fastapi_chain.observe.otel needs OpenTelemetry: pip install 'fastapi-chain[otel]'"
