"""The hook for what makes a function a task."""

from dataclasses import replace

from mypy.nodes import CallExpr, Context, Decorator, Expression
from mypy.plugin import FunctionContext, MethodContext
from mypy.types import Instance, Type, get_proper_type

from fastapi_chain.errors import ChainError, DeclarationError, GeneratorTask, MethodTask

from .callables import function_of
from .declared import declared_by, makes_tasks
from .flow import task_id
from .names import FAN_OUT, FLOW_FAN_OUT, FLOW_TASK, TASK
from .params import Function
from .task import TaskCheck
from .view import View, someone


def task_made(view: View, ctx: FunctionContext | MethodContext) -> Type:
    """Return the type of a task, with its flow, for `@task`, `@task(...)` and the calls of both."""
    made = get_proper_type(ctx.default_return_type)
    if not isinstance(made, Instance) or made.type.fullname not in {TASK, FAN_OUT} or not ctx.arg_types[0]:
        return ctx.default_return_type
    decorator = ctx.context if isinstance(ctx.context, Decorator) else None
    function = function_of(view, ctx.arg_types[0][0], ctx.context, decorator or ctx.args[0][0])
    if function is None:
        return ctx.default_return_type
    expression = _decorator_expression(view, ctx.context)
    declared = declared_by(view, expression) if expression is not None else None
    name = declared.name(function.name) if declared is not None else function.name
    refusal = _refusal(name, function)
    if refusal is not None:
        view.say(refusal, function.at)
        return ctx.default_return_type
    if declared is not None:
        function = replace(function, registry=declared.registry)
    flow = TaskCheck(view, decorator, declared, function, name, _id(view, function, name)).flow()
    fullname = FLOW_TASK if made.type.fullname == TASK else FLOW_FAN_OUT
    return view.with_flow(fullname, list(made.args), flow, ctx.default_return_type)


def _decorator_expression(view: View, context: Context) -> Expression | None:
    """Return the `task` or `task(...)` whose call the hook is for; None if it cannot be seen."""
    if isinstance(context, Decorator):
        above = context.original_decorators or context.decorators
        return next((e for e in above if makes_tasks(view, e) or declared_by(view, e) is not None), None)
    return context.callee if isinstance(context, CallExpr) else None


def _id(view: View, function: Function, name: str) -> str:
    """Return what tells the task from all others of the program."""
    fullname = function.node.fullname if function.node is not None else name
    if "." not in fullname:
        fullname = f"{view.tree.fullname}.<locals>.{fullname}"
    return task_id(fullname, name)


def _refusal(name: str, function: Function) -> ChainError | None:
    """Return why a function cannot be a task."""
    node, signature = function.node, function.signature
    if signature.is_type_obj():
        fixes = ("write a function that makes it and returns it", "pass an instance that has __call__")
        what = f"Class {signature.type_object().name!r} cannot be a task: calling it makes an instance."
        return DeclarationError(what=what, fixes=fixes)
    if node is None:
        return None
    if node.is_generator or node.is_async_generator:
        return GeneratorTask(task=someone(name))
    unbound = signature.arg_names[:1] in (["self"], ["cls"])
    if node.info and not node.is_static and unbound:
        return MethodTask(task=someone(name), owner=node.info.name)
    return None
