"""From what `install(engine=...)` was given to an engine."""

from collections.abc import Callable, Iterable
from importlib import import_module
from typing import Any

from fastapi_chain._state import Sink
from fastapi_chain._threads import ThreadPool
from fastapi_chain.errors import EngineNotInstalled
from fastapi_chain.plan import Plan

from .base import Engine
from .history import History
from .memory import MemoryEngine


def make_engine(
    engine: "str | Engine",
    *,
    plans: Callable[[str], Plan | None],
    crons: Callable[[], Iterable[tuple[Plan, str]]],
    app: object,
    worker: bool,
    pool: ThreadPool,
    sinks: tuple[Sink, ...],
    max_running: int | None,
    history: int,
    kept: History,
) -> Engine:
    """Return the engine that *engine* stands for.

    Args:
        engine: `memory`, `sqlite:///chains.db`, `postgresql://…`, or an engine.
        plans: Finds the plan of a chain by its name; for runs that come from a database.
        crons: Tells the plans of chains that start by themselves, each with the times at which.
        app: The app whose `dependency_overrides` hold for them.
        worker: Whether runs run in this process; the memory engine has no other.
        pool: The threads of `def` tasks.
        sinks: Who is told every event.
        max_running: How many runs at once in this process.
        history: How many finished runs are kept.
        kept: Where the memory engine keeps them; others ask it where the pages of runs are.

    Raises:
        EngineNotInstalled: The engine needs a package that is not there.
        EngineError: There is no such engine.
    """
    if not isinstance(engine, str):
        return engine
    if engine == "memory":
        return MemoryEngine(pool=pool, sinks=sinks, max_running=max_running, kept=kept)
    try:
        # An import at the head of this file would make everybody need DBOS.
        durable: Any = import_module("fastapi_chain.engines.durable.engine")
        made: Engine = durable.DurableEngine(
            engine,
            plans=plans,
            crons=crons,
            app=app,
            worker=worker,
            pool=pool,
            sinks=sinks,
            max_running=max_running,
            history=history,
            kept=kept,
        )
    except ModuleNotFoundError as error:
        name = engine.partition(":")[0]
        extra = "durable" if name == "sqlite" else "postgres"
        raise EngineNotInstalled(engine=name, extra=extra, module=error.name or "dbos") from error
    return made
