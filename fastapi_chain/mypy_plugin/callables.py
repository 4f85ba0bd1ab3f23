"""What is decorated or named: a function, a method, a task, a callable object."""

from mypy.nodes import Context, Decorator, Expression, FuncDef, RefExpr
from mypy.subtypes import find_member
from mypy.types import CallableType, Instance, ProperType, Type, get_proper_type

from .flow import flow_of
from .names import TASK
from .params import Function
from .view import View


def function_of(view: View, typ: Type, at: Context, value: Decorator | Expression | None) -> Function | None:
    """Return what a value of type *typ* does when it is called; None if that is not one function.

    Args:
        view: The program.
        typ: The type of the value.
        at: Where it is used.
        value: The function with its decorators, where they are what uses it; else how the value is written.
    """
    proper: ProperType | None = get_proper_type(typ)
    instance = proper if isinstance(proper, Instance) else None
    if instance is not None:
        proper = get_proper_type(find_member("__call__", instance, instance, is_operator=True))
    if not isinstance(proper, CallableType):
        return None
    decorator = value if isinstance(value, Decorator) else None
    # mypy 1.11 does not remember the definition of a function that it has from its cache.
    named = value.node if isinstance(value, RefExpr) else None
    node = decorator or proper.definition or named
    if isinstance(node, Decorator):
        node = node.func
    if not isinstance(node, FuncDef) or (instance is not None and instance.type.has_base(TASK)):
        node = None
    home = _home(view, node, decorator)
    here = node is not None and home == view.tree.fullname  # else its lines are those of another file
    return Function(
        view=view,
        signature=proper,
        node=node,
        home=home,
        at=node if node is not None and here else at,
        name=_name(proper, node) if instance is None else _name_of_instance(instance),
        partial=instance is not None and instance.type.has_base("functools.partial"),
    )


def _home(view: View, node: FuncDef | None, decorator: Decorator | None) -> str:
    """Return the module in which a function is written; a local function is known by its short name only."""
    if node is None:
        return ""
    local = "." not in node.fullname
    return view.tree.fullname if decorator is not None or local else view.metadata.module_of(node.fullname)


def _name(signature: CallableType, node: FuncDef | None) -> str:
    return node.name if node is not None else (signature.name or "").partition(" ")[0]


def _name_of_instance(instance: Instance) -> str:
    """Return the name of a task, or of a callable object; a partial bears that of its function, which is not known."""
    flow = flow_of(instance)
    if flow is not None:
        return flow.name
    return "" if instance.type.has_base("functools.partial") or instance.type.has_base(TASK) else instance.type.name
