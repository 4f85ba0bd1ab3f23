"""A whole run as a JSON document: what stands at the beginning of a round of retries."""

from typing import TypedDict

from fastapi_chain._state.ledger import SUCCEEDED, Ledger
from fastapi_chain.errors import UnserializableOutput
from fastapi_chain.plan.nodes import MISSING

from .documents import OutcomeDoc, dump_outcome, has_value, load_loss, load_outcome
from .schema import StoredState


class Base(TypedDict):
    """What has become of every task, with its value."""

    tasks: dict[str, OutcomeDoc]
    items: dict[str, list[OutcomeDoc]]


def dump_base(state: StoredState) -> Base:
    """Return how every task of *state* stands."""
    base = Base(tasks={}, items={})
    for i, name in enumerate(state.plan.names):
        fan = state.fans.get(i)
        if fan is None:
            base["tasks"][name] = _dump(state, state.ledger, i, i, state.slots)
            continue
        base["tasks"][name] = dump_outcome(state.ledger, i)
        base["items"][name] = [_dump(state, fan, k, i, state.values[i]) for k in range(len(fan.states))]
    return base


def _dump(state: StoredState, ledger: Ledger, number: int, task: int, values: list[object]) -> OutcomeDoc:
    text = state.schema.dump(task, values[number]) if ledger.states[number] == SUCCEEDED else None
    return dump_outcome(ledger, number, text)


def load_base(state: StoredState, base: Base) -> None:
    """Put *base* down; tasks that the plan does not have any more are left out."""
    for i, name in enumerate(state.plan.names):
        doc = base["tasks"].get(name)
        if doc is not None:
            load_outcome(state.ledger, i, doc, name=name, run=state.id)
            load_value(state, state.ledger, i, i, state.slots, doc)
        if name in base["items"]:
            load_items(state, i, base["items"][name])


def load_items(state: StoredState, i: int, docs: "list[OutcomeDoc]") -> None:
    """Put the items of fan-out *i* down; its own value is what they returned."""
    fan = state.fans[i] = Ledger([0.0] * len(docs), state.epoch)
    values = state.values[i] = [MISSING] * len(docs)
    for k, doc in enumerate(docs):
        load_outcome(fan, k, doc, name=f"{state.plan.names[i]}[{k}]", run=state.id)
        load_value(state, fan, k, i, values, doc)
    if state.ledger.states[i] == SUCCEEDED:
        state.slots[i] = [value for value in values if value is not MISSING]


def load_value(  # noqa: PLR0917 - each of another kind
    state: StoredState, ledger: Ledger, number: int, task: int, values: list[object], doc: OutcomeDoc
) -> None:
    """Put down what task number *task*, or an item of it, has returned, as number *number* of *values*."""
    if not has_value(doc):
        return
    try:
        values[number] = state.schema.load(task, doc["value"])
    except UnserializableOutput as error:
        load_loss(ledger, number, error)
