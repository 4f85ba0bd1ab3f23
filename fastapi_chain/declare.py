"""1. DECLARE: `@task` and `Registry`.

A decorated function is put down in a registry and comes back as a `Task`. What is wrong with the declaration alone is said
here, where the decorator stands; what is wrong with the graph is found when it is planned.
"""

import inspect
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Literal, ParamSpec, TypeVar, Unpack, overload

from ._options import After, EachOver, OptionReader, Options
from ._signature import is_async, is_generator, underlying
from .errors import BadOption, DeclarationError, DuplicateTask, GeneratorTask, MethodTask
from .spec import Backoff, RunIf, Source, TaskName, TaskSpec
from .tasks import AnyTask, FanOut, Task

P = ParamSpec("P")
R = TypeVar("R")


def source_of(fn: object, name: str = "") -> Source:
    """Return where *fn* is written."""
    target = underlying(fn)
    code = getattr(target, "__code__", None)
    name = name or getattr(target, "__name__", type(target).__name__)
    if code is None:
        return Source(name=name, file=f"<{getattr(target, '__module__', 'unknown')}>", line=1)
    return Source(name=name, file=code.co_filename, line=code.co_firstlineno)


def _name_of(fn: object) -> str:
    """Return the function's own name; for a callable object, its class's."""
    name = getattr(fn, "__name__", None)
    if isinstance(name, str):
        return name
    target = underlying(fn)
    return target.__name__ if target.__name__ != "__call__" else type(fn).__name__


def make_spec(fn: Callable[..., object], registry: "Registry | None", options: Options, frame: int = 2) -> TaskSpec:
    """Turn a function and its options into a spec.

    Args:
        fn: The user's function.
        registry: Where it will be put down; None for an `undo` function.
        options: What the decorator was given.
        frame: How many frames above this one the user's code stands.

    Raises:
        DeclarationError: The function or an option cannot be used.
    """
    name = options.get("name")
    source = source_of(fn, name if isinstance(name, str) else _name_of(fn))
    _refuse(fn, source)
    undo = options.get("undo")
    return TaskSpec(
        fn=fn,
        name=TaskName(_checked_name(source, "name", _name_of(fn) if name is None else name)),
        output=_checked_name(source, "output", source.name if options.get("output") is None else options.get("output")),
        source=source,
        qualname=_qualname(fn),
        is_async=is_async(fn),
        namespace=_namespace(fn, frame),
        registry=registry,
        undo=None if undo is None else _undo_spec(source, undo),
        **OptionReader(source, options).read(),
    )


def _checked_name(source: Source, option: str, value: object) -> str:
    """Return *value* if it can name a task: not empty, and no brackets, which name the items of a fan-out."""
    if isinstance(value, str) and value and not set(value) & set("[]<>"):
        return value
    wanted = "a name without brackets; a lambda needs one of its own"
    raise BadOption(task=source, option=option, value=value, wanted=wanted, example=f'{option}="save"')


def _qualname(fn: object) -> str:
    target = underlying(fn)
    return f"{getattr(target, '__module__', '')}.{getattr(target, '__qualname__', '')}"


def _namespace(fn: object, frame: int) -> Mapping[str, object]:
    """Return the locals of the function around *fn*, if its annotations are strings that may need them."""
    target = underlying(fn)
    inside = "<locals>" in getattr(target, "__qualname__", "")
    if not inside or not any(isinstance(a, str) for a in getattr(target, "__annotations__", {}).values()):
        return {}
    return dict(sys._getframe(frame + 1).f_locals)  # noqa: SLF001 - the documented way to the caller's names


def _undo_spec(task: Source, undo: object) -> TaskSpec:
    """Return the spec of an `undo=`: a task's own, or one for a plain function, which is not retried."""
    if isinstance(undo, Task):
        return undo.spec
    if not callable(undo):
        raise BadOption(task=task, option="undo", value=undo, wanted="a function or a task", example="undo=refund")
    # The user's code stands two frames further up than for the task itself.
    return make_spec(undo, None, {}, frame=4)


