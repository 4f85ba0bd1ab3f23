"""Modules as Python's own syntax trees.

mypy drops what stands in `Annotated[T, ...]` after T, in aliases too (python/mypy#12619). It has to be read from the
source.
"""

import ast
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

from .names import MARKERS

FunctionNode: TypeAlias = ast.FunctionDef | ast.AsyncFunctionDef


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
    """The modules that have been read, each again only if its file has changed."""

    def __init__(self, shadows: Mapping[str, str]) -> None:
        """Read from disk; *shadows* are the files that mypy reads in place of others (`--shadow-file`)."""
        self._shadows = shadows
        self._read: dict[str, tuple[tuple[int, int], Source | None]] = {}

    def get(self, path: str) -> Source | None:
        """Return the module at *path*; None if there is no such file, or no Python in it."""
        file = Path(self._shadows.get(path, path))
        try:
            status = file.stat()
            stamp = (status.st_mtime_ns, status.st_size)
            known = self._read.get(path)
            if known is None or known[0] != stamp:
                known = self._read[path] = (stamp, Source.parse(file.read_bytes().decode("utf-8", "replace")))
        except OSError:
            return None
        return known[1]

    def interface(self, path: str) -> dict[str, str]:
        """Return what of a module is seen by others but not by mypy; see `Source.marked_names`."""
        try:
            text = Path(self._shadows.get(path, path)).read_bytes()
        except OSError:
            return {}
        source = self.get(path) if b"Annotated" in text or b"Depends" in text else None
        return source.marked_names() if source is not None else {}
