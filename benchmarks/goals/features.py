"""P11, P12 and P14: what each feature adds to a task, and what the usual way to the same adds to a call by hand.

Everything is a chain of 100 tasks that do nothing: its extra time over the same chain without the feature, in the same
round, divided by 100. The usual way is the same chain awaited by hand, with what one would put around each call.
"""

import asyncio
import logging
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from string import Template
from typing import Any, Final, TypeAlias

import pydantic
import tenacity
from fastapi import Depends, FastAPI
from fastapi.dependencies.utils import get_dependant, solve_dependencies
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.trace import TracerProvider
from starlette.requests import Request

from benchmarks import timing
from benchmarks.asgi import lifespan
from benchmarks.contenders.hand_written import hop
from benchmarks.goals import Finding
from benchmarks.graphs import run_source
from benchmarks.timing import Case, Clock, Effort
from fastapi_chain import Registry, TaskContext, chain, install
from fastapi_chain.observe.otel import OpenTelemetry

LENGTH: Final = 100

PLAIN: Final = "async def $name($parent: int) -> int: return $parent + 1"
UNCHECKED: Final = "async def $name($parent: int): return $parent + 1"
MODEL: Final = "async def $name($parent: Model) -> Model: return $parent"
MODEL_UNCHECKED: Final = "async def $name($parent: Model): return $parent"
CONTEXT: Final = "async def $name($parent: int, context: TaskContext) -> int: return $parent + 1"
ASYNC_DEPENDS: Final = "async def $name($parent: int, a: int = Depends(give)) -> int: return $parent + 1"
GENERATOR_DEPENDS: Final = "async def $name($parent: int, a: int = Depends(lend)) -> int: return $parent + 1"
DEF: Final = "def $name($parent: int) -> int: return $parent + 1"
DEF_DEPENDS: Final = (
    "def $name($parent: int, a: int = Depends(get), b: int = Depends(fetch), c: int = Depends(load)) -> int:"
    " return $parent + 1"
)
FLAKY: Final = """
tries = []
async def $name($parent: int) -> int:
    tries.append(1)
    if len(tries) % 3:
        raise ValueError
    return $parent + 1
"""

SINKS: Final[dict[str, Callable[[], Sequence[Callable[[Any], None]]]]] = {
    "a sink that does nothing": lambda: [lambda _event: None],
    "OpenTelemetry without an SDK": lambda: [OpenTelemetry()],
    "OpenTelemetry with its SDK": lambda: [
        OpenTelemetry(tracer_provider=TracerProvider(), meter_provider=MeterProvider())
    ],
}
"""What `install(sinks=...)` is given, made anew for each measurement."""

Run: TypeAlias = Callable[[], Awaitable[object]]


class Model(pydantic.BaseModel):
    """A value to check."""

    id: int
    name: str


async def give() -> int:
    """Inject from a coroutine."""
    return 1


async def lend() -> AsyncIterator[int]:
    """Inject from a generator."""
    yield 1


def get() -> int:
    """Inject from a function."""
    return 1


def fetch() -> int:
    """Inject from another function."""
    return 2


def load() -> int:
    """Inject from a third one."""
    return 3


