"""Errors of runs: asked for, waited for, gone wrong."""

from collections.abc import Iterable
from typing import ClassVar, Final, Self

from fastapi_chain._record import record
from fastapi_chain._text import Row, closest, counted, listed, seconds, short_repr, shortened, type_names
from fastapi_chain.outcome import ErrorInfo
from fastapi_chain.spec import Source

from .base import ChainError

_COMPLAINTS: Final = 3  # of a value that is wrong in a thousand places, a few are enough


class RunError(ChainError, RuntimeError):
    """A run cannot do what was asked, or did not do what was hoped."""

    code: ClassVar[str] = "run"


@record(eq=False, frozen=False)
class UnknownInput(RunError, TypeError):
    """A chain is started with a keyword that it does not know."""

    chain: str
    """The name of the chain."""
    name: str
    """The keyword."""
    known: tuple[str, ...]
    """The inputs that it takes."""
    code: ClassVar[str] = "unknown-input"

    def problem(self) -> str:
        return f"Chain {self.chain!r} has no input {self.name!r}."

    def evidence(self) -> Iterable[Row]:
        return [("it takes", listed(self.known))]

    def remedies(self) -> Iterable[str]:
        near = closest(self.name, self.known)
        return [f"leave out {self.name}=..." if near is None else f"write {near}=..."]


@record(eq=False, frozen=False)
class DeadlineExceeded(RunError):
    """A run took longer than the deadline of its chain."""

    chain: str
    """The name of the chain."""
    seconds: float
    """Its deadline, in seconds."""
    run: str
    """The id of the run."""
    code: ClassVar[str] = "deadline-exceeded"

    def problem(self) -> str:
        return f"A run of chain {self.chain!r} took longer than its deadline of {seconds(self.seconds)}."

    def evidence(self) -> Iterable[Row]:
        return [("run", self.run)]

    def remedies(self) -> Iterable[str]:
        return [
            f"give it more time: chain(..., deadline={2 * self.seconds:g})",
            "end a slow attempt early: @task(timeout=...)",
        ]


@record(eq=False, frozen=False)
class RunNotFinished(RunError):
    """A run is asked for what only a finished run has."""

    run: str
    """The id of the run."""
    state: str
    """Its state, or that of the task."""
    task: str | None = None
    """The name of the task that has not ended; None if it is about the whole run."""
    code: ClassVar[str] = "run-not-finished"

    def problem(self) -> str:
        which = "Run" if self.task is None else f"Task {self.task!r} of run"
        return f"{which} {self.run!r} is still {self.state}."

    def remedies(self) -> Iterable[str]:
        return ["await run.wait()"]


@record(eq=False, frozen=False)
class NothingToRetry(RunError):
    """A run is to repeat what failed, but nothing did."""

    run: str
    """The id of the run."""
    code: ClassVar[str] = "nothing-to-retry"

    def problem(self) -> str:
        return f"Nothing failed in run {self.run!r}, so there is nothing to retry."

    def remedies(self) -> Iterable[str]:
        return [
            'run everything again: await run.retry("start")',
            "run one task and all after it again: await run.retry(task)",
        ]


@record(eq=False, frozen=False)
class TaskFailed(RunError):
    """A task failed, and its own exception was not kept (a stored run that another process has carried on)."""

    task: str
    """The name of the task."""
    error: ErrorInfo
    """What went wrong, in words."""
    attempts: int
    """How many attempts were made."""
    run: str
    """The id of the run."""
    traceback: str | None = None
    """Where it was raised, as Python prints it, if that was kept; without the exception's own text."""
    code: ClassVar[str] = "task-failed"

    def problem(self) -> str:
        times = "once" if self.attempts == 1 else f"{self.attempts} times"
        return f"Task {self.task!r} failed, tried {times}: {shortened(str(self.error), 200)}"

    def evidence(self) -> Iterable[Row]:
        return [("run", self.run)]

    def remedies(self) -> Iterable[str]:
        return ["remove the cause, then: await run.retry()"]


@record(eq=False, frozen=False)
class TaskSkipped(RunError):
    """A skipped task is asked for its output."""

    task: str
    """The name of the task."""
    reason: str
    """Why it was skipped: `skip: <text>`, `upstream_failed: <task>`, `upstream_skipped: <task>` or `condition`."""
    run: str | None = None
    """The id of the run, if it is at hand."""
    code: ClassVar[str] = "task-skipped"

    def problem(self) -> str:
        return f"Task {self.task!r} was skipped, so it has no output."

    def evidence(self) -> Iterable[Row]:
        return [("reason", self.reason), *([("run", self.run)] if self.run else [])]

    def remedies(self) -> Iterable[str]:
        return [f'ask without an error: run.outputs.get("{self.task}")']


@record(eq=False, frozen=False)
class TaskCancelled(RunError):
    """A cancelled task is asked for its output."""

    task: str
    """The name of the task."""
    reason: str
    """Why it was cancelled: `run_cancelled`, `deadline` or `shutdown`."""
    run: str | None = None
    """The id of the run, if it is at hand."""
    code: ClassVar[str] = "task-cancelled"

    def problem(self) -> str:
        return f"Task {self.task!r} was cancelled, so it has no output."

    def evidence(self) -> Iterable[Row]:
        return [("reason", self.reason), *([("run", self.run)] if self.run else [])]

    def remedies(self) -> Iterable[str]:
        return [f'ask without an error: run.outputs.get("{self.task}")', "run it again: await run.retry(task)"]


