"""What stands in `Annotated[T, ...]` after T, also behind aliases and in other modules."""

import ast
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final, TypeAlias

from mypy.nodes import Decorator, FuncDef, MypyFile, OverloadedFuncDef, SymbolNode, TypeInfo, Var
from mypy.nodes import TypeAlias as AliasNode

from .names import FROM, MARKER_CLASSES, MARKERS
from .source import FunctionNode, Source, Sources

_DEPTH: Final = 8
"""How many aliases are followed."""
_UNSEEN: Final = ast.Starred(value=ast.Constant(value=...))
"""Stands for metadata that cannot be found."""
_PLAIN_PACKAGES: Final = frozenset({"annotated_doc", "annotated_types", "pydantic", "typing", "typing_extensions"})
"""Packages whose functions make metadata that means nothing to FastAPI."""

Written: TypeAlias = tuple[str, ast.expr]
"""An expression, with the module in which it is written."""


@dataclass(slots=True)
class Marks:
    """What the metadata of an annotation says about who fills the parameter."""

    injected: bool = False
    """FastAPI fills it: `Depends`, `Header`, …"""
    unknown: bool = False
    """It cannot be seen from here, as for the result of a function."""
    depends_on: Written | None = None
    """What stands in `Depends(...)`, and in which module."""
    reference: Written | None = None
    """What stands in `From(...)`, and in which module."""


