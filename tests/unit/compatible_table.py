"""Pairs of annotations and what `compatible` says about them, as source text: mypy reads the same table.

Each row: produced, wanted, the answer. `tests/property` crosses all annotations and compares with mypy.
"""

PRELUDE = """
import collections
import collections.abc
import dataclasses
import datetime
import decimal
import enum
import io
import os
import re
import types
import uuid
from collections.abc import (
    AsyncGenerator, AsyncIterator, Awaitable, Callable, Collection, Coroutine, Generator, Hashable, Iterable, Iterator,
    Mapping, Sequence, Sized,
)
from typing import (
    IO, Annotated, Any, Dict, Generic, List, Literal, NamedTuple, NewType, Optional, Protocol, SupportsInt, TextIO,
    Tuple, TypeVar, Union, runtime_checkable,
)
from pydantic import AwareDatetime, BaseModel, EmailStr, Field, RootModel
from typing_extensions import LiteralString, Never, NotRequired, TypeAliasType, TypedDict


class Item(BaseModel):
    x: int


class Sub(Item):
    y: int = 0


class Same(BaseModel):
    x: int


T = TypeVar("T")
S = TypeVar("S")


class Page(BaseModel, Generic[T]):
    items: list[T]


class IntPage(Page[int]): ...


class Rows(RootModel[list[int]]): ...


class Box(Generic[T]):
    v: T


class IntBox(Box[int]): ...


class Names(list[str]): ...


class Flipped(Generic[T, S], dict[S, list[T]]): ...


class Label(str): ...


UserId = NewType("UserId", int)
AdminId = NewType("AdminId", UserId)
OrderId = NewType("OrderId", int)
Ids = NewType("Ids", list[int])


class Color(enum.Enum):
    RED = 1
    BLUE = 2


class Shade(str, enum.Enum):
    DARK = "d"


class Movie(TypedDict):
    name: str


class Rated(TypedDict):
    name: str
    stars: int


class Renamed(TypedDict):
    name: int


class MaybeRated(TypedDict):
    name: str
    stars: NotRequired[int]


class HasSize(Protocol):
    size: int


class Closes(Protocol):
    def close(self) -> None: ...


@runtime_checkable
class Opens(Protocol):
    def open(self) -> None: ...


class Gets(Protocol[T]):
    def get(self) -> T: ...


class Calls(Protocol):
    def __call__(self, x: int) -> str: ...


class File:
    def close(self) -> None: ...
    def open(self) -> None: ...


class Explicit(Closes):
    def close(self) -> None: ...


class Getter(Gets[int]):
    def get(self) -> int:
        return 1


class Sizes:
    def __init__(self) -> None:
        self.size = 1


class Proxy:
    def __getattr__(self, name: str) -> Any: ...


class Nothing: ...


class Worker:
    def __call__(self, x: int) -> str:
        return ""


class Point(NamedTuple):
    a: int
    b: str


@dataclasses.dataclass
class Data:
    size: int


class Meta(type): ...


class WithMeta(metaclass=Meta): ...


class Anything(Any): ...


IntList = TypeAliasType("IntList", list[int])
Pair = TypeAliasType("Pair", tuple[T, T], type_params=(T,))
Flip = TypeAliasType("Flip", tuple[S, T], type_params=(T, S))
Json = TypeAliasType("Json", "dict[str, Json] | list[Json] | str | int | None")
Strict = Annotated[int, Field(gt=0)]
"""

