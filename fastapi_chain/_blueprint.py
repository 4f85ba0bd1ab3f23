"""What a chain is made of, and the one moment in which it is made into a plan and checked."""

import logging
from collections.abc import Iterator, Mapping
from typing import Final

from ._chain_options import ChainOptions
from ._coverage import Coverage
from ._places import Places
from ._text import closest, type_name
from .declare import Registry, default_registry
from .engines.base import RunRequest
from .errors import ChainError, InvalidChain, MissingInput, PlanError, UnknownInput, UnknownTask
from .plan import Plan, make_plan
from .spec import EndpointSpec, Source, TaskSpec
from .web.endpoint import Endpoint

_log: Final = logging.getLogger("fastapi_chain")


class Blueprint:
    """The targets, options and endpoints of one chain."""

    def __init__(
        self, name: str | None, targets: "tuple[TaskSpec | str | Registry, ...]", options: ChainOptions, source: Source
    ) -> None:
        """Take down what `chain(...)` was given."""
        self.options = options
        self.source = source
        self.endpoints: list[Endpoint] = []
        self.places = Places()
        self._name = name
        self._targets = targets
        self._plan: Plan | None = None
        self._covered = 0  # how many endpoints have been checked
        self._inputs: frozenset[str] = frozenset()
        # Most chains have no option that a run must be told of.
        self._bare = not (options.deadline or options.key or options.tags or options.max_pending)

    @property
    def name(self) -> str:
        """The chain's name: its own, else its first endpoint's, else its targets'."""
        if self._name is not None:
            return self._name
        if self.endpoints:
            return self.endpoints[0].source.name
        return "+".join(_name_of(target) for target in self._targets) or default_registry.name

    @property
    def checked(self) -> bool:
        """Whether there is a plan that fits all endpoints."""
        return self._plan is not None and self._covered == len(self.endpoints)

    def plan(self) -> Plan:
        """Return the plan; the first call makes it and checks everything.

        Raises:
            InvalidChain: Something is wrong; all of it is in `.problems`.
        """
        if self._plan is not None and self._covered == len(self.endpoints):
            return self._plan
        endpoints = [endpoint.describe() for endpoint in self.endpoints]
        plan = self._plan or make_plan(self.name, self._specs(), self._registries(), given=_given_by_all(endpoints))
        problems = list(self._problems(plan, endpoints))
        if problems:
            raise InvalidChain(chain=self.name, problems=tuple(problems))
        for target in self._targets or (default_registry,):
            if isinstance(target, Registry):
                target.close(self.name)
        self._warn(plan, endpoints)
        self._plan, self._covered = plan, len(endpoints)
        self._inputs = frozenset(item.name for item in plan.inputs)
        return plan

    def _specs(self) -> list[TaskSpec]:
        """Return the tasks that the targets stand for."""
        specs: dict[TaskSpec, None] = {}
        problems: list[ChainError] = []
        for target in self._targets or (default_registry,):
            if isinstance(target, Registry):
                specs |= dict.fromkeys(task.spec for task in target.tasks.values())
            elif isinstance(target, TaskSpec):
                home = target.registry
                specs[home.current(target) if isinstance(home, Registry) else target] = None
            else:
                found = next((r.get(target) for r in self._registries() if r.get(target)), None)
                if found is None:
                    known = tuple(name for r in self._registries() for name in r.tasks)
                    problems.append(
                        UnknownTask(task=self.source, wanted=target, option="chain", known=known, chain=self.name)
                    )
                else:
                    specs[found.spec] = None
        if not specs and not problems:
            text = f"Chain {self.name!r} has no tasks."
            problems.append(PlanError(what=text, rows=(("declared at", self.source.at),), fixes=("name a task",)))
        if problems:
            raise InvalidChain(chain=self.name, problems=tuple(problems))
        return list(specs)

    def _registries(self) -> list[Registry]:
        """Return where names are looked up: the registries of the targets, then the default one."""
        found: dict[Registry, None] = {}
        for target in self._targets:
            registry = target.registry if isinstance(target, TaskSpec) else target
            if isinstance(registry, Registry):
                found[registry] = None
        return list(found | {default_registry: None})

    def _problems(self, plan: Plan, endpoints: list[EndpointSpec]) -> Iterator[PlanError]:
        """Yield what is wrong between the plan, the endpoints and the templates."""
        for endpoint in endpoints:
            yield from Coverage(plan, endpoint).problems()
        inputs = {item.name for item in plan.inputs}
        for option, name in self.options.fields():
            for endpoint in endpoints or [None]:
                known = inputs if endpoint is None else inputs | set(endpoint.gives)
                if name not in known:
                    yield self._unknown_field(option, name, known, endpoint)

    def _unknown_field(self, option: str, name: str, known: set[str], endpoint: EndpointSpec | None) -> PlanError:
        near = closest(name, known)
        where = self.source if endpoint is None else endpoint.source
        return PlanError(
            what=f"Chain {self.name!r} uses {name!r} in {option}, but it has no such input.",
            rows=(("declared at", where.at), ("inputs", ", ".join(sorted(known)) or "none")),
            fixes=(f"write {{{near}}}" if near else f"add a parameter to the endpoint: {name}: ...",),
        )

    def _warn(self, plan: Plan, endpoints: list[EndpointSpec]) -> None:
        """Log what works, but perhaps not as hoped."""
        for node in plan.nodes:
            if node.spec.timeout is not None and not node.spec.is_async:
                _log.warning(
                    "task %r is a plain def with timeout=%g: a thread cannot be stopped, so it is reported as timed out "
                    "and runs on to its end (%s)",
                    node.name,
                    node.spec.timeout,
                    node.spec.source.at,
                )
        for endpoint in endpoints:
            for item in plan.inputs:
                annotation = endpoint.gives.get(item.name)
                if hasattr(annotation, "__mapper__"):
                    _log.warning(
                        "endpoint %r hands %r, a %s, to chain %r: an ORM object is bound to the request's session, which is "
                        "closed when the run begins; hand on its id or a pydantic model (%s)",
                        endpoint.source.name,
                        item.name,
                        type_name(annotation),
                        self.name,
                        endpoint.source.at,
                    )

    # --- the values of one run

    def given(self, inputs: Mapping[str, object]) -> Mapping[str, object]:
        """Return the keywords of `start()`, once they are known to be complete.

        Raises:
            UnknownInput: A keyword is no input.
            MissingInput: One is missing.
        """
        if inputs.keys() == self._inputs:
            return inputs
        known = self._inputs | {name for _, name in self.options.fields()}
        for name in inputs:
            if name not in known:
                raise UnknownInput(chain=self.name, name=name, known=tuple(sorted(known)))
        self._require(inputs, None)
        return {name: value for name, value in inputs.items() if name in self._inputs}

    def returned(
        self, endpoint: Endpoint, values: Mapping[str, object]
    ) -> Mapping[str, object]:
        """Return those of an endpoint's values that the chain takes.

        Raises:
            MissingInput: One is missing: the endpoint returned a response where its return value is an input.
        """
        self._require(values, endpoint)
        return {name: values[name] for name in self._inputs if name in values}

    def _require(self, values: Mapping[str, object], endpoint: Endpoint | None) -> None:
        plan = self.plan()
        missing = [item for item in plan.inputs if item.required and item.name not in values]
        if not missing:
            return
        needed = tuple((item.name, need.param.type, need.task) for item in missing for need in item.needs)
        raise MissingInput(
            route=None if endpoint is None else endpoint.route,
            endpoint=None if endpoint is None else endpoint.source,
            needed=needed,
            gives=tuple(values),
            chain=self.name,
        )

    def asked(self, inputs: Mapping[str, object]) -> RunRequest:
        """Return what a run is made from that `start()` was asked for with *inputs*; errors as for `plan()` and `given()`."""
        plan = self.plan()
        request = RunRequest(plan, self.given(inputs))
        return request if self._bare else self._dressed(request, inputs)

    def request(self, endpoint: Endpoint, values: Mapping[str, object]) -> RunRequest:
        """Return what a run is made from that a request to *endpoint* starts, which gives *values*; errors as for both."""
        request = RunRequest(self.plan(), self.returned(endpoint, values))
        return request if self._bare else self._dressed(request, values)

    def _dressed(self, request: RunRequest, values: Mapping[str, object]) -> RunRequest:
        """Return *request* with what the options say about it."""
        options = self.options
        if options.deadline is not None:
            request.deadline = options.deadline
        if options.max_pending is not None or options.key is not None:
            request.counted = True
        if options.key is not None:
            request.key = options.key.format(**values)
        if options.tags:
            request.tags = {name: template.format(**values) for name, template in options.tags.items()}
        return request


def _name_of(target: "TaskSpec | str | Registry") -> str:
    return target if isinstance(target, str) else target.name


def _given_by_all(endpoints: list[EndpointSpec]) -> tuple[str, ...]:
    """Return the names that every endpoint gives."""
    if not endpoints:
        return ()
    first, *others = (set(endpoint.gives) | set(endpoint.closed) for endpoint in endpoints)
    return tuple(first.intersection(*others))
