"""Modules as Python's own syntax trees.

mypy drops what stands in `Annotated[T, ...]` after T, in aliases too (python/mypy#12619). It has to be read from the
source.
"""

import ast
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final, TypeAlias

from mypy.nodes import MypyFile

from .names import MARKERS

_NO_PYTHON: Final = b"("
"""Stands for a file that cannot be read."""
_MARKED: Final = re.compile(
    rb"^[ \t]*(?:type )?\w+[^=\n(]*=[ \t]*(?:\(|[^\n]*\b(?:Annotated|From|%s)\b)"
    % b"|".join(map(str.encode, sorted(MARKERS))),
    re.MULTILINE,
)
"""An assignment of something that may hold a marker: most modules have none, and need not be parsed to know that."""

_WORDS: Final = (b"Annotated", b"From", *map(str.encode, sorted(MARKERS)))
_BRACKET: Final = re.compile(rb"=[ \t]*\(")
"""What `_MARKED` needs in any case, and is looked for several times as fast: a warm run asks of every module."""

FunctionNode: TypeAlias = ast.FunctionDef | ast.AsyncFunctionDef

_SIMPLE: Final = (ast.Assign, ast.AnnAssign, ast.Expr, ast.Import, ast.ImportFrom, ast.Return)
"""The statements of which there are most have no statements in them."""


@dataclass(slots=True)
class Source:
    """One module."""

    functions: dict[str, list[FunctionNode]] = field(default_factory=dict)
    """All functions by name, those in classes and functions too."""
    assigned: dict[str, list[ast.expr]] = field(default_factory=dict)
    """What is assigned to the names of the module."""
    local: dict[str, list[ast.expr]] = field(default_factory=dict)
    """What is assigned to names elsewhere, in functions for instance."""

    @classmethod
    def parse(cls, text: str) -> "Source | None":
        """Read a module; None if it is no Python."""
        try:
            tree = ast.parse(text)
        except (SyntaxError, ValueError):
            return None
        source = cls()
        source._read(tree.body, source.assigned)
        return source

    def _read(self, body: list[ast.stmt], assigned: dict[str, list[ast.expr]]) -> None:
        for statement in body:
            name, value = _assignment(statement)
            if name and value is not None:
                assigned.setdefault(name, []).append(value)
            if isinstance(statement, FunctionNode):
                self.functions.setdefault(statement.name, []).append(statement)
            if isinstance(statement, _SIMPLE):
                continue
            inside = self.local if isinstance(statement, FunctionNode | ast.ClassDef) else assigned
            for part in _bodies(statement):
                self._read(part, inside)

    def function(self, name: str, line: int) -> FunctionNode | None:
        """Return the function called *name* whose `def` stands on *line*, or the only one of that name."""
        found = self.functions.get(name, [])
        return found[0] if len(found) == 1 else next((node for node in found if node.lineno == line), None)

    def marked_names(self) -> dict[str, str]:
        """Return the names of the module that hold something like `Depends(...)` or `From(...)`, with their source.

        They are part of what other modules see, and mypy cannot see it.
        """
        texts = {name: "; ".join(map(ast.unparse, values)) for name, values in self.assigned.items()}
        return {name: text for name, text in texts.items() if _is_marked(self.assigned[name])}


def _assignment(statement: ast.stmt) -> tuple[str, ast.expr | None]:
    """Return name and value of `X = ...`, `X: TypeAlias = ...` and `type X = ...`, which is new in Python 3.12."""
    target = getattr(statement, "target", getattr(statement, "name", None))
    if isinstance(statement, ast.Assign):
        target = statement.targets[0]
    if not isinstance(target, ast.Name) or isinstance(statement, ast.AugAssign):
        return "", None
    return target.id, getattr(statement, "value", None)


def _bodies(statement: ast.stmt) -> Iterator[list[ast.stmt]]:
    """Yield the blocks of a compound statement."""
    for name in ("body", "orelse", "finalbody"):
        yield getattr(statement, name, [])
    for part in (*getattr(statement, "handlers", ()), *getattr(statement, "cases", ())):
        yield part.body


def _is_marked(values: list[ast.expr]) -> bool:
    nodes = (node for value in values for node in ast.walk(value))
    return any(isinstance(node, ast.Call) or (isinstance(node, ast.Name) and node.id in MARKERS) for node in nodes)


class Sources:
    """The modules that have been read, each again only if mypy has read it again."""

    def __init__(self, shadows: Mapping[str, str]) -> None:
        """Read from disk; *shadows* are the files that mypy reads in place of others (`--shadow-file`)."""
        self._shadows = shadows
        self._read: dict[str, tuple[object, Source | None]] = {}

    def of(self, tree: MypyFile) -> Source | None:
        """Return the source of a module; None if there is no such file, or no Python in it."""
        known = self._read.get(tree.path)
        if known is None or known[0] is not tree.defs:  # the daemon puts new statements into the old tree
            text = self._text(tree.path)
            known = self._read[tree.path] = (tree.defs, Source.parse(text.decode("utf-8", "replace")))
        return known[1]

    def interface(self, path: str) -> dict[str, str]:
        """Return what of a module is seen by others but not by mypy; see `Source.marked_names`."""
        text = self._text(path)
        if not (any(word in text for word in _WORDS) or _BRACKET.search(text)) or not _MARKED.search(text):
            return {}
        source = Source.parse(text.decode("utf-8", "replace"))
        return source.marked_names() if source is not None else {}

    def _text(self, path: str) -> bytes:
        try:
            with open(self._shadows.get(path, path), "rb", buffering=0) as file:  # noqa: PTH123 - a warm run opens all
                return file.read()
        except OSError:
            return _NO_PYTHON
