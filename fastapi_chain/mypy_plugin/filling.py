"""Where the value of a parameter comes from, and whether it fits.

The rules are those of the start-up check, in the same order and the same words.
"""

from dataclasses import dataclass, field

from mypy.types import Instance, Type, get_proper_type

from fastapi_chain.errors import AmbiguousProducer, PlanError, TypeMismatch
from fastapi_chain.spec import OutcomeKind

from .flow import Flow, Give, Need
from .params import Param
from .upstream import Upstream
from .view import View, someone


@dataclass(slots=True)
class Filling:
    """Finds the sources of the parameters of one function."""

    view: View
    consumer: str
    """The name of the task or undo that has the parameters."""
    upstream: Upstream
    flow: Flow
    """Where to note what is needed and what is taken."""
    accepted: dict[str, frozenset[OutcomeKind]] = field(default_factory=dict)
    """For each task that fills a parameter, by id: the outcomes which all its takers accept."""

    def fill(self, param: Param) -> None:
        """Find the source of *param* by the rules."""
        if param.filler == "reference":
            give = param.reference.own if param.reference is not None else None
            if give is not None:
                self.take(param, give)
        elif param.filler == "unknown":
            self.flow.open |= param.required
        elif param.filler == "value":
            self._by_name(param)
        elif param.filler == "injected" and param.by_position:
            what = f"Parameter {param.name!r} of task {self.consumer!r} is positional-only, "
            what += "but FastAPI gives values by name."
            fix = f"leave out the `/` behind it in {self.consumer!r}"
            self.view.say(PlanError(what=what, fixes=[fix]), param.at)

    def _by_name(self, param: Param) -> None:
        sources = self.upstream.sources(param.name)
        if len(sources) > 1:
            producers = tuple(someone(give.task) for give in sources)
            error = AmbiguousProducer(task=someone(self.consumer), param=param.name, producers=producers)
            self.view.say(error, param.at)
        elif sources:
            self.flow.taken.setdefault(param.name, (self.consumer, sources[0].task))
            self.take(param, sources[0])
        elif not self.upstream.open:
            near = self.upstream.near(param.name)
            self.flow.need(Need(param.name, self.consumer, param.plain.type, param.required, near))

    def take(self, param: Param, give: Give) -> None:
        """Check that an output fits a parameter."""
        if param.tolerance.collects and not give.fan:
            param = param.plain  # a list of outcomes that some task has made itself
        accepts = param.tolerance.accepts
        if param.required:  # else its default stands in for what does not come
            self.accepted[give.id] = self.accepted.get(give.id, accepts) & accepts
        if param.native:
            return
        one = one_of(give.type) if give.fan else give.type
        if param.tolerance.collects or not give.fan:
            self.check(param, one, give.task)
        else:
            self.check(param, give.type, give.task, one)

    def check(self, param: Param, given: Type, producer: str, one: Type | None = None) -> None:
        """Check that what *producer* gives fits *param*; *one* is one of the results if it gives those of a fan-out."""

        def mismatch(returns: str, takes: str) -> TypeMismatch:
            return TypeMismatch(
                param=param.name,
                producer=someone(producer),
                returns=returns if one is None else self.view.text(one),
                consumer=someone(self.consumer),
                takes=takes,
                via="task" if one is None else "fan-out",
            )

        self.view.fits(given, param.type, mismatch, param.at)


def one_of(results: Type) -> Type:
    """Return the type of one result of a fan-out, whose output is a list."""
    proper = get_proper_type(results)
    return proper.args[0] if isinstance(proper, Instance) and proper.args else results
