"""Whether an endpoint gives a chain what it needs."""

from collections.abc import Iterator
from dataclasses import dataclass

from ._compatible import compatible
from ._text import closest
from .errors import AmbiguousProducer, ClosedInput, MissingInput, PlanError, TypeMismatch, UnknownParameter
from .plan import Plan
from .spec import EndpointSpec


@dataclass(frozen=True, slots=True)
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
        """Yield the inputs that the endpoint does not give: those with a near name one by one, the others together."""
        endpoint = self.endpoint
        gives = tuple(endpoint.gives)
        needed = []
        for item in self.plan.inputs:
            if not item.required or item.name in endpoint.gives or item.name in endpoint.closed:
                continue
            for need in item.needs:
                upstream = self.plan.provides_to(need.task.name)
                if closest(item.name, [*upstream, *gives]):
                    yield UnknownParameter(
                        task=need.task, param=item.name, type=need.param.type, upstream=upstream, endpoint=gives
                    )
                else:
                    needed.append((item.name, need.param.type, need.task))
        if needed:
            yield MissingInput(route=endpoint.route, endpoint=endpoint.source, needed=tuple(needed), gives=gives)

    def _closed(self) -> Iterator[PlanError]:
        """Yield the inputs that the endpoint has but must not hand on: they are closed when the run begins."""
        for item in self.plan.inputs:
            reason = self.endpoint.closed.get(item.name)
            if reason is not None and item.required:
                yield ClosedInput(
                    endpoint=self.endpoint.source, param=item.name, reason=reason, task=item.needs[0].task
                )

    def _ambiguous(self) -> Iterator[PlanError]:
        """Yield the parameters that a task upstream and the endpoint would both fill."""
        endpoint = self.endpoint
        for node in self.plan.nodes:
            for fill in node.fills:
                by_name = fill.kind == "task" and fill.param.reference is None
                if by_name and fill.param.name in endpoint.gives:
                    upstream = self.plan.nodes[fill.slot].spec.source
                    yield AmbiguousProducer(
                        task=node.spec.source, param=fill.param.name, producers=(upstream, endpoint.source)
                    )

    def _mismatched(self) -> Iterator[PlanError]:
        """Yield the inputs whose type is certainly not the one that a task takes."""
        endpoint = self.endpoint
        for item in self.plan.inputs:
            if item.name not in endpoint.gives:
                continue
            given = endpoint.gives[item.name]
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
