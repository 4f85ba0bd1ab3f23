"""Whether a task returned what its annotation says."""

import dataclasses
import datetime as dt
import types
from collections.abc import AsyncIterator, Awaitable, Iterator
from typing import Annotated, Any, Literal, NamedTuple, Never, NoReturn, Protocol, TypedDict, TypeVar

import pytest
from pydantic import AnyUrl, BaseModel, ConfigDict, Field, PastDate, RootModel, SkipValidation, model_validator

from fastapi_chain import OutputValidationError
from fastapi_chain.execute.validate import Unchecked, check_of, exact_type
from fastapi_chain.spec import EMPTY, Source

TASK = Source(name="t", file="shop.py", line=3)
T = TypeVar("T")


class Order(BaseModel):
    lines: list[int]


class Special(Order):
    discount: int = 0


class Page(BaseModel):
    """A model with a validator around the whole of it."""

    n: int

    @model_validator(mode="after")
    def positive(self) -> "Page":
        if self.n < 0:
            raise ValueError("negative")
        return self


class Looked(BaseModel):
    """A model that looks at its instances again."""

    model_config = ConfigDict(revalidate_instances="always")
    n: int


class Tree(BaseModel):
    """A model that refers to itself."""

    branches: "list[Tree]" = []


class Unfinished(BaseModel):
    """A model with a field whose type is nowhere to be found."""

    field: "Nowhere"  # type: ignore[name-defined]  # noqa: F821


class Cat(BaseModel):
    kind: Literal["cat"]


class Dog(BaseModel):
    kind: Literal["dog"]


class Point(NamedTuple):
    x: int


class Row:
    """An ORM class, say: pydantic knows nothing of it."""


async def rows() -> AsyncIterator[int]:
    """An iterator that nobody looks into."""
    yield 1


class Talks(Protocol):
    def talk(self) -> None: ...


@dataclasses.dataclass
class Shelf:
    row: Row
    n: int


class Box(TypedDict):
    row: Row


class Unhashable:
    """Metadata that cannot be hashed."""

    __hash__ = None  # type: ignore[assignment]

    def __eq__(self, other: object) -> bool:
        return self is other


class Odd(type):
    """A class that refuses to be asked."""

    def __instancecheck__(cls, instance: object) -> bool:
        raise TypeError


class Refuses(Iterator[int], metaclass=type("M", (Odd, type(Iterator)), {})):  # type: ignore[misc]
    """An iterator whose class refuses to be asked."""

    def __next__(self) -> int:
        raise StopIteration


RIGHT = [
    # annotation, a value that is right
    (int, 1),
    (float, 1),  # as in pydantic's strict mode
    (str | None, None),
    (list[int], [1, 2]),
    (tuple[int, ...], (1,)),
    (Literal["a"], "a"),
    (Annotated[int, Field(gt=0)], 3),
    (Annotated[int, SkipValidation], "x"),
    (Annotated[int, Unhashable()], 1),
    (Order, Order(lines=[1])),
    (Order, Special(lines=[1])),  # a subclass
    (Order | None, None),
    (list[Order], [Order(lines=[1]), Special(lines=[2])]),
    (dict[str, tuple[Order, int]], {"a": (Order(lines=[]), 1)}),
    (Looked, Looked(n=1)),
    (Tree, Tree(branches=[Tree()])),
    (list[Tree], [Tree(branches=[Tree()])]),
    (Point, Point(1)),
    (Annotated[Cat | Dog, Field(discriminator="kind")], Dog(kind="dog")),
    (complex, 1.5),
    (Unfinished, Unfinished.model_construct()),
    (list[Unfinished], [1]),
    (PastDate, dt.date(2020, 1, 1)),  # the annotation of a date, not its class
    (Page, Page(n=1)),
    (Row, Row()),  # told by isinstance
    (list[Row], [Row()]),
    (Shelf, Shelf(Row(), 1)),
    (Box, {"row": Row()}),
    (list[Box], [{"row": Row()}]),  # pydantic wants the TypedDict of typing_extensions before Python 3.12
    (Talks, object()),  # a protocol that cannot be asked
    (list[Talks], [object()]),
    (Talks | None, object()),
    (T, 3),
    (Any, object()),
    (EMPTY, object()),
    (NoReturn, object()),
    (Never, object()),
    ("Missing", object()),  # a name that could not be resolved
    (list["Missing"], [1]),  # type: ignore[name-defined]  # noqa: F821
    (Iterator[int], iter([1])),  # not consumed
    (AsyncIterator[int], rows()),
    (Refuses, iter([1])),
    (type(None), None),
    (None, None),
]

