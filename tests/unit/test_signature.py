"""What the reader of signatures makes of functions."""

import functools
import sys
import types
from collections.abc import AsyncIterator, Callable, Iterator
from inspect import Parameter
from typing import Annotated, Any, ForwardRef, Literal, Optional, Union
from unittest.mock import AsyncMock

import pytest
import typing_extensions
from fastapi import BackgroundTasks, Depends, Header, Request, Security

from fastapi_chain import Failed, From, Outcome, Progress, Run, Skipped, Succeeded, TaskContext, task
from fastapi_chain.declare.signature import (
    is_async,
    is_generator,
    is_resolved,
    local_names,
    named_references,
    read,
    strip_annotated,
    underlying,
)
from fastapi_chain.spec import ANY_OUTCOME, EMPTY, SUCCEEDED_ONLY, Role

RAN = {"succeeded", "failed"}
new_in_312 = pytest.mark.skipif(sys.version_info < (3, 12), reason="the syntax is new in Python 3.12")


class Order:
    """A class that some tests hide behind one of their own."""


def run(source: str) -> dict[str, Any]:
    """Execute *source* as a module with postponed annotations, and return its names."""
    names: dict[str, Any] = {"__name__": "postponed"}
    exec(compile("from __future__ import annotations\n" + source, "postponed.py", "exec"), names)
    return names


def types_of(fn: Callable[..., object]) -> dict[str, object]:
    """Return the types of all parameters, in order."""
    return {param.name: param.type for param in read(fn, local_names(fn)).params}


# ----------------------------------------------------------------------------------------------------------------------
# Which parameters there are
# ----------------------------------------------------------------------------------------------------------------------


def test_kinds_and_defaults():
    """Parameters keep their kind, default and order; `*args` and `**kwargs` are nobody's to fill."""

    def f(a: int, /, b, c: str = "x", *args: int, d: bytes, e: float | None = None, **kwargs: int) -> bool: ...

    signature = read(f)
    assert [(p.name, p.kind, p.type, p.default, p.has_default) for p in signature.params] == [
        ("a", Parameter.POSITIONAL_ONLY, int, EMPTY, False),
        ("b", Parameter.POSITIONAL_OR_KEYWORD, EMPTY, EMPTY, False),
        ("c", Parameter.POSITIONAL_OR_KEYWORD, str, "x", True),
        ("d", Parameter.KEYWORD_ONLY, bytes, EMPTY, False),
        ("e", Parameter.KEYWORD_ONLY, float | None, None, True),
    ]
    assert signature.returns is bool


def plain(a: int, b: str = "") -> bytes: ...


async def coroutine(a: int) -> str: ...


def generator(a: int) -> Iterator[int]:
    yield a


async def stream(a: int) -> AsyncIterator[int]:
    yield a


class Shop:
    """A class with methods of all kinds."""

    def method(self, a: int) -> str: ...

    async def coroutine(self, a: int) -> str: ...

    @classmethod
    def of_class(cls, a: int) -> str: ...

    @staticmethod
    async def static(a: int) -> str: ...

    def __call__(self, a: int) -> str: ...


class AsyncShop:
    async def __call__(self, a: int) -> str: ...


class Stream:
    def __call__(self, a: int) -> Iterator[int]:
        yield a


def decorated(fn: Callable[..., object]) -> Callable[..., object]:
    @functools.wraps(fn)
    def inner(*args: object, **kwargs: object) -> object: ...

    return inner


class Decorated:
    def __init__(self, fn: Callable[..., object]) -> None:
        functools.update_wrapper(self, fn)

    def __call__(self, *args: object, **kwargs: object) -> object: ...


@pytest.mark.parametrize(
    ("fn", "names"),
    [
        # What a partial has been given is not open any more: by position …
        (functools.partial(plain, 1), ["b"]),
        # … or by name, which leaves it a default that a task upstream must not replace.
        (functools.partial(plain, b="x"), ["a"]),
        (functools.partial(functools.partial(plain, b="x"), a=1), []),
        # `self` and `cls` are filled already.
        (Shop().method, ["a"]),
        (Shop.of_class, ["a"]),
        (Shop.static, ["a"]),
        (Shop(), ["a"]),
        (functools.partial(Shop().method, 1), []),
        # A decorator that says what it wraps has the signature of that.
        (decorated(plain), ["a", "b"]),
        # Functions written in C say what they take.
        (len, ["obj"]),
    ],
)
def test_open_parameters(fn, names):
    """Only what a call still has to give is a parameter."""
    assert [param.name for param in read(fn).params] == names


