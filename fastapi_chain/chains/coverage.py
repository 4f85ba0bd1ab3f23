"""Whether a chain is given what it needs: by an endpoint, or by whoever starts it."""

from collections.abc import Iterator
from functools import cached_property
from types import UnionType
from typing import Final, Union, get_args, get_origin

from fastapi_chain._fastapi import is_injected
from fastapi_chain._record import record
from fastapi_chain._text import closest
from fastapi_chain.errors import (
    AmbiguousProducer,
    ClosedInput,
    MissingInput,
    NotUpstream,
    PlanError,
    TypeMismatch,
    UnknownParameter,
)
from fastapi_chain.plan import Plan
from fastapi_chain.plan.compatible import compatible
from fastapi_chain.plan.nodes import Need
from fastapi_chain.spec import EndpointSpec, Source

from .options import ChainOptions

_MOST: Final = 100
"""For how many inputs, and for how many tasks that need one, a near name is looked for."""


def covered(plan: Plan, endpoint: EndpointSpec | None) -> Iterator[PlanError]:
    """Yield what is wrong with the inputs of *plan* if *endpoint* starts it; if None does, `start()` does."""
    yield from _by_hand(plan) if endpoint is None else Coverage(plan=plan, endpoint=endpoint).problems()


def _by_hand(plan: Plan) -> Iterator[PlanError]:
    """Yield what is wrong without an endpoint: whatever nothing provides is an input then."""
    for item in plan.inputs:
        yield from (_not_upstream(need) for need in item.needs if need.elsewhere is not None)
    # One with a default need not be given: then there is but one source.
    required = frozenset(plan.required)
    twice = {output for node in plan.nodes if (output := node.spec.output) in required} if required else ()
    for spec, fill in plan.taken() if twice else ():
        if fill.param.name in twice:
            given = f"input {fill.param.name!r} of start()"
            producers = (plan.nodes[fill.slot].spec.source, given)
            yield AmbiguousProducer(task=spec.source, param=fill.param.name, producers=producers)


def _not_upstream(need: Need) -> NotUpstream:
    assert need.elsewhere is not None, "asked only where there is such a task"
    return NotUpstream(task=need.task, producer=need.elsewhere, param=need.param.name)


@record(eq=False)
class Coverage:
    """The check of one endpoint against one plan."""

    plan: Plan
    endpoint: EndpointSpec

    def problems(self) -> Iterator[PlanError]:
        """Yield what is wrong between the two."""
        yield from self._missing()
        yield from self._closed()
        yield from self._ambiguous()
        yield from self._mismatched()

    def _missing(self) -> Iterator[PlanError]:
        """Yield what the endpoint does not give: what bears a task's or a near name one by one, the rest together."""
        endpoint = self.endpoint
        known = {*endpoint.gives, *endpoint.closed}
        missing = [item for item in self.plan.inputs if item.required and item.name not in known]
        needed = []
        for place, item in enumerate(missing):
            # Most have no near name at all: then there is no need to look what comes before each task.
            near = place < _MOST and closest(item.name, self._given) is not None
            for number, need in enumerate(item.needs):
                if need.elsewhere is not None:
                    yield _not_upstream(need)
                elif near and number < _MOST and (unknown := self._unknown(item.name, need)):
                    yield unknown
                else:
                    needed.append((item.name, need.param.type, need.task))
        if needed:
            gives = tuple(endpoint.gives)
            yield MissingInput(route=endpoint.route, endpoint=endpoint.source, needed=tuple(needed), gives=gives)

    @cached_property
    def _given(self) -> tuple[str, ...]:
        """The names of all that the endpoint and the tasks give."""
        return *self.endpoint.gives, *dict.fromkeys(node.spec.output for node in self.plan.nodes)

    def _unknown(self, name: str, need: Need) -> UnknownParameter | None:
        """Return the error for an input if a near name is given to the very task that needs it."""
        upstream, gives = self.plan.provides_to(need.below), tuple(self.endpoint.gives)
        if closest(name, [*upstream, *gives]) is None:
            return None
        return UnknownParameter(task=need.task, param=name, type=need.param.type, upstream=upstream, endpoint=gives)

    def _closed(self) -> Iterator[PlanError]:
        """Yield what the endpoint has but must not hand on: it is closed when the run begins."""
        for item in self.plan.inputs:
            reason = self.endpoint.closed.get(item.name)
            # The return value may bear the name of what it was made from.
            if reason is not None and item.required and item.name not in self.endpoint.gives:
                for need in item.needs:
                    source = self.endpoint.source
                    yield ClosedInput(endpoint=source, param=item.name, reason=reason, task=need.task)

    def _ambiguous(self) -> Iterator[PlanError]:
        """Yield the parameters that a task upstream and the endpoint would both fill."""
        for spec, fill in self.plan.taken():
            name = fill.param.name
            if name in self.endpoint.gives:
                producers = (self.plan.nodes[fill.slot].spec.source,)
                source = self.endpoint.source
                yield AmbiguousProducer(task=spec.source, param=name, producers=producers, endpoint=source)

    def _mismatched(self) -> Iterator[PlanError]:
        """Yield the inputs whose type is certainly not the one that a task takes."""
        endpoint = self.endpoint
        for item in self.plan.inputs:
            if item.name not in endpoint.gives:
                continue
            given = what_is_given(endpoint, item.name)
            for need in item.needs:
                if compatible(given, need.param.type) is False:
                    yield TypeMismatch(
                        param=item.name,
                        producer=endpoint.source,
                        returns=given,
                        consumer=need.task,
                        takes=need.param.type,
                        via="endpoint" if item.name == endpoint.returns else "input",
                    )


def what_is_given(endpoint: EndpointSpec, name: str) -> object:
    """Return the type of an input that *endpoint* gives.

    What it returns is that of a request with which something starts: where it returns a response, an error, say,
    nothing does.
    """
    annotation = endpoint.gives[name]
    if name != endpoint.returns or get_origin(annotation) not in {Union, UnionType}:
        return annotation
    values = [member for member in get_args(annotation) if not is_injected(member, (), None)]
    return Union[tuple(values)] if values else annotation  # noqa: UP007 - made of as many members as there are


@record(eq=False)
class TemplateCheck:
    """The check of the names that the templates of a chain use (`key=`, `tags=`)."""

    chain: str
    options: ChainOptions
    """Its options."""
    source: Source
    """Where the chain is made."""

    def problems(self, plan: Plan, endpoint: EndpointSpec | None) -> Iterator[PlanError]:
        """Yield the names that the inputs of *plan* do not have, nor what *endpoint* has."""
        known = set(plan.input_names)
        if endpoint is not None:
            known |= {*endpoint.gives, *endpoint.closed}
        for option, name in self.options.fields():
            if name not in known:
                near = closest(name, sorted(known))
                place = (self.source if endpoint is None else endpoint.source).at
                yield PlanError(
                    what=f"Chain {self.chain!r} uses {name!r} in {option}, but it has no such input.",
                    rows=(("declared at", place), ("inputs", ", ".join(sorted(known)) or "none")),
                    fixes=(f"write {{{near}}}" if near else f"add a parameter to the endpoint: {name}: ...",),
                )
