"""What a function takes: each parameter with who fills it, as far as the function alone can tell."""

import ast
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final, Literal

from mypy.erasetype import erase_typevars
from mypy.nodes import Argument, CallExpr, Context, Decorator, Expression, FuncDef, RefExpr, StrExpr, Var
from mypy.types import (
    AnyType,
    CallableType,
    Instance,
    NoneType,
    ProperType,
    Type,
    TypeOfAny,
    flatten_nested_unions,
    get_proper_type,
)

from fastapi_chain.spec import ANY_OUTCOME, SUCCEEDED_ONLY, OutcomeKind

from .declared import default_reference, flow_named
from .flow import Flow, flow_of
from .metadata import Marks, Written
from .names import MARKERS, REQUEST_BOUND, SPECIAL
from .view import View

_OUTCOMES: Final[dict[str, OutcomeKind]] = {
    "fastapi_chain.outcome.Succeeded": "succeeded",
    "fastapi_chain.outcome.Failed": "failed",
    "fastapi_chain.outcome.Skipped": "skipped",
}
"""The classes of outcomes, by their full names."""

Filler = Literal["value", "reference", "injected", "run", "unknown"]
"""Who fills a parameter: a value by name; the task in `From`; FastAPI; the run itself; not to be seen."""


@dataclass(frozen=True, slots=True)
class Tolerance:
    """With which outcomes of its producer a parameter can be filled."""

    type: Type
    """The type of the value: of `Outcome[T]` it is T."""
    written: Type
    """The type as it is written."""
    accepts: frozenset[OutcomeKind] = SUCCEEDED_ONLY
    """The outcomes."""
    outcomes: frozenset[OutcomeKind] = frozenset()
    """Those that it takes as they are, see `ParamSpec`."""
    collects: bool = False
    """Whether it takes the outcomes of the items of a fan-out."""


@dataclass(frozen=True, slots=True)
class Param:
    """One parameter."""

    name: str
    tolerance: Tolerance
    required: bool
    filler: Filler
    at: Context
    """Where it is written; where the function is used if that is in another file."""
    annotated: bool = True
    by_position: bool = False
    """Whether it can be given by position only."""
    reference: Flow | None = None
    """The task in `From`; None if there is none, or it cannot be known."""
    by_text: bool = False
    """Whether `From` has the task's name, not the task."""
    native: bool = False
    """Whether mypy itself checks what it gets, as in `= From(task)`."""
    marks: Marks | None = None
    """What its metadata says."""

    @property
    def type(self) -> Type:
        """The type of the value that it takes."""
        return self.tolerance.type

    @property
    def plain(self) -> "Param":
        """The parameter as it is where there is no outcome to take: `Outcome[T]` is then a type like any other."""
        written = self.tolerance.written
        return replace(self, tolerance=Tolerance(written, written))


