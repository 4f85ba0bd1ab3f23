"""1. DECLARE: `@task` and `Registry`.

A decorated function is put down in a registry and comes back as a `Task`. What is wrong with the declaration alone is
said here, where the decorator stands; what is wrong with the graph is found when it is planned.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import MappingProxyType
from typing import Any, ClassVar, Final, ParamSpec, TypeVar, cast, overload

from fastapi_chain.errors import DeclarationError, DuplicateTask
from fastapi_chain.spec import Backoff, RunIf, Source, TaskSpec
from fastapi_chain.tasks import AnyTask, FanOut, Task

from .options import After, EachOver, Effect, Options
from .specs import calling_place, make_spec, refuse_unknown, source_of

__all__ = ["FanOutDecorator", "Registry", "TaskDecorator", "default_registry", "source_of", "task"]

P = ParamSpec("P")
R = TypeVar("R")


class TaskDecorator:
    """What `task(...)` returns: put it above a function."""

    def __init__(self, registry: "Registry", options: Options) -> None:
        """Remember the *options* for the function to come."""
        self._registry = registry
        self._options = options

    def __call__(self, fn: Callable[P, R], /) -> Task[P, R]:
        """Put *fn* down as a task."""
        return self._registry.add(Task(make_spec(fn, self._registry, self._options)))


class FanOutDecorator:
    """What `task(each=...)` returns: put it above a function."""

    def __init__(self, registry: "Registry", options: Options) -> None:
        """Remember the *options* for the function to come."""
        self._registry = registry
        self._options = options

    def __call__(self, fn: Callable[P, R], /) -> FanOut[P, R]:
        """Put *fn* down as a task that runs once for each item."""
        return self._registry.add(FanOut(make_spec(fn, self._registry, self._options)))


TaskT = TypeVar("TaskT", bound=Task[..., object])


class Registry:
    """A namespace of tasks.

    Example:
        >>> orders = Registry("orders")
        >>> @orders.task
        ... def total(prices: list[int]) -> int:
        ...     return sum(prices)
        >>> orders["total"] is total, total([1, 2])
        (True, 3)
    """

    reloads: ClassVar[int] = 0
    """How often a task has taken the place of an earlier one, in any registry; plans from before are out of date."""

    def __init__(self, name: str) -> None:
        """Open an empty registry.

        Args:
            name: What errors call it.
        """
        self.name = name
        self._own: dict[str, AnyTask] = {}
        self._includes: list[Registry] = []
        self._included_by: list[Registry] = []
        self._closed_by: str | None = None

    @overload
    def task(self, fn: Callable[P, R], /) -> Task[P, R]: ...
    @overload
    def task(
        self,
        *,
        each: EachOver,
        name: str | None = None,
        output: str | None = None,
        after: After = (),
        retries: int = 0,
        backoff: Backoff | float | None = None,
        retry_on: type[BaseException] | tuple[type[BaseException], ...] | None = None,
        give_up_on: type[BaseException] | tuple[type[BaseException], ...] = (),
        retry: object = None,
        timeout: float | None = None,
        run_if: RunIf = "all_succeeded",
        optional: bool = False,
        limit: int | None = None,
        rate: str | None = None,
        undo: Callable[..., object] | None = None,
        effect: Effect = "safe",
        queue: str | None = None,
        registry: "Registry | None" = None,
    ) -> FanOutDecorator: ...
    @overload
    def task(
        self,
        *,
        name: str | None = None,
        output: str | None = None,
        after: After = (),
        retries: int = 0,
        backoff: Backoff | float | None = None,
        retry_on: type[BaseException] | tuple[type[BaseException], ...] | None = None,
        give_up_on: type[BaseException] | tuple[type[BaseException], ...] = (),
        retry: object = None,
        timeout: float | None = None,
        run_if: RunIf = "all_succeeded",
        optional: bool = False,
        limit: int | None = None,
        rate: str | None = None,
        undo: Callable[..., object] | None = None,
        effect: Effect = "safe",
        queue: str | None = None,
        registry: "Registry | None" = None,
    ) -> TaskDecorator: ...
    def task(
        self,
        fn: Callable[..., object] | None = None,
        *,
        registry: "Registry | None" = None,
        **options: Any,
    ) -> object:
        """Make a function a task: `@task` or `@task(...)`.

        Args:
            fn: The function, when the decorator stands bare.
            registry: Where to put it down. Default: this registry.
            **options: What follows.
            name: Its name, unique in its registry; default: the function's.
            output: The name under which parameters further down receive the result; default: the task's name.
            after: What must come first: tasks, or the names of tasks that are defined later or elsewhere.
            retries: How many MORE attempts after the first: 3 means at most 4. Default 0.
            backoff: The wait between attempts: a `Backoff`, or a constant number of seconds. Default `Backoff()`.
            retry_on: The exceptions that are retried. Default `Exception`; never retried are an output that fails its
                check, `Skip` and cancellation.
            give_up_on: The exceptions that are not; wins over `retry_on`.
            retry: A whole tenacity policy (its `stop`, `wait` and `retry` decide) instead of the four above.
            timeout: Seconds for ONE attempt; longer is a failure of that attempt. A `def` task cannot be stopped: it is
                reported as timed out, and its thread runs to the end. Default None: no limit.
            run_if: When it runs, about the tasks in `after` that it takes no value from: `all_succeeded` (default),
                `all_done`, `any_failed`, `any_succeeded`.
            optional: True: its failure does not make the run failed.
            each: Fan-out: one call for each item of that task's output; `{"line": lines}` says which parameter takes
                the item.
            limit: At most so many calls of this task at once, over all runs of this process.
            rate: At most so many starts in a time: `"50/s"`, `"100/m"`, `"1000/h"`.
            undo: What takes its effect back if the run fails later: a function or a task.
            effect: `once`: a durable engine does not start it again after a crash in mid-flight.
            queue: The queue whose workers run it; needs a durable engine.

        Raises:
            BadOption: An option makes no sense.
            CalledInsteadOfNamed: `after=[clean()]` was written for `after=[clean]`.
            DuplicateTask: The registry has another task of that name.
            GeneratorTask: The function is a generator.
            MethodTask: The function is a method without an instance.
            DeclarationError: It is no function at all.
        """
        refuse_unknown(options)
        home = registry or self
        wanted = cast("Options", options)
        fans_out = options.get("each") is not None
        if fn is None:
            return (FanOutDecorator if fans_out else TaskDecorator)(home, wanted)
        return home.add((FanOut if fans_out else Task)(make_spec(fn, home, wanted)))

    def add(self, task: TaskT) -> TaskT:
        """Put *task* down; the same place in the same file replaces what it left there before (a reload).

        Raises:
            DuplicateTask: There is another task of that name.
            DeclarationError: A chain of the whole registry has been checked already.
        """
        for registry in self._all_above():
            known = registry.get(task.name)
            if known is not None and not _same_place(known.spec, task.spec):
                where = f"registry {registry.name!r}"
                raise DuplicateTask(name=task.name, first=known.spec.source, second=task.spec.source, where=where)
        if task.name in self._own:
            Registry.reloads += 1
        else:
            self._refuse_if_closed(f"Task {task.name!r}", task.spec.source)
        self._own[task.name] = task
        return task

    @property
    def tasks(self) -> Mapping[str, AnyTask]:
        """All tasks by name, those of included registries too, in order of declaration."""
        found: dict[str, AnyTask] = {}
        for registry in self._all_below():
            for name, task in registry._own.items():  # noqa: SLF001 - another registry
                found.setdefault(name, task)
        return MappingProxyType(found)

    def include(self, other: "Registry") -> None:
        """Make all tasks of *other* part of this registry, those declared later too.

        Raises:
            DuplicateTask: Both have a task of one name.
            DeclarationError: A chain of the whole registry has been checked already.
        """
        self._refuse_if_closed(f"Registry {other.name!r}", calling_place("include"))
        for name, second in other.tasks.items():
            for registry in self._all_above():
                first = registry.get(name)
                if first is not None and first is not second:
                    where = f"registry {registry.name!r}"
                    raise DuplicateTask(name=name, first=first.spec.source, second=second.spec.source, where=where)
        self._includes.append(other)
        other._included_by.append(self)  # noqa: SLF001 - another registry

    def get(self, name: str) -> AnyTask | None:
        """Return the task called *name*; None if there is none."""
        own = self._own.get(name)
        if own is not None or not self._includes:
            return own
        return next((r._own[name] for r in self._all_below() if name in r._own), None)  # noqa: SLF001 - another registry

    def by_output(self) -> dict[str, list[AnyTask]]:
        """Return the tasks by the name of their output."""
        found: dict[str, list[AnyTask]] = {}
        for task in self.tasks.values():
            found.setdefault(task.spec.output, []).append(task)
        return found

    def __getitem__(self, name: str) -> AnyTask:
        """Return the task called *name*.

        Raises:
            KeyError: There is none.
        """
        task = self.get(name)
        if task is None:
            text = f"registry {self.name!r} has no task {name!r}"
            raise KeyError(text)
        return task

    def close(self, chain: str) -> None:
        """Take no more tasks, nor do what is included: *chain* takes all of this registry and has been checked."""
        for registry in self._all_below():
            registry._closed_by = chain  # noqa: SLF001 - another registry

    def current(self, spec: TaskSpec) -> TaskSpec:
        """Return what stands in the place of *spec* now: itself, or what a reload has put there."""
        known = self._own.get(spec.name)
        if known is None or known.spec is spec:
            return spec
        return known.spec if _same_place(known.spec, spec) else spec

    @contextmanager
    def emptied(self) -> Iterator["Registry"]:
        """Be empty within the block, as before after it; for tests."""
        kept = self._own, self._includes, self._included_by, self._closed_by
        self._own, self._includes, self._included_by, self._closed_by = {}, [], [], None
        try:
            yield self
        finally:
            self._own, self._includes, self._included_by, self._closed_by = kept

    def _refuse_if_closed(self, what: str, place: Source) -> None:
        if self._closed_by is not None:
            text = f"{what} comes too late: chain {self._closed_by!r} takes all of registry {self.name!r}."
            fix = "import the module that declares it before the app starts"
            raise DeclarationError(what=text, rows=(("declared at", place.at),), fixes=(fix,))

    def _all_below(self) -> Iterator["Registry"]:
        """Yield this registry and all that it includes, each once."""
        return _closure(self, lambda registry: registry._includes)  # noqa: SLF001 - another registry

    def _all_above(self) -> Iterator["Registry"]:
        """Yield this registry and all in which it is included, each once."""
        return _closure(self, lambda registry: registry._included_by)  # noqa: SLF001 - another registry

    def __repr__(self) -> str:
        return f"<Registry {self.name!r}: {len(self.tasks)} tasks>"


def _closure(start: Registry, following: Callable[[Registry], list[Registry]]) -> Iterator[Registry]:
    """Yield *start* and all that follows it, each once."""
    seen: list[Registry] = []
    queue = [start]
    while queue:
        registry = queue.pop(0)
        if registry not in seen:
            seen.append(registry)
            yield registry
            queue += following(registry)


def _same_place(one: TaskSpec, other: TaskSpec) -> bool:
    """Whether two specs are one task read twice: a reloader, `__main__` imported by name, a cell of a notebook."""
    if one.qualname.partition(":")[2] != other.qualname.partition(":")[2]:
        return False
    if _is_typed_in(one.source.file) and _is_typed_in(other.source.file):
        return True
    return one.source == other.source


def _is_typed_in(file: str) -> bool:
    """Whether this is the file of a cell: each time it is run, it is another one."""
    return file.startswith(("<stdin", "<ipython-input-", "<python-input-")) or "ipykernel_" in file


default_registry: Final = Registry("default")
"""Where `@task` puts tasks down."""

task: Final = default_registry.task
"""`default_registry.task`: see `Registry.task`."""
