"""Undo: what takes back the effect of the tasks that had succeeded, once a run has ended badly.

The last one that took effect is undone first. Each undo has its own retries; one that fails does not stop the others.
"""

from collections.abc import Iterator

from ._call import ITEM_SLOT
from ._ledger import FAILED, SUCCEEDED, Ledger, error_info
from ._program import Program
from ._state import RunState
from ._threads import Hopper
from .events import TaskUndone
from .execute import Unit, execute


async def undo(run: RunState, program: Program, hop: Hopper) -> None:
    """Undo what *run* has done, and put down which tasks were undone."""
    if not program.undos:
        return
    await run.alone()
    # A cancelled run must not cancel its own undo: what it runs below here counts as a life of its own.
    reason, run.cancel_reason = run.cancel_reason, None
    deadline, run.deadline_at = run.deadline_at, None
    try:
        for unit in list(_units(run, program, hop)):
            await execute(unit)
            error = unit.ledger.errors.get(unit.i)
            failed = unit.ledger.states[unit.i] == FAILED
            if not failed:
                run.ledger.undone.add(unit.step.index)
            run.tell(
                TaskUndone,
                task=run.plan.names[unit.step.index],
                error=error_info(error) if failed and error is not None else None,
            )
    finally:
        run.cancel_reason, run.deadline_at = reason, deadline


def _units(run: RunState, program: Program, hop: Hopper) -> Iterator[Unit]:
    """Yield what is to be undone, the last effect first."""
    effects = [(ended, i, k) for ended, i, k in _effects(run) if i in program.undos]
    for _, i, k in sorted(effects, reverse=True):
        unit = Unit(run, program.undos[i], hop)
        # An undo is no task of the run: its states are kept apart, and what it returns is dropped.
        unit.ledger, unit.i, unit.kept = Ledger([0.0], run.epoch), 0, None
        if k is not None:
            unit.slots = run.slots.copy()
            unit.slots[ITEM_SLOT] = run.values[i][k]
        yield unit


def _effects(run: RunState) -> Iterator[tuple[float, int, int | None]]:
    """Yield every call that took effect: when it ended, the task's number, and the item's if it is one."""
    ledger = run.ledger
    for i, state in enumerate(ledger.states):
        fan = run.fans.get(i)
        if fan is not None:
            for k, item in enumerate(fan.states):
                if item == SUCCEEDED:
                    yield fan.ended[k], i, k
        elif (state == SUCCEEDED or i in run.late) and i not in ledger.undone:
            yield ledger.ended[i], i, None