def _refuse(fn: object, source: Source) -> None:
    """Refuse what can never run as a task."""
    if inspect.iscoroutine(fn):
        fn.close()
        text = f"@task got the coroutine that {fn.__name__}() returned; it wants the function itself."
        raise DeclarationError(what=text, rows=(), fixes=(f"@task above `async def {fn.__name__}`",))
    if inspect.isclass(fn):
        text = f"Class {source.name!r} cannot be a task: calling it makes an instance."
        fixes = ("write a function that makes it and returns it", "pass an instance that has __call__")
        raise DeclarationError(what=text, rows=(), fixes=fixes)
    if not callable(fn):
        text = f"@task stands above {fn!r}, which cannot be called."
        raise DeclarationError(what=text, rows=(), fixes=("put @task directly above a function",))
    if is_generator(fn):
        raise GeneratorTask(task=source)
    owner = _owner(fn)
    if owner is not None:
        raise MethodTask(task=source, owner=owner)


def _owner(fn: object) -> str | None:
    """Return the class in whose body *fn* is a method without an instance."""
    if not inspect.isfunction(fn):
        return None
    head, _, _ = fn.__qualname__.rpartition(".")
    first = next(iter(fn.__code__.co_varnames[: fn.__code__.co_argcount]), None)
    if not head or head.endswith("<locals>") or first not in {"self", "cls"}:
        return None
    return head.rpartition(".")[2]


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

    def __init__(self, name: str) -> None:
        """Open an empty registry.

        Args:
            name: What errors call it.
        """
        self.name = name
        self._own: dict[str, AnyTask] = {}
        self._included: list[Registry] = []
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
        effect: Literal["safe", "once"] = "safe",
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
        effect: Literal["safe", "once"] = "safe",
        queue: str | None = None,
        registry: "Registry | None" = None,
    ) -> TaskDecorator: ...
    def task(
        self,
        fn: Callable[..., object] | None = None,
        /,
        *,
        registry: "Registry | None" = None,
        **options: Unpack[Options],
    ) -> object:
        """Make a function a task: `@task` or `@task(...)`.

        Args:
            fn: The function, when the decorator stands bare.
            name: Its name, unique in its registry; default: the function's.
            output: The name under which parameters further down receive the result; default: the task's name.
            after: What must come first: tasks, or the names of tasks that are defined later or elsewhere.
            retries: How many MORE attempts after the first: 3 means at most 4. Default 0.
            backoff: The wait between attempts: a `Backoff`, or a constant number of seconds. Default `Backoff()`.
            retry_on: The exceptions that are retried. Default `Exception`; never retried are an output that fails its check,
                `Skip` and cancellation.
            give_up_on: The exceptions that are not; wins over `retry_on`.
            retry: A whole tenacity policy (its `stop`, `wait` and `retry` decide) instead of the four above.
            timeout: Seconds for ONE attempt; longer is a failure of that attempt. A `def` task cannot be stopped: it is
                reported as timed out, and its thread runs to the end. Default None: no limit.
            run_if: When it runs, about the tasks in `after` that it takes no value from: `all_succeeded` (default),
                `all_done`, `any_failed`, `any_succeeded`.
            optional: True: its failure does not make the run failed.
            each: Fan-out: one call for each item of that task's output; `{"line": lines}` says which parameter takes the item.
            limit: At most so many calls of this task at once, over all runs of this process.
            rate: At most so many starts in a time: `"50/s"`, `"100/m"`, `"1000/h"`.
            undo: What takes its effect back if the run fails later: a function or a task.
            effect: `once`: a durable engine does not start it again after a crash in mid-flight.
            queue: The queue whose workers run it; needs a durable engine.
            registry: Where to put it down. Default: this registry.

        Raises:
            BadOption: An option makes no sense.
            CalledInsteadOfNamed: `after=[clean()]` was written for `after=[clean]`.
            DuplicateTask: The registry has another task of that name.
            GeneratorTask: The function is a generator.
            MethodTask: The function is a method without an instance.
            DeclarationError: It is no function at all.
        """
        target = registry or self
        if fn is not None:
            return target.add(Task(make_spec(fn, target, options)))
        return (TaskDecorator if options.get("each") is None else FanOutDecorator)(target, options)

    def add(self, task: TaskT) -> TaskT:
        """Put *task* down; the same place in the same file replaces what it left there before (a reload).

        Raises:
            DuplicateTask: There is another task of that name.
            DeclarationError: A chain of the whole registry has been checked already.
        """
        known = self.get(task.name)
        reloaded = known is not None and _same_place(known.spec, task.spec)
        if known is not None and not reloaded:
            where = f"registry {self.name!r}"
            raise DuplicateTask(name=task.name, first=known.spec.source, second=task.spec.source, where=where)
        if self._closed_by is not None and not reloaded:
            text = f"Task {task.name!r} comes too late: chain {self._closed_by!r} takes all of registry {self.name!r} and is checked."
            raise DeclarationError(
                what=text,
                rows=(("declared at", task.spec.source.at),),
                fixes=("import the module that declares it before the app starts",),
            )
        self._own[task.name] = task
        return task

    @property
    def tasks(self) -> Mapping[str, AnyTask]:
        """All tasks by name, those of included registries too, in order of declaration."""
        merged: dict[str, AnyTask] = {}
        for registry in self._walk():
            for name, task in registry._own.items():  # noqa: SLF001 - another registry
                first = merged.setdefault(name, task)
                if first is not task:
                    where = f"registry {self.name!r}"
                    raise DuplicateTask(name=name, first=first.spec.source, second=task.spec.source, where=where)
        return merged

    def include(self, other: "Registry") -> None:
        """Make all tasks of *other* part of this registry, those declared later too.

        Raises:
            DuplicateTask: Both have a task of one name.
        """
        self._included.append(other)
        try:
            _ = self.tasks
        except DuplicateTask:
            self._included.remove(other)
            raise

    def get(self, name: str) -> AnyTask | None:
        """Return the task called *name*; None if there is none."""
        return next((r._own[name] for r in self._walk() if name in r._own), None)  # noqa: SLF001 - another registry

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
        """Take no more tasks: *chain* takes all of this registry and has been checked."""
        self._closed_by = chain

    def current(self, spec: TaskSpec) -> TaskSpec:
        """Return what stands in the place of *spec* now: itself, or what a reload has put there."""
        known = self.get(spec.name)
        return known.spec if known is not None and _same_place(known.spec, spec) else spec

    @contextmanager
    def emptied(self) -> Iterator["Registry"]:
        """Be empty within the block, as before after it; for tests."""
        kept = self._own, self._included, self._closed_by
        self._own, self._included, self._closed_by = {}, [], None
        try:
            yield self
        finally:
            self._own, self._included, self._closed_by = kept

    def _walk(self) -> Iterator["Registry"]:
        """Yield this registry and all it includes, each once."""
        seen: list[Registry] = []
        queue = [self]
        while queue:
            registry = queue.pop(0)
            if registry not in seen:
                seen.append(registry)
                yield registry
                queue.extend(registry._included)  # noqa: SLF001 - another registry

    def __repr__(self) -> str:
        return f"<Registry {self.name!r}: {len(self._own)} tasks>"


def _same_place(one: TaskSpec, other: TaskSpec) -> bool:
    """Whether two specs are one task, read twice: a reloader, `__main__` imported by name, a notebook cell run again."""
    return (one.source, one.qualname.rpartition(".")[2]) == (other.source, other.qualname.rpartition(".")[2])


default_registry = Registry("default")
"""Where `@task` puts tasks down."""

task = default_registry.task
"""`default_registry.task`: see `Registry.task`."""
