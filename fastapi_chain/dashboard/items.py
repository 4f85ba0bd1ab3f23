"""The items of a fan-out: how many are in which state, where among them, and some of them in full."""

from collections.abc import Callable
from typing import Final, NamedTuple

from fastapi_chain._state.ledger import STATES
from fastapi_chain.outcome import TaskState

from .subject import ORDER, Part, Subject, counted_states
from .task_words import about

PAGE: Final = 25
"""How many items are listed at once."""
_CELLS: Final = 120
"""How many cells the strip has at most; each stands for as many items as it must."""

_RANK: Final = {STATES.index(state): rank for rank, state in enumerate(ORDER)}


class Item(NamedTuple):
    """A line of the list."""

    name: str
    state: TaskState
    about: str
    error: str
    href: str


class Items(NamedTuple):
    """The items of a fan-out."""

    total: int
    counts: list[tuple[TaskState, int]]
    strip: list[TaskState]
    """The states along the list, the most telling one of each stretch."""
    each: int
    """How many items a cell of the strip stands for."""
    state: TaskState | None
    """The state that is listed; None: all."""
    listed: list[Item]
    first: int
    """The place of the first one that is listed, from 0."""
    found: int
    """How many there are to be listed."""


def items(subject: Subject, index: int, state: str, first: int, href: Callable[[str], str]) -> Items | None:
    """Return the items of task *index*; None unless it is a fan-out that has begun.

    Args:
        subject: The run.
        index: The task's number.
        state: Only items in this state are listed; `all` lists all; nothing those that have failed, if any has.
        first: Where the list begins.
        href: The link to an item.
    """
    fan = subject.fan(index)
    if fan is None:
        return None
    failed: TaskState | None = "failed" if subject.items(index, "failed") else None
    wanted = next((known for known in STATES if known == state), failed if not state else None)
    numbers = subject.items(index, wanted)
    first = min(max(0, first), max(0, len(numbers) - 1)) // PAGE * PAGE
    each = max(1, -(-len(fan.states) // _CELLS))
    return Items(
        total=len(fan.states),
        counts=counted_states(fan),
        strip=[_telling(fan.states[i : i + each]) for i in range(0, len(fan.states), each)],
        each=each,
        state=wanted,
        listed=[_item(subject, Part(index, k), href) for k in numbers[first : first + PAGE]],
        first=first,
        found=len(numbers),
    )


def _telling(states: bytearray) -> TaskState:
    return STATES[min(set(states), key=_RANK.__getitem__)]


def _item(subject: Subject, part: Part, href: Callable[[str], str]) -> Item:
    record = subject.record(part)
    error = "" if record.error is None or record.state == "succeeded" else str(record.error)
    return Item(record.name, record.state, about(subject, part, record), error, href(record.name))