@pytest.mark.parametrize(
    ("fn", "expected"),
    [
        (plain, False),
        (coroutine, True),
        (functools.partial(coroutine, 1), True),
        (Shop().method, False),
        (Shop().coroutine, True),
        (Shop.static, True),
        (Shop.__dict__["static"], True),  # the staticmethod object itself, as `@task` above `@staticmethod` gets it
        (Shop(), False),
        (AsyncShop(), True),
        # What a `def` decorator hands on is what it wraps, as FastAPI has it; a class may be a decorator as well.
        (decorated(coroutine), True),
        (decorated(plain), False),
        (Decorated(coroutine), True),
        (Decorated(plain), False),
        (functools.partial(AsyncShop(), 1), True),
        # A mock is marked as `async`.
        (AsyncMock(), True),
        (len, False),
    ],
)
def test_is_async(fn, expected):
    """A call gives a coroutine if what really runs is `async def`."""
    assert is_async(fn) is expected


def test_a_task_is_as_async_as_its_function():
    """A task, or a partial of one, is what its function is."""
    awaited = task(coroutine)
    assert (is_async(awaited), is_async(functools.partial(awaited, 1)), is_async(task(plain))) == (True, True, False)
    assert underlying(awaited) is coroutine


@pytest.mark.parametrize(
    ("fn", "expected", "as_a_task"),
    [
        (generator, True, True),
        (stream, True, True),
        (functools.partial(stream, 1), True, True),
        (Stream(), True, True),
        (plain, False, False),
        # FastAPI looks behind decorators; a task returns what its decorator makes of the generator.
        (decorated(generator), True, False),
    ],
)
def test_is_generator(fn, expected, as_a_task):
    """Generators are found behind partials and objects, and behind decorators if asked to."""
    assert (is_generator(fn), is_generator(fn, decorated=False)) == (expected, as_a_task)


# ----------------------------------------------------------------------------------------------------------------------
# Annotations
# ----------------------------------------------------------------------------------------------------------------------


def test_postponed_annotations():
    """Annotations that are strings are read in the module of the function, when all of it is there."""
    names = run("def f(a: int, later: list[Later], quoted: 'Later') -> Later: ...\nclass Later: ...")
    signature, later = read(names["f"]), names["Later"]
    assert [param.type for param in signature.params] == [int, list[later], later]
    assert signature.returns is later
    assert is_resolved(signature)


def test_postponed_annotations_of_a_callable_object():
    """The module is that of the method that is called."""
    names = run("class Work:\n    def __call__(self, a: Later) -> Later: ...\nclass Later: ...")
    signature = read(names["Work"]())
    assert (signature.params[0].type, signature.returns) == (names["Later"], names["Later"])


def test_strings_within_annotations():
    """A string inside an annotation is read as well; `Literal` and metadata hold real strings."""

    def f(
        a: list["Order"],
        b: Callable[["Order"], "Order"],
        c: Optional["Order"],
        d: Literal["Order"],
        e: Annotated[list["Order"], "Order"],
    ) -> dict[str, "Order"]: ...

    signature = read(f)
    assert [param.type for param in signature.params] == [
        list[Order],
        Callable[[Order], Order],
        Order | None,
        Literal["Order"],
        list[Order],
    ]
    assert signature.params[4].annotation == Annotated[list[Order], "Order"]
    assert signature.returns == dict[str, Order]


def test_local_names():
    """Strings are read in the names of the functions around, which come before those of the module."""

    class Order: ...

    def around():
        class Line: ...

        class Work:
            def __call__(self, line: "Line", order: "Order") -> "list[Line]": ...

        def f(line: "Line", order: "Order", ctx: "TaskContext") -> "Line": ...

        return Line, types_of(f), types_of(Work())

    line, of_function, of_object = around()
    assert of_function == {"line": line, "order": Order, "ctx": TaskContext}
    assert of_object == {"line": line, "order": Order}


def test_local_names_are_only_collected_if_needed():
    """Nothing is kept alive for a function whose annotations need no names, or whose surroundings are gone."""

    def make():
        def f(a: "Gone") -> int: ...  # noqa: F821 - gone

        return f

    def g(a: int) -> int: ...

    assert (dict(local_names(g)), dict(local_names(plain)), dict(local_names(len))) == ({}, {}, {})
    assert "Gone" not in local_names(make())


@pytest.mark.parametrize(
    ("annotation", "expected"),
    [
        # A name that is not there: the type is unknown, and stays what was written.
        ("Missing", "Missing"),
        ("list[Missing]", "list[Missing]"),
        ("Missing | None", "Missing | None"),
        ("1 +", "1 +"),
        ("1 / 0", "1 / 0"),
        # A string that means itself, or another one that means itself.
        ("word", "word"),
        ("other", "other"),
    ],
)
def test_what_cannot_be_resolved(annotation, expected):
    """An annotation that nobody can read stays a string, which is no error."""

    def f(a): ...

    f.__annotations__ = {"a": annotation}
    f = types.FunctionType(f.__code__, {"word": "word", "other": "word"}, "f")
    f.__annotations__ = {"a": annotation}
    signature = read(f)
    assert signature.params[0].type == expected
    assert not is_resolved(signature)


