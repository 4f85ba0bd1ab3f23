"""What a function takes: each parameter with who fills it, as far as the function alone can tell."""

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from mypy.erasetype import erase_typevars
from mypy.nodes import Argument, CallExpr, Context, Decorator, Expression, FuncDef, RefExpr, StrExpr, Var
from mypy.types import AnyType, CallableType, Instance, ProperType, Type, TypeOfAny, UnionType, get_proper_type

from fastapi_chain.spec import SUCCEEDED_ONLY, OutcomeKind

from .declared import default_reference, flow_named
from .flow import Flow, flow_of
from .metadata import Marks, Written
from .names import MARKERS, OUTCOMES, REQUEST_BOUND, SPECIAL
from .view import View

Filler = Literal["value", "reference", "other", "unknown"]
"""Who fills a parameter: a value by name; the task in `From`; FastAPI or the run; not to be seen."""


@dataclass(frozen=True, slots=True)
class Tolerance:
    """With which outcomes of its producer a parameter can be filled."""

    type: Type
    """The type of the value: of `Outcome[T]` it is T."""
    accepts: frozenset[OutcomeKind] = SUCCEEDED_ONLY
    """The outcomes."""
    wrapped: bool = False
    """Whether it takes the outcome itself."""
    collects: bool = False
    """Whether it takes the outcomes of all items of a fan-out."""


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
    reference: Flow | None = None
    """The task in `From`; None if there is none, or it cannot be known."""
    native: bool = False
    """Whether mypy itself checks what it gets, as in `= From(task)`."""
    marks: Marks | None = None
    """What its metadata says."""

    @property
    def type(self) -> Type:
        """The type of the value that it takes."""
        return self.tolerance.type


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
    registry: str = ""
    """Where names are looked up."""

    def params(self) -> Iterator[Param]:
        """Yield its parameters."""
        here = self.home == self.view.tree.fullname  # else its lines are those of another file, or it is from the cache
        arguments = {a.variable.name: a for a in getattr(self.node, "arguments", ())} if here else {}
        annotations = self._annotations()
        signature = self.signature
        for name, kind, typ in zip(signature.arg_names, signature.arg_kinds, signature.arg_types, strict=True):
            if name is None or kind.is_star():
                continue
            argument: Argument | None = arguments.get(name)
            marks = self._marks(annotations, name)
            default = argument.initializer if argument is not None else None
            yield Param(
                name=name,
                tolerance=tolerance(erase_typevars(typ)),
                required=kind.is_required(),
                filler=self._filler(get_proper_type(typ), marks, default, required=kind.is_required()),
                at=argument if argument is not None else self.at,
                annotated=not _is_bare(typ),
                reference=self._reference(marks, default),
                native=not isinstance(default_reference(default), StrExpr | type(None)),
                marks=marks,
            )

    def _annotations(self) -> dict[str, ast.expr | None] | None:
        return self.view.metadata.annotations(self.home, self.node) if self.node is not None and self.home else None

    def _marks(self, annotations: dict[str, ast.expr | None] | None, name: str) -> Marks:
        if annotations is None:
            return Marks(unknown=True)
        return self.view.metadata.marks(self.home, annotations.get(name))

    def _filler(self, typ: ProperType, marks: Marks, default: Expression | None, *, required: bool) -> Filler:
        if marks.reference or default_reference(default) is not None:
            return "reference"
        if marks.injected or _is_marker(default) or is_special(typ):
            return "other"
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
            known = module == view.tree.fullname and isinstance(task.value, str)
            return flow_named(view, str(task.value), self.registry) if known else None
        node = view.metadata.resolve(module, task)
        if not isinstance(node, Var | Decorator):
            return None
        # No expression of this module refers to the task: tell the daemon.
        view.tree.plugin_deps.setdefault(f"<{node.fullname}>", set()).add(view.tree.fullname)
        return flow_of(node.type)


def _is_marker(default: Expression | None) -> bool:
    """Whether a default is `Depends(...)` or the like."""
    if not isinstance(default, CallExpr) or not isinstance(default.callee, RefExpr):
        return False
    package, _, name = default.callee.fullname.rpartition(".")
    return package.partition(".")[0] == "fastapi" and name in MARKERS


def is_special(typ: ProperType) -> bool:
    """Whether a parameter is filled because of its type alone."""
    if not isinstance(typ, Instance):
        return False
    return typ.type.fullname in SPECIAL or any(base.fullname in REQUEST_BOUND for base in typ.type.mro)


def _is_any(typ: Type) -> bool:
    return isinstance(get_proper_type(typ), AnyType)


def _is_bare(typ: Type) -> bool:
    """Whether a parameter has no annotation."""
    proper = get_proper_type(typ)
    return isinstance(proper, AnyType) and proper.type_of_any == TypeOfAny.unannotated


def tolerance(typ: Type) -> Tolerance:
    """Read `Outcome[T]`, `Failed`, `list[Outcome[T]]` and the like."""
    proper = get_proper_type(typ)
    if isinstance(proper, Instance) and proper.type.fullname == "builtins.list" and proper.args:
        inner = tolerance(proper.args[0])
        if inner.wrapped:
            return Tolerance(inner.type, inner.accepts, wrapped=True, collects=True)
    members = proper.items if isinstance(proper, UnionType) else [proper]
    kinds, value = set(), None
    for member in map(get_proper_type, members):
        kind = OUTCOMES.get(member.type.fullname) if isinstance(member, Instance) else None
        if kind is None:
            return Tolerance(typ)
        kinds.add(kind)
        value = member.args[0] if isinstance(member, Instance) and member.args else value
    accepts = frozenset(kinds)
    return Tolerance(value or AnyType(TypeOfAny.special_form), accepts, wrapped=True)
