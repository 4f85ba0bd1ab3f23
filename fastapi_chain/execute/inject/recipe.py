"""A tree of dependencies -> the calls to make, in order; pure."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from fastapi_chain._fastapi import Dependency, Kind, read_call
from fastapi_chain._record import record

Needs = tuple[tuple[str, int], ...]
"""Parameters, and the number of the step that gives the value of each."""


@record(kw_only=False, slots=True)
class Step:
    """One call."""

    call: Callable[..., Any]
    """What is called."""
    kind: Kind
    """How."""
    index: int
    """Its number: where its value is kept."""
    needs: Needs
    """Its arguments."""


@record(kw_only=False, slots=True)
class Recipe:
    """The calls that give the dependencies of one function."""

    steps: tuple[Step, ...]
    """The calls in order; they are closed in reverse order."""
    gives: Needs
    """What the function itself takes."""

    @property
    def is_sync(self) -> bool:
        """Whether nothing in it is awaited."""
        return all(step.kind in {"function", "generator"} for step in self.steps)


def write_recipe(root: Dependency, overrides: Mapping[Any, Any]) -> Recipe | None:
    """Return the calls that give what *root* depends on; None if that takes more than calls.

    Args:
        root: The function.
        overrides: What to call in place of what.
    """
    writer = _Writer(overrides)
    gives = writer.visit(root)
    return Recipe(tuple(writer.steps), gives) if writer.plain else None


class _Writer:
    """Goes through a tree in FastAPI's order and with its idea of a cache."""

    def __init__(self, overrides: Mapping[Any, Any]) -> None:
        self.steps: list[Step] = []
        self.plain = True
        self._overrides = overrides
        self._cached: dict[object, int] = {}

    def visit(self, node: Dependency) -> Needs:
        """Write down all below *node* and return its arguments."""
        self.plain = self.plain and not node.special and not node.ruled
        return tuple((below.name, self._value(below)) for below in node.dependencies)

    def _value(self, node: Dependency) -> int:
        """Return the number of the step that gives the value of *node*."""
        use = self._replaced(node)
        # What stands below is visited even if the value is there already: some of it may refuse to be cached.
        needs = self.visit(use)
        known = self._cached.get(node.call) if node.use_cache else None
        if known is not None:
            return known
        index = len(self.steps)
        self.steps.append(Step(use.call, use.kind, index, needs))
        # One that refuses to take a cached value still gives its own to others.
        self._cached.setdefault(node.call, index)
        return index

    def _replaced(self, node: Dependency) -> Dependency:
        call = self._overrides.get(node.call, node.call) if self._overrides else node.call
        if call is node.call:
            return node
        # A rule about the original holds for what replaces it.
        self.plain = self.plain and not node.ruled
        return read_call(call)


def segments(steps: Sequence[Step]) -> list[list[Step]]:
    """Group *steps*: each generator on its own, what is awaited in a row together, what belongs into a thread, too."""
    groups: list[list[Step]] = []
    for step in steps:
        lane = _lane(step)
        if groups and lane != "async_generator" and lane == _lane(groups[-1][0]):
            groups[-1].append(step)
        else:
            groups.append([step])
    return groups


def _lane(step: Step) -> str:
    return "function" if step.kind == "generator" else step.kind
