"""compatible and item_type: three-valued, never wrong about a no, never an exception."""

import collections
import enum
import inspect
import runpy
import subprocess
import sys
import typing
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, ForwardRef, NewType, ParamSpec, TypeVar, TypeVarTuple, Union

import pytest
from pydantic import BaseModel
from typing_extensions import TypeAliasType, TypedDict
from typing_extensions import TypeVar as ExtensionTypeVar

from fastapi_chain.plan.compatible import compatible, item_type, strip

TABLE = runpy.run_path(str(Path(__file__).with_name("compatible_table.py")))
NAMES: dict[str, Any] = {"__name__": __name__}
exec(TABLE["PRELUDE"], NAMES)

T = TypeVar("T")
Bound = TypeVar("Bound", bound=int)
P = ParamSpec("P")
Ts = TypeVarTuple("Ts")


def evaluated(text: str) -> object:
    return eval(text, NAMES)


@pytest.mark.parametrize(("produced", "wanted", "answer"), TABLE["PAIRS"])
def test_a_pair_of_annotations_is_judged(produced, wanted, answer):
    """Every row of the table gets its answer."""
    assert compatible(evaluated(produced), evaluated(wanted)) is answer


@pytest.mark.parametrize(
    ("produced", "wanted", "answer"),
    [
        (int, inspect.Parameter.empty, None),  # no annotation
        (inspect.Parameter.empty, int, None),
        ("Item", int, None),  # a name that did not resolve
        (ForwardRef("Item"), int, None),
        (list["Item"], list[int], None),  # noqa: F821 - it does not resolve
        (Bound, int, True),  # whatever it stands for, it is an int
        (Bound, str, None),
        (str, Bound, False),  # no str is an int
        (bool, Bound, None),
        (ExtensionTypeVar("X"), int, None),
        (P, int, None),
        (Ts, int, None),
        (typing.NoReturn, int, True),
        (Union[int, "Item"], int, None),  # noqa: F821
        (int, typing.Never, None),
        (typing.LiteralString, int, False),
        (typing.Literal[1], typing.TypeGuard[int], None),  # a form that no rule knows
        (typing.TypeGuard[int], typing.Literal[1], None),
        (typing.TypeGuard[int], typing.Callable[[], int], None),
        (typing.Callable[P, int], typing.Callable[[int], int], None),
        (typing.Callable[P, int], typing.Callable[[int], str], False),
        (TypedDict("D", {"a": int}), typing.TypeGuard[int], None),
        (typing.TypeGuard[int], TypedDict("D", {"a": int}), None),
        (typing.TypeGuard[int], NAMES["Closes"], None),
        (typing.NamedTuple("Empty", []), tuple[int], None),
    ],
)
def test_what_cannot_be_known_is_unknown(produced, wanted, answer):
    """Names that do not resolve, type variables and foreign forms are no reason for an error."""
    assert compatible(produced, wanted) is answer


def test_a_recursive_alias_is_followed_only_so_far():
    """Aliases that contain themselves end in an answer, not in a RecursionError."""
    left = TypeAliasType("left", "left")
    nested: Any = TypeAliasType("nested", list[int])
    for n in range(40):
        nested = TypeAliasType(f"nested{n}", nested)
    deep_left, deep_right = int, str
    for _ in range(40):
        deep_left, deep_right = list[deep_left], list[deep_right]
    assert (compatible(left, int), compatible(nested, str), compatible(deep_left, deep_right)) == (None, None, None)


def test_an_alias_which_is_met_again_is_unknown():
    """A recursive alias that can be resolved is compared once round."""
    alias: Any = TypeAliasType("alias", list[T], type_params=(T,))
    loop = alias[int]
    names: dict[str, Any] = {}
    if sys.version_info >= (3, 12):
        exec("type L = list[L]\ntype M = list[M]", names)
        loop = names["L"]
    assert compatible(loop, names.get("M", loop)) in {None, True}


def test_a_generic_alias_of_other_parameters_is_unknown():
    """Only type variables are replaced in an alias: the rest is left alone."""
    alias: Any = TypeAliasType("alias", typing.Callable[P, int], type_params=(P,))
    assert strip(alias[[int]]) == ForwardRef("unresolved")
    unused: Any = TypeAliasType("unused", list[int], type_params=(T,))
    assert strip(unused[str]) == list[int]


def test_nothing_is_raised():
    """An annotation whose class fails when it is looked at is unknown."""

    class Hostile(type):
        def __subclasscheck__(cls, other):
            text = "not today"
            raise RuntimeError(text)

    class Odd(metaclass=Hostile): ...

    class Unhashable(type):
        __hash__ = None

    class Unequal:
        def __eq__(self, other):
            text = "not today"
            raise RuntimeError(text)

        __hash__ = None

    assert (compatible(int, Odd), compatible(Unequal(), int)) == (None, None)
    assert (item_type(Unhashable("Lines", (list,), {})), strip(Odd)) == (Any, Odd)


class Model(BaseModel):
    lines: list[int]


class Names(list[str]): ...


class Countdown:
    def __iter__(self) -> Iterator[int]: ...


class Tone(enum.Enum):
    LOW = 1


@pytest.mark.parametrize(
    ("annotation", "item"),
    [
        (list[int], int),
        (tuple[int, ...], int),
        (tuple[int, str], int | str),
        (Sequence[Model], Model),
        (set[str], str),
        (frozenset[str], str),
        (typing.Iterable[int], int),
        (Iterator[int], int),
        (collections.deque[int], int),
        (range, int),
        (Names, str),
        (Annotated[list[int], "doc"], int),
        (TypeAliasType("Ints", list[int]), int),
        (NewType("Ids", list[int]), int),
        (NewType("More", NewType("Ids", list[int])), int),
        (list[int] | set[str], int | str),
        # Not to be known.
        (list, Any),
        (Countdown, Any),
        (Any, Any),
        (object, Any),
        (inspect.Parameter.empty, Any),
        ("Lines", Any),
        (T, Any),
        # No lists.
        (str, None),
        (bytes, None),
        (int, None),
        (None, None),
        (dict[str, int], None),
        (Model, None),
        (Tone, None),
        (type[int], None),
        (list[int] | None, None),  # it may be missing
    ],
)
def test_the_items_of_a_list_have_a_type(annotation, item):
    """What a fan-out over such a value hands to each call."""
    assert item_type(annotation) == item


def test_fastapi_and_pydantic_are_not_imported():
    """Comparing annotations costs no import of the frameworks."""
    code = "import sys, fastapi_chain.plan.compatible; print(sorted({'fastapi', 'pydantic'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
