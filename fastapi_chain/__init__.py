"""Background work for FastAPI that runs in order, in parallel, and to the end.

The package reads from the bottom up:

    spec, outcome, events   what was declared, what happened
    errors, tasks, run, context   what users hold in their hands
    declare -> plan -> schedule | execute -> engines   1. declare, 2. plan, 3. schedule, 4. execute; where it runs
    web, chains             the endpoint that starts a run, and everything over HTTP
    mypy_plugin, typecheck  the same checks before anything runs

A module imports only from lower ones; `make check` holds it to that. A name is imported when it is first asked for: so
`task` does not wait for FastAPI, and mypy, which loads only its plugin, for nothing.
"""

from importlib import import_module
from typing import Final

__version__: Final = "0.1.0"

_MODULES: Final = {
    "chains": ("Chain", "chain"),
    "context": ("Progress", "TaskContext", "current_task"),
    "declare": ("Registry", "default_registry", "task"),
    "errors": (
        "AmbiguousProducer",
        "BadOption",
        "CalledInsteadOfNamed",
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
        "GeneratorTask",
        "InvalidChain",
        "MethodTask",
        "MissingInput",
        "NothingToRetry",
        "NotUpstream",
        "OutputValidationError",
        "PlanError",
        "QueueFull",
        "RequestBoundDependency",
        "RetryAfter",
        "RunCancelled",
        "RunError",
        "RunFinished",
        "RunNotFinished",
        "RunNotFound",
        "Skip",
        "StreamingEndpoint",
        "TaskCancelled",
        "TaskFailed",
        "TaskSkipped",
        "TaskTimeout",
        "TypeMismatch",
        "UnknownInput",
        "UnknownParameter",
        "UnknownTask",
        "UnserializableOutput",
    ),
    "outcome": ("Failed", "Outcome", "Skipped", "Succeeded"),
    "run": ("Run",),
    "spec": ("Backoff",),
    "tasks": ("AnyTask", "FanOut", "From", "Task"),
    "web.runtime": ("Runtime", "install"),
}
"""Which module has what; `__init__.pyi` declares the same for type checkers."""

_LAZY: Final = {name: module for module, names in _MODULES.items() for name in names}

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
    """Import a name when it is first asked for (PEP 562)."""
    if name not in _LAZY:
        text = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(text)
    value: object = getattr(import_module(f".{_LAZY[name]}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_LAZY})
