"""Annotations and tasks as source: how another module would write them."""

import collections.abc as cabc
import enum
import sys
import types
from collections.abc import Mapping
from typing import Any, Final, Literal, NewType, Union, get_args, get_origin

from fastapi_chain.plan.compatible import strip
from fastapi_chain.spec import TaskSpec
from fastapi_chain.tasks import Task

ANY: Final = "_any_type"
"""The name of `Any` in the written module: nothing of the user's is called so."""


class Names:
    """The modules that the written one imports, each under a name of its own."""

    def __init__(self) -> None:
        """Import nothing yet."""
        self._modules: dict[str, str] = {}

    def imports(self) -> list[str]:
        """Return the import statements."""
        return [f"import {module} as {alias}" for module, alias in self._modules.items()]

    def of(self, value: object, module: object, qualname: object) -> str | None:
        """Return how *value* is written, which *module* holds under *qualname*; None if it does not."""
        if not isinstance(module, str) or not isinstance(qualname, str) or "<" in qualname:
            return None
        found: object = sys.modules.get(module)
        for part in qualname.split("."):
            found = getattr(found, part, None)
        if found is not value:
            return None
        if module == "builtins":
            return qualname
        return f"{self._modules.setdefault(module, f'_m{len(self._modules)}')}.{qualname}"


class TaskNames:
    """Where tasks are: under a name of some module."""

    def __init__(self, names: Names) -> None:
        """Look at all modules that are loaded."""
        self._names = names
        self._found: dict[TaskSpec, tuple[str, str]] = {}
        for name, module in list(sys.modules.items()):
            # Some modules load others as soon as one looks at them: their own dict does not.
            for attribute, value in list(getattr(module, "__dict__", {}).items()):
                if isinstance(value, Task):
                    home = getattr(value.spec.fn, "__module__", "") == name
                    if home or value.spec not in self._found:
                        self._found[value.spec] = (name, attribute)

    def of(self, spec: TaskSpec) -> str | None:
        """Return how a task is written; None if no module can name it."""
        module, qualname = self._found.get(spec, (spec.qualname.partition(":")[0], spec.qualname.partition(":")[2]))
        found: object = sys.modules.get(module)
        for part in qualname.split("."):
            found = getattr(found, part, None)
        if not isinstance(found, Task) or found.spec is not spec:
            return None
        return self._names.of(found, module, qualname)

    def of_function(self, spec: TaskSpec) -> str | None:
        """Return how an undo is written, which is a plain function or a task."""
        function = spec.fn
        named = self._names.of(function, getattr(function, "__module__", None), getattr(function, "__qualname__", None))
        return named or self.of(spec)


def type_source(annotation: object, names: Names) -> str:
    """Return *annotation* as source; what cannot be written is `Any`."""
    annotation = strip(annotation)
    if annotation is types.NoneType:
        return "None"
    origin, args = get_origin(annotation), get_args(annotation)
    if origin in {Union, types.UnionType}:
        return " | ".join(type_source(arg, names) for arg in args)
    if origin is Literal:
        return f"Literal[{', '.join(_literal(value, names) for value in args)}]"
    if isinstance(annotation, NewType):
        return names.of(annotation, annotation.__module__, annotation.__name__) or ANY
    metadata: Mapping[str, Any] = getattr(annotation, "__pydantic_generic_metadata__", {})
    if metadata.get("origin"):
        origin, args = metadata["origin"], metadata["args"]
    if origin is None:
        return _class(annotation, names)
    return _generic(origin, args, names)


def _class(cls: object, names: Names) -> str:
    return names.of(cls, getattr(cls, "__module__", None), getattr(cls, "__qualname__", None)) or ANY


def _generic(origin: object, args: tuple[object, ...], names: Names) -> str:
    """Write `list[int]`, `tuple[()]`, `Callable[[int], str]` and the like."""
    written = "Callable" if origin is cabc.Callable else _class(origin, names)
    if written == ANY or not args:
        return f"{written}[()]" if origin is tuple else written
    return f"{written}[{', '.join(_argument(arg, names) for arg in args)}]"


def _argument(arg: object, names: Names) -> str:
    if arg is ...:
        return "..."
    if isinstance(arg, list):
        return f"[{', '.join(type_source(item, names) for item in arg)}]"
    return type_source(arg, names)


def _literal(value: object, names: Names) -> str:
    if isinstance(value, enum.Enum):
        return f"{_class(type(value), names)}.{value.name}"
    return repr(value)