@record(eq=False, frozen=False)
class TaskTimeout(RunError, TimeoutError):
    """An attempt of a task took longer than its time-out; it counts as failed and is retried like any other."""

    task: str
    """The name of the task."""
    seconds: float
    """Its time-out, in seconds."""
    attempt: int
    """The number of the attempt, from 1."""
    max_attempts: int
    """How many there may be."""
    code: ClassVar[str] = "task-timeout"

    def __new__(cls, **_: object) -> Self:
        """Make it as an `OSError`, whose layout `RuntimeError.__new__` (the first one inherited) does not know."""
        return TimeoutError.__new__(cls)

    def problem(self) -> str:
        which = f"attempt {self.attempt} of {self.max_attempts}"
        return f"Task {self.task!r} took longer than its timeout of {seconds(self.seconds)} ({which})."

    def remedies(self) -> Iterable[str]:
        return [f"give it more time: @task(timeout={2 * self.seconds:g})"]


@record(eq=False, frozen=False)
class OutputValidationError(RunError):
    """A task returned something else than its annotation says; it is not retried."""

    task: Source
    """The task."""
    value: object
    """What it returned; its shortened `repr` once the error exists."""
    expected: object
    """The return annotation; text once the error exists."""
    complaints: tuple[str, ...] = ()
    """What pydantic says about it, each as one line."""
    code: ClassVar[str] = "output-validation"

    def __post_init__(self) -> None:
        returned, self.expected = type_names(type(self.value), self.expected)
        self.returned: str = returned
        self.value = short_repr(self.value)

    def problem(self) -> str:
        if self.returned == "coroutine":
            return f"Task {self.task.name!r} returned a coroutine that nobody has awaited."
        return f"Task {self.task.name!r} returned {self.returned}, but its annotation says {self.expected}."

    def evidence(self) -> Iterable[Row]:
        yield ("returned", str(self.value))
        yield from (("wrong", shortened(complaint, 120)) for complaint in self.complaints[:_COMPLAINTS])
        if len(self.complaints) > _COMPLAINTS:
            yield ("", f"and {len(self.complaints) - _COMPLAINTS} more")
        yield ("declared at", self.task.at)

    def remedies(self) -> Iterable[str]:
        if self.returned == "coroutine":
            yield f"await it: async def {self.task.name}(...)"
            yield "if a decorator hides that it is `async def`: put @functools.wraps(fn) on what the decorator returns"
            return
        yield f"return what the annotation says: {self.expected}"
        if self.returned == "None":
            yield f"correct the annotation: def {self.task.name}(...) -> {self.expected} | None"
        elif self.returned != str(self.expected).partition("[")[0]:
            yield f"correct the annotation: def {self.task.name}(...) -> {self.returned}"


@record(eq=False, frozen=False)
class RunNotFound(RunError):
    """There is no such run, or not any more."""

    run: str
    """The id that was asked for."""
    engine: str = "memory"
    """The engine's name."""
    withdrawn: bool = False
    """Whether it has never begun: the request that was to start it has failed when its response was out."""
    code: ClassVar[str] = "run-not-found"

    def problem(self) -> str:
        if self.withdrawn:
            return f"Run {self.run!r} has never begun: the request that was to start it failed after its response."
        return f"There is no run {self.run!r}."

    def evidence(self) -> Iterable[Row]:
        if self.withdrawn:
            return [("what failed", "is in the server's log: a commit, most likely")]
        keeps = "the last finished runs of this one process" if self.engine == "memory" else "the runs in its database"
        return [(f"engine {self.engine!r} knows", keeps)]

    def remedies(self) -> Iterable[str]:
        if self.withdrawn:
            yield "send that request again"
        elif self.engine == "memory":
            yield 'keep runs for all processes and restarts: install(app, engine="sqlite:///chains.db")'


@record(eq=False, frozen=False)
class RunFinished(RunError):
    """A finished run cannot be cancelled."""

    run: str
    """The id of the run."""
    state: str
    """How it ended."""
    code: ClassVar[str] = "run-finished"

    def problem(self) -> str:
        return f"Run {self.run!r} has already {self.state}, so it cannot be cancelled."


@record(eq=False, frozen=False)
class RunCancelled(RunError):
    """A run was cancelled, so it has no result."""

    run: str
    """The id of the run."""
    reason: str | None = None
    """Why, if the run says: `run_cancelled` or `shutdown`."""
    code: ClassVar[str] = "run-cancelled"

    def problem(self) -> str:
        return f"Run {self.run!r} was cancelled."

    def evidence(self) -> Iterable[Row]:
        return [("reason", self.reason)] if self.reason else []

    def remedies(self) -> Iterable[str]:
        return ['run it again: await run.retry("start")']


@record(eq=False, frozen=False)
class QueueFull(RunError):
    """A chain has as many runs as it may have."""

    chain: str | None
    """The name of the chain; None: it is about all chains of the app."""
    max_pending: int
    """How many runs may be queued or running at once."""
    retry_after: float
    """Seconds after which another try is worth it."""
    code: ClassVar[str] = "queue-full"

    def problem(self) -> str:
        who = "This app" if self.chain is None else f"Chain {self.chain!r}"
        return f"{who} has {counted(self.max_pending, 'run')} queued or running, as many as it may have."

    def remedies(self) -> Iterable[str]:
        return [
            f"try again in {seconds(self.retry_after)}",
            f"allow more: {'install(app' if self.chain is None else 'chain(...'}, max_pending={2 * self.max_pending})",
        ]
