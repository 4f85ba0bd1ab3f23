"""What was declared: frozen values, no behaviour.

Everything here is written once, by `@task` or by the reader of a signature, and read for ever after.
"""

from collections.abc import Callable, Mapping
from dataclasses import field
from enum import Enum
from inspect import Parameter
from pathlib import Path
from typing import Final, Literal, NewType

from ._record import record

TaskName = NewType("TaskName", str)
"""The name of a task, unique in its registry."""

EMPTY: Final = Parameter.empty
"""No default, or no annotation."""

RunIf = Literal["all_succeeded", "all_done", "any_failed", "any_succeeded"]
"""When a task runs, said about the tasks in its `after`."""

RUN_IF: Final[tuple[RunIf, ...]] = ("all_succeeded", "all_done", "any_failed", "any_succeeded")


@record
class Source:
    """Where the user wrote something, printed as a traceback would print it."""

    name: str
    """The user's own name for it."""
    file: str
    """Absolute path of the file, or a name in angle brackets (`<stdin>`)."""
    line: int
    """Line number, from 1."""

    @property
    def at(self) -> str:
        """`shop/tasks.py:12`: relative to the working directory where that is shorter."""
        path = Path(self.file)
        here = Path.cwd()
        shown = path.relative_to(here).as_posix() if path.is_relative_to(here) else self.file
        return f"{shown}:{self.line}"


@record(kw_only=False, slots=True)
class Backoff:
    """How long to wait before each further attempt of a failed task.

    The wait before retry number `n` is `initial * factor ** (n - 1)` seconds, at most `maximum`; with `jitter` a random
    part of it, evenly from 0 to the whole ("full jitter": it spreads the retries of many clients best,
    https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/).

    Example:
        >>> Backoff(initial=0.5, maximum=10.0)
        Backoff(initial=0.5, factor=2.0, maximum=10.0, jitter=True)
    """

    initial: float = 1.0
    """Seconds before the first retry."""
    factor: float = 2.0
    """What each further wait is multiplied by; 1.0 keeps it constant."""
    maximum: float = 60.0
    """Seconds that no wait exceeds."""
    jitter: bool = True
    """Whether each wait is a random part of what the formula gives."""


@record(kw_only=False, slots=True)
class Rate:
    """At most `count` starts every `seconds`, as written in `rate="50/s"`."""

    count: int
    """Starts in that time."""
    seconds: float
    """The time, in seconds."""


class Role(Enum):
    """Who fills a parameter, as far as the function alone can tell."""

    VALUE = "value"
    """A task upstream or an input of the chain, by name; else its default."""
    REFERENCE = "reference"
    """The task that `From(...)` names."""
    INJECTED = "injected"
    """FastAPI: `Depends`, `Security`, or a request-bound type."""
    RUN = "run"
    """The run itself (`Run`)."""
    CONTEXT = "context"
    """The running task (`TaskContext`)."""
    PROGRESS = "progress"
    """The progress of the running task (`Progress`)."""


OutcomeKind = Literal["succeeded", "failed", "skipped"]
"""How a task can end, as far as another task can ask."""

SUCCEEDED_ONLY: Final[frozenset[OutcomeKind]] = frozenset({"succeeded"})
ANY_OUTCOME: Final[frozenset[OutcomeKind]] = frozenset({"succeeded", "failed", "skipped"})
NO_OUTCOME: Final[frozenset[OutcomeKind]] = frozenset()


