"""From a function and the options of `@task` to a `TaskSpec`, or to the reason why not."""

import inspect
import sys
import types
from collections.abc import Callable, Mapping
from pathlib import Path

from fastapi_chain._text import closest
from fastapi_chain.errors import BadOption, CalledInsteadOfNamed, DeclarationError, GeneratorTask, MethodTask
from fastapi_chain.spec import Source, TaskName, TaskSpec
from fastapi_chain.tasks import FanOut, Task, called_name

from .options import OptionReader, Options, close_coroutines
from .signature import is_async, is_generator, local_names, named_references, underlying

_PACKAGE = __name__.partition(".")[0]


def refuse_unknown(options: Mapping[str, object]) -> None:
    """Refuse an option that there is none of: it would be ignored.

    Raises:
        DeclarationError: There is one.
    """
    for name in options.keys() - Options.__annotations__.keys():
        near = closest(name, Options.__annotations__)
        raise _misplaced(f"@task has no option {name!r}.", *([] if near is None else [f"write {near}=..."]))


def make_spec(fn: object, registry: object, options: Options) -> TaskSpec:
    """Turn a function and its options into a spec.

    Args:
        fn: The user's function; of a task, its function.
        registry: Where it will be put down; None for an `undo` function.
        options: What the decorator was given.

    Raises:
        DeclarationError: The function or an option cannot be used.
    """
    if isinstance(fn, Task):
        fn = fn.spec.fn
    given = options.get("name")
    source = source_of(fn, given if isinstance(given, str) and given else None)
    function = _function(fn, source)
    for reference in named_references(function):
        called = called_name(reference)
        if called is not None:
            raise CalledInsteadOfNamed(task=source, option="From", called=called)
    name = _checked_name(source, "name", source.name if given is None else given)
    output = options.get("output")
    undo = options.get("undo")
    return TaskSpec(
        fn=function,
        name=TaskName(name),
        output=_checked_name(source, "output", name if output is None else output),
        source=source,
        qualname=_qualname(function),
        is_async=is_async(function),
        namespace=local_names(function),
        registry=registry,
        undo=None if undo is None else _undo_spec(source, undo),
        **OptionReader(source, options).read(),
    )


def source_of(fn: object, name: str | None = None) -> Source:
    """Return where *fn* is written.

    Args:
        fn: A function, or whatever is called like one.
        name: What the user calls it; default: its own name.
    """
    target = underlying(fn)
    code = getattr(target, "__code__", None)
    name = name or _name_of(fn)
    if not isinstance(code, types.CodeType):
        return Source(name=name, file=f"<{getattr(target, '__module__', None) or 'unknown'}>", line=1)
    file = code.co_filename
    return Source(
        name=name, file=file if file.startswith("<") else str(Path(file).absolute()), line=code.co_firstlineno
    )


def calling_place(name: str) -> Source:
    """Return the line of the user's that has called us, under *name*."""
    frame = sys._getframe(1)  # noqa: SLF001 - the documented way to the place of a caller
    while frame.f_back is not None and frame.f_globals.get("__name__", "").partition(".")[0] == _PACKAGE:
        frame = frame.f_back
    return Source(name=name, file=frame.f_code.co_filename, line=frame.f_lineno)


def _name_of(fn: object) -> str:
    """Return the function's own name; for a callable object, its class's."""
    name = getattr(fn, "__name__", None) or getattr(underlying(fn), "__name__", None)
    return name if isinstance(name, str) and name != "__call__" else type(fn).__name__


def _checked_name(source: Source, option: str, value: object) -> str:
    """Return *value* if it can name a task: not empty, and no brackets, which stand for items and calls."""
    if isinstance(value, str) and value and not set(value) & set("[]()<>"):
        return value
    wanted = "a name without brackets; a lambda needs one of its own"
    raise BadOption(task=source, option=option, value=value, wanted=wanted, example=f'@task({option}="save")')


def _qualname(fn: Callable[..., object]) -> str:
    target = underlying(fn)
    return f"{getattr(target, '__module__', '')}:{getattr(target, '__qualname__', '')}"


def _undo_spec(task: Source, undo: object) -> TaskSpec:
    """Return the spec of an `undo=`: a task's own, or one for a plain function, which is not retried."""
    called = close_coroutines([undo])
    if called is not None:
        raise CalledInsteadOfNamed(task=task, option="undo", called=called)
    if isinstance(undo, FanOut) or not callable(undo):
        wanted = "a function, or a task without each=: it is called for each item anyway"
        raise BadOption(task=task, option="undo", value=undo, wanted=wanted, example="@task(undo=refund)")
    return undo.spec if isinstance(undo, Task) else make_spec(undo, None, {})


def _function(fn: object, source: Source) -> Callable[..., object]:
    """Return *fn* if it can run as a task.

    Raises:
        DeclarationError: It never can.
    """
    called = close_coroutines([fn])
    if called is not None:
        what = f"@task got the coroutine that {called}() returned; it wants the function itself."
        raise _misplaced(what, f"@task above `async def {called}`")
    if inspect.isclass(fn):
        what = f"Class {source.name!r} cannot be a task: calling it makes an instance."
        raise _misplaced(what, "write a function that makes it and returns it", "pass an instance that has __call__")
    if isinstance(fn, classmethod):
        raise MethodTask(task=source, owner=_owner(fn.__func__) or "the class")
    if not callable(fn):
        raise _misplaced(f"@task got {fn!r}, which cannot be called.", "put @task directly above a function")
    if is_generator(fn, decorated=False):
        raise GeneratorTask(task=source)
    if _takes_self(fn):
        raise MethodTask(task=source, owner=_owner(fn) or "the class")
    if not hasattr(underlying(fn), "__code__"):
        _check_signature(fn, source)
    return fn


def _misplaced(what: str, *fixes: str) -> DeclarationError:
    """Return an error where there is no function yet, or none at all: only the decorator's own place can be told."""
    return DeclarationError(what=what, rows=(("written at", calling_place("@task").at),), fixes=fixes)


def _takes_self(fn: object) -> bool:
    """Whether *fn* is a method in the body of its class, without an instance."""
    if not inspect.isfunction(fn) or not _owner(fn):
        return False
    first = fn.__code__.co_varnames[: fn.__code__.co_argcount][:1]
    return first in {("self",), ("cls",)}


def _owner(fn: object) -> str | None:
    """Return the name of the class in whose body *fn* is defined; None if it is in none."""
    body = getattr(fn, "__qualname__", "").rpartition(".")[0]
    return None if body.endswith("<locals>") else body.rpartition(".")[2] or None


def _check_signature(fn: Callable[..., object], source: Source) -> None:
    """Refuse a function written in C that does not say what it takes."""
    try:
        inspect.signature(fn)
    except (TypeError, ValueError):
        what = f"Task {source.name!r} does not say which parameters it takes."
        raise _misplaced(what, f"wrap it: def {source.name}_task(...): return {source.name}(...)") from None
