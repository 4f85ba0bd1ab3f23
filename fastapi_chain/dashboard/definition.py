"""A task as it was declared: where, with which options, and its code."""

import inspect
from collections.abc import Iterator
from typing import NamedTuple

from fastapi_chain._text import seconds, short_repr, type_name
from fastapi_chain.plan import Node, Plan
from fastapi_chain.spec import EMPTY, Backoff, TaskSpec

_LONGEST = 120
"""How many lines of code are shown."""


class Param(NamedTuple):
    """A parameter and where its value comes from."""

    name: str
    type: str
    source: str
    """In words: `from`, `input`, `Depends(get_session)`, …"""
    task: str
    """The task that it is from; empty where it is none."""


class Definition(NamedTuple):
    """What was declared."""

    place: str
    signature: str
    doc: str
    options: list[tuple[str, str]]
    params: list[Param]
    code: str


def definition(plan: Plan, node: Node) -> Definition:
    """Return what was declared of *node*."""
    spec, returns = node.spec, node.signature.returns
    result = "" if returns is EMPTY else f" -> {type_name(returns)}"
    return Definition(
        place=spec.source.at,
        signature=f"{'async ' if spec.is_async else ''}def {spec.source.name}{result}",
        doc=inspect.getdoc(spec.fn) or "",
        options=list(_options(spec)),
        params=[*params(plan, node)],
        code=_code(spec),
    )


def params(plan: Plan, node: Node) -> Iterator[Param]:
    """Yield the parameters of *node*, each with the source of its value."""
    for fill in node.fills:
        param = fill.param
        shown = "" if param.annotation is EMPTY else type_name(param.annotation)
        task = ""
        match fill.kind:
            case "task":
                source, task = "from", plan.names[fill.slot]
            case "item":
                source, task = "each of", "" if node.over is None else plan.names[node.over]
            case "input":
                source = "input of the chain"
            case "injected":
                source = _marker(param.marker)
            case _:
                source = f"the {fill.kind}"
        yield Param(param.name, shown, source, task)


def _marker(marker: object) -> str:
    call = getattr(marker, "dependency", None)
    if call is None:
        return "FastAPI"
    return f"{type(marker).__name__}({getattr(call, '__name__', short_repr(call))})"


def _options(spec: TaskSpec) -> Iterator[tuple[str, str]]:
    """Yield the options that are not at their default."""
    if spec.output != spec.name:
        yield "output", spec.output
    yield from _retries(spec)
    if spec.run_if != "all_succeeded":
        yield "run if", spec.run_if.replace("_", " ")
    if spec.optional:
        yield "optional", "its failure does not make the run failed"
    if spec.limit is not None:
        yield "limit", f"{spec.limit} at once"
    if spec.rate is not None:
        yield "rate", f"{spec.rate.count} starts every {seconds(spec.rate.seconds)}"
    if spec.undo is not None:
        yield "undo", spec.undo.name


def _retries(spec: TaskSpec) -> Iterator[tuple[str, str]]:
    """Yield what is said about attempts."""
    if spec.policy is not None:
        yield "retry", short_repr(spec.policy)
    if spec.retries:
        yield "retries", f"{spec.retries}, after {_backoff(spec.backoff)}"
    if spec.retry_on != (Exception,):
        yield "retry on", ", ".join(error.__name__ for error in spec.retry_on)
    if spec.give_up_on:
        yield "give up on", ", ".join(error.__name__ for error in spec.give_up_on)
    if spec.timeout is not None:
        yield "timeout", f"{seconds(spec.timeout)} for one attempt"


def _backoff(backoff: Backoff) -> str:
    first = seconds(backoff.initial)
    if backoff.factor == 1:
        return first
    return f"{first}, each time × {backoff.factor:g}, at most {seconds(backoff.maximum)}"


def _code(spec: TaskSpec) -> str:
    """Return the source of the function; empty where it cannot be found."""
    try:
        lines = inspect.getsource(inspect.unwrap(spec.fn)).splitlines()
    except (OSError, TypeError):
        return ""
    text = inspect.cleandoc("\n".join(["", *lines[:_LONGEST]]))
    return text if len(lines) <= _LONGEST else f"{text}\n…"
