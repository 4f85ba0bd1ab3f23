"""Errors in how tasks fit together: they are collected, and told all at once before anything runs."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar, Literal

from .._text import Row, closest, counted, cycle, declared, listed, quoted, type_name, type_names
from ..spec import Source
from .base import ChainError
from .declaration import WRITTEN


class PlanError(ChainError, ValueError):
    """The tasks of a chain do not fit together."""

    code: ClassVar[str] = "plan"


@dataclass(eq=False, repr=False, kw_only=True)
class CycleError(PlanError):
    """Tasks wait for each other."""

    path: tuple[tuple[Source, str], ...]
    """Each task with why it waits for the next one, as `needs 'payment'` or as code: `after=[reserve_stock]`."""
    code: ClassVar[str] = "cycle"

    def problem(self) -> str:
        if len(self.path) == 1:
            return f"Task {self.path[0][0].name!r} waits for itself, so it can never start."
        return f"{len(self.path)} tasks wait for each other, so none of them can ever start."

    def evidence(self) -> Iterable[Row]:
        return cycle([(task.name, why, task.at) for task, why in self.path])

    def remedies(self) -> Iterable[str]:
        written = [(task, why) for task, why in self.path if not why.startswith("needs ")]
        task, why = (written or self.path)[-1]  # what is written as an option is dropped more easily than a value
        yield f"drop {why.replace('needs ', 'parameter ', 1)} from {task.name!r}"
        if len(self.path) > 1:
            yield "split a task in two, so that the half which is needed early needs nothing late"


@dataclass(eq=False, repr=False, kw_only=True)
class UnknownTask(PlanError):
    """A task is named that does not exist."""

    task: Source
    """The task that names it; for `chain`, where the chain is made."""
    wanted: str
    """The name."""
    option: Literal["after", "each", "undo", "From", "chain"] = "after"
    """Where it is named."""
    known: tuple[str, ...]
    """The names there are."""
    chain: str
    """The name of the chain."""
    code: ClassVar[str] = "unknown-task"

    def problem(self) -> str:
        subject = "It" if self.option == "chain" else f"Task {self.task.name!r}"
        verb = {
            "after": f"{subject} runs after {self.wanted!r}",
            "each": f"{subject} runs for each item of {self.wanted!r}",
            "undo": f"{subject} is undone by {self.wanted!r}",
            "From": f"{subject} takes the output of {self.wanted!r}",
        }.get(self.option)
        if verb is None:
            return f"Chain {self.chain!r} is made of {self.wanted!r}, but there is no such task."
        return f"{verb}, but chain {self.chain!r} has no such task."

    def evidence(self) -> Iterable[Row]:
        return [("declared at", self.task.at), ("tasks known", listed(self.known))]

    def remedies(self) -> Iterable[str]:
        near = closest(self.wanted, self.known)
        if near is not None:
            yield "write " + WRITTEN[self.option].format(f'"{near}"')
        yield f"import the module that defines {self.wanted!r} before the app starts"


@dataclass(eq=False, repr=False, kw_only=True)
class UnknownParameter(PlanError):
    """Nothing provides a parameter."""

    task: Source
    """The task."""
    param: str
    """The parameter."""
    type: object
    """Its annotation; text once the error exists."""
    upstream: tuple[str, ...]
    """The output names of all tasks upstream."""
    endpoint: tuple[str, ...] | None
    """The inputs that the endpoint gives; None without an endpoint."""
    code: ClassVar[str] = "unknown-parameter"

    def __post_init__(self) -> None:
        self.type = type_name(self.type)

    def problem(self) -> str:
        return f"Nothing provides {self.param!r}, a parameter of task {self.task.name!r}."

    def evidence(self) -> Iterable[Row]:
        yield ("declared at", self.task.at)
        yield ("upstream gives", listed(self.upstream))
        if self.endpoint is not None:
            yield ("endpoint gives", listed(self.endpoint))

    def remedies(self) -> Iterable[str]:
        near = closest(self.param, (*self.upstream, *(self.endpoint or ())))
        if near is not None:
            yield f"rename it to {near!r}"
        yield f"give it a default: {declared(self.param, str(self.type))} = ..."
        yield f"inject it: {self.param}: Annotated[{self.type or '...'}, Depends(...)]"


@dataclass(eq=False, repr=False, kw_only=True)
class NotUpstream(PlanError):
    """A parameter is named like a task that does not come before."""

    task: Source
    """The task that has the parameter."""
    producer: Source
    """The task whose output has that name."""
    param: str
    """The parameter."""
    code: ClassVar[str] = "not-upstream"

    def problem(self) -> str:
        name = self.producer.name
        which = f"but task {name!r}" if self.param == name else f"the output of task {name!r}, but that"
        return f"Task {self.task.name!r} takes {self.param!r}, {which} does not come before it."

    def evidence(self) -> Iterable[Row]:
        return [("wanted by", self.task.name, self.task.at), ("named", self.producer.name, self.producer.at)]

    def remedies(self) -> Iterable[str]:
        return [f"@task(after=[{self.producer.name}])"]


@dataclass(eq=False, repr=False, kw_only=True)
class AmbiguousProducer(PlanError):
    """Several things provide a parameter equally well."""

    task: Source
    """The task that has the parameter."""
    param: str
    """The parameter."""
    producers: tuple[Source | str, ...]
    """What provides it: tasks, or an input in words, as `endpoint 'checkout'`."""
    code: ClassVar[str] = "ambiguous-producer"

    def problem(self) -> str:
        tasks = all(isinstance(producer, Source) for producer in self.producers)
        count = f"{len(self.producers)} {'tasks' if tasks else 'sources'}"
        return f"{count} provide {self.param!r}, and task {self.task.name!r} does not say which one it wants."

    def evidence(self) -> Iterable[Row]:
        yield ("wanted by", self.task.name, self.task.at)
        for producer in self.producers:
            where = (producer,) if isinstance(producer, str) else (producer.name, producer.at)
            yield ("provided by", *where)

    def remedies(self) -> Iterable[str]:
        tasks = [producer.name for producer in self.producers if isinstance(producer, Source)]
        if tasks:
            yield f"choose one: {self.param}: Annotated[..., From({tasks[0]})]"
            yield f'give one of them another output name: @task(output="{self.param}_2")'
        if len(tasks) < len(self.producers):
            yield f"give the input another name than {self.param!r}"


@dataclass(eq=False, repr=False, kw_only=True)
class TypeMismatch(PlanError):
    """A value cannot be of the type that its reader declares."""

    param: str
    """The parameter that takes the value."""
    producer: Source
    """The task or endpoint that gives it."""
    returns: object
    """The annotation with which it is given; text once the error exists."""
    consumer: Source
    """The task that takes it."""
    takes: object
    """The annotation with which it is taken; text once the error exists."""
    via: Literal["task", "item", "fan-out", "endpoint", "input"] = "task"
    """How the value travels: a task's output; one item of that output (`each=`); the list of a fan-out's results, each of
    which has the annotation `returns`; the endpoint's return value; a parameter of the endpoint."""
    code: ClassVar[str] = "type-mismatch"

    def __post_init__(self) -> None:
        self.returns, self.takes = type_names(self.returns, self.takes)

    def problem(self) -> str:
        giver, taker = repr(self.producer.name), f"but task {self.consumer.name!r} takes"
        return {
            "task": f"Task {giver} returns {self.returns}, {taker} {self.param!r} as {self.takes}.",
            "item": f"Task {giver} returns {self.returns}, {taker} each item, {self.param!r}, as {self.takes}.",
            "fan-out": f"Task {giver} gives list[{self.returns}], one {self.returns} for each item, "
            f"{taker} {self.param!r} as {self.takes}.",
            "endpoint": f"Endpoint {giver} returns {self.returns}, {taker} {self.param!r} as {self.takes}.",
            "input": f"Endpoint {giver} gives {self.param!r} as {self.returns}, {taker} it as {self.takes}.",
        }[self.via]

    def evidence(self) -> Iterable[Row]:
        given = ("returned", f"{self.producer.name}(...) -> {self.returns}", self.producer.at)
        if self.via == "input":
            given = ("given", f"{self.producer.name}({self.param}: {self.returns})", self.producer.at)
        return [given, ("taken", f"{self.consumer.name}({self.param}: {self.takes})", self.consumer.at)]

    def remedies(self) -> Iterable[str]:
        giver, taker = repr(self.producer.name), repr(self.consumer.name)
        if self.via == "task" and self._only_none_differs():
            return [
                f"take {self.returns} in {taker} and handle None",
                f'raise Skip("...") in {giver} instead of returning None',
            ]
        if self.via == "item":
            return [f"return list[{self.takes}] in {giver}", f"take what it gives: another type for {self.param!r}"]
        given = f"list[{self.returns}]" if self.via == "fan-out" else self.returns
        verb = {"fan-out": "return for each item", "input": "declare it"}.get(self.via, "return it")
        return [f"take it as it is given: {self.param}: {given}", f"{verb} as {taker} takes it, in {giver}: {self.takes}"]

    def _only_none_differs(self) -> bool:
        given, taken = set(str(self.returns).split(" | ")), set(str(self.takes).split(" | "))
        return given - {"None"} == taken


