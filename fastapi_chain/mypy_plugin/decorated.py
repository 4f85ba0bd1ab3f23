"""The hook for what makes a function a task."""

from mypy.erasetype import erase_typevars
from mypy.nodes import CallExpr, Context, Decorator, Expression, FuncDef
from mypy.plugin import FunctionContext, MethodContext
from mypy.subtypes import find_member
from mypy.types import CallableType, Instance, ProperType, Type, get_proper_type

from fastapi_chain.errors import ChainError, DeclarationError, GeneratorTask, MethodTask

from .cycles import Circle, check_duplicate, references
from .declared import Declared, declared_by, makes_tasks
from .flow import task_id
from .names import DEFAULT_REGISTRY, FAN_OUT, FLOW_FAN_OUT, FLOW_TASK, TASK
from .params import Function
from .task import TaskCheck
from .view import View, someone


def task_made(view: View, ctx: FunctionContext | MethodContext) -> Type:
    """Return the type of a task, with its flow, for `@task`, `@task(...)` and the calls of both."""
    made = get_proper_type(ctx.default_return_type)
    if not isinstance(made, Instance) or made.type.fullname not in {TASK, FAN_OUT} or not ctx.arg_types[0]:
        return ctx.default_return_type
    decorator = ctx.context if isinstance(ctx.context, Decorator) else None
    signature, node = _function(ctx.arg_types[0][0], decorator)
    if signature is None:
        return ctx.default_return_type
    expression = _decorator_expression(view, ctx.context)
    declared = declared_by(view, expression) if expression is not None else None
    home = _home(view, node, decorator)
    here = node is not None and home == view.tree.fullname  # else its lines are those of another file
    at: Context = node if node is not None and here else ctx.context
    name = _name(declared, node, signature)
    refusal = _refusal(name, signature, node)
    if refusal is not None:
        view.say(refusal, at)
        return ctx.default_return_type
    if decorator is not None and declared is not None:
        _check_names(view, decorator, declared, name)
    registry = declared.registry if declared is not None else DEFAULT_REGISTRY
    function = Function(view, signature, node, home, at, registry)
    returned = erase_typevars(view.awaited(signature.ret_type))
    check = TaskCheck(view, declared, function, name, _id(view, node, name), returned)
    fullname = FLOW_TASK if made.type.fullname == TASK else FLOW_FAN_OUT
    return view.with_flow(fullname, list(made.args), check.flow(), ctx.default_return_type)


def _function(typ: Type, decorator: Decorator | None) -> tuple[CallableType | None, FuncDef | None]:
    """Return the signature of what is decorated, and its function."""
    proper: ProperType | None = get_proper_type(typ)
    if isinstance(proper, Instance):
        proper = get_proper_type(find_member("__call__", proper, proper, is_operator=True))
    if not isinstance(proper, CallableType):
        return None, None
    node = decorator.func if decorator is not None else proper.definition
    if isinstance(node, Decorator):
        node = node.func
    return proper, node if isinstance(node, FuncDef) else None


def _decorator_expression(view: View, context: Context) -> Expression | None:
    """Return the `task` or `task(...)` whose call the hook is for; None if it cannot be seen."""
    if isinstance(context, Decorator):
        for expression in context.original_decorators or context.decorators:
            if makes_tasks(view, expression) or declared_by(view, expression) is not None:
                return expression
        return None
    return context.callee if isinstance(context, CallExpr) else None


def _home(view: View, node: FuncDef | None, decorator: Decorator | None) -> str:
    """Return the module in which a function is written; a local function is known by its short name only."""
    if node is None:
        return ""
    local = "." not in node.fullname
    return view.tree.fullname if decorator is not None or local else view.metadata.module_of(node.fullname)


def _name(declared: Declared | None, node: FuncDef | None, signature: CallableType) -> str:
    own = node.name if node is not None else (signature.name or "").partition(" ")[0]
    return declared.name(own) if declared is not None else own


def _id(view: View, node: FuncDef | None, name: str) -> str:
    """Return what tells the task from all others of the program."""
    fullname = node.fullname if node is not None else name
    if "." not in fullname:
        fullname = f"{view.tree.fullname}.<locals>.{fullname}"
    return task_id(fullname, name)


def _refusal(name: str, signature: CallableType, node: FuncDef | None) -> ChainError | None:
    """Return why a function cannot be a task."""
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


def _check_names(view: View, decorator: Decorator, declared: Declared, name: str) -> None:
    check_duplicate(view, decorator, declared, name)
    if any(isinstance(reference, str) for _, reference in references(view, decorator, declared)):
        Circle(view, decorator).check()