VOCABULARY: Final = {word.__name__: word for word in (Depends, Model, TaskContext, give, lend, get, fetch, load)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Feature:
    """A feature and how it is measured."""

    what: str
    """What users call it."""
    used: Run
    """A chain with it."""
    without: Run
    """The same chain without."""
    goal: str = ""
    """Its goal."""
    limit: float | None = None
    """Microseconds that it may add to a task."""
    usual: str = ""
    """What one would use by hand."""
    by_hand: Run | None = None
    """A chain by hand with it; what it adds to the plain one by hand is only told."""


def features() -> list[Feature]:
    """Return every feature; the plain chain is declared once for each, so that caches are alike."""
    once, thrice = tenacity.stop_after_attempt(4), tenacity.stop_after_attempt(3)
    at_once = tenacity.retry(stop=thrice, wait=tenacity.wait_none())
    return [
        Feature(
            what="retries=3, first attempt succeeds", goal="P11", limit=0.05,
            used=ours(PLAIN, retries=3), without=ours(PLAIN),
            usual="tenacity's @retry", by_hand=by_hand(PLAIN, tenacity.retry(stop=once)),
        ),
        Feature(
            what="retries=2, third attempt succeeds", goal="P11", limit=15.0,
            used=logged(ours(FLAKY, retries=2, backoff=0), logging.ERROR), without=ours(PLAIN),
            usual="nothing is logged by either; tenacity's @retry", by_hand=by_hand(FLAKY, at_once),
        ),
        Feature(
            what="the same, with its two lines in the log",
            used=logged(ours(FLAKY, retries=2, backoff=0), logging.WARNING), without=ours(PLAIN),
        ),
        Feature(
            what="output check, an int", goal="P12", limit=0.1,
            used=ours(PLAIN), without=ours(UNCHECKED),
            usual="pydantic's validate_call", by_hand=by_hand(PLAIN, pydantic.validate_call(validate_return=True)),
        ),
        Feature(
            what="output check, a model", goal="P12", limit=0.1,
            used=ours(MODEL, x=Model(id=1, name="a")), without=ours(MODEL_UNCHECKED, x=Model(id=1, name="a")),
        ),
        Feature(
            what="timeout=30", used=ours(PLAIN, timeout=30), without=ours(PLAIN),
            usual="asyncio.timeout", by_hand=by_hand(PLAIN, in_time),
        ),
        Feature(
            what="Depends(async function)", goal="P14", limit=2.0,
            used=ours(ASYNC_DEPENDS), without=ours(PLAIN),
            usual="FastAPI's solve_dependencies", by_hand=by_hand(ASYNC_DEPENDS, solved),
        ),
        Feature(
            what="Depends(async generator)", goal="P14", limit=6.0,
            used=ours(GENERATOR_DEPENDS), without=ours(PLAIN),
            usual="FastAPI's solve_dependencies", by_hand=by_hand(GENERATOR_DEPENDS, solved),
        ),
        Feature(what="context: TaskContext", used=ours(CONTEXT), without=ours(PLAIN)),
        Feature(what="limit=4", used=ours(PLAIN, limit=4), without=ours(PLAIN)),
        Feature(what="events followed", used=followed(PLAIN), without=started(PLAIN)),
    ]  # fmt: skip


async def measure(effort: Effort) -> AsyncIterator[Finding]:
    """Measure every feature."""
    for feature in features():
        yield await cost(feature, effort)
    yield await def_dependencies(effort)
    for what, sinks in SINKS.items():
        yield await sink_cost(what, sinks(), effort)


async def cost(feature: Feature, effort: Effort) -> Finding:
    """Tell what *feature* adds to a task."""
    runs = {"used": feature.used, "without": feature.without}
    if feature.by_hand:
        runs |= {"by hand": feature.by_hand, "plain by hand": by_hand(PLAIN)}
    samples = await timing.by_turns({name: timing.repeat(run) for name, run in runs.items()}, effort)
    note = ""
    if feature.by_hand:
        note = f"{feature.usual} {per_task(samples['by hand'], samples['plain by hand'], 'cpu'):.2f} µs"
    added = per_task(samples["used"], samples["without"], "cpu")
    return Finding(feature.goal, feature.what, added, "µs", feature.limit, note)


async def sink_cost(what: str, sinks: Sequence[Callable[[Any], None]], effort: Effort) -> Finding:
    """Tell what a sink adds to a task, in an app with `install`."""
    cases = {"used": installed(PLAIN, sinks), "without": installed(PLAIN, ())}
    samples = await timing.by_turns(cases, effort)
    return Finding("", what, per_task(samples["used"], samples["without"], "cpu"), "µs")


async def def_dependencies(effort: Effort) -> Finding:
    """Tell what three `def` dependencies add to a `def` task, in thread hops by hand."""
    function = get

    async def one_hop() -> int:
        return await hop(function)

    runs = {"used": ours(DEF_DEPENDS, length=1), "without": ours(DEF, length=1), "hop": one_hop}
    samples = await timing.by_turns({name: timing.repeat(run) for name, run in runs.items()}, effort)
    hops = timing.extra(samples["used"], samples["without"], "wall") / timing.median(samples["hop"], "wall")
    note = f"{timing.extra(samples['used'], samples['without'], 'wall') * 1e6:.1f} µs"
    return Finding("P14", "three Depends(def) of a def task, in hops", hops, "×", 1.0, note)


def per_task(samples: list[timing.Sample], reference: list[timing.Sample], clock: Clock) -> float:
    """Return the extra microseconds for one task."""
    return timing.extra(samples, reference, clock) / LENGTH * 1e6


def functions(template: str, length: int = LENGTH) -> list[Callable[..., Any]]:
    """Return a chain of functions, made from *template*."""
    made = []
    for i in range(length):
        source = Template(template).substitute(name=f"t{i}", parent=f"t{i - 1}" if i else "x")
        names: dict[str, Any] = {**VOCABULARY, "__name__": f"task{i}"}
        made.append(run_source(source, names, f"<t{i} {abs(hash(template))}>")[f"t{i}"])
    return made


def planned(template: str, length: int, **options: Any) -> Any:
    """Return a checked chain of tasks, made from *template* and declared with *options*."""
    registry, tasks = Registry("features"), []
    for function in functions(template, length):
        tasks.append(registry.task(after=tasks[-1:], **options)(function))
    made = chain(tasks[-1])
    made.check()
    return made


def ours(template: str, *, x: object = 1, length: int = LENGTH, **options: Any) -> Run:
    """Return a run of such a chain."""
    made = planned(template, length, **options)

    async def run() -> None:
        finished = await made.run(x=x)
        assert finished.state == "succeeded", finished.errors

    return run


def logged(run: Run, level: int) -> Run:
    """Return *run* with its log from *level* on written to where nobody reads it."""
    log = logging.getLogger("fastapi_chain")
    handler = logging.FileHandler(os.devnull)

    async def inner() -> None:
        log.addHandler(handler)
        log.setLevel(level)
        try:
            await run()
        finally:
            log.setLevel(logging.NOTSET)
            log.removeHandler(handler)

    return inner


def started(template: str) -> Run:
    """Return a run that is started and waited for."""
    made = planned(template, LENGTH)

    async def run() -> None:
        await (await made.start(x=1)).wait()

    return run


def followed(template: str) -> Run:
    """Return a run that is started and whose events are read."""
    made = planned(template, LENGTH)

    async def run() -> None:
        async for _ in (await made.start(x=1)).events():
            pass

    return run


def installed(template: str, sinks: Sequence[Callable[[Any], None]]) -> Case:
    """Return the case that runs such a chain in an app whose runtime has *sinks*."""
    made = planned(template, LENGTH)

    async def case(times: int) -> None:
        app = FastAPI()
        install(app, sinks=sinks)
        async with lifespan(app):
            for _ in range(times):
                await made.run(x=1)

    return case


def by_hand(template: str, wrap: Callable[[Any], Any] | None = None) -> Run:
    """Return the chain as awaits by hand, each function in *wrap*."""
    calls = [wrap(function) if wrap else function for function in functions(template)]

    async def run() -> None:
        value = 1
        for call in calls:
            value = await call(value)

    return run


def in_time(function: Callable[[int], Awaitable[int]]) -> Callable[[int], Awaitable[int]]:
    """Wrap a function in a timeout."""

    async def inner(value: int) -> int:
        async with asyncio.timeout(30):
            return await function(value)

    return inner


def solved(function: Callable[..., Awaitable[int]]) -> Callable[[int], Awaitable[int]]:
    """Let FastAPI solve the dependencies of a function, as for an endpoint."""
    dependant = get_dependant(path="/", call=dependencies_only(function))

    async def inner(value: int) -> int:
        async with AsyncExitStack() as stack:
            scope = {
                "type": "http",
                "headers": [],
                "query_string": b"",
                "path_params": {},
                "path": "/",
                "method": "GET",
            }
            scope |= {"fastapi_inner_astack": stack, "fastapi_function_astack": stack}
            found = await solve_dependencies(
                request=Request(scope), dependant=dependant, async_exit_stack=stack, embed_body_fields=False
            )
            return await function(value, **found.values)

    return inner


def dependencies_only(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function with only the dependencies of *function* as parameters."""
    (default,) = function.__defaults__ or ()

    def inner(a: int = default) -> None: ...

    return inner
