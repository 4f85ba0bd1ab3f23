"""Errors that are raised where the decorator stands."""

from collections.abc import Iterable
from typing import ClassVar, Final, Literal

from fastapi_chain._record import record
from fastapi_chain._text import Row, short_repr
from fastapi_chain.spec import Source

from .base import ChainError

_WRITTEN: Final = {"after": "@task(after=[{}])", "From": "From({})", "chain": "chain({})"}


def written(option: str, reference: str) -> str:
    """Return the code that names the task *reference*: in an option of `@task`, in `From` or in `chain`."""
    return _WRITTEN.get(option, f"@task({option}={{}})").format(reference)


class DeclarationError(ChainError, TypeError):
    """A decorator was given something that cannot work."""

    code: ClassVar[str] = "declaration"


@record(eq=False, frozen=False)
class GeneratorTask(DeclarationError):
    """A task is a generator."""

    task: Source
    """The task."""
    code: ClassVar[str] = "generator-task"

    def problem(self) -> str:
        return f"Task {self.task.name!r} is a generator: calling it would run nothing."

    def evidence(self) -> Iterable[Row]:
        return [("declared at", self.task.at)]

    def remedies(self) -> Iterable[str]:
        return [
            "return the value instead of yielding it",
            "if the yield is there for clean-up, move it to a dependency: Annotated[..., Depends(...)]",
        ]


@record(eq=False, frozen=False)
class MethodTask(DeclarationError):
    """A method was decorated in the body of its class."""

    task: Source
    """The task."""
    owner: str
    """The name of the class."""
    code: ClassVar[str] = "method-task"

    def problem(self) -> str:
        return f"Task {self.task.name!r} is a method of class {self.owner!r}, so a chain has no 'self' to call it with."

    def evidence(self) -> Iterable[Row]:
        return [("declared at", self.task.at)]

    def remedies(self) -> Iterable[str]:
        return [
            f"decorate the method of an instance: {self.task.name} = task({self.owner}(...).{self.task.name})",
            f"write a function that takes the instance: Annotated[{self.owner}, Depends(...)]",
        ]


@record(eq=False, frozen=False)
class DuplicateTask(DeclarationError):
    """Two tasks bear one name."""

    name: str
    """The name."""
    first: Source
    """The task that bore it first."""
    second: Source
    """The other one."""
    where: str
    """What holds both: `registry 'default'` or `chain 'checkout'`."""
    code: ClassVar[str] = "duplicate-task"

    def problem(self) -> str:
        return f"Two tasks of {self.where} are both called {self.name!r}."

    def evidence(self) -> Iterable[Row]:
        return [("first", self.first.at), ("second", self.second.at)]

    def remedies(self) -> Iterable[str]:
        return [
            f'rename one: @task(name="{self.name}_2")',
            "if this is one file imported under two names, import it under one",
        ]


@record(eq=False, frozen=False)
class CalledInsteadOfNamed(DeclarationError):
    """A coroutine stands where the task itself belongs: `after=[clean()]`."""

    task: Source
    """The task whose option it is; for `chain`, the place of the call."""
    option: str
    """Where it was given: an option of `@task`, `From` or `chain`."""
    called: str
    """The name of the task that was called."""
    code: ClassVar[str] = "called-instead-of-named"

    def problem(self) -> str:
        place = {"From": f"From() in task {self.task.name!r}", "chain": "chain()"}.get(
            self.option, f"{self.option}= of task {self.task.name!r}"
        )
        return f"{place} got the coroutine that {self.called}() returned; it wants the task itself."

    def evidence(self) -> Iterable[Row]:
        return [("written", written(self.option, f"{self.called}()"), self.task.at)]

    def remedies(self) -> Iterable[str]:
        return [written(self.option, self.called)]


@record(eq=False, frozen=False)
class BadOption(DeclarationError):
    """An option has a value that it cannot have."""

    task: Source
    """The task or chain."""
    option: str
    """The option's name."""
    value: object
    """What it was given; its `repr` once the error exists."""
    wanted: str
    """What it may be, going on from "must be"."""
    example: str
    """A right way to write it."""
    kind: Literal["task", "chain"] = "task"
    """Whose option it is."""
    code: ClassVar[str] = "bad-option"

    def __post_init__(self) -> None:
        self.value = short_repr(self.value)

    def problem(self) -> str:
        return f"{self.option}={self.value} of {self.kind} {self.task.name!r} must be {self.wanted}."

    def evidence(self) -> Iterable[Row]:
        return [("declared at", self.task.at)]

    def remedies(self) -> Iterable[str]:
        return [self.example]


@record(eq=False, frozen=False)
class StreamingEndpoint(DeclarationError):
    """`@chain` stands on a generator endpoint."""

    endpoint: Source
    """The endpoint."""
    code: ClassVar[str] = "streaming-endpoint"

    def problem(self) -> str:
        return f"Endpoint {self.endpoint.name!r} yields its answer piece by piece, and a chain cannot start from that."

    def evidence(self) -> Iterable[Row]:
        return [("declared at", self.endpoint.at)]

    def remedies(self) -> Iterable[str]:
        return [
            "return the stream as a response: return StreamingResponse(...)",
            "start the chain yourself when the work is done: await chain(...).start(...)",
        ]
