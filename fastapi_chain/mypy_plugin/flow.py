"""What flows to and from a task, and how it is written into a type.

mypy gives plugins no store for functions. A type argument is one: mypy caches, compares, renames and merges it like
any other, so that everything works across modules, in later runs, in workers and in the daemon, with no state in the
plugin.

A flow becomes a tuple type. Its first item is a string literal, JSON that says all but the types; the others are the
types. Its fallback is our own class `Flow`: mypy prints its name in place of the contents.
"""

import functools
import json
from dataclasses import dataclass, field
from typing import TypeAlias

from mypy.subtypes import is_same_type
from mypy.types import Instance, LiteralType, TupleType, Type, get_proper_type

from .names import FLOW_CHAIN, FLOW_FAN_OUT, FLOW_TASK


@dataclass(frozen=True, slots=True)
class Give:
    """A value that tasks further down can take."""

    name: str
    """The name of the output."""
    task: str
    """The name of the task."""
    id: str
    """The full name of the task: two ways to one task are one source."""
    type: Type
    """What it is; of a fan-out the list of all results."""
    fan: bool
    """Whether the task is a fan-out."""


@dataclass(frozen=True, slots=True)
class Need:
    """A parameter that no task fills: an input of the chain."""

    name: str
    """The parameter."""
    task: str
    """The name of the task that has it."""
    type: Type
    """What it takes."""
    required: bool
    """Whether it has no default."""
    near: str
    """The name of an output upstream that is spelled nearly so; empty if none is."""
    given_below: bool = False
    """Whether a task further down gives that name."""


@dataclass(slots=True)
class Flow:
    """All that flows to and from a task, or through a chain."""

    id: str
    """The full name of the task."""
    name: str
    """The name of the task."""
    open: bool = False
    """Whether something upstream cannot be known: nothing is said then about what seems to be missing."""
    gives: dict[str, Give] = field(default_factory=dict)
    """By id; its own first, then those of all upstream."""
    needs: list[Need] = field(default_factory=list)
    """Its own and those of all upstream."""
    taken: dict[str, tuple[str, str]] = field(default_factory=dict)
    """The parameters that a task upstream fills by name: who takes and who gives it."""
    returns: str = ""
    """Of a chain: the input that is the endpoint's return value."""
    fields: list[tuple[str, str]] = field(default_factory=list)
    """Of a chain: the inputs that templates name, each with the option."""

    @property
    def own(self) -> Give | None:
        """What the task itself gives."""
        return self.gives.get(self.id)

    def need(self, need: Need) -> None:
        """Add an input; one entry for each name and type, however many tasks take it."""
        for known in self.needs:
            alike = known.name == need.name and known.required == need.required
            if alike and is_same_type(known.type, need.type):
                return
        self.needs.append(need)

    def join(self, other: "Flow") -> None:
        """Take in what flows through *other*."""
        self.open |= other.open
        for give in other.gives.values():
            self.gives.setdefault(give.id, give)
        for need in other.needs:
            self.need(need)
        for name, who in other.taken.items():
            self.taken.setdefault(name, who)


def task_id(fullname: str, name: str) -> str:
    """Return what tells a task from all others of the program.

    Args:
        fullname: The full name of its function.
        name: Its own name: one function may be several tasks.
    """
    return fullname if fullname.rpartition(".")[2] == name else f"{fullname}:{name}"


def encode(flow: Flow, tuple_of: Instance, string: Instance) -> TupleType:
    """Write *flow* as a type.

    Args:
        flow: What to write.
        tuple_of: The type `Flow`.
        string: The type `str`.
    """
    gives = [(give.name, give.task, give.id, give.fan) for give in flow.gives.values()]
    needs = [(need.name, need.task, (need.required, need.near, need.given_below)) for need in flow.needs]
    header = json.dumps((flow.id, flow.name, flow.open, flow.returns, flow.fields, gives, needs, flow.taken))
    types = [*(give.type for give in flow.gives.values()), *(need.type for need in flow.needs)]
    return TupleType([LiteralType(header, string), *types], tuple_of)


def decode(typ: Type) -> Flow | None:
    """Read a flow back; None if *typ* is none, as after a join of two."""
    typ = get_proper_type(typ)
    header = get_proper_type(typ.items[0]) if isinstance(typ, TupleType) and typ.items else None
    if not isinstance(typ, TupleType) or not isinstance(header, LiteralType) or not isinstance(header.value, str):
        return None
    own, name, is_open, returns, fields, gives, needs, taken = _parsed(header.value)
    types = iter(typ.items[1:])
    return Flow(
        id=own,
        name=name,
        open=is_open,
        gives={key: Give(output, task, key, next(types), fan) for output, task, key, fan in gives},
        needs=[Need(param, task, next(types), *rest) for param, task, rest in needs],
        taken={param: (taker, giver) for param, (taker, giver) in taken.items()},
        returns=returns,
        fields=[(option, param) for option, param in fields],
    )


_Header: TypeAlias = tuple[
    str,
    str,
    bool,
    str,
    list[tuple[str, str]],
    list[tuple[str, str, str, bool]],
    list[tuple[str, str, tuple[bool, str, bool]]],
    dict[str, list[str]],
]


@functools.lru_cache(maxsize=1024)
def _parsed(header: str) -> _Header:
    parsed: _Header = json.loads(header)
    return parsed


def flow_of(typ: Type | None) -> Flow | None:
    """Return the flow of a task or a chain, by its type; None if the plugin has not made that type."""
    if typ is None:
        return None
    proper = get_proper_type(typ)
    if not isinstance(proper, Instance) or proper.type.fullname not in {FLOW_TASK, FLOW_FAN_OUT, FLOW_CHAIN}:
        return None
    return decode(proper.args[-1])