class Metadata:
    """Reads metadata by the syntax trees, and names by mypy's symbol tables."""

    def __init__(self, sources: Sources, modules: Mapping[str, MypyFile]) -> None:
        """Read from *sources*; *modules* are all that mypy knows."""
        self._sources = sources
        self._modules = modules

    def annotations(self, module: str, function: FuncDef) -> dict[str, ast.expr | None] | None:
        """Return the annotations of a function as they are written, the result's as `return`; None if unreadable."""
        source = self._source(module)
        node: FunctionNode | None = source.function(function.name, function.line) if source else None
        if node is None:
            return None
        arguments = (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)
        return {argument.arg: argument.annotation for argument in arguments} | {"return": node.returns}

    def marks(self, module: str, annotation: ast.expr | None) -> Marks:
        """Return what the metadata of *annotation* says."""
        marks = Marks()
        for owner, item in self._items(module, annotation, 0):
            self._mark(marks, owner, item)
        return marks

    def resolve(self, module: str, name: ast.expr) -> SymbolNode | None:
        """Return what a name or a dotted name in *module* stands for; None if mypy does not know it."""
        if isinstance(name, ast.Name):
            return self._named(module, name.id)
        if not isinstance(name, ast.Attribute):
            return None
        owner = self.resolve(module, name.value)
        symbol = None
        if isinstance(owner, TypeInfo):
            symbol = owner.get(name.attr)
        elif isinstance(owner, MypyFile):
            symbol = owner.names.get(name.attr)
        return symbol.node if symbol is not None else None

    def _named(self, module: str, name: str) -> SymbolNode | None:
        for place in (module, "builtins"):
            tree = self._modules.get(place)
            symbol = tree.names.get(name) if tree is not None else None
            if symbol is not None:
                return symbol.node
        return None

    def _source(self, module: str) -> Source | None:
        tree = self._modules.get(module)
        return self._sources.of(tree) if tree is not None else None

    def module_of(self, fullname: str) -> str:
        """Return the module in which *fullname* is defined; empty if there is none."""
        while fullname and fullname not in self._modules:
            fullname = fullname.rpartition(".")[0]
        return fullname

    def _definitions(self, module: str, name: ast.expr) -> list[Written]:
        """Return what is assigned to a name, where that is written, with the module."""
        node = self.resolve(module, name)
        owner, short = module, getattr(name, "id", "")
        if node is not None:
            if not isinstance(node, Var | AliasNode):
                return []
            owner, short = self.module_of(node.fullname), node.fullname.rpartition(".")[2]
        source = self._source(owner)
        values = (source.assigned.get(short) or source.local.get(short, [])) if source is not None else []
        return [(owner, value) for value in values]

    def _items(self, module: str, annotation: ast.expr | None, depth: int) -> Iterator[Written]:
        """Yield all metadata, each with the module in which it is written."""
        if annotation is None or depth > _DEPTH:
            return
        if isinstance(annotation, ast.Constant):
            text = _expression(annotation.value)
            yield from self._items(module, text, depth + 1)
        elif isinstance(annotation, ast.Subscript) and self._is_annotated(module, annotation.value):
            first, *metadata = annotation.slice.elts if isinstance(annotation.slice, ast.Tuple) else [annotation.slice]
            for item in metadata:
                yield module, item
            yield from self._items(module, first, depth + 1)
        elif isinstance(annotation, ast.Name | ast.Attribute | ast.Subscript):
            name = annotation.value if isinstance(annotation, ast.Subscript) else annotation
            definitions = self._definitions(module, name)
            for owner, value in definitions:
                yield from self._items(owner, value, depth + 1)
            if not definitions and isinstance(self.resolve(module, name), AliasNode):
                yield module, _UNSEEN

    def _is_annotated(self, module: str, name: ast.expr) -> bool:
        node = self.resolve(module, name)
        short = name.id if isinstance(name, ast.Name) else getattr(name, "attr", "")
        return (node.fullname.rpartition(".")[2] if node is not None else short) == "Annotated"

    def _mark(self, marks: Marks, module: str, item: ast.expr, depth: int = 0) -> None:
        """Note what one piece of metadata says."""
        if isinstance(item, ast.Call):
            self._mark_call(marks, (module, item.func), (module, _argument(item)))
        elif isinstance(item, ast.Name | ast.Attribute) and depth < _DEPTH:
            definitions = self._definitions(module, item)
            for owner, value in definitions:
                self._mark(marks, owner, value, depth + 1)
            known = isinstance(self.resolve(module, item), TypeInfo | FuncDef | Decorator | OverloadedFuncDef)
            marks.unknown |= not definitions and not known
        else:
            marks.unknown |= isinstance(item, ast.Starred | ast.IfExp | ast.BoolOp | ast.Subscript)

    def _mark_call(self, marks: Marks, function: Written, argument: Written, depth: int = 0) -> None:
        """Note what the result of a call says: a marker of FastAPI's, `From`, or something else."""
        node = self.resolve(*function)
        name = node.fullname if node is not None else ""
        short = name.rpartition(".")[2]
        if name == FROM:
            marks.reference = argument
        elif (name.startswith("fastapi.") and short in MARKERS) or _is_marker_class(node):
            marks.injected = True
            marks.depends_on = argument if short in {"Depends", "Security"} else None
        elif isinstance(node, Var | AliasNode) and depth < _DEPTH:  # by another name: `D = Depends`
            definitions = self._definitions(*function)
            marks.unknown |= not definitions
            for definition in definitions:
                self._mark_call(marks, definition, argument, depth + 1)
        elif not isinstance(node, TypeInfo) or node.fallback_to_any:
            marks.unknown |= name.partition(".")[0] not in _PLAIN_PACKAGES


def _argument(call: ast.Call) -> ast.expr:
    """Return what a marker is given; `...` if it is nothing."""
    given = [*call.args, *(keyword.value for keyword in call.keywords)]
    return given[0] if given else ast.Constant(value=...)


def _is_marker_class(node: SymbolNode | None) -> bool:
    return isinstance(node, TypeInfo) and any(base.fullname in MARKER_CLASSES for base in node.mro)


def _expression(value: object) -> ast.expr | None:
    """Return an annotation that is written as text."""
    try:
        return ast.parse(value.strip(), mode="eval").body if isinstance(value, str) else None
    except SyntaxError:
        return None
