"""Task and From: a declared function, and how others refer to it.

`@task` returns a `Task`; calling it is calling the function. What was declared sits in its `spec`.
"""

import functools
import inspect
from collections.abc import Coroutine
from typing import Any, Generic, ParamSpec, TypeAlias, TypeVar, cast, overload

from .spec import TaskSpec

P = ParamSpec("P")
R_co = TypeVar("R_co", covariant=True)
T = TypeVar("T")


class Task(Generic[P, R_co]):
    """A function that a chain can run; made by `@task`.

    Calling it calls the function, nothing else, so it is unit-tested like any function. `R` is what the call returns: a
    coroutine for `async def`.
    """

    def __init__(self, spec: TaskSpec) -> None:
        """Wrap the function of *spec*."""
        functools.update_wrapper(self, spec.fn)
        self.spec = spec  # after what a callable object may bring along

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R_co:
        """Call the function itself."""
        return cast("R_co", self.spec.fn(*args, **kwargs))

    @property
    def name(self) -> str:
        """Its name, unique in its registry."""
        return self.spec.name

    @property
    def output(self) -> str:
        """The name under which tasks further down receive its result."""
        return self.spec.output

    @property
    def after(self) -> tuple[str, ...]:
        """The names of the tasks it was told to come after."""
        return tuple(ref if isinstance(ref, str) else ref.name for ref in self.spec.after)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.spec.name!r} {self.spec.source.at}>"


class FanOut(Task[P, R_co]):
    """A task with `each=`: one call for each item, and a list of all results as its output."""


AnyTask: TypeAlias = Task[..., object]
"""A task of any signature."""


class Reference:
    """What `From(...)` really returns: the mark of a parameter that wants one task's output."""

    __slots__ = ("target",)

    def __init__(self, target: "TaskSpec | str") -> None:
        """Refer to *target*, a task or its name."""
        self.target = target

    def __repr__(self) -> str:
        return f"From({self.target if isinstance(self.target, str) else self.target.name})"


# `Any` in `Coroutine`: before 2.0 mypy takes overloads for ambiguous that say `object` there, and gives up.
@overload
def From(task: FanOut[..., Coroutine[Any, Any, T]], /) -> list[T]: ...
@overload
def From(task: FanOut[..., T], /) -> list[T]: ...
@overload
def From(task: Task[..., Coroutine[Any, Any, T]], /) -> T: ...
@overload
def From(task: Task[..., T], /) -> T: ...
@overload
def From(task: str, /) -> Any: ...  # noqa: ANN401 - no type checker can know what a name stands for
def From(task: object, /) -> object:
    """Take the output of *task*, whatever the parameter is called; the task then comes first, without `after=`.

    As metadata, `order: Annotated[Order, From(clean)]`, or as a default, `order: Order = From(clean)`: the second is
    checked by every type checker, since `From` is typed to return what the task returns.

    Args:
        task: A task, or the name of one that is defined later or elsewhere.

    Raises:
        TypeError: *task* is neither.
    """
    if isinstance(task, Task):
        return Reference(task.spec)
    if isinstance(task, str):
        return Reference(task)
    if inspect.iscoroutine(task):
        # Of which task the parameter is, only `@task` knows; left open, it would only warn that nobody has awaited it.
        task.close()
        return Reference(f"{task.__name__}{_CALLED}")
    text = f"From() takes a task or its name, not {task!r}"
    raise TypeError(text)


_CALLED = "()"


def called_name(reference: TaskSpec | str) -> str | None:
    """Return the name of the task that was called in `From(clean())`, where it should be named; else None."""
    called = isinstance(reference, str) and reference.endswith(_CALLED)
    return str(reference).removesuffix(_CALLED) if called else None


Flow_co = TypeVar("Flow_co", covariant=True)


class Flow(tuple[object, ...]):
    """What flows to and from a task, as the mypy plugin writes it into types; never made at run time."""

    __slots__ = ()


class FlowTask(Task[P, R_co], Generic[P, R_co, Flow_co]):
    """A `Task` as the mypy plugin knows it: its flow rides in one more argument; never made at run time."""


class FlowFanOut(FanOut[P, R_co], Generic[P, R_co, Flow_co]):
    """A `FanOut` as the mypy plugin knows it; never made at run time."""
