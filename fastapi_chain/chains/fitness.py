"""Whether a plan fits what it will run on: FastAPI, the engine, and what may be expected of both."""

import logging
from collections.abc import Iterator, Sequence
from typing import Final, get_args

from fastapi_chain._fastapi import read_params
from fastapi_chain._text import type_name
from fastapi_chain.errors import PlanError
from fastapi_chain.plan import Node, Plan, UndoNode
from fastapi_chain.spec import EndpointSpec, ParamSpec, Source

from .options import ChainOptions

_MEMORY: Final = "memory"
"""The one engine that keeps nothing."""

_log: Final = logging.getLogger("fastapi_chain")


def unfit(plan: Plan, chain: Source, options: ChainOptions, engine: str | None) -> Iterator[PlanError]:
    """Yield what cannot work.

    Args:
        plan: The plan.
        chain: Where the chain is made.
        options: Its options.
        engine: The name of the engine on which it is to run; None: that is not known yet.
    """
    if options.cron is not None and plan.required:
        what = f"Chain {plan.chain!r} starts by itself, so nobody gives it {', '.join(map(repr, plan.required))}."
        fixes = tuple(f"give it a default: {name}: ... = ..." for name in dict.fromkeys(plan.required))
        yield PlanError(what=what, rows=(("declared at", f"cron={options.cron!r}", chain.at),), fixes=fixes)
    yield from _refused(plan)
    if engine == _MEMORY:
        yield from _not_durable(plan, chain, options)


def _refused(plan: Plan) -> Iterator[PlanError]:
    """Yield the dependencies that FastAPI refuses."""
    steps: list[Node | UndoNode] = [*plan.nodes] if plan.injects else []
    steps += [node.undo for node in plan.nodes if node.undo is not None]
    for step in steps:
        injected = [fill.param for fill in step.fills if fill.kind == "injected"]
        error = _refusal(injected) if injected else None
        if error is not None:
            what = f"FastAPI refuses the dependencies of task {step.spec.name!r}: {error}"
            yield PlanError(what=what, rows=(("declared at", step.spec.source.at),))


def _refusal(injected: Sequence[ParamSpec]) -> Exception | None:
    try:
        read_params(injected)
    except Exception as error:  # noqa: BLE001 - FastAPI refuses with whatever went wrong
        return error
    return None


def _not_durable(plan: Plan, chain: Source, options: ChainOptions) -> Iterator[PlanError]:
    """Yield what needs an engine that keeps runs."""
    wanted = [(f"Chain {plan.chain!r}", name, chain) for name in options.durable]
    wanted += [(f"Task {n.name!r}", "queue", n.spec.source) for n in plan.nodes if n.spec.queue is not None]
    for who, option, place in wanted:
        yield PlanError(
            what=f"{who} has {option}=, which needs a durable engine: engine 'memory' forgets what has not begun.",
            rows=(("declared at", place.at),),
            fixes=('install(app, engine="sqlite:///chains.db")', f"leave out {option}="),
        )


def session_input(plan: Plan) -> PlanError:
    """Return what is wrong with starting *plan*, which has an input called `session`, by hand."""
    needs = [need for item in plan.inputs for need in item.needs if item.name == "session"]
    return PlanError(
        what=f"Chain {plan.chain!r} has an input 'session', which start() cannot be given: "
        "its session=... is the database session that stores the run.",
        rows=[("needed by", need.task.name, need.task.at) for need in needs],
        fixes=(
            f"rename the parameter in {needs[0].task.name!r}",
            "run it here, and wait for its end: await chain.run(session=...)",
        ),
    )


def warn_of_plan(plan: Plan) -> None:
    """Log what works in *plan*, but perhaps not as hoped."""
    for node in plan.nodes:
        if node.spec.timeout is not None and not node.spec.is_async:
            _log.warning(
                "task %r is a plain def with timeout=%g: a thread cannot be stopped, so it is reported as timed out "
                "and runs on to its end (%s)",
                node.name,
                node.spec.timeout,
                node.spec.source.at,
            )


def warn_of_endpoint(plan: Plan, endpoint: EndpointSpec) -> None:
    """Log what *endpoint* hands on, but had better not."""
    for name in dict.fromkeys(plan.input_names):
        mapped = _orm_class(endpoint.gives.get(name))
        if mapped is not None:
            _log.warning(
                "endpoint %r hands %r, a %s, to chain %r: an ORM object is bound to the request's session, which is "
                "closed when the run begins; hand on its id or a pydantic model (%s)",
                endpoint.source.name,
                name,
                type_name(mapped),
                plan.chain,
                endpoint.source.at,
            )


def _orm_class(annotation: object) -> object | None:
    """Return the class in *annotation* that SQLAlchemy maps to a table; None if there is none."""
    if isinstance(annotation, type):
        return annotation if hasattr(annotation, "__mapper__") else None
    return next((found for arg in get_args(annotation) if (found := _orm_class(arg)) is not None), None)
