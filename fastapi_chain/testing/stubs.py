"""Values and fakes in the place of tasks."""

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from inspect import Parameter
from typing import Final, NoReturn

from fastapi_chain._text import closest, listed, short_repr
from fastapi_chain.chains import Chain
from fastapi_chain.errors import ChainError, DeclarationError, OutputValidationError
from fastapi_chain.execute.validate import check_of
from fastapi_chain.plan import Node, Plan, UndoNode
from fastapi_chain.plan.nodes import Fill
from fastapi_chain.spec import EMPTY, Source, TaskSpec

_VALUES: Final = frozenset({"task", "input", "item"})
"""Who gives what is worth remembering of a call; the rest is the run's own."""


class StubbedTask:
    """The calls of one stubbed task."""

    def __init__(self, name: str) -> None:
        """Stand for the task called *name*."""
        self.name = name
        self.calls: list[Mapping[str, object]] = []
        """The values of each call by parameter, without what FastAPI would have injected."""

    @property
    def count(self) -> int:
        """How often it was called."""
        return len(self.calls)

    @property
    def inputs(self) -> Mapping[str, object]:
        """The values of the last call.

        Raises:
            AssertionError: It was not called.
        """
        if not self.calls:
            text = f"task {self.name!r} was not called"
            raise AssertionError(text)
        return self.calls[-1]

    def __repr__(self) -> str:
        return f"<StubbedTask {self.name!r}, {self.count} calls>"


class Calls:
    """The calls of all stubbed tasks: `calls.charge` or `calls["charge"]`."""

    def __init__(self, tasks: Mapping[str, StubbedTask]) -> None:
        """Hold *tasks* by name."""
        self._tasks = tasks

    def __getitem__(self, name: str) -> StubbedTask:
        """Return the calls of the task called *name*.

        Raises:
            KeyError: It is not stubbed.
        """
        return self._tasks[name]

    def __getattr__(self, name: str) -> StubbedTask:
        try:
            return self._tasks[name]
        except KeyError:
            text = f"task {name!r} is not stubbed; stubbed: {listed(self._tasks)}"
            raise AttributeError(text) from None


class flaky:  # noqa: N801 - it reads like a function
    """A fake that fails a few times first: `stub(checkout, render_pdf=flaky(TimeoutError, times=2, then=PDF))`."""

    def __init__(self, error: BaseException | type[BaseException], *, times: int = 1, then: object = None) -> None:
        """Prepare to fail.

        Args:
            error: What to raise.
            times: How often. Default once.
            then: What to return afterwards.
        """
        self._error = error
        self._left = times
        self.then = then

    def __call__(self) -> object:
        """Fail, or return the value."""
        if self._left > 0:
            self._left -= 1
            raise self._error
        return self.then


@contextmanager
def stub(
    chain: Chain, named: Mapping[str, object] | None = None, /, *, strict: bool = False, **tasks: object
) -> Iterator[Calls]:
    """Put values or fakes in the place of tasks of *chain* within the block, and yield what they were called with.

    It holds for requests over HTTP too. The function of a stubbed task is not called and its dependencies are not
    opened; its retries, time-out and place in the graph stay. What it returns is checked like the output of the task
    itself.

    Example:
        >>> import asyncio
        >>> from fastapi_chain import chain, task
        >>> @task
        ... async def charge(order: str) -> int:
        ...     raise ConnectionError("no bank in tests")
        >>> @task(after=[charge])
        ... async def receipt(charge: int) -> str:
        ...     return f"{charge} EUR"
        >>> checkout = chain(receipt)
        >>> with stub(checkout, charge=20) as calls:
        ...     run = asyncio.run(checkout.run(order="book"))
        >>> run[receipt], calls.charge.inputs
        ('20 EUR', {'order': 'book'})

    Args:
        chain: The chain.
        named: Stubs by name, where a name is no keyword.
        strict: Whether every task that is not stubbed fails.
        **tasks: For each task (or undo) a value that it returns; a function, `def` or `async`, that is called with
            those of its parameters that it takes; or an exception that it raises.

    Raises:
        DeclarationError: The chain has no such task, a value is not what the task returns, or a fake takes what the
        task is not given. InvalidChain: Something is wrong with the chain.
    """
    stubs = {**(named or {}), **tasks}
    plan = chain.plan
    _check(plan, stubs)
    calls = {name: StubbedTask(name) for name in stubs}

    def alter(plan: Plan) -> Plan:
        return replace(plan, nodes=tuple(_stubbed(node, stubs, calls, strict=strict) for node in plan.nodes))

    with chain.altered(alter):
        yield Calls(calls)


