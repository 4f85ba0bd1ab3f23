"""Values as JSON text: equal when they come back, or refused."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from enum import Enum
from pathlib import Path
from typing import Annotated, Any, NamedTuple
from uuid import UUID

import pytest
from pydantic import BaseModel, Field
from typing_extensions import TypedDict

from fastapi_chain._serialize import Unstorable, codec_of
from fastapi_chain.spec import EMPTY


class Color(Enum):
    RED = "red"


@dataclass
class Point:
    x: int
    names: tuple[str, ...] = ()


class Order(BaseModel):
    number: int
    kind: str = Field(default="", alias="Kind")
    raw: bytes = b""


class Special(Order):
    discount: int


class Pair(NamedTuple):
    a: int
    b: str


class Options(TypedDict):
    loud: bool


class Odd:
    """It cannot be compared."""

    def __eq__(self, other: object) -> bool:
        raise ValueError("do not compare me")

    __hash__ = None  # type: ignore[assignment]


STORED = [
    (int, 1, "1"),  # plain JSON
    (None, None, "null"),  # a task that returns nothing
    (str, "é", '"é"'),  # not escaped
    (float, 1, "1.0"),  # an int where a float is declared
    (float, float("inf"), "Infinity"),  # no JSON, but pydantic's
    (bytes, b"\xff\x00", '"_wA="'),  # no text
    (datetime, datetime(2026, 1, 2, 3, 4, 5, 6, UTC), '"2026-01-02T03:04:05.000006Z"'),
    (timedelta, timedelta(seconds=90), '"PT1M30S"'),
    (Decimal, Decimal("1.50"), '"1.50"'),
    (UUID, UUID(int=1), '"00000000-0000-0000-0000-000000000001"'),
    (Path, Path("/a"), '"/a"'),
    (Color, Color.RED, '"red"'),
    (Color | None, None, "null"),
    (int | str, "1", '"1"'),  # a union keeps the type
    (Point, Point(1, ("a",)), '{"x":1,"names":["a"]}'),
    (Order, Order(number=1, Kind="k", raw=b"r"), '{"number":1,"Kind":"k","raw":"r"}'),  # by alias, as it is read
    (list[Order], [Order(number=1)], '[{"number":1,"Kind":"","raw":""}]'),
    (set[int], {1}, "[1]"),
    (dict[int, str], {1: "a"}, '{"1":"a"}'),  # keys come back as numbers
    (tuple[int, ...], (1, 2), "[1,2]"),
    (Pair, Pair(1, "b"), '[1,"b"]'),
    (Options, {"loud": True}, '{"loud":true}'),
    (Annotated[int, Field(gt=0)], 3, "3"),
    (Annotated[int, {}], 3, "3"),  # an annotation that cannot be hashed
    (EMPTY, {"a": [1, 2.5, None, True, "x"]}, '{"a": [1, 2.5, null, true, "x"]}'),  # without an annotation: plain JSON
    (Any, [1], "[1]"),
    ("Unknown", 1, "1"),  # a name that nobody can resolve says nothing
]


@pytest.mark.parametrize(("annotation", "value", "text"), STORED)
def test_what_comes_back_equal(annotation: Any, value: object, text: str):
    """It is stored as text, and read again as what it was."""
    codec = codec_of(annotation)
    assert codec.dump(value) == text
    loaded = codec.load(text)
    assert loaded == value
    assert annotation is float or type(loaded) is type(value)


REFUSED = [
    # A subclass with more fields than the annotation.
    (Order, Special(number=1, discount=2), Special, "it does not come back equal from JSON", "result"),
    # Bytes in a model, where pydantic wants text.
    (Order, Order(number=1, raw=b"\xff"), Order, "Error serializing to JSON: invalid utf-8 sequence", "result"),
    # Not a number is not equal to itself.
    (float, float("nan"), float, "it does not come back equal from JSON", "result"),
    (list, [(1, 2)], list, "it does not come back equal from JSON", "result"),
    (list, [object()], list, "Unable to serialize unknown type: <class 'object'>", "result"),
    # It is read again, but says nothing to the type.
    (Path, "x", str, "", "result"),
    # Without an annotation, only what JSON knows itself, and the place is told.
    (EMPTY, {"a": [1, (2,)]}, tuple, "without an annotation only plain JSON values can be stored", "result['a'][1]"),
    (EMPTY, {1: 2}, dict, "without an annotation only plain JSON values can be stored", "result"),
    (EMPTY, Color.RED, Color, "without an annotation only plain JSON values can be stored", "result"),
]


@pytest.mark.parametrize(("annotation", "value", "kind", "reason", "where"), REFUSED)
def test_what_does_not(annotation: Any, value: object, kind: type, reason: str, where: str):
    """It is refused, with the reason and the part that is to blame."""
    with pytest.raises(Unstorable) as caught:
        codec_of(annotation).dump(value)
    assert caught.value.reason.startswith(reason)
    assert (caught.value.type, caught.value.where) == (kind, where)


@pytest.mark.parametrize("annotation", [Iterator[int], Odd, list[Odd]])
def test_types_of_which_no_value_can_be_stored(annotation: Any):
    """It is known from the annotation alone."""
    with pytest.raises(Unstorable):
        codec_of(annotation)


def test_a_value_that_cannot_be_compared():
    """Then nobody knows whether it would come back as it was."""

    class Model(BaseModel):
        x: int

        def __eq__(self, other: object) -> bool:
            raise ValueError("do not compare me")

        __hash__ = None  # type: ignore[assignment]

    with pytest.raises(Unstorable, match="it cannot be read again: do not compare me"):
        codec_of(Model).dump(Model(x=1))


def test_an_annotation_that_pydantic_refuses():
    """What pydantic says of a broken annotation is the reason."""
    with pytest.raises(Unstorable):
        codec_of(Annotated[int, Field(discriminator="x")])
