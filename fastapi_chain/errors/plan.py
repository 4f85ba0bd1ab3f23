"""Errors in how tasks fit together: they are collected, and told all at once before anything runs."""

from collections.abc import Iterable
from typing import ClassVar, Literal

from fastapi_chain._record import record
from fastapi_chain._text import Row, closest, counted, cycle, declared, listed, type_name, type_names
from fastapi_chain.spec import Source

from .base import ChainError
from .declaration import written


class PlanError(ChainError, ValueError):
    """The tasks of a chain do not fit together."""

    code: ClassVar[str] = "plan"


@record(eq=False, frozen=False)
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
        options = [(task, why) for task, why in self.path if not why.startswith("needs ")]
        task, why = (options or self.path)[-1]  # an option is dropped more easily than a value
        yield f"drop {why.replace('needs ', 'parameter ', 1)} from {task.name!r}"
        if len(self.path) > 1:
            yield "split a task in two, so that the half which is needed early needs nothing late"


@record(eq=False, frozen=False)
class UnknownTask(PlanError):
    """A task is named that does not exist."""

    task: Source
    """The task that names it; for `chain`, where the chain is made."""
    wanted: str
    """The name."""
    option: str = "after"
    """Where it is named: an option of `@task`, `From` or `chain`."""
    known: tuple[str, ...]
    """The names there are."""
    chain: str
    """The name of the chain."""
    code: ClassVar[str] = "unknown-task"

    def problem(self) -> str:
        if self.option == "chain":
            return f"Chain {self.chain!r} is made of {self.wanted!r}, but there is no such task."
        verb = {"after": "runs after", "each": "runs for each item of", "undo": "is undone by"}.get(
            self.option, "takes"
        )
        return f"Task {self.task.name!r} {verb} {self.wanted!r}, but chain {self.chain!r} has no such task."

    def evidence(self) -> Iterable[Row]:
        return [("declared at", self.task.at), ("tasks known", listed(self.known))]

    def remedies(self) -> Iterable[str]:
        near = closest(self.wanted, self.known)
        if near is not None:
            yield "write " + written(self.option, f'"{near}"')
        yield f"import the module that defines {self.wanted!r} before the app starts"


@record(eq=False, frozen=False)
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


@record(eq=False, frozen=False)
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


@record(eq=False, frozen=False)
class AmbiguousProducer(PlanError):
    """Several things provide a parameter equally well."""

    task: Source
    """The task that has the parameter."""
    param: str
    """The parameter."""
    producers: tuple[Source | str, ...]
    """What provides it: tasks, or an input in words."""
    endpoint: Source | None = None
    """The endpoint, if it provides it as well."""
    more: int = 0
    """How many more tasks provide it than `producers` names."""
    code: ClassVar[str] = "ambiguous-producer"

    def problem(self) -> str:
        tasks = all(isinstance(producer, Source) for producer in self.producers) and self.endpoint is None
        count = f"{len(self.producers) + self.more + (self.endpoint is not None)} {'tasks' if tasks else 'sources'}"
        return f"{count} provide {self.param!r}, and task {self.task.name!r} does not say which one it wants."

    def evidence(self) -> Iterable[Row]:
        yield ("wanted by", self.task.name, self.task.at)
        for producer in self.producers:
            where = (producer,) if isinstance(producer, str) else (producer.name, producer.at)
            yield ("provided by", *where)
        if self.more:
            yield ("provided by", f"{self.more} more")
        if self.endpoint is not None:
            yield ("provided by", f"endpoint {self.endpoint.name}", self.endpoint.at)

    def remedies(self) -> Iterable[str]:
        tasks = [producer.name for producer in self.producers if isinstance(producer, Source)]
        if tasks:
            yield f"choose one: {self.param}: Annotated[..., From({tasks[0]})]"
            yield f'give one of them another output name: @task(output="{self.param}_2")'
        if len(tasks) < len(self.producers) or self.endpoint is not None:
            yield f"give the input another name than {self.param!r}"


@record(eq=False, frozen=False)
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
    """How the value travels: the output of a task; one item of that output (`each=`); the list of a fan-out's results,
    where `returns` is about one of them; the endpoint's return value; a parameter of the endpoint."""
    code: ClassVar[str] = "type-mismatch"

    def __post_init__(self) -> None:
        self.returns, self.takes = type_names(self.returns, self.takes)

    def problem(self) -> str:
        given = {
            "task": f"Task {self.producer.name!r} returns {self.returns}",
            "item": f"Task {self.producer.name!r} returns {self.returns}",
            "fan-out": f"Task {self.producer.name!r} runs for each item and gives list[{self.returns}]",
            "endpoint": f"Endpoint {self.producer.name!r} returns {self.returns}",
            "input": f"Endpoint {self.producer.name!r} gives {self.param!r} as {self.returns}",
        }[self.via]
        taken = {"input": "it", "item": f"each item, {self.param!r},"}.get(self.via, repr(self.param))
        return f"{given}, but task {self.consumer.name!r} takes {taken} as {self.takes}."

    def evidence(self) -> Iterable[Row]:
        if self.via == "input":
            yield ("given", f"{self.producer.name}({self.param}: {self.returns})", self.producer.at)
        else:
            yield ("returned", f"{self.producer.name}(...) -> {self.returns}", self.producer.at)
        yield ("taken", f"{self.consumer.name}({self.param}: {self.takes})", self.consumer.at)

    def remedies(self) -> Iterable[str]:
        giver, taker = repr(self.producer.name), repr(self.consumer.name)
        if self.via == "item":
            return [f"return list[{self.takes}] in {giver}"]
        if self.via == "fan-out":
            return [f"take list[{self.returns}] in {taker}"]
        if self.via == "task" and self._only_none_differs():
            return [
                f"take {self.returns} in {taker} and handle None",
                f'raise Skip("...") in {giver} instead of returning None',
            ]
        verb = f"declare {self.param}:" if self.via == "input" else "return"
        return [f"take {self.returns} in {taker}", f"{verb} {self.takes} in {giver}"]

    def _only_none_differs(self) -> bool:
        given, taken = set(str(self.returns).split(" | ")), set(str(self.takes).split(" | "))
        return given - {"None"} == taken


@record(eq=False, frozen=False)
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
