"""The hooks for chains: what flows through one, and what it is started with."""

import string
from collections.abc import Iterator

from mypy.nodes import (
    ARG_NAMED,
    ARG_NAMED_OPT,
    ARG_STAR,
    ARG_STAR2,
    CallExpr,
    Context,
    DictExpr,
    Expression,
    MemberExpr,
)
from mypy.plugin import FunctionContext, MethodSigContext
from mypy.types import FunctionLike, Type, UnionType, get_proper_type

from fastapi_chain.errors import DuplicateTask

from .declared import flows_of
from .flow import Flow, flow_of
from .names import DEFAULT_REGISTRY, FLOW_CHAIN
from .view import View, someone


def chain_made(view: View, ctx: FunctionContext) -> Type:
    """Return the type of `chain(...)`, with what flows through it."""
    flow = Flow(id="", name="")
    options: dict[str | None, Expression] = {}
    targets: list[Expression] = []
    for name, expressions, kinds in zip(ctx.callee_arg_names, ctx.args, ctx.arg_kinds, strict=True):
        if name == "targets":
            targets = expressions
            flow.open = ARG_STAR in kinds or not targets  # without targets it is the whole default registry
        elif expressions:
            options[name] = expressions[0]
    for found in (found for target in targets for found in flows_of(view, target, DEFAULT_REGISTRY)):
        if found is None:
            flow.open = True
        else:
            flow.join(found)
    flow.name = view.literal(options.get("name")) or ""
    flow.returns = view.literal(options.get("returns")) or ""
    flow.fields = list(_fields(view, options))
    _check_names(view, flow, ctx.context)
    return view.with_flow(FLOW_CHAIN, [], flow, ctx.default_return_type)


def _fields(view: View, options: dict[str | None, Expression]) -> Iterator[tuple[str, str]]:
    """Yield the inputs that the templates of `key` and `tags` name, each with the option."""
    templates = [("key", view.literal(options.get("key")))]
    tags = options.get("tags")
    for key, value in tags.items if isinstance(tags, DictExpr) else ():
        name = view.literal(key)
        templates.append((f"tags[{name!r}]", view.literal(value)))
    for option, template in templates:
        try:
            names = [name for _, name, _, _ in string.Formatter().parse(template or "") if name]
        except ValueError:
            names = []  # no template at all: refused where it is written
        for name in names:
            yield option, name.partition(".")[0].partition("[")[0]


def _check_names(view: View, flow: Flow, at: Context) -> None:
    """Report two tasks of one name."""
    known: dict[str, str] = {}
    for give in flow.gives.values():
        if known.setdefault(give.task, give.id) != give.id:
            where = f"chain {flow.name!r}" if flow.name else "one chain"
            first, second = someone(give.task), someone(give.task)
            view.say(DuplicateTask(name=give.task, first=first, second=second, where=where), at)


def start_signature(view: View, ctx: MethodSigContext) -> FunctionLike:
    """Return the signature of `start` or `run` with the chain's inputs in place of `**inputs`."""
    signature = ctx.default_signature
    flow = flow_of(ctx.type)
    if flow is None or _is_either(view, ctx.context):
        return signature
    rows = list(zip(signature.arg_names, signature.arg_kinds, signature.arg_types, strict=True))
    fixed = [row for row in rows if row[1] != ARG_STAR2]
    taken = {name for name, *_ in fixed}
    # An input that one task needs is needed, even if it is optional for others.
    inputs = {n.name: n for n in sorted(flow.needs, key=lambda need: need.required) if n.name not in taken}
    named = [(n.name, ARG_NAMED if n.required else ARG_NAMED_OPT, n.type) for n in inputs.values()]
    # What templates name may be given as well, and a chain that is not wholly known may take anything.
    more = [row for row in rows if row[1] == ARG_STAR2 and (flow.open or flow.fields)]
    names, kinds, types = zip(*fixed, *named, *more, strict=True) if fixed or named or more else ((), (), ())
    return signature.copy_modified(arg_names=list(names), arg_kinds=list(kinds), arg_types=list(types))


def _is_either(view: View, call: Context) -> bool:
    """Whether a method is called on one of several chains: what it is started with cannot be known then."""
    callee = call.callee if isinstance(call, CallExpr) else None
    owner = view.type_of(callee.expr) if isinstance(callee, MemberExpr) else None
    return isinstance(get_proper_type(owner), UnionType)
