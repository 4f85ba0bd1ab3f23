"""The hooks for chains: what flows through one, and whether an endpoint gives what it needs."""


from mypy.nodes import ARG_NAMED, ARG_NAMED_OPT, ARG_STAR, ARG_STAR2, Context
from mypy.plugin import FunctionContext, MethodSigContext
from mypy.types import CallableType, FunctionLike, Type

from fastapi_chain.errors import DuplicateTask
from .declared import flows_of
from .flow import Flow, flow_of
from .names import DEFAULT_REGISTRY, FLOW_CHAIN
from .view import View, someone


def chain_made(view: View, ctx: FunctionContext) -> Type:
    """Return the type of `chain(...)`, with what flows through it."""
    flow = Flow(id="", name="")
    given = dict(zip(ctx.callee_arg_names, zip(ctx.args, ctx.arg_kinds, strict=True), strict=True))
    targets, kinds = given.get("targets", ([], []))
    if not targets:
        flow.open = True  # the whole default registry
    for target, kind in zip(targets, kinds, strict=True):
        for found in [None] if kind == ARG_STAR else flows_of(view, target, DEFAULT_REGISTRY):
            if found is None:
                flow.open = True
            else:
                flow.join(found)
    name, returns = (given.get(option, ([], []))[0] for option in ("name", "returns"))
    flow.name = (view.literal(name[0]) if name else None) or ""
    flow.returns = (view.literal(returns[0]) if returns else None) or ""
    _check_names(view, flow, ctx.context)
    return view.with_flow(FLOW_CHAIN, [], flow, ctx.default_return_type)


def _check_names(view: View, flow: Flow, at: Context) -> None:
    """Report two tasks of one name."""
    known: dict[str, str] = {}
    for give in flow.gives.values():
        if known.setdefault(give.task, give.id) != give.id:
            where = f"chain {flow.name!r}" if flow.name else "the chain"
            view.say(
                DuplicateTask(name=give.task, first=someone(give.task), second=someone(give.task), where=where), at
            )


def start_signature(ctx: MethodSigContext) -> FunctionLike:
    """Return the signature of `start` or `run` with the chain's inputs in place of `**inputs`."""
    signature = ctx.default_signature
    flow = flow_of(ctx.type)
    if flow is None or not isinstance(signature, CallableType):
        return signature
    rows = list(zip(signature.arg_names, signature.arg_kinds, signature.arg_types, strict=True))
    fixed = [row for row in rows if row[1] != ARG_STAR2]
    taken = {name for name, _, _ in fixed}
    needs: dict[str, tuple[bool, Type]] = {}
    for need in flow.needs:
        known = needs.get(need.name)
        if need.name not in taken and (known is None or (need.required and not known[0])):
            needs[need.name] = (need.required, need.type)
    inputs = [(name, ARG_NAMED if required else ARG_NAMED_OPT, typ) for name, (required, typ) in sorted(needs.items())]
    names, kinds, types = zip(*fixed, *inputs, *(rows[len(fixed) :] if flow.open else ()), strict=True)
    return signature.copy_modified(arg_names=list(names), arg_kinds=list(kinds), arg_types=list(types))
