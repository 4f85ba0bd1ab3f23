"""Undo: what takes back the effect of the tasks that had succeeded, once a run has ended badly.

The last one that took effect is undone first. Each undo has its own retries; one that fails does not stop the others.
"""

from collections.abc import Iterator

from fastapi_chain._state import RunState
from fastapi_chain._state.ledger import FAILED, STATES, SUCCEEDED, Ledger, error_info
from fastapi_chain._text import type_name
from fastapi_chain._threads import Hopper
from fastapi_chain.errors import RunError
from fastapi_chain.events import TaskEvent, TaskUndone
from fastapi_chain.execute import Perform, execute
from fastapi_chain.execute.call import ITEM_SLOT
from fastapi_chain.execute.unit import Step, Unit
from fastapi_chain.schedule import fits

from .program import Program


class UndoUnit(Unit):
    """The undo of one task, or of one item of a fan-out. It is no task of the run: its states are kept apart."""

    __slots__ = ()

    @classmethod
    def of(cls, run: RunState, step: Step, hop: Hopper, k: int | None, value: object) -> "UndoUnit":
        """Stand for the undo *step* of a task, or of its item *k*, which had returned *value*."""
        unit, i = cls(run, step, hop), step.index
        unit.ledger, unit.i, unit.item = Ledger([0.0], run.epoch), 0, k
        unit.kept = None  # what it returns is dropped
        unit.given = (i if k is None else ITEM_SLOT), value
        if k is not None:
            unit.name = f"{unit.name}[{k}]"
        return unit

    @property
    def effect(self) -> None:
        """It is not undone in its turn."""

    def tell(self, kind: type[TaskEvent], **fields: object) -> None:
        """Keep its events to itself: they would name a task that the run may not have. `TaskUndone` tells its end."""


async def undo(run: RunState, program: Program, hop: Hopper, perform: Perform = execute) -> None:
    """Undo what *run* has done, and put down what was undone; *perform* runs each undo to its outcome.

    It begins when the last call has ended, those in threads included.
    """
    if not program.undos:
        return
    await run.lingering.end()
    run.undoing = True
    try:
        for unit in list(_units(run, program, hop)):
            lack = _lack(run, unit)
            if lack is None:
                await perform(unit)
            else:
                unit.begin()
                unit.fail(lack)
            _put_down(run, unit)
    finally:
        run.undoing = False


def _lack(run: RunState, unit: Unit) -> RunError | None:
    """Return what to say of an undo that cannot be called: it takes more than its task did, and that did not come."""
    step, undo = unit.step, run.plan.nodes[unit.step.index].undo
    for fill in () if undo is None else undo.fills:
        if fill.kind != "task" or fill.slot == step.index or fill.param.has_default or fits(run, fill):
            continue
        giver, state = run.plan.nodes[fill.slot].spec.source, STATES[run.ledger.states[fill.slot]]
        became = state if state in {"succeeded", "failed"} else f"was {state}"
        taken = f"{fill.param.name}: {type_name(fill.param.annotation)}".removesuffix(": ")
        return RunError(
            what=f"Undo {step.name!r} takes {fill.param.name!r}, but task {giver.name!r} {became}.",
            rows=[(f"{step.name}({taken})", step.spec.source.at), (giver.name, giver.at)],
            fixes=[
                f"give it a default: {fill.param.name}=None",
                f"take an Outcome[...]: {fill.param.name}: Outcome[...]",
            ],
        )
    return None


def _put_down(run: RunState, unit: Unit) -> None:
    i, k = unit.step.index, unit.item
    ledger, number, name = run.ledger, i, run.plan.names[i]
    if k is not None:
        ledger, number, name = run.fans[i], k, f"{name}[{k}]"
    error = error_info(unit.ledger.errors[0]) if unit.ledger.states[0] == FAILED else None
    ledger.undos[number] = run.now(), error
    if error is None:
        ledger.undone.add(number)
        run.ledger.undone.add(i)
    run.tell(TaskUndone, task=name, error=error)


def _units(run: RunState, program: Program, hop: Hopper) -> Iterator[Unit]:
    """Yield what is to be undone, the last effect first."""
    effects = sorted(
        (effect for effect in _effects(run) if effect[1] in program.undos), key=lambda e: e[:3], reverse=True
    )
    for _, i, k, value in effects:
        yield UndoUnit.of(run, program.undos[i], hop, None if k < 0 else k, value)


def _effects(run: RunState) -> Iterator[tuple[float, int, int, object]]:
    """Yield every call that took effect: when it ended, the task's number, the item's (or -1), what it returned."""
    ledger = run.ledger
    for i, state in enumerate(ledger.states):
        fan = run.fans.get(i)
        if fan is not None:
            for k, item in enumerate(fan.states):
                if item == SUCCEEDED and k not in fan.undone:
                    yield fan.ended[k], i, k, run.values[i][k]
        elif state == SUCCEEDED and i not in ledger.undone:
            yield ledger.ended[i], i, -1, run.slots[i]
    for (i, late_item), late in run.lingering.late.items():
        yield late.moment, i, -1 if late_item is None else late_item, late.value