PAIRS: list[tuple[str, str, bool | None]] = [
    # Plain classes, in and against the direction of inheritance.
    ("int", "int", True),
    ("int", "str", False),
    ("bool", "int", True),
    ("Sub", "Item", True),
    ("Item", "Sub", False),
    ("Item", "Same", False),  # equal fields do not make equal classes
    ("Data", "Data", True),
    ("Data", "Item", False),
    ("Label", "str", True),
    ("str", "Label", False),
    ("datetime.datetime", "datetime.date", True),
    ("decimal.Decimal", "float", False),
    ("str", "uuid.UUID", False),  # pydantic would convert; values are handed on as they are
    ("str", "datetime.date", False),
    # Numbers are promoted, as type checkers do.
    ("int", "float", True),
    ("bool", "float", True),
    ("int", "complex", True),
    ("float", "int", False),
    ("bytearray", "bytes", True),
    # Any, object, Never.
    ("int", "object", True),
    ("int", "Any", True),
    ("Any", "int", True),
    ("object", "int", False),
    ("Never", "int", True),
    ("Anything", "int", None),
    ("Anything", "Anything | int", True),
    ("Anything", "Callable[[int], str]", None),
    # None and unions.
    ("None", "None", True),
    ("None", "Item", False),
    ("None", "Optional[Item]", True),
    ("Item", "Optional[Item]", True),
    ("Optional[Item]", "Item", False),
    ("Item | None", "Item | str | None", True),
    ("Union[int, str]", "int", False),
    ("int", "Union[str, bytes]", False),
    ("int", "Union[str, T]", None),
    ("Union[int, T]", "int", None),
    # Containers.
    ("list[int]", "Sequence[int]", True),
    ("list[Sub]", "Sequence[Item]", True),
    ("list[Sub]", "list[Item]", True),  # lenient: a value that is handed on is not written to
    ("list[int]", "list[str]", False),
    ("list[int | None]", "list[int]", False),
    ("list[Any]", "list[int]", True),
    ("List[int]", "list[int]", True),
    ("list", "list[int]", None),
    ("list[int]", "list", True),
    ("list[int]", "Iterable[int]", True),
    ("list[int]", "Collection[str]", False),
    ("Sequence[int]", "list[int]", False),
    ("dict[str, int]", "Mapping[str, int]", True),
    ("dict[str, int]", "Mapping[str, str]", False),
    ("Dict[str, int]", "dict[str, int]", True),
    ("dict[str, list[Sub]]", "Mapping[str, Sequence[Item]]", True),
    ("dict[str, int]", "Iterable[str]", True),
    ("dict[str, int]", "Iterable[int]", False),
    ("set[int]", "frozenset[int]", False),
    ("set[int]", "Iterable[str]", False),
    ("collections.OrderedDict[str, int]", "Mapping[str, int]", True),
    ("collections.Counter[str]", "Mapping[str, int]", None),
    ("collections.deque[int]", "Sequence[int]", True),
    ("str", "Sequence[str]", True),
    ("str", "Sequence[int]", False),
    ("Label", "Iterable[str]", True),
    ("bytes", "Sequence[int]", True),
    ("range", "Sequence[int]", True),
    ("range", "Sequence[str]", False),
    ("Generator[int, None, str]", "Iterator[int]", True),
    ("Generator[int, None, str]", "Iterable[str]", False),
    ("AsyncGenerator[int, None]", "AsyncIterator[int]", True),
    ("Coroutine[Any, Any, int]", "Awaitable[int]", True),
    ("Coroutine[Any, Any, int]", "Awaitable[str]", False),
    ("Coroutine[Any, Any, int]", "Coroutine[Any, Any, int]", True),
    ("Awaitable[int]", "int", False),
    ("int", "Hashable", True),
    ("list[int]", "Sized", True),
    ("int", "Sized", False),
    ("Item", "Hashable", None),  # not at run time, but type checkers think so
    ("Proxy", "Sized", None),
    # Tuples.
    ("tuple[int, str]", "tuple[int, str]", True),
    ("tuple[int, str]", "tuple[int, ...]", False),
    ("tuple[int, int]", "tuple[int, ...]", True),
    ("tuple[int, ...]", "tuple[float, ...]", True),
    ("tuple[int, ...]", "tuple[int, int]", None),
    ("tuple[int, ...]", "tuple[str, str]", False),
    ("tuple[int, str]", "tuple[int]", False),
    ("tuple[int, int]", "Sequence[int]", True),
    ("tuple[int, str]", "Sequence[int]", False),
    ("tuple[int, ...]", "Iterable[str]", False),
    ("tuple", "tuple[int, str]", None),
    ("Tuple[int, str]", "tuple[int, str]", True),
    ("tuple[int, *tuple[str, ...]]", "tuple[int, str]", None),
    ("Point", "tuple[int, str]", True),
    ("Point", "tuple[int, int]", False),
    ("tuple[int, str]", "Point", False),
    # Annotated, aliases.
    ("Strict", "int", True),
    ("int", "Annotated[int, 'doc']", True),
    ("Annotated[int, 1]", "Annotated[int, 2]", True),
    ("Annotated[int, 1]", "str", False),
    ("list[Annotated[int, Field(gt=0)]]", "list[int]", True),
    ("list[Annotated[int, Field(gt=0)]]", "list[str]", False),
    ("IntList", "Sequence[int]", True),
    ("IntList", "list[str]", False),
    ("Pair[int]", "tuple[int, int]", True),
    ("Pair[int]", "tuple[int, str]", False),
    ("Flip[int, str]", "tuple[str, int]", True),  # parameters go by name, not in the order of their use
    ("Flip[int, str]", "tuple[int, str]", False),
    ("Json", "Json", True),
    ("str", "Json", None),  # an alias of text
    # NewType.
    ("UserId", "int", True),
    ("UserId", "float", True),
    ("UserId", "str", False),
    ("UserId", "UserId", True),
    ("AdminId", "UserId", True),
    ("AdminId", "int", True),
    ("UserId", "AdminId", False),
    ("UserId", "OrderId", False),
    ("int", "UserId", False),
    ("Ids", "Sequence[int]", True),
    # Literals and enums.
    ("Literal['a']", "str", True),
    ("Literal['a']", "Literal['a', 'b']", True),
    ("Literal['a', 'b']", "Literal['a']", False),
    ("Literal[1]", "str", False),
    ("Literal[1]", "Literal[True]", False),
    ("str", "Literal['a']", False),
    ("bool", "Literal['a']", False),
    ("bool", "Literal[True, False]", None),
    ("UserId", "Literal[1]", None),
    ("Literal[Color.RED]", "Color", True),
    ("Color", "Literal[Color.RED, Color.BLUE]", None),
    ("Shade", "str", True),
    ("str", "Shade", False),
    ("LiteralString", "str", True),
    # TypedDict.
    ("Movie", "Movie", True),
    ("Rated", "Movie", True),
    ("Movie", "Rated", False),
    ("Rated", "Renamed", False),
    ("Rated", "Hashable", None),
    ("MaybeRated", "Rated", None),
    ("Movie", "MaybeRated", None),  # a subclass may use the key for something else
    ("Rated", "Mapping[str, object]", None),
    ("Rated", "int", False),
    ("Rated", "dict[str, int]", None),
    ("Rated", "T", None),
    ("Rated", "UserId", False),
    ("dict[str, int]", "Rated", None),
    ("int", "Rated", False),
    ("Literal['a']", "Rated", False),
    ("Callable[[int], str]", "Rated", None),
    ("Gets[int]", "Rated", None),
    # Protocols.
    ("File", "Closes", True),
    ("File", "Opens", True),
    ("Explicit", "Closes", True),
    ("Nothing", "Closes", False),
    ("Nothing", "Opens", False),
    ("int", "Closes", False),
    ("Sizes", "HasSize", None),  # set in a method
    ("Data", "HasSize", None),
    ("Item", "HasSize", False),
    ("Nothing", "HasSize", False),
    ("Proxy", "Closes", None),
    ("types.SimpleNamespace", "HasSize", None),
    ("Getter", "Gets[int]", None),
    ("File", "Gets[int]", False),
    ("Worker", "Calls", True),
    ("Callable[[int], str]", "Calls", None),
    ("type[Item]", "Calls", None),
    ("list[int]", "Closes", False),
    ("int", "SupportsInt", True),
    # Generic classes.
    ("Page[int]", "Page[int]", True),
    ("IntPage", "Page[int]", True),
    ("IntPage", "Page[str]", False),
    ("Page[int]", "Page[str]", False),
    ("Page[Sub]", "Page[Item]", None),  # the variance of a class of the user's is not known
    ("Page[Item]", "Page[Sub]", None),
    ("Page[int]", "Page", True),
    ("Page", "Page[int]", None),
    ("Page[int]", "BaseModel", True),
    ("Page[int]", "Item", False),
    ("Rows", "BaseModel", True),
    ("Box[int]", "Box[int]", True),
    ("Box[int]", "Box[str]", False),
    ("Box[Item]", "Box[Sub]", None),
    ("IntBox", "Box[int]", True),
    ("IntBox", "Box[str]", False),
    ("Names", "Sequence[str]", True),
    ("Names", "list[int]", False),
    ("Flipped[int, str]", "dict[str, list[int]]", True),
    ("Flipped[int, str]", "dict[str, list[str]]", False),
    ("Flipped", "dict[str, list[int]]", True),
    # Functions.
    ("Callable[[int], str]", "Callable[[int], str]", True),
    ("Callable[[object], str]", "Callable[[int], str]", True),
    ("Callable[[int], str]", "Callable[[str], str]", False),
    ("Callable[[int], str]", "Callable[[int], int]", False),
    ("Callable[[int], str]", "Callable[[int, int], str]", False),
    ("Callable[[int], str]", "Callable[..., Any]", True),
    ("Callable[..., str]", "Callable[[int], str]", True),
    ("Callable[[int], str]", "Callable", True),
    ("Callable[[int], str]", "int", False),
    ("Callable[[int], str]", "Hashable", True),
    ("Worker", "Callable[[int], str]", None),
    ("Nothing", "Callable[[int], str]", False),
    ("int", "Callable[[int], str]", False),
    ("type[Item]", "Callable[..., Item]", None),
    ("Calls", "Callable[[int], str]", None),
    # Classes as values.
    ("type[Sub]", "type[Item]", True),
    ("type[Item]", "type[Sub]", False),
    ("type[Item]", "type", True),
    ("type", "type[Item]", None),
    ("type[WithMeta]", "Meta", None),
    ("type[Item]", "int", False),
    ("type[Item]", "Hashable", True),
    ("type[Item]", "Closes", None),
    # What type checkers read in stubs.
    ("str", "EmailStr", None),
    ("EmailStr", "str", None),
    ("datetime.datetime", "AwareDatetime", None),
    ("io.StringIO", "TextIO", None),
    ("io.BytesIO", "IO[bytes]", None),
    ("re.Pattern[str]", "re.Pattern[str]", True),
    ("re.Pattern[str]", "re.Pattern[bytes]", False),
    ("os.PathLike[str]", "str", False),
    # Type variables.
    ("T", "T", True),
    ("int", "T", None),
    ("T", "int", None),
]
"""(produced, wanted, answer)"""

LENIENT = frozenset({"list[Item]", "list[int | None]", "bytes", "Union[str, bytes]", "Hashable"})
"""Wanted annotations for which `compatible` may say yes where mypy says no: containers are covariant, `bytearray` is
read as `bytes`, and what is hashable is decided at run time.
"""
