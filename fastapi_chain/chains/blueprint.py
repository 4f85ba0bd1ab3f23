"""What a chain is made of, and the one moment in which it is made into a plan and checked."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

from fastapi_chain._places import Places
from fastapi_chain._text import readable
from fastapi_chain.declare import Registry
from fastapi_chain.endpoint import Endpoint
from fastapi_chain.engines.base import RunRequest
from fastapi_chain.errors import ChainError, InvalidChain, MissingInput, UnknownInput
from fastapi_chain.plan import Draft, Plan, draft_plan
from fastapi_chain.spec import EndpointSpec, Source

from .coverage import TemplateCheck, covered
from .fitness import session_input, unfit, warn_of_endpoint, warn_of_plan
from .options import ChainOptions
from .targets import Targets


class Checked:
    """A plan in which nothing is wrong, and what held when it was checked."""

    __slots__ = ("covered", "defaults", "engines", "inputs", "plan", "reloads", "required")

    def __init__(self, plan: Plan, reloads: int) -> None:
        """Take *plan*, made after so many *reloads* of tasks."""
        self.plan = plan
        self.reloads = reloads
        self.covered = 0
        """How many endpoints give what it needs."""
        self.engines: set[str] = set()
        """On which it can run."""
        self.inputs = frozenset(plan.input_names)
        self.required = frozenset(plan.required)
        self.defaults = {item.name: item.default for item in reversed(plan.inputs) if not item.required}


class Blueprint:
    """The targets, options and endpoints of one chain."""

    def __init__(self, name: str | None, targets: Targets, options: ChainOptions, source: Source) -> None:
        """Take down what `chain(...)` was given."""
        self.options = options
        self.source = source
        self.endpoints: list[Endpoint] = []
        self.places: Places = Places()
        self.chain: object = None
        """The `Chain` that it is the blueprint of."""
        self._name = name
        self._targets = targets
        self._checked: Checked | None = None
        self.selective: bool = options.max_pending is not None or options.key is not None or bool(options.idempotent)
        """Whether a request may be refused, or needs `install`: most chains have no such option."""
        # Likewise most have none that a run must be told of.
        self._bare = not (
            options.deadline or options.key or options.tags or options.max_pending or options.delay or options.priority
        )

    @property
    def name(self) -> str:
        """The chain's name: its own, else its first endpoint's, else its targets'."""
        if self._name is not None:
            return self._name
        return self.endpoints[0].source.name if self.endpoints else self._targets.name

    @property
    def checked(self) -> bool:
        """Whether there is a plan that fits all endpoints, and the tasks as they are now."""
        known = self._checked
        # `_holds`, written out: every request comes by here.
        return known is not None and known.covered == len(self.endpoints) and known.reloads == Registry.reloads

    def plan(self, engine: str | None = None) -> Plan:
        """Return the plan; the first call makes it and checks everything.

        Args:
            engine: The name of the engine on which it is to run; None: what only some engines can do is not looked at.

        Raises:
            InvalidChain: Something is wrong; all of it is in `.problems`.
        """
        return self._known(engine).plan

    def _known(self, engine: str | None = None) -> Checked:
        known = self._checked
        # `checked`, written out: every run comes by here.
        if (
            known is None
            or known.covered != len(self.endpoints)
            or known.reloads != Registry.reloads
            or (engine is not None and engine not in known.engines)
        ):
            known = self._checked = self._check(known, engine)
        return known

    def _check(self, known: Checked | None, engine: str | None) -> Checked:
        """Make the plan, unless that of *known* still holds, and look for all that is wrong with it."""
        endpoints = [endpoint.describe() for endpoint in self.endpoints]
        if known is None or known.plan.chain != self.name or known.reloads != Registry.reloads:
            reloads = Registry.reloads
            draft = self.draft()
            problems = list(self._problems(draft, endpoints, engine))
            known = Checked(draft.plan, reloads)
        else:
            problems = list(self._problems(Draft(known.plan), endpoints, engine))
        if problems:
            # Where two endpoints lack what one task needs, the task is told of once.
            unique = {str(problem): problem for problem in problems}
            raise InvalidChain(chain=self.name, problems=tuple(unique.values()))
        self._targets.close(self.name)
        self._accept(known, endpoints, engine)
        return known

    def draft(self) -> Draft:
        """Return the plan as far as it goes, with what is wrong with it."""
        found = self._targets.find(self.name)
        draft = draft_plan(self.name, found.specs, found.registries)
        return Draft(draft.plan, (*found.problems, *draft.problems), sure=draft.sure and not found.problems)

    def _problems(self, draft: Draft, endpoints: Sequence[EndpointSpec], engine: str | None) -> Iterator[ChainError]:
        """Yield all that is wrong: with the tasks, with what they are given, with what they run on."""
        yield from draft.problems
        templates = TemplateCheck(chain=self.name, options=self.options, source=self.source)
        givers: Sequence[EndpointSpec | None] = endpoints or [None]
        for endpoint in givers:
            yield from covered(draft.plan, endpoint)
            if draft.sure:
                yield from templates.problems(draft.plan, endpoint)
        yield from unfit(draft.plan, self.source, self.options, engine)

    def _accept(self, known: Checked, endpoints: Sequence[EndpointSpec], engine: str | None) -> None:
        """Note what *known* has been checked for, and warn of what that brings."""
        if known is not self._checked:
            warn_of_plan(known.plan)
        for endpoint in endpoints[known.covered :]:
            warn_of_endpoint(known.plan, endpoint)
        known.covered = len(endpoints)
        if engine is not None:
            known.engines.add(engine)

    @contextmanager
    def altered(self, change: Callable[[Plan], Plan]) -> Iterator[None]:
        """Run by what *change* makes of the plan within the block, as before after it; for tests."""
        known = self._known()
        plan = known.plan
        known.plan = change(plan)
        try:
            yield
        finally:
            known.plan = plan

    # --- the values of one run

    def start_by_hand(self, engine: str, *, in_transaction: bool) -> None:
        """Refuse what `start()` cannot be given: an input that bears the name of its own `session=`.

        Raises:
            InvalidChain: There is one, and it must be given, or may be and *in_transaction* could mean it.
        """
        known = self._known(engine)
        if "session" in (known.inputs if in_transaction else known.required):
            raise InvalidChain(chain=self.name, problems=(session_input(known.plan),))

    def asked(self, engine: str, inputs: Mapping[str, object]) -> RunRequest:
        """Return what a run is made from that `start()` was asked for with *inputs*.

        Raises:
            InvalidChain: Something is wrong with the chain.
            UnknownInput: A keyword is no input.
            MissingInput: One is missing.
        """
        known = self._known(engine)
        if inputs.keys() == known.inputs:
            taken = inputs
        else:
            names = known.inputs.union(name for _, name in self.options.fields())
            for name in inputs:
                if name not in names:
                    raise UnknownInput(chain=self.name, name=name, known=tuple(sorted(names)))
            self._require(known, inputs, None)
            taken = {name: value for name, value in inputs.items() if name in known.inputs}
        request = RunRequest(known.plan, taken)
        return request if self._bare else self._dressed(request, {**known.defaults, **inputs})

    def request(self, endpoint: Endpoint, values: Mapping[str, object]) -> RunRequest:
        """Return what a run is made from that a request to *endpoint* starts, which gives *values*.

        Raises:
            InvalidChain: Something is wrong with the chain.
            MissingInput: One is missing: the endpoint returned a response where its return value is an input.
        """
        known = self._known()
        if not known.required <= values.keys():
            self._require(known, values, endpoint)
        request = RunRequest(known.plan, {name: values[name] for name in known.inputs if name in values})
        return request if self._bare else self._dressed(request, {**known.defaults, **values})

    def _require(self, known: Checked, values: Mapping[str, object], endpoint: Endpoint | None) -> None:
        missing = [item for item in known.plan.inputs if item.required and item.name not in values]
        if missing:
            raise MissingInput(
                route=None if endpoint is None else endpoint.route,
                endpoint=None if endpoint is None else endpoint.source,
                needed=tuple((item.name, need.param.type, need.task) for item in missing for need in item.needs),
                gives=tuple(values),
                chain=self.name,
            )

    def _dressed(self, request: RunRequest, values: Mapping[str, object]) -> RunRequest:
        """Return *request* with what the options say about it."""
        options = self.options
        if options.deadline is not None:
            request.deadline = options.deadline
        if options.max_pending is not None or options.key is not None:
            request.counted = True
        if options.key is not None:
            request.key = readable(options.key.format(**values))
        if options.delay is not None:
            request.delay = options.delay
        if options.priority is not None:
            request.priority = options.priority
        if options.tags:
            request.tags = {name: readable(tag.format(**values)) for name, tag in options.tags.items()}
        return request