def _check(plan: Plan, stubs: Mapping[str, object]) -> None:
    """Refuse what cannot stand in for a task."""
    places: dict[str, tuple[TaskSpec, tuple[Fill, ...], object]] = {
        node.undo.spec.name: (node.undo.spec, node.undo.fills, EMPTY) for node in plan.nodes if node.undo is not None
    }
    places.update({node.name: (node.spec, node.fills, node.signature.returns) for node in plan.nodes})
    for name, fake in stubs.items():
        if name not in places:
            near = closest(name, places)
            what = f"Chain {plan.chain!r} has no task {name!r} that could be stubbed."
            raise DeclarationError(
                what=what, rows=(("tasks", listed(places)),), fixes=(f"stub(..., {near}=...)",) if near else ()
            )
        spec, fills, returns = places[name]
        if callable(fake) and not _is_error(fake):
            _check_fake(spec, fake, [fill.param.name for fill in fills if fill.kind != "injected"])
        elif not _is_error(fake):
            _check_value(spec.source, fake, returns)
        if isinstance(fake, flaky):
            _check_value(spec.source, fake.then, returns)


def _check_value(task: Source, value: object, returns: object) -> None:
    try:
        check_of(returns, task)(value)
    except OutputValidationError as error:
        what = f"The stub of task {task.name!r} is {short_repr(value)}, but the task returns {error.expected}."
        rows = (*(("wrong", text) for text in error.complaints), ("declared at", task.at))
        raise DeclarationError(what=what, rows=rows, fixes=(f"give what the task returns: {error.expected}",)) from None


def _check_fake(spec: TaskSpec, fake: Callable[..., object], given: Sequence[str]) -> None:
    for param in inspect.signature(fake).parameters.values():
        needed = param.default is EMPTY and param.kind not in {Parameter.VAR_KEYWORD, Parameter.VAR_POSITIONAL}
        if needed and (param.name not in given or param.kind is Parameter.POSITIONAL_ONLY):
            what = f"The stub of task {spec.name!r} takes {param.name!r}, which it cannot be given."
            rows = (("given by name", listed(given)), ("declared at", spec.source.at))
            raise DeclarationError(what=what, rows=rows, fixes=(f"def fake({', '.join(given)}): ...",))


def _is_error(fake: object) -> bool:
    return isinstance(fake, BaseException) or (isinstance(fake, type) and issubclass(fake, BaseException))


def _stubbed(node: Node, stubs: Mapping[str, object], calls: Mapping[str, StubbedTask], *, strict: bool) -> Node:
    """Return *node* with its stub in place, if there is one for it or its undo."""
    undo = node.undo
    if undo is not None and undo.spec.name in stubs:
        name = undo.spec.name
        undo = UndoNode(spec=_spec(undo.spec, _caller(stubs[name], undo.fills, calls[name])), fills=_fills(undo.fills))
        node = replace(node, undo=undo)
    if node.name in stubs:
        call = _caller(stubs[node.name], node.fills, calls[node.name])
    elif strict:
        call = _refusing(node.spec.source)
    else:
        return node
    return replace(node, spec=_spec(node.spec, call), fills=_fills(node.fills))


def _spec(spec: TaskSpec, call: Callable[..., object]) -> TaskSpec:
    return replace(spec, fn=call, is_async=True)


def _fills(fills: Sequence[Fill]) -> tuple[Fill, ...]:
    """Return what the stub is called with: everything by name, and nothing that FastAPI would have to open."""
    return tuple(
        fill._replace(param=replace(fill.param, kind=Parameter.KEYWORD_ONLY))
        for fill in fills
        if fill.kind != "injected"
    )


def _caller(fake: object, fills: Sequence[Fill], calls: StubbedTask) -> Callable[..., object]:
    """Return what is called in the task's place."""
    worth = {fill.param.name for fill in fills if fill.kind in _VALUES}
    taken = _taken(fake)

    async def call(**given: object) -> object:
        calls.calls.append({name: value for name, value in given.items() if name in worth})
        if isinstance(fake, BaseException) or (isinstance(fake, type) and issubclass(fake, BaseException)):
            raise fake
        if not callable(fake):
            return fake
        result: object = fake(**{name: value for name, value in given.items() if taken is None or name in taken})
        return await result if inspect.isawaitable(result) else result

    return call


def _taken(fake: object) -> frozenset[str] | None:
    """Return the parameters of a fake; None: it takes whatever it is given."""
    if not callable(fake) or _is_error(fake):
        return None
    params = inspect.signature(fake).parameters.values()
    return None if any(p.kind is Parameter.VAR_KEYWORD for p in params) else frozenset(p.name for p in params)


def _refusing(task: Source) -> Callable[..., NoReturn]:
    async def refuse(**_given: object) -> NoReturn:
        raise ChainError(
            what=f"Task {task.name!r} was called, but it is not stubbed.",
            rows=(("declared at", task.at),),
            fixes=(f"stub(..., strict=True, {task.name}=...)",),
        )

    return refuse  # type: ignore[return-value]  # a coroutine function, which the engine awaits
