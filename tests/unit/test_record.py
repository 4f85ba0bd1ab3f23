"""Records: values by keyword, as dataclasses have them."""

import copy
import dataclasses
import pickle

import pytest

from fastapi_chain._record import record


@record
class Point:
    """A place."""

    x: int
    y: int = 0
    tags: list[str] = dataclasses.field(default_factory=list)


@record(eq=False)
class Named:
    """Equal only to itself."""

    name: str
    shown: str = ""

    def __post_init__(self) -> None:
        self.__dict__["shown"] = self.shown or self.name.title()

    def __repr__(self) -> str:
        return f"<{self.shown}>"


@record(eq=False, frozen=False)
class Wrong(Exception):
    """An error with values."""

    place: str

    def __str__(self) -> str:
        return f"wrong at {self.place}"


def test_defaults_stand_in() -> None:
    """What is not given has its default, and each record a new one where a factory makes it."""
    first, second = Point(x=1), Point(x=1)
    assert (first.x, first.y, first.tags) == (1, 0, [])
    assert first.tags is not second.tags
    assert Point(x=1, y=2, tags=["a"]).tags == ["a"]
    assert Point(x=1, tags=["a"]).tags == ["a"]


def test_equal_values_make_equal_records() -> None:
    """Records compare and hash by their values, and never equal a record of another class."""
    assert Point(x=1) == Point(x=1, y=0)
    assert Point(x=1) != Point(x=2)
    assert Point(x=1) != (1, 0, [])
    assert hash(record(type("P", (), {"__annotations__": {"a": int}}))(a=1))


def test_identity_where_asked() -> None:
    """With eq=False a record equals only itself."""
    assert Named(name="a") != Named(name="a")
    assert len({Named(name="a"), Named(name="a")}) == 2


def test_records_are_frozen() -> None:
    """A value cannot be changed or removed."""
    point = Point(x=1)
    with pytest.raises(dataclasses.FrozenInstanceError, match="cannot change 'x' of a Point"):
        point.x = 2  # type: ignore[misc]
    with pytest.raises(dataclasses.FrozenInstanceError, match="cannot change 'x' of a Point"):
        del point.x


@pytest.mark.parametrize(
    ("given", "complaint"),
    [
        ({}, "Point.__init__() missing 1 required keyword-only argument: 'x'"),
        ({"x": 1, "elsewhere": 2}, "Point.__init__() got an unexpected keyword argument 'elsewhere'"),
        (
            {"x": 1, "y": 1, "tags": [], "elsewhere": 2},
            "Point.__init__() got an unexpected keyword argument 'elsewhere'",
        ),
    ],
)
def test_wrong_keywords(given: dict[str, object], complaint: str) -> None:
    """A missing or unknown name is the TypeError that Python has for any function; the first record is no exception."""
    with pytest.raises(TypeError) as caught:
        Point(**given)  # type: ignore[arg-type]
    assert str(caught.value) == complaint


def test_repr_and_post_init() -> None:
    """The repr shows all values unless the class has its own; `__post_init__` may prepare values."""
    assert repr(Point(x=1)) == "Point(x=1, y=0, tags=[])"
    assert repr(Named(name="ann")) == "<Ann>"


def test_dataclass_tools_know_records() -> None:
    """`dataclasses` and the copying modules take a record for a dataclass."""
    point = Point(x=1, tags=["a"])
    assert dataclasses.asdict(point) == {"x": 1, "y": 0, "tags": ["a"]}
    assert dataclasses.replace(point, y=5) == Point(x=1, y=5, tags=["a"])
    assert pickle.loads(pickle.dumps(point)) == point
    assert copy.deepcopy(point) == point


def test_errors_may_be_records() -> None:
    """An exception keeps its own text and can take notes."""
    error = Wrong(place="here")
    error.place = "there"
    assert str(error) == "wrong at there"
    assert repr(error) == "Wrong()"


@record(kw_only=False, slots=True)
class Outcome:
    """Given by place, and matched so."""

    value: int
    note: str = dataclasses.field(default="", compare=False)


@record
class Empty:
    """A record of nothing."""


def test_values_by_place() -> None:
    """With kw_only=False values are given and matched by place."""
    match Outcome(1, "why"):
        case Outcome(value, note):
            assert (value, note) == (1, "why")
    assert Outcome(1, "why") == Outcome(1)
    assert Outcome.__match_args__ == ("value", "note")
    assert Empty() == Empty()


def test_slots_are_copied() -> None:
    """A record with slots has no room for more, and survives pickling and copying although it is frozen."""
    outcome = Outcome(1, "why")
    assert not hasattr(outcome, "__dict__")
    assert [copied.note for copied in (pickle.loads(pickle.dumps(outcome)), copy.deepcopy(outcome))] == ["why", "why"]
    assert dataclasses.replace(outcome, value=2) == Outcome(2)


def test_init_is_compiled_once() -> None:
    """The first record of a class gives the class an `__init__` of its own, which its subclasses inherit."""
    waiting = Late.__init__
    assert Later(x=1).x == 1
    compiled = Late.__init__
    assert compiled is not waiting
    assert Late(x=2).x == 2
    assert Late.__init__ is compiled
    waiting(late := Late(x=3), x=4)  # what another thread does that was a moment later
    assert late.x == 4


@record(eq=False)
class Late:
    """Nobody has made one yet."""

    x: int


class Later(Late):
    """A class that is no record itself."""
