"""The hook for an endpoint under a chain: does it give what the chain needs, and does the chain see its requests?"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from mypy.nodes import CallExpr, Context, Decorator, Expression, FuncDef, MemberExpr, StrExpr
from mypy.plugin import MethodContext
from mypy.types import Instance, Type, UnionType, flatten_nested_unions, get_proper_type

from fastapi_chain._text import closest
from fastapi_chain.errors import (
    AmbiguousProducer,
    ClosedInput,
    DeclarationError,
    DecoratorOrder,
    MissingInput,
    NotUpstream,
    PlanError,
    StreamingEndpoint,
    TypeMismatch,
    UnknownParameter,
)

from .callables import function_of
from .declared import tasks_of
from .flow import Flow, Need, flow_of
from .metadata import Marks
from .names import CHAIN, ROUTERS, ROUTES, UPLOAD
from .params import Function, Param, is_of_run, is_request_bound
from .view import View, someone

_DEPTH: Final = 5
"""How far dependencies of dependencies are followed."""


@dataclass(frozen=True, slots=True)
class Given:
    """An input that the endpoint gives."""

    type: Type
    at: Context
    returned: bool = False
    """Whether it is the endpoint's return value."""
    closed: str = ""
    """Why it is closed before the chain starts; empty if it is not."""


def endpoint_made(view: View, ctx: MethodContext) -> Type:
    """Check an endpoint that stands under a chain; its type stays what it is."""
    decorator = ctx.context if isinstance(ctx.context, Decorator) else None
    function = function_of(view, ctx.arg_types[0][0], ctx.context, decorator or ctx.args[0][0])
    if function is None:
        return ctx.default_return_type
    if function.node is not None and (function.node.is_generator or function.node.is_async_generator):
        view.say(StreamingEndpoint(endpoint=someone(function.name)), function.at)
        return ctx.default_return_type
    chains = [] if decorator is None else _chains(view, decorator)
    if decorator is not None:
        _check_decorators(view, decorator, chains)
    flow = flow_of(ctx.type)
    either = any(isinstance(get_proper_type(view.api.lookup_type(chain)), UnionType) for chain in chains)
    if flow is not None and not function.vague and not either:
        EndpointCheck(view, flow, function).check()
    return ctx.default_return_type


def _chains(view: View, decorator: Decorator) -> list[Expression]:
    """Return the decorators that are chains, or one of several chains."""
    return [
        expression
        for expression in decorator.original_decorators or decorator.decorators
        if any(
            isinstance(member, Instance) and member.type.has_base(CHAIN)
            for member in map(get_proper_type, flatten_nested_unions([view.type_of(expression)]))
        )
    ]