def test_a_part_that_cannot_be_resolved():
    """An annotation is left as it is if a string within it cannot be read."""

    def f(a: list["Missing"]) -> None: ...  # noqa: F821 - missing

    assert read(f).params[0].type == list["Missing"]  # noqa: F821 - missing


@pytest.mark.parametrize(
    "written",
    [
        "Session",
        "orm.Session",
        "orm.Session[int]",
        "Session | None",
        "None | Session",
    ],
)
def test_marks_beside_an_unknown_type(written):
    """A dependency is found although its type is imported for type checkers only."""
    names = run(f"def f(db: Annotated[{written}, Depends(get)]): ...")
    names |= {"Annotated": Annotated, "Depends": Depends, "get": plain}
    signature = read(names["f"])
    assert (signature.params[0].role, signature.params[0].marker) == (Role.INJECTED, Depends(plain))
    assert not is_resolved(signature)


@pytest.mark.parametrize(
    "written",
    [
        "Annotated[int, Depends(missing)]",  # a mark that is not known itself
        "missing.__wrapped__",  # names with underscores are for Python's own questions
        "Annotated",
    ],
)
def test_marks_that_are_unknown(written):
    """Marks are only taken from what can be read."""
    names = run(f"def f(db: {written}): ...")
    if written != "Annotated":
        names |= {"Annotated": Annotated, "Depends": _call}
    assert read(names["f"]).params[0].annotation == written


def _call(value: object) -> object:
    """Stand in for a `Depends` that wants to call what it is given."""
    return value()


def test_metadata():
    """`Annotated` is taken off, however deep; the innermost metadata comes first."""
    nested = Annotated[Annotated[int, "inner"], "outer"]
    assert strip_annotated(nested) == (int, ("inner", "outer"))
    assert strip_annotated(list[nested]) == (list[nested], ())


def test_aliases_by_hand():
    """`TypeAliasType` is looked through: plain, generic, and what it says in `Annotated`."""
    T = typing_extensions.TypeVar("T")
    simple = typing_extensions.TypeAliasType("simple", Annotated[int, "a"])
    generic = typing_extensions.TypeAliasType("generic", Annotated[list[T], "b"], type_params=(T,))
    assert strip_annotated(Annotated[simple, "c"]) == (int, ("a", "c"))
    assert strip_annotated(generic[str]) == (list[str], ("b",))
    assert strip_annotated(generic) == (list[T], ("b",))
    # With more in its brackets than it has parameters, nobody can say what it stands for.
    assert strip_annotated(generic[str, int]) == (generic[str, int], ())


@new_in_312
def test_type_statements():
    """`type X = ...` is looked through; what it stands for is read when it is needed, and may not be there."""
    names: dict[str, Any] = {"Annotated": Annotated, "Depends": Depends, "plain": plain}
    exec(
        "type Dep = Annotated[Later, Depends(plain)]\n"
        "type Pair[T] = tuple[T, T]\n"
        "type Gone = list[Missing]\n"
        "def f(a: Dep, b: Pair[int], c: Gone): ...\n"
        "def g[T](a: T, b: 'T', c: list['T']) -> T: ...\n"
        "class Later: ...",
        names,
    )
    a, b, c = read(names["f"]).params
    assert (a.type, a.role, b.type) == (names["Later"], Role.INJECTED, tuple[int, int])
    assert c.type is names["Gone"]
    generic = read(names["g"])
    (of,) = names["g"].__type_params__
    assert ([p.type for p in generic.params], generic.returns) == ([of, of, list[of]], of)


# ----------------------------------------------------------------------------------------------------------------------
# Who fills a parameter
# ----------------------------------------------------------------------------------------------------------------------

got = Depends(plain)
first = From("first")


