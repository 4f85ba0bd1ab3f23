"""Background work for FastAPI that runs in order, in parallel, and to the end.

The package reads from the bottom up:

    spec, outcome, events   what was declared, what happened
    errors, tasks, run, context   what users hold in their hands
    declare -> plan -> schedule | execute -> engines   1. declare, 2. plan, 3. schedule, 4. execute; where it runs
    web, chains             the endpoint that starts a run, and everything over HTTP
    mypy_plugin, typecheck  the same checks before anything runs

A module imports only from lower ones; `make check` holds it to that. What needs FastAPI is imported when it is first
asked for, so that a worker, mypy and the command line start quickly.
"""

from importlib import import_module
from typing import Final

from .context import Progress, TaskContext, current_task
from .declare import Registry, default_registry, task
from .errors import (
    AmbiguousProducer,
    BadOption,
    CalledInsteadOfNamed,
    ChainError,
    ClosedInput,
    CycleError,
    DeadlineExceeded,
    DeclarationError,
    DecoratorOrder,
    DuplicateChain,
    DuplicateTask,
    EngineError,
    EngineNotInstalled,
    EngineUnavailable,
    GeneratorTask,
    InvalidChain,
    MethodTask,
    MissingInput,
    NothingToRetry,
    NotUpstream,
    OutputValidationError,
    PlanError,
    QueueFull,
    RequestBoundDependency,
    RetryAfter,
    RunCancelled,
    RunError,
    RunFinished,
    RunNotFinished,
    RunNotFound,
    Skip,
    StreamingEndpoint,
    TaskCancelled,
    TaskFailed,
    TaskSkipped,
    TaskTimeout,
    TypeMismatch,
    UnknownInput,
    UnknownParameter,
    UnknownTask,
    UnserializableOutput,
)
from .outcome import Failed, Outcome, Skipped, Succeeded
from .run import Run
from .spec import Backoff
from .tasks import AnyTask, FanOut, From, Task

__version__: Final = "0.1.0"

_LAZY: Final = {
    "Chain": "chains",
    "Runtime": "web.runtime",
    "chain": "chains",
    "install": "web.runtime",
}
"""What needs FastAPI, and the module that has it; `__init__.pyi` declares the same for type checkers."""

__all__ = [
    "AmbiguousProducer",
    "AnyTask",
    "Backoff",
    "BadOption",
    "CalledInsteadOfNamed",
    "Chain",
    "ChainError",
    "ClosedInput",
    "CycleError",
    "DeadlineExceeded",
    "DeclarationError",
    "DecoratorOrder",
    "DuplicateChain",
    "DuplicateTask",
    "EngineError",
    "EngineNotInstalled",
    "EngineUnavailable",
    "Failed",
    "FanOut",
    "From",
    "GeneratorTask",
    "InvalidChain",
    "MethodTask",
    "MissingInput",
    "NotUpstream",
    "NothingToRetry",
    "Outcome",
    "OutputValidationError",
    "PlanError",
    "Progress",
    "QueueFull",
    "Registry",
    "RequestBoundDependency",
    "RetryAfter",
    "Run",
    "RunCancelled",
    "RunError",
    "RunFinished",
    "RunNotFinished",
    "RunNotFound",
    "Runtime",
    "Skip",
    "Skipped",
    "StreamingEndpoint",
    "Succeeded",
    "Task",
    "TaskCancelled",
    "TaskContext",
    "TaskFailed",
    "TaskSkipped",
    "TaskTimeout",
    "TypeMismatch",
    "UnknownInput",
    "UnknownParameter",
    "UnknownTask",
    "UnserializableOutput",
    "chain",
    "current_task",
    "default_registry",
    "install",
    "task",
]


def __getattr__(name: str) -> object:
    """Import what needs FastAPI when it is first asked for (PEP 562)."""
    if name not in _LAZY:
        text = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(text)
    value: object = getattr(import_module(f".{_LAZY[name]}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_LAZY})