@dataclass(frozen=True, slots=True)
class EndpointCheck:
    """The check of one endpoint against one chain."""

    view: View
    flow: Flow
    function: Function

    @property
    def name(self) -> str:
        """The name of the endpoint."""
        return self.function.name or "endpoint"

    @property
    def at(self) -> Context:
        """Where it is written."""
        return self.function.at

    def check(self) -> None:
        """Report what is wrong between the two."""
        given = dict(self._given())
        missing = [need for need in self.flow.needs if need.required and need.name not in given]
        self._missing(missing, list(given))
        for need in self.flow.needs:
            if need.name in given:
                self._present(need, given[need.name])
        for name, (taker, giver) in self.flow.taken.items():
            if name in given:
                who, at = (someone(giver),), someone(self.name)
                error = AmbiguousProducer(task=someone(taker), param=name, producers=who, endpoint=at)
                self.view.say(error, given[name].at)
        self._templates(set(given))

    def _given(self) -> Iterator[tuple[str, Given]]:
        for param in self.function.params():
            proper = get_proper_type(param.type)
            if not is_of_run(proper) and not is_request_bound(proper):
                yield param.name, Given(param.type, param.at, closed=self._closed(param))
        returned = self.view.awaited(self.function.signature.ret_type)
        if self.flow.returns and not is_request_bound(get_proper_type(returned)):
            yield self.flow.returns, Given(_without_responses(returned), self.at, returned=True)

    def _templates(self, given: set[str]) -> None:
        """Report what a template names and the chain is not given."""
        known = given | {need.name for need in self.flow.needs}
        for option, name in self.flow.fields:
            if name not in known and not self.flow.open:
                near = closest(name, sorted(known))
                what = f"Chain {self.flow.name or self.name!r} uses {name!r} in {option}, but it has no such input."
                fix = f"write {{{near}}}" if near else f"add a parameter to the endpoint: {name}: ..."
                self.view.say(PlanError(what=what, fixes=[fix]), self.at)

    def _closed(self, param: Param) -> str:
        """Return why the value of a parameter is closed before the chain starts; empty if it is not."""
        proper = get_proper_type(param.type)
        if isinstance(proper, Instance) and any(base.fullname == UPLOAD for base in proper.type.mro):
            return "UploadFile"
        return "yield-dependency" if self._yields(param.marks, 0) else ""

    def _yields(self, marks: Marks | None, depth: int) -> bool:
        """Whether a value comes from a dependency with `yield`, or from one that is built over such a value."""
        if marks is None or marks.depends_on is None or depth > _DEPTH:
            return False
        metadata = self.view.metadata
        node = metadata.resolve(*marks.depends_on)
        if not isinstance(node, FuncDef):
            return False
        if node.is_generator or node.is_async_generator:
            return True
        module = metadata.module_of(node.fullname)
        annotations = (metadata.annotations(module, node) or {}).items()
        below = [metadata.marks(module, annotation) for name, annotation in annotations if name != "return"]
        return any(self._yields(inner, depth + 1) for inner in below)

    def _missing(self, missing: list[Need], gives: list[str]) -> None:
        """Report what the endpoint does not give: what has a near name one by one, the rest together."""
        rest: dict[str, Need] = {}
        for need in missing:
            elsewhere = self._elsewhere(need)
            if elsewhere:
                self.view.say(
                    NotUpstream(task=someone(need.task), producer=someone(elsewhere), param=need.name), self.at
                )
            elif closest(need.name, [*filter(None, [need.near]), *gives]):
                upstream = tuple(filter(None, [need.near]))
                text = self.view.text(need.type)
                task = someone(need.task)
                self.view.say(
                    UnknownParameter(task=task, param=need.name, type=text, upstream=upstream, endpoint=tuple(gives)),
                    self.at,
                )
            else:
                rest.setdefault(need.name, need)
        if rest:
            needed = tuple((need.name, self.view.text(need.type), someone(need.task)) for need in rest.values())
            error = MissingInput(endpoint=someone(self.name), needed=needed, gives=tuple(gives))
            self.view.say(error, self.at)

    def _elsewhere(self, need: Need) -> str:
        """Return a task that gives a needed name and could come first, but does not; empty if there is none."""
        names = {give.task for give in self.flow.gives.values()}
        tasks = [] if need.given_below else [give.task for give in self.flow.gives.values() if give.name == need.name]
        for decorator, declared in tasks_of(self.view):
            task = declared.name(decorator.func.name)
            if declared.output(task) == need.name and task not in names:
                tasks.append(task)
        return tasks[0] if tasks else ""

    def _present(self, need: Need, given: Given) -> None:
        """Check an input that the endpoint gives."""
        if given.closed and need.required:
            reason = "UploadFile" if given.closed == "UploadFile" else "yield-dependency"
            self.view.say(
                ClosedInput(endpoint=someone(self.name), param=need.name, reason=reason, task=someone(need.task)),
                given.at,
            )
            return

        def mismatch(returns: str, takes: str) -> TypeMismatch:
            return TypeMismatch(
                param=need.name,
                producer=someone(self.name),
                returns=returns,
                consumer=someone(need.task),
                takes=takes,
                via="endpoint" if given.returned else "input",
            )

        self.view.fits(given.type, need.type, mismatch, given.at)


def _without_responses(typ: Type) -> Type:
    """Return what an endpoint returns unless it returns a response: an error, say, with which nothing starts."""
    proper = get_proper_type(typ)
    if not isinstance(proper, UnionType):
        return typ
    members = flatten_nested_unions(proper.items)
    values = [member for member in members if not is_request_bound(get_proper_type(member))]
    return UnionType.make_union(values) if values else typ


def _check_decorators(view: View, decorator: Decorator, chains: list[Expression]) -> None:
    """Report two chains, and a chain that stands above the route's decorator."""
    above = False
    for expression in decorator.original_decorators or decorator.decorators:
        if expression in chains:
            if above:
                what = f"Endpoint {decorator.func.name!r} has two @chain decorators; it can start one chain."
                fixes = ["name all targets in one: @chain(save, notify)"]
                view.say(DeclarationError(what=what, fixes=fixes), decorator.func)
            above = True
        elif above and (route := _route(view, expression)):
            is_async = decorator.func.is_coroutine
            view.say(
                DecoratorOrder(endpoint=someone(decorator.func.name), route=route, is_async=is_async), decorator.func
            )
            return


def _route(view: View, expression: Expression) -> str:
    """Return `@app.post("/orders")` as it is written; empty if *expression* is no route."""
    if not isinstance(expression, CallExpr) or not isinstance(expression.callee, MemberExpr):
        return ""
    owner, method = expression.callee.expr, expression.callee.name
    proper = get_proper_type(view.api.lookup_type_or_none(owner))
    known = isinstance(proper, Instance) and any(base.fullname in ROUTERS for base in proper.type.mro)
    if method not in ROUTES or not known:
        return ""
    path = expression.args[0] if expression.args else None
    shown = f'"{path.value}"' if isinstance(path, StrExpr) else "..."
    return f"@{getattr(owner, 'name', 'app')}.{method}({shown})"
