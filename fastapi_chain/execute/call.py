"""From the sources of a task's parameters to one callable that takes a run's slots.

This is where a plan becomes fast: who gives what is settled once, so that a call costs what the call itself costs.
"""

from collections.abc import Callable, Mapping, Sequence
from inspect import Parameter
from operator import itemgetter
from typing import Final, TypeAlias

from fastapi_chain._state import RunState
from fastapi_chain.context import Progress, TaskContext, TaskLink, running
from fastapi_chain.outcome import Failed, Skipped, Succeeded
from fastapi_chain.plan.nodes import MISSING, Fill
from fastapi_chain.spec import OutcomeKind

Slots: TypeAlias = list[object]
"""The values of one run: those of its tasks, its inputs, the item of a fan-out, the run itself."""

Call: TypeAlias = Callable[[Slots], object]
"""Calls a task's function with what it takes from the slots."""

Getter: TypeAlias = Callable[[Slots], object]

ITEM_SLOT: Final = -2
RUN_SLOT: Final = -1


def make_call(fn: Callable[..., object], fills: Sequence[Fill]) -> Call:
    """Return a callable that calls *fn* with all that *fills* say; nothing is injected."""
    positional, keywords = _split(fills)
    if keywords:
        return _with_keywords(fn, positional, keywords)
    if all(_slot(fill) is not None for fill in positional):
        return _plain(fn, [_slot(fill) or 0 for fill in positional])
    getters = tuple(getter(fill) for fill in positional)
    return lambda slots: fn(*[get(slots) for get in getters])


def make_injected_call(
    fn: Callable[..., object], fills: Sequence[Fill]
) -> Callable[[Slots, Mapping[str, object]], object]:
    """Return a callable that calls *fn* with what *fills* say and with the injected values it is given."""
    positional, keywords = _split([fill for fill in fills if fill.kind != "injected"])
    # A positional argument must not take the place of an injected one that stands before it.
    stop = next((i for i, fill in enumerate(fills) if fill.kind == "injected"), len(fills))
    head, tail = positional[:stop], [*positional[stop:], *keywords]
    getters = tuple(getter(fill) for fill in head)
    named = tuple((fill.param.name, getter(fill)) for fill in tail)
    if not named and not getters:
        return lambda _slots, injected: fn(**injected)
    if not named and len(getters) == 1:
        (first,) = getters
        return lambda slots, injected: fn(first(slots), **injected)
    if not named:
        return lambda slots, injected: fn(*[get(slots) for get in getters], **injected)
    return lambda slots, injected: fn(
        *[get(slots) for get in getters], **{name: get(slots) for name, get in named}, **injected
    )


def _split(fills: Sequence[Fill]) -> tuple[list[Fill], list[Fill]]:
    """Split into those given by position and those given by name."""
    by_name = [i for i, fill in enumerate(fills) if fill.param.kind is Parameter.KEYWORD_ONLY]
    cut = by_name[0] if by_name else len(fills)
    return list(fills[:cut]), list(fills[cut:])


def _plain(fn: Callable[..., object], places: list[int]) -> Call:
    """Return the call for the common case: up to three values, each right from its slot."""
    if not places:
        return lambda _slots: fn()
    if len(places) == 1:
        (a,) = places
        return lambda slots: fn(slots[a])
    if len(places) == 2:  # noqa: PLR2004 - the next case
        a, b = places
        return lambda slots: fn(slots[a], slots[b])
    if len(places) == 3:  # noqa: PLR2004 - the next case
        a, b, c = places
        return lambda slots: fn(slots[a], slots[b], slots[c])
    many = itemgetter(*places)
    return lambda slots: fn(*many(slots))


def _with_keywords(fn: Callable[..., object], positional: list[Fill], keywords: list[Fill]) -> Call:
    getters = tuple(getter(fill) for fill in positional)
    named = tuple((fill.param.name, getter(fill)) for fill in keywords)
    return lambda slots: fn(*[get(slots) for get in getters], **{name: get(slots) for name, get in named})


def _slot(fill: Fill) -> int | None:
    """Return the slot from which the value can be taken as it is; None if there is more to it."""
    if fill.kind == "item":
        return ITEM_SLOT
    if fill.kind == "input":
        return fill.slot
    plain = fill.kind == "task" and not fill.param.outcomes and not fill.param.has_default
    return fill.slot if plain else None


def getter(fill: Fill) -> Getter:
    """Return what takes one parameter's value from the slots."""
    slot = _slot(fill)
    if slot is not None:
        return itemgetter(slot)
    if fill.kind == "task":
        return _outcomes(fill) if fill.param.outcomes else _or_default(fill)
    return _special(fill.kind)


def _or_default(fill: Fill) -> Getter:
    place, default = fill.slot, fill.param.default

    def get(slots: Slots) -> object:
        value = slots[place]
        return default if value is MISSING else value

    return get


_CLASSES: Final[Mapping[OutcomeKind, type]] = {"succeeded": Succeeded, "failed": Failed, "skipped": Skipped}


def _outcomes(fill: Fill) -> Getter:
    place, param = fill.slot, fill.param
    wanted = tuple(_CLASSES[kind] for kind in param.outcomes)
    stand_in = param.default if param.has_default else None

    def collect(slots: Slots) -> object:
        run = _run(slots)
        if not run.has_items(place):
            return stand_in
        return [outcome for outcome in run.outcomes(place) if isinstance(outcome, wanted)]

    def get(slots: Slots) -> object:
        outcome = _run(slots).outcome(place, slots[place])
        return outcome if isinstance(outcome, wanted) else stand_in

    return collect if param.collects else get


def _run(slots: Slots) -> RunState:
    run = slots[RUN_SLOT]
    assert isinstance(run, RunState), "the last slot is the run"
    return run


def _special(kind: str) -> Getter:
    if kind == "run":
        return lambda slots: _run(slots).run
    if kind == "context":
        return lambda _slots: TaskContext(_link())
    return lambda _slots: Progress(_link())


def _link() -> TaskLink | None:
    here = running.get()
    return None if here is None else here.link()
