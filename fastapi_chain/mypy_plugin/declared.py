"""What is written in `@task(...)`, and the tasks of a module by name."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from mypy.erasetype import erase_typevars
from mypy.nodes import (
    AssignmentStmt,
    CallExpr,
    Decorator,
    DictExpr,
    Expression,
    ListExpr,
    MemberExpr,
    NameExpr,
    RefExpr,
    SetExpr,
    StarExpr,
    StrExpr,
    TupleExpr,
    Var,
)
from mypy.types import CallableType, Instance, LiteralType, TupleType, Type, get_proper_type

from .flow import Flow, Give, flow_of, task_id
from .names import DECORATORS, DEFAULT_REGISTRY, FROM, REGISTRY, TASK_VARIABLE
from .view import View

_UNKNOWN_REGISTRY: Final = "?"


@dataclass(frozen=True, slots=True)
class Declared:
    """A task as it is declared in the source."""

    view: View
    options: dict[str | None, Expression]
    """What was given; nothing for a bare `@task`."""
    registry: str
    """The full name of the registry."""

    def option(self, name: str) -> Expression | None:
        """Return what an option was given."""
        return self.options.get(name)

    def text(self, name: str) -> str | None:
        """Return the string that an option was given; None if it was not given, or cannot be seen."""
        expression = self.option(name)
        return expression.value if isinstance(expression, StrExpr) else self.view.literal(expression)

    def name(self, function: str) -> str:
        """Return the name of the task; *function* is that of its function."""
        return self.text("name") or function

    def output(self, name: str) -> str:
        """Return the name of the output; *name* is that of the task."""
        return self.text("output") or name

    @property
    def hidden(self) -> bool:
        """Whether it is given a name that cannot be seen."""
        return any(self.option(name) is not None and self.text(name) is None for name in ("name", "output"))

    @property
    def fans_out(self) -> bool:
        """Whether it runs once for each item."""
        return self.option("each") is not None

    @property
    def after(self) -> Expression | None:
        """What `after=` was given."""
        return self.option("after")

    @property
    def each(self) -> tuple[str | None, Expression | None]:
        """The parameter that `each=` names, if any, and the task."""
        expression = self.option("each")
        if isinstance(expression, DictExpr):
            if len(expression.items) != 1:
                return None, None
            key, over = expression.items[0]
            return (key.value if isinstance(key, StrExpr) else None), over
        return None, expression


def declared_by(view: View, decorator: Expression) -> Declared | None:
    """Return what a decorator declares: `task`, `task(...)`, `orders.task(...)`, or a name for one of them."""
    if isinstance(decorator, NameExpr) and decorator.fullname != TASK_VARIABLE:
        decorator = _assigned(view, decorator) or decorator
    call = decorator if isinstance(decorator, CallExpr) else None
    registry = _registry(view, call.callee if call is not None else decorator)
    if registry is None:
        return None
    options = dict(zip(call.arg_names, call.args, strict=True)) if call is not None else {}
    other = options.get("registry")
    if other is not None:
        registry = other.fullname if isinstance(other, RefExpr) and other.fullname else _UNKNOWN_REGISTRY
    return Declared(view, options, registry)


def _assigned(view: View, name: NameExpr) -> Expression | None:
    """Return the call in `retried = task(retries=3)`, if it stands in this module."""
    for statement in view.tree.defs:
        if isinstance(statement, AssignmentStmt):
            target = statement.lvalues[0]
            if isinstance(target, NameExpr) and target.node is name.node and isinstance(statement.rvalue, CallExpr):
                return statement.rvalue
    return None


def _registry(view: View, callee: Expression) -> str | None:
    """Return the full name of the registry whose `task` is called; None if it is something else."""
    if isinstance(callee, RefExpr) and callee.fullname == TASK_VARIABLE:
        return DEFAULT_REGISTRY
    if not isinstance(callee, MemberExpr) or callee.name != "task":
        return None
    owner = callee.expr
    node = owner.node if isinstance(owner, RefExpr) else None
    typ = view.api.lookup_type_or_none(owner) or (node.type if isinstance(node, Var) else None)
    proper = get_proper_type(typ)
    if not isinstance(proper, Instance) or not proper.type.has_base(REGISTRY):
        return None
    return (owner.fullname if isinstance(owner, RefExpr) else "") or _UNKNOWN_REGISTRY


def registry_name(view: View, registry: str) -> str:
    """Return the name that a registry was given, as far as that stands in this module; else that of its variable."""
    if registry == DEFAULT_REGISTRY:
        return "default"
    for statement in view.tree.defs:
        if isinstance(statement, AssignmentStmt) and isinstance(statement.rvalue, CallExpr):
            target, given = statement.lvalues[0], statement.rvalue.args
            if isinstance(target, NameExpr) and target.fullname == registry and given and isinstance(given[0], StrExpr):
                return given[0].value
    return registry.rpartition(".")[2]


def makes_tasks(view: View, expression: Expression) -> bool:
    """Whether an expression is what `task(...)` returns."""
    proper = get_proper_type(view.api.lookup_type_or_none(expression))
    return isinstance(proper, Instance) and proper.type.fullname in DECORATORS


def declaration(view: View, decorator: Decorator) -> Declared | None:
    """Return what the decorators of a function declare; None if it is no task."""
    for expression in decorator.original_decorators or decorator.decorators:
        found = declared_by(view, expression)
        if found is not None:
            return found
    return None


# ----------------------------------------------------------------------------------------------------------------------
# References to tasks
# ----------------------------------------------------------------------------------------------------------------------


def items_of(expression: Expression | None) -> Iterator[Expression]:
    """Yield the references that are written in `after=`."""
    if isinstance(expression, ListExpr | TupleExpr | SetExpr):
        for item in expression.items:
            yield from items_of(item)
    elif isinstance(expression, StarExpr):
        yield from items_of(expression.expr)
    elif expression is not None:
        yield expression


def flows_of(view: View, expression: Expression | None, registry: str) -> list[Flow | None]:
    """Return the flows of all tasks that an expression names; None stands for what cannot be known."""
    flows: list[Flow | None] = []
    for item in items_of(expression):
        if isinstance(item, StrExpr):
            flows.append(flow_named(view, item.value, registry))
        else:
            flows.extend(_flows_of_type(view, view.type_of(item), registry))
    return flows


def _flows_of_type(view: View, typ: Type, registry: str) -> list[Flow | None]:
    proper = get_proper_type(typ)
    if isinstance(proper, Instance) and proper.last_known_value is not None:
        proper = proper.last_known_value
    if isinstance(proper, LiteralType) and isinstance(proper.value, str):
        return [flow_named(view, proper.value, registry)]
    if isinstance(proper, TupleType):
        return [flow for item in proper.items for flow in _flows_of_type(view, item, registry)]
    return [flow_of(proper)]


def flow_named(view: View, name: str, registry: str, *, by_output: bool = False) -> Flow | None:
    """Return the flow of the task called *name* in this module, which may stand further down; None if not known."""
    found = [
        (decorator, declared)
        for decorator, declared in tasks_of(view)
        if declared.registry == registry and name in _names(decorator, declared, by_output=by_output)
    ]
    if len(found) != 1:
        return None
    decorator, declared = found[0]
    # Nothing in this module refers to it in a way that the daemon could see.
    target = f"<{decorator.fullname}>"
    view.tree.plugin_deps.setdefault(target, set()).add(view.tree.fullname)
    return flow_of(decorator.var.type) or _forward(view, decorator, declared)


def _names(decorator: Decorator, declared: Declared, *, by_output: bool) -> set[str]:
    name = declared.name(decorator.func.name)
    return {name, declared.output(name)} if by_output else {name}


def _forward(view: View, decorator: Decorator, declared: Declared) -> Flow | None:
    """Return what is known of a task that mypy has not come to yet: what it gives."""
    function = get_proper_type(decorator.func.type)
    if not isinstance(function, CallableType):
        return None
    name = declared.name(decorator.func.name)
    returned = erase_typevars(view.awaited(function.ret_type))
    fan = declared.option("each") is not None
    if fan:
        returned = view.api.named_generic_type("builtins.list", [returned])
    own = task_id(decorator.fullname, name)
    return Flow(id=own, name=name, open=True, gives={own: Give(declared.output(name), name, own, returned, fan)})


def tasks_of(view: View) -> Iterator[tuple[Decorator, Declared]]:
    """Yield the decorated tasks of the module."""
    for symbol in view.tree.names.values():
        node = symbol.node
        if isinstance(node, Decorator) and node.fullname.rpartition(".")[0] == view.tree.fullname:
            declared = declaration(view, node)
            if declared is not None:
                yield node, declared


def default_reference(default: Expression | None) -> Expression | None:
    """Return the task in the default `= From(task)` of a parameter."""
    from_call = (
        isinstance(default, CallExpr) and isinstance(default.callee, RefExpr) and default.callee.fullname == FROM
    )
    return default.args[0] if from_call and isinstance(default, CallExpr) and default.args else None
