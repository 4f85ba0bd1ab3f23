"""What a chain is made of: its targets, and the tasks that they stand for."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple, TypeAlias

from fastapi_chain.declare import Registry, default_registry
from fastapi_chain.errors import ChainError, PlanError, UnknownTask
from fastapi_chain.plan.graph import current
from fastapi_chain.spec import Source, TaskSpec

Target: TypeAlias = TaskSpec | str | Registry
"""A task, the name of one, or all tasks of a registry."""


class Found(NamedTuple):
    """The tasks of a chain."""

    specs: tuple[TaskSpec, ...]
    registries: tuple[Registry, ...]
    """Where names are looked up: the registries of the targets, then the default one."""
    problems: tuple[ChainError, ...]


class Targets:
    """The targets of one chain; none stand for the whole default registry."""

    def __init__(self, targets: Sequence[Target], source: Source) -> None:
        """Take down what `chain(...)` was given at *source*."""
        self._targets = tuple(targets) or (default_registry,)
        self._source = source

    @property
    def name(self) -> str:
        """What a chain of these is called for want of anything better: their names, joined by `+`."""
        return "+".join(target if isinstance(target, str) else target.name for target in self._targets)

    def find(self, chain: str) -> Found:
        """Return the tasks that they stand for; *chain* is what problems call the chain."""
        registries = tuple(self._registries())
        specs: dict[TaskSpec, None] = {}
        problems: list[ChainError] = []
        for target in self._targets:
            if isinstance(target, Registry):
                specs |= dict.fromkeys(_all(target))
            elif isinstance(target, TaskSpec):
                specs[current(target)] = None
            else:
                found = next(filter(None, (registry.get(target) for registry in registries)), None)
                if found is None:
                    known = tuple(dict.fromkeys(name for registry in registries for name in registry.tasks))
                    place = self._source
                    problems.append(UnknownTask(task=place, wanted=target, option="chain", known=known, chain=chain))
                else:
                    specs[found.spec] = None
        if not specs and not problems:
            what = f"Chain {chain!r} has no tasks."
            problems.append(PlanError(what=what, rows=(("declared at", self._source.at),), fixes=("name a task",)))
        return Found(tuple(specs), registries, tuple(problems))

    def _registries(self) -> Iterator[Registry]:
        """Yield where names are looked up."""
        homes = [target.registry if isinstance(target, TaskSpec) else target for target in self._targets]
        yield from dict.fromkeys([home for home in homes if isinstance(home, Registry)] + [default_registry])

    def close(self, chain: str) -> None:
        """Let no task be added to the registries among them: *chain* has been checked without it."""
        for target in self._targets:
            if isinstance(target, Registry):
                target.close(chain)


def _all(registry: Registry) -> list[TaskSpec]:
    """Return the tasks of a whole registry, but not those that only undo others."""
    specs = [task.spec for task in registry.tasks.values()]
    undoing = {current(spec.undo) for spec in specs if spec.undo is not None}
    return [spec for spec in specs if spec not in undoing]
