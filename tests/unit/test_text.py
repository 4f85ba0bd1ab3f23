"""Strings that errors are made of."""

import collections.abc
import textwrap
import typing
from typing import Annotated, Any, Generic, Literal, NewType, Optional, TypeVar, Union

import pytest

from fastapi_chain import _text
from fastapi_chain.spec import EMPTY

T = TypeVar("T")
OrderId = NewType("OrderId", int)


class Order:
    """A class with one inside it."""

    class Line:
        """The class inside."""


class Page(Generic[T]):
    """A generic class."""


@pytest.mark.parametrize(
    ("annotation", "text"),
    [
        (int, "int"),
        (None, "None"),
        (type(None), "None"),
        (EMPTY, ""),  # no annotation
        (..., "..."),
        (Any, "Any"),
        (T, "T"),
        (OrderId, "OrderId"),  # the user's own word, not `int`
        (Order.Line, "Order.Line"),
        (int | None, "int | None"),
        (Optional[int], "int | None"),  # noqa: UP045 - the old spelling is shown in the new one
        (Union[int, str], "int | str"),  # noqa: UP007 - as above
        (list[int], "list[int]"),
        (list[Order.Line | None], "list[Order.Line | None]"),
        (dict[str, list[int]], "dict[str, list[int]]"),
        (typing.List[int], "list[int]"),  # noqa: UP006 - as above
        (typing.List, "list"),  # noqa: UP006 - it has an origin, but no arguments
        (tuple[int, ...], "tuple[int, ...]"),
        (tuple[()], "tuple[()]"),
        (Page[int], "Page[int]"),
        (type[int], "type[int]"),
        (Literal["a", 1], "Literal['a', 1]"),
        (Annotated[int, "cents"], "int"),
        (list[Annotated[int, "cents"]], "list[int]"),
        (collections.abc.Callable[[int, str], None], "Callable[[int, str], None]"),
        (collections.abc.Callable[..., int], "Callable[..., int]"),
        ("Payment", "Payment"),  # a name that cannot be resolved stays a string
        (list["Payment"], "list[Payment]"),  # noqa: F821 - on purpose
        (typing.List["Payment"], "list[Payment]"),  # noqa: F821, UP006 - here it is a ForwardRef
        (typing.LiteralString, "LiteralString"),
        (3, "3"),  # no type at all
    ],
)
def test_type_name(annotation, text):
    """An annotation is written with short names, as in the newest syntax and without what `Annotated` adds."""
    assert _text.type_name(annotation) == text


def test_type_names_of_local_classes():
    """A class inside a function is called by its own name, as long as it is the only one of that name."""

    class Line:
        pass

    assert _text.type_name(Line) == "Line"
    assert _text.type_names(Line, list[Order.Line]) == ("Line", "list[Order.Line]")


def test_type_names_tell_namesakes_apart():
    """Only the names that two classes share get their modules."""
    one, other = type("Line", (), {"__module__": "shop"}), type("Line", (), {"__module__": "stock"})

    assert _text.type_names(list[one], other | None, Order) == ("list[shop.Line]", "stock.Line | None", "Order")
    assert _text.type_names(one, one) == ("Line", "Line")


def test_columns():
    """Every column is as wide as its widest cell, and no line ends in blanks."""
    rows = [("wanted by", "ship", "shop/tasks.py:51"), ("provided by", "the endpoint"), ("so", "lines", "x:1")]

    assert "\n".join(_text.columns(rows)) == textwrap.dedent("""\
        wanted by     ship           shop/tasks.py:51
        provided by   the endpoint
        so            lines          x:1""")


def test_columns_of_nothing():
    """No rows are no lines."""
    assert _text.columns([]) == []


@pytest.mark.parametrize(
    ("names", "picture"),
    [
        ("a", ["a"]),  # one needs no picture
        ("ab", ["╭─>   a", "╰─<   b"]),
        ("abcd", ["╭─>   a", "│     b", "│     c", "╰─<   d"]),
    ],
)
def test_cycle(names, picture):
    """A circle is drawn on the left, from its first row to its last."""
    assert _text.columns(_text.cycle([(name,) for name in names])) == picture


@pytest.mark.parametrize(
    ("name", "known", "near"),
    [
        ("reciept_id", ["order_id", "receipt_id"], "receipt_id"),
        ("payment", ["order_id"], None),
        ("payment", [], None),
        # One letter wrong, less, more, swapped; the nearest of several.
        ("raw", ["row"], "row"),
        ("raw", ["rw"], "rw"),
        ("raw", ["raws"], "raws"),
        ("raw", ["arw"], "arw"),
        ("retrys", ["retries", "retry"], "retry"),
        # Two in a long name, but not three, and not one in a very short one.
        ("charge_card", ["charge_cars_", "harge_car"], "charge_cars_"),
        ("charge_card", ["harge_carts"], None),
        ("db", ["dc"], None),
        # Names that have a word in common are no slips.
        ("order_id", ["order", "user_id", "id", "orders"], None),
    ],
)
def test_closest(name, known, near):
    """The nearest name is found, unless none is near."""
    assert _text.closest(name, known) == near


@pytest.mark.parametrize(("names", "text"), [("a", "'a'"), ("ab", "'a' and 'b'"), ("abc", "'a', 'b' and 'c'")])
def test_quoted(names, text):
    """Names are quoted and joined as in a sentence."""
    assert _text.quoted(names) == text


@pytest.mark.parametrize(
    ("names", "text"),
    [
        ("", "nothing"),
        ("a", "a"),
        ("ab", "a, b"),
        ("a" * 50, ", ".join("a" * 50)),
        ("a" * 52, f"{', '.join('a' * 50)} and 2 more"),
    ],
)
def test_listed(names, text):
    """Names are joined by commas; none are nothing, and of very many the first are told."""
    assert _text.listed(names) == text


@pytest.mark.parametrize(("count", "text"), [(0, "0 tasks"), (1, "1 task"), (2, "2 tasks")])
def test_counted(count, text):
    """Only one is singular."""
    assert _text.counted(count, "task") == text


@pytest.mark.parametrize(
    ("value", "text"), [(30.0, "30 s"), (0.5, "0.5 s"), (3600, "3600 s"), (0.0114414, "0.0114 s"), (1234.5, "1234 s")]
)
def test_seconds(value, text):
    """Seconds are written without needless digits."""
    assert _text.seconds(value) == text


@pytest.mark.parametrize(("annotation", "text"), [("int", "line: int"), ("", "line")])
def test_declared(annotation, text):
    """A parameter is written as in a signature."""
    assert _text.declared("line", annotation) == text


@pytest.mark.parametrize(
    ("text", "width", "short"),
    [
        ("one\n  two", 10, "one two"),  # always one line
        ("0123456789", 10, "0123456789"),  # just fits
        ("0123456789a", 10, "01234…789a"),
        ("0123456789ab", 9, "0123…89ab"),
    ],
)
def test_shortened(text, width, short):
    """A text that is too long keeps its two ends, on one line."""
    assert _text.shortened(text, width) == short


def test_short_repr():
    """A repr is shortened, and one that raises is replaced by the type."""

    class Broken:
        def __repr__(self) -> str:
            raise RuntimeError

    assert _text.short_repr(list(range(99)), 20) == "[0, 1, 2, …, 97, 98]"
    assert _text.short_repr(Broken()) == "<Broken object>"