WRONG = [
    # annotation, a value that is wrong, what is said of it
    (list[Order], [{"lines": [1]}], "0: Input should be an instance of Order"),
    (Order | None, {"lines": [1]}, "Input should be an instance of Order"),
    (Special, Order(lines=[1]), "Input should be an instance of Special"),
    (Looked, Looked.model_construct(n="x"), "n: Input should be a valid integer"),
    (Looked, {"n": 1}, "Input should be an instance of Looked"),
    (Tree, {"branches": []}, "Input should be an instance of Tree"),
    (Annotated[Cat | Dog, Field(discriminator="kind")], {"kind": "dog"}, "dog: Input should be an instance of Dog"),
    (Unfinished, 1, None),
    (Point, (1,), None),  # pydantic would make one of it
    (AnyUrl, "https://a.b", None),
    (int, "1", "Input should be a valid integer"),
    (int, True, "Input should be a valid integer"),
    (list[int], [1, "2"], "1: Input should be a valid integer"),
    (Order, {"lines": [1]}, "Input should be an instance of Order"),
    (Annotated[int, Field(gt=0)], -3, "Input should be greater than 0"),
    (Annotated[int, Unhashable()], "x", "Input should be a valid integer"),
    (Row, object(), "Input should be an instance of Row"),
    (list[Talks], {1}, None),
    (Iterator[int], [1], None),
    (Awaitable[int], 1, None),
    (None, 3, "Input should be None"),
]


@pytest.mark.parametrize(("annotation", "value"), RIGHT, ids=lambda item: str(item)[:30])
def test_right_values_pass(annotation: object, value: object):
    """Strictly, without coercion, and without a look where a look would use up or break something."""
    check_of(annotation, TASK)(value)
    if isinstance(value, types.GeneratorType | type(iter([]))):
        assert next(value) == 1


@pytest.mark.parametrize(("annotation", "value", "complaint"), WRONG, ids=lambda item: str(item)[:30])
def test_wrong_values_are_refused(annotation: object, value: object, complaint: str | None):
    """With an error that says what was returned, what was wanted, and what pydantic complains of."""
    check = check_of(annotation, TASK)
    with pytest.raises(OutputValidationError) as caught:
        check(value)
    assert caught.value.complaints == (() if complaint is None else (complaint,))
    assert str(caught.value).startswith("Task 't' returned ")
    assert caught.value.__cause__ is None
    with pytest.raises(OutputValidationError):
        check(value)


EXACT = [
    # annotation, the type that needs no further look
    (int, int),
    (None, types.NoneType),
    (Order, Order),
    (Page, Unchecked),
    (Looked, Unchecked),
    (RootModel[int], RootModel[int]),
    (Tree, Tree),
    (list[int], Unchecked),
    (int | None, Unchecked),
    (Row, Unchecked),
    (Unfinished, Unchecked),
    (EMPTY, Unchecked),
    ("Missing", Unchecked),
]


@pytest.mark.parametrize(("annotation", "exact"), EXACT, ids=lambda item: str(item)[:30])
def test_the_type_that_needs_no_look(annotation: object, exact: type):
    """Where nothing can be wrong with an instance of just that class; a validator around a model must see every value."""
    assert exact_type(annotation) is exact