@pytest.mark.parametrize(
    ("annotation", "default", "role", "left"),
    [
        (int, EMPTY, Role.VALUE, EMPTY),
        (int, 3, Role.VALUE, 3),
        (EMPTY, None, Role.VALUE, None),
        # FastAPI's, in both spellings; a default beside the mark is one.
        (Annotated[int, got], EMPTY, Role.INJECTED, EMPTY),
        (int, got, Role.INJECTED, EMPTY),
        (Annotated[int, got], None, Role.INJECTED, None),
        (Annotated[int, Security(plain)], EMPTY, Role.INJECTED, EMPTY),
        (Annotated[str, Header()], EMPTY, Role.INJECTED, EMPTY),
        (Request, EMPTY, Role.INJECTED, EMPTY),
        (BackgroundTasks, EMPTY, Role.INJECTED, EMPTY),
        # What the run gives, by type; a None beside it is for those who call the function.
        (Run, EMPTY, Role.RUN, EMPTY),
        (TaskContext, EMPTY, Role.CONTEXT, EMPTY),
        (TaskContext | None, None, Role.CONTEXT, None),
        (Annotated[Progress, "of the task"], EMPTY, Role.PROGRESS, EMPTY),
        (Run | int, EMPTY, Role.VALUE, EMPTY),
        (None, EMPTY, Role.VALUE, EMPTY),
        # A reference comes before all others.
        (Annotated[int, first], EMPTY, Role.REFERENCE, EMPTY),
        (int, first, Role.REFERENCE, EMPTY),
        (Annotated[int, got, first], 3, Role.REFERENCE, 3),
        (Annotated[Run, first], EMPTY, Role.REFERENCE, EMPTY),
    ],
)
def test_roles(annotation, default, role, left):
    """Who fills a parameter is decided by its marks, its type and its default, in this order of weight."""

    def f(a): ...

    f.__annotations__ = {} if annotation is EMPTY else {"a": annotation}
    f.__defaults__ = None if default is EMPTY else (default,)
    (param,) = read(f).params
    assert (param.role, param.default) == (role, left)
    assert (param.reference, param.marker is None) == (
        "first" if role is Role.REFERENCE else None,
        role is not Role.INJECTED,
    )


@pytest.mark.parametrize(
    ("annotation", "type_", "accepts", "outcomes", "collects"),
    [
        (int, int, SUCCEEDED_ONLY, set(), False),
        (int | None, int | None, SUCCEEDED_ONLY, set(), False),
        (None, None, SUCCEEDED_ONLY, set(), False),
        (Outcome[int], int, ANY_OUTCOME, ANY_OUTCOME, False),
        (Annotated[Outcome[int], "noted"], int, ANY_OUTCOME, ANY_OUTCOME, False),
        (Succeeded[int], int, {"succeeded"}, {"succeeded"}, False),
        (Succeeded, Any, {"succeeded"}, {"succeeded"}, False),
        (Failed, Any, {"failed"}, {"failed"}, False),
        (Failed | Skipped, Any, {"failed", "skipped"}, {"failed", "skipped"}, False),
        (Union[Succeeded[int], Failed], int, RAN, RAN, False),  # noqa: UP007 - another class of union
        # None stands for everything else.
        (Failed | None, Any, ANY_OUTCOME, {"failed"}, False),
        (Optional[Succeeded[int]], int, ANY_OUTCOME, {"succeeded"}, False),  # noqa: UP045 - another class of union
        (Outcome[int] | None, int, ANY_OUTCOME, ANY_OUTCOME, False),
        # Items of a fan-out; the fan-out as a whole must have run.
        (list[Outcome[int]], int, RAN, ANY_OUTCOME, True),
        (list[Annotated[Outcome[int], "noted"]], int, RAN, ANY_OUTCOME, True),
        (list[Failed], Any, RAN, {"failed"}, True),
        (list[int], list[int], SUCCEEDED_ONLY, set(), False),
        (list, list, SUCCEEDED_ONLY, set(), False),
        # A union with anything else is a type like any other, and so are lists that may be none, or hold none.
        (int | Failed, int | Failed, SUCCEEDED_ONLY, set(), False),
        (list[Failed] | None, list[Failed] | None, SUCCEEDED_ONLY, set(), False),
        (list[Failed | None], list[Failed | None], SUCCEEDED_ONLY, set(), False),
    ],
)
def test_tolerance(annotation, type_, accepts, outcomes, collects):
    """The type of a parameter says which outcomes of its producer it takes, and how."""

    def f(a): ...

    f.__annotations__ = {"a": annotation}
    (param,) = read(f).params
    assert (param.type, param.accepts, param.outcomes, param.collects) == (type_, accepts, outcomes, collects)


def test_named_references():
    """What `From(...)` names is known before any string is read, from defaults and annotations."""

    def f(a: Annotated[int, From("one")], b: "Missing", c: int = From("two"), *, d: int = From("three"), e=1): ...  # noqa: F821

    assert list(named_references(f)) == ["two", "three", "one"]
    assert list(named_references(len)) == []


def test_a_forward_reference_that_resolves():
    """A `ForwardRef` is a string to be read."""

    def f(a): ...

    f.__annotations__ = {"a": ForwardRef("Order")}
    assert read(f).params[0].type is Order
