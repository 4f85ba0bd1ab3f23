"""Every error that fastapi_chain raises.

    ChainError
    ├── DeclarationError (also TypeError): raised where the decorator stands
    │   ├── GeneratorTask
    │   ├── MethodTask
    │   ├── DuplicateTask
    │   ├── CalledInsteadOfNamed
    │   ├── BadOption
    │   └── StreamingEndpoint
    ├── PlanError (also ValueError): collected in InvalidChain
    │   ├── CycleError
    │   ├── UnknownTask
    │   ├── UnknownParameter
    │   ├── NotUpstream
    │   ├── AmbiguousProducer
    │   ├── TypeMismatch
    │   ├── MissingInput
    │   ├── DuplicateChain
    │   ├── RequestBoundDependency
    │   ├── ClosedInput
    │   └── DecoratorOrder
    ├── InvalidChain: all problems at once
    ├── EngineError
    │   ├── EngineNotInstalled
    │   ├── EngineUnavailable
    │   └── UnserializableOutput
    └── RunError (also RuntimeError)
        ├── UnknownInput (also TypeError)
        ├── DeadlineExceeded
        ├── RunNotFinished
        ├── NothingToRetry
        ├── TaskFailed
        ├── TaskSkipped
        ├── TaskCancelled
        ├── TaskTimeout (also TimeoutError)
        ├── OutputValidationError
        ├── RunNotFound
        ├── RunFinished
        ├── RunCancelled
        └── QueueFull

`Skip` and `RetryAfter` are no errors: a task raises them to steer its chain.

`ChainError` and the four families can be raised as they are, with `what=`, `rows=` and `fixes=`, where no class of the
tree fits. The text of each class is shown and explained in docs/errors.md, under its `code`.
"""

from .base import ChainError
from .declaration import (
    BadOption,
    CalledInsteadOfNamed,
    DeclarationError,
    DuplicateTask,
    GeneratorTask,
    MethodTask,
    StreamingEndpoint,
)
from .endpoint import ClosedInput, DecoratorOrder, DuplicateChain, MissingInput, RequestBoundDependency
from .engine import EngineError, EngineNotInstalled, EngineUnavailable, UnserializableOutput
from .plan import (
    AmbiguousProducer,
    CycleError,
    InvalidChain,
    NotUpstream,
    PlanError,
    TypeMismatch,
    UnknownParameter,
    UnknownTask,
)
from .run import (
    DeadlineExceeded,
    NothingToRetry,
    OutputValidationError,
    QueueFull,
    RunCancelled,
    RunError,
    RunFinished,
    RunNotFinished,
    RunNotFound,
    TaskCancelled,
    TaskFailed,
    TaskSkipped,
    TaskTimeout,
    UnknownInput,
)
from .signals import RetryAfter, Skip

__all__ = [
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
    "NotUpstream",
    "NothingToRetry",
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
]

for _name in __all__:
    globals()[_name].__module__ = __name__  # a traceback shows the name under which it is imported