@record(eq=False)
class ParamSpec:
    """One parameter of a task, read from its signature."""

    name: str
    """The parameter's name."""
    kind: object
    """`inspect.Parameter.kind`."""
    annotation: object
    """The resolved annotation, with its `Annotated`; `EMPTY` without one. What cannot be resolved stays a string."""
    type: object
    """The annotation without `Annotated`, and for an outcome parameter the `T` of `Outcome[T]` (`Any` for `Failed`)."""
    default: object = EMPTY
    """The default, `EMPTY` without one (`= From(task)` and `= Depends(f)` are no defaults)."""
    role: Role = Role.VALUE
    """Who fills it."""
    reference: "TaskSpec | str | None" = None
    """The task that `From(...)` names, or its name."""
    marker: object = None
    """FastAPI's `Depends` or `Security` object, or the request-bound type."""
    accepts: frozenset[OutcomeKind] = SUCCEEDED_ONLY
    """The outcomes of its producer with which the task still runs."""
    outcomes: frozenset[OutcomeKind] = NO_OUTCOME
    """The outcomes that it takes as they are (`Succeeded`, `Failed`, `Skipped`), and not the value; empty: it takes the
    value. In place of what it accepts beyond them it gets None: `Failed | None`."""
    collects: bool = False
    """Whether it takes `list[Outcome[T]]` of a fan-out: every item that has ended in one of these ways."""

    @property
    def has_default(self) -> bool:
        """Whether it can be left out."""
        return self.default is not EMPTY


@record(eq=False)
class Signature:
    """What a task takes and returns."""

    params: tuple[ParamSpec, ...]
    """Its parameters, in order."""
    returns: object
    """The return annotation as the user sees the value (for `async def` the awaited one); `EMPTY` without one."""


@record
class Each:
    """A fan-out: one call for each item of a task's output."""

    over: "TaskSpec | str"
    """The task that gives the list, or its name or output name."""
    param: str | None = None
    """The parameter that takes the item; None: it is found by its type."""


@record(eq=False)
class TaskSpec:
    """A task as declared: the function and its options. Two specs are equal only if they are one."""

    fn: Callable[..., object]
    """The user's function, partial, bound method or callable object."""
    name: TaskName
    """Unique in its registry."""
    output: str
    """The name under which parameters further down receive the result."""
    source: Source
    """Where it is written."""
    qualname: str
    """Module and qualified name: with `source`, what tells a reloaded task from another one of the same name."""
    is_async: bool
    """Whether calling it gives an awaitable; if not, it runs in a worker thread."""
    namespace: Mapping[str, object] = field(default_factory=dict)
    """Local names of the function around it, for annotations written as strings."""
    registry: object = None
    """The `Registry` that holds it; None for an `undo` function."""
    after: "tuple[TaskSpec | str, ...]" = ()
    """What must come first: tasks, or their names."""
    retries: int = 0
    """How many more attempts after the first."""
    backoff: Backoff = field(default_factory=Backoff)
    """How long to wait between attempts."""
    retry_on: tuple[type[BaseException], ...] = (Exception,)
    """What is retried."""
    give_up_on: tuple[type[BaseException], ...] = ()
    """What is not; wins over `retry_on`."""
    policy: object = None
    """A whole tenacity policy that decides in place of the four above."""
    timeout: float | None = None
    """Seconds for one attempt."""
    run_if: RunIf = "all_succeeded"
    """When it runs, said about the tasks in `after`."""
    optional: bool = False
    """Whether its failure leaves the run succeeded."""
    each: Each | None = None
    """Fan-out."""
    limit: int | None = None
    """How many calls at once."""
    rate: Rate | None = None
    """How many starts in a time."""
    undo: "TaskSpec | None" = None
    """Compensation."""
    effect: Literal["safe", "once"] = "safe"
    """`once`: a durable engine does not start it again after a crash in mid-flight."""
    queue: str | None = None
    """The queue whose workers run it; needs a durable engine."""


@record
class EndpointSpec:
    """An endpoint that starts a chain."""

    source: Source
    """Where it is written."""
    route: str
    """`POST /orders`, or the endpoint's name as long as no route is known."""
    gives: Mapping[str, object]
    """The inputs it gives: name -> annotation (`EMPTY` without one)."""
    returns: str | None = None
    """The input among them that is its return value."""
    closed: Mapping[str, str] = field(default_factory=dict)
    """Names it has but cannot hand on, with the reason (`yield-dependency`, `UploadFile`)."""