@dataclass(eq=False, repr=False, kw_only=True)
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
        if self.route in (None, self.endpoint.name):
            return f"Endpoint {self.endpoint.name!r} starts a chain that needs {names}, but does not give {it}."
        return f"{self.route} starts a chain that needs {names}, but endpoint {self.endpoint.name!r} does not give {it}."

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


@dataclass(eq=False, repr=False, kw_only=True)
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


@dataclass(eq=False, repr=False, kw_only=True)
class RequestBoundDependency(PlanError):
    """A task needs the request, but its engine runs it when the request is gone."""

    task: Source
    """The task."""
    path: tuple[str, ...]
    """From the task's parameter through its dependencies to what belongs to the request: `("user", "login", "Request")`."""
    engine: str
    """The engine's name."""
    code: ClassVar[str] = "request-bound-dependency"

    def problem(self) -> str:
        return f"Task {self.task.name!r} depends on {self.path[-1]}, which is gone when engine {self.engine!r} runs the task."

    def evidence(self) -> Iterable[Row]:
        first, *others = self.path
        return [("path", " -> ".join([f"{self.task.name}({first})", *others])), ("declared at", self.task.at)]

    def remedies(self) -> Iterable[str]:
        return [
            "read what you need in the endpoint and hand it on as a value: a parameter of both endpoint and task",
            'run the chain in the process of the request: install(app, engine="memory")',
        ]