@dataclass(frozen=True, slots=True)
class Function:
    """A function that is used as a task, an undo or an endpoint."""

    view: View
    signature: CallableType
    node: FuncDef | None
    """The function, if it is one with a name."""
    home: str
    """The module in which it is written; empty if unknown."""
    at: Context
    """Where to report what is wrong with it."""
    name: str
    """Its own name; empty if unknown."""
    partial: bool = False
    """Whether it is a `functools.partial`, whose signature mypy does not tell."""
    registry: str = ""
    """Where names are looked up."""

    def params(self) -> Iterator[Param]:
        """Yield its parameters."""
        here = self.home == self.view.tree.fullname  # else its lines are those of another file, or it is from the cache
        arguments = {a.variable.name: a for a in getattr(self.node, "arguments", ())} if here else {}
        annotations = self._annotations()
        for index, (kind, typ) in enumerate(zip(self.signature.arg_kinds, self.signature.arg_types, strict=True)):
            name = self._name(index)
            if name is None or kind.is_star():
                continue
            argument: Argument | None = arguments.get(name)
            marks = self._marks(annotations, name)
            default = argument.initializer if argument is not None else None
            task = default_reference(default)
            yield Param(
                name=name,
                tolerance=tolerance(erase_typevars(typ)),
                required=kind.is_required(),
                filler=self._filler(get_proper_type(typ), marks, default, required=kind.is_required()),
                at=argument if argument is not None else self.at,
                annotated=not _is_bare(typ),
                by_position=self.signature.arg_names[index] is None,
                reference=self._reference(marks, default),
                by_text=isinstance(task, StrExpr) or (marks.reference is not None and _is_text(marks.reference[1])),
                native=task is not None and not isinstance(task, StrExpr),
                marks=marks,
            )

    @property
    def vague(self) -> bool:
        """Whether it may take more than its signature says: `Callable[..., T]`, a `functools.partial`."""
        if self.signature.is_ellipsis_args or self.partial:
            return True
        return any(self._name(i) is None and not kind.is_star() for i, kind in enumerate(self.signature.arg_kinds))

    def _name(self, index: int) -> str | None:
        """Return the name of a parameter; mypy's own signature leaves out those of positional-only ones."""
        name = self.signature.arg_names[index]
        if name is None and self.node is not None:
            arguments = getattr(self.node, "arguments", ())  # a function from the cache has none
            index += len(arguments) - len(self.signature.arg_names)  # `self` is bound
            return arguments[index].variable.name if 0 <= index < len(arguments) else None
        return name

    def _annotations(self) -> dict[str, ast.expr | None] | None:
        return self.view.metadata.annotations(self.home, self.node) if self.node is not None and self.home else None

    def _marks(self, annotations: dict[str, ast.expr | None] | None, name: str) -> Marks:
        if annotations is None:
            return Marks(unknown=True)
        return self.view.metadata.marks(self.home, annotations.get(name))

    def _filler(self, typ: ProperType, marks: Marks, default: Expression | None, *, required: bool) -> Filler:
        if marks.reference or default_reference(default) is not None:
            return "reference"
        if marks.injected or _is_marker(default) or is_request_bound(typ):
            return "injected"
        if is_of_run(typ):
            return "run"
        hidden = default is None and not required
        if marks.unknown or hidden or (default is not None and _is_any(self.view.type_of(default))):
            return "unknown"
        return "value"

    def _reference(self, marks: Marks, default: Expression | None) -> Flow | None:
        if marks.reference:
            return self._written(marks.reference)
        task = default_reference(default)
        if isinstance(task, StrExpr):
            return flow_named(self.view, task.value, self.registry)
        return flow_of(self.view.type_of(task)) if task is not None else None

    def _written(self, reference: Written) -> Flow | None:
        """Return the flow of the task in `Annotated[T, From(task)]`."""
        module, task = reference
        view = self.view
        if isinstance(task, ast.Constant):
            known = module == view.tree.fullname and _is_text(task)
            return flow_named(view, str(task.value), self.registry) if known else None
        node = view.metadata.resolve(module, task)
        if not isinstance(node, Var | Decorator):
            return None
        # No expression of this module refers to the task: tell the daemon.
        view.tree.plugin_deps.setdefault(f"<{node.fullname}>", set()).add(view.tree.fullname)
        return flow_of(node.type)


def _is_text(expression: ast.expr) -> bool:
    return isinstance(expression, ast.Constant) and isinstance(expression.value, str)


def _is_marker(default: Expression | None) -> bool:
    """Whether a default is `Depends(...)` or the like."""
    if not isinstance(default, CallExpr) or not isinstance(default.callee, RefExpr):
        return False
    package, _, name = default.callee.fullname.rpartition(".")
    return package.partition(".")[0] == "fastapi" and name in MARKERS


def is_request_bound(typ: ProperType) -> bool:
    """Whether FastAPI fills a parameter because of its type alone."""
    return isinstance(typ, Instance) and any(base.fullname in REQUEST_BOUND for base in typ.type.mro)


def is_of_run(typ: ProperType) -> bool:
    """Whether the run fills a parameter because of its type alone."""
    return isinstance(typ, Instance) and typ.type.fullname in SPECIAL


def _is_any(typ: Type) -> bool:
    return isinstance(get_proper_type(typ), AnyType)


def _is_bare(typ: Type) -> bool:
    """Whether a parameter has no annotation."""
    proper = get_proper_type(typ)
    return isinstance(proper, AnyType) and proper.type_of_any == TypeOfAny.unannotated


def tolerance(typ: Type) -> Tolerance:
    """Read `Outcome[T]`, `Failed`, `Failed | None`, `list[Outcome[T]]` and the like."""
    proper = get_proper_type(typ)
    if isinstance(proper, Instance) and proper.type.fullname == "builtins.list" and proper.args:
        inner = tolerance(proper.args[0])
        if inner.outcomes and inner.outcomes == inner.accepts:
            return Tolerance(inner.type, typ, ANY_OUTCOME - {"skipped"}, inner.outcomes, collects=True)
    members = list(map(get_proper_type, flatten_nested_unions([proper])))
    some = [member for member in members if not isinstance(member, NoneType)]
    kinds: set[OutcomeKind] = set()
    value: Type | None = None
    for member in some:
        kind = _OUTCOMES.get(member.type.fullname) if isinstance(member, Instance) else None
        if kind is None:
            return Tolerance(typ, typ)
        kinds.add(kind)
        value = member.args[0] if isinstance(member, Instance) and member.args else value
    if not kinds:
        return Tolerance(typ, typ)
    outcomes = frozenset(kinds)
    accepts = outcomes if len(some) == len(members) else ANY_OUTCOME
    return Tolerance(value or AnyType(TypeOfAny.special_form), typ, accepts, outcomes)
