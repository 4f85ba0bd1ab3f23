"""Errors in how a chain fits its endpoint; they are collected like all errors of a plan."""

from collections.abc import Iterable
from typing import ClassVar

from fastapi_chain._record import record
from fastapi_chain._text import Row, declared, listed, quoted, type_name
from fastapi_chain.spec import Source

from .plan import PlanError


@record(eq=False, frozen=False)
class MissingInput(PlanError):
    """A chain is started without something that it needs."""

    needed: tuple[tuple[str, object, Source], ...]
    """What is missing: name, annotation and the task that needs it; the annotation is text once the error exists."""
    gives: tuple[str, ...]
    """The inputs that are there."""
    route: str | None = None
    """`POST /orders`; None if the chain is started by `start()` or `run()`."""
    endpoint: Source | None = None
    """The endpoint; None if the chain is started by `start()` or `run()`."""
    chain: str = ""
    """The name of the chain, for `start()` and `run()`."""
    code: ClassVar[str] = "missing-input"

    def __post_init__(self) -> None:
        self.needed = tuple((name, type_name(annotation), task) for name, annotation, task in self.needed)

    def problem(self) -> str:
        names = quoted(name for name, _, _ in self.needed)
        it = "it" if len(self.needed) == 1 else "them"
        if self.endpoint is None:
            return f"Chain {self.chain!r} needs {names}, but was started without {it}."
        endpoint = f"endpoint {self.endpoint.name!r}"
        if self.route in (None, self.endpoint.name):
            return f"{endpoint.capitalize()} starts a chain that needs {names}, but does not give {it}."
        return f"{self.route} starts a chain that needs {names}, but {endpoint} does not give {it}."

    def evidence(self) -> Iterable[Row]:
        for name, annotation, task in self.needed:
            yield (declared(name, str(annotation)), f"needed by {task.name!r}", task.at)
        if self.endpoint is None:
            yield ("given", listed(self.gives))
        else:
            yield ("endpoint gives", listed(self.gives), self.endpoint.at)

    def remedies(self) -> Iterable[str]:
        if self.endpoint is None:
            yield f"start({', '.join(f'{name}=...' for name, _, _ in self.needed)})"
            return
        for name, annotation, _ in self.needed:
            yield f"add a parameter to the endpoint: {declared(name, str(annotation))}"
        it = "it" if len(self.needed) == 1 else "one of them"
        yield f'return {it}, and say so: @chain(..., returns="{self.needed[0][0]}")'


@record(eq=False, frozen=False)
class DuplicateChain(PlanError):
    """Two chains of one app bear one name."""

    name: str
    """The name."""
    first: Source
    """Where the first is used."""
    second: Source
    """Where the other is used."""
    code: ClassVar[str] = "duplicate-chain"

    def problem(self) -> str:
        return f"Two chains of this app are both called {self.name!r}."

    def evidence(self) -> Iterable[Row]:
        return [("first", self.first.at), ("second", self.second.at)]

    def remedies(self) -> Iterable[str]:
        return [f'@chain(..., name="{self.name}_2")']


@record(eq=False, frozen=False)
class RequestBoundDependency(PlanError):
    """A task needs the request, but its engine runs it when the request is gone."""

    task: Source
    """The task."""
    path: tuple[str, ...]
    """From the task's parameter through its dependencies to what belongs to the request, as `("user", "Request")`."""
    engine: str
    """The engine's name."""
    code: ClassVar[str] = "request-bound-dependency"

    def problem(self) -> str:
        gone = f"{self.path[-1]}, which is gone when engine {self.engine!r} runs the task"
        return f"Task {self.task.name!r} depends on {gone}."

    def evidence(self) -> Iterable[Row]:
        first, *others = self.path
        return [("path", " -> ".join([f"{self.task.name}({first})", *others])), ("declared at", self.task.at)]

    def remedies(self) -> Iterable[str]:
        return [
            "read what you need in the endpoint and hand it on as a value: a parameter of both endpoint and task",
            'run the chain in the process of the request: install(app, engine="memory")',
        ]


@record(eq=False, frozen=False)
class ClosedInput(PlanError):
    """An input is closed before the chain starts."""

    endpoint: Source
    """The endpoint that gives it."""
    param: str
    """The input."""
    reason: str
    """What it is: `yield-dependency` or `UploadFile`."""
    task: Source
    """The task that takes it."""
    code: ClassVar[str] = "closed-input"

    def problem(self) -> str:
        what = "an UploadFile" if self.reason == "UploadFile" else "the value of a dependency with yield"
        return f"Task {self.task.name!r} takes {self.param!r}, {what}, which is closed before the task starts."

    def evidence(self) -> Iterable[Row]:
        return [("given by", self.endpoint.name, self.endpoint.at), ("taken by", self.task.name, self.task.at)]

    def remedies(self) -> Iterable[str]:
        if self.reason == "UploadFile":
            return [
                f'read it in the endpoint and return what it held: @chain(..., returns="{self.param}")',
                "store it in the endpoint and hand on its path",
            ]
        return [
            f"open it in the task: {self.param}: Annotated[..., Depends(...)]",
            "hand on an id or a pydantic model instead",
        ]


@record(eq=False, frozen=False)
class DecoratorOrder(PlanError):
    """`@chain` stands above the route's decorator."""

    endpoint: Source
    """The endpoint."""
    route: str
    """`POST /orders`, or the decorator as it is written: `@router.post("/orders")`."""
    is_async: bool = True
    """Whether the endpoint is `async def`."""
    code: ClassVar[str] = "decorator-order"

    def problem(self) -> str:
        return (
            f"@chain stands above {self._decorator()}, so FastAPI registered the bare function "
            "and the chain would never start."
        )

    def evidence(self) -> Iterable[Row]:
        return [("endpoint", self.endpoint.name, self.endpoint.at)]

    def remedies(self) -> Iterable[str]:
        function = f"{'async def' if self.is_async else 'def'} {self.endpoint.name}"
        return [f"put @chain(...) directly above `{function}`, below {self._decorator().partition('(')[0]}"]

    def _decorator(self) -> str:
        if self.route.startswith("@"):
            return self.route
        method, _, path = self.route.partition(" ")
        return f'@app.{method.lower() if method.isalpha() else "api_route"}("{path}")'