_CLOSED: dict[str, tuple[str, str]] = {
    "yield-dependency": ("the value of a dependency with yield", "open it in the task: {}: Annotated[..., Depends(...)]"),
    "UploadFile": ("an UploadFile", 'read it in the endpoint: return await {}.read(), and say so: @chain(..., returns="..."'),
}


@dataclass(eq=False, repr=False, kw_only=True)
class ClosedInput(PlanError):
    """An input is closed before the chain starts."""

    endpoint: Source
    """The endpoint that gives it."""
    param: str
    """The input."""
    reason: Literal["yield-dependency", "UploadFile"]
    """What closes it."""
    task: Source
    """The task that takes it."""
    code: ClassVar[str] = "closed-input"

    def problem(self) -> str:
        what, _ = _CLOSED[self.reason]
        return f"Task {self.task.name!r} takes {self.param!r}, {what}, which is closed before the task starts."

    def evidence(self) -> Iterable[Row]:
        return [("given by", self.endpoint.name, self.endpoint.at), ("taken by", self.task.name, self.task.at)]

    def remedies(self) -> Iterable[str]:
        return [_CLOSED[self.reason][1].format(self.param), "hand on an id or a pydantic model instead"]


@dataclass(eq=False, repr=False, kw_only=True)
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


@dataclass(eq=False, repr=False, kw_only=True)
class InvalidChain(ChainError):
    """Everything that is wrong with a chain, or with the chains of an app, at once."""

    problems: tuple[ChainError, ...]
    """What is wrong; mostly each a `PlanError`."""
    chain: str | None = None
    """The name of the chain; None for all chains of an app."""
    code: ClassVar[str] = "invalid-chain"

    def problem(self) -> str:
        which = "The chains of this app" if self.chain is None else f"Chain {self.chain!r}"
        return f"{which} cannot run: {counted(len(self.problems), 'problem')}."

    def _render(self) -> str:
        parts = [self.problem()]
        for number, problem in enumerate(self.problems, 1):
            label = f"{number}. "
            parts.append(label + str(problem).replace("\n", "\n" + " " * len(label)))
        return "\n\n".join(parts)
