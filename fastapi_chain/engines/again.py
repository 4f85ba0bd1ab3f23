"""Retry in place: which tasks of a finished run become pending again."""

from fastapi_chain._state import RunState
from fastapi_chain._state.ledger import CANCELLED, FAILED, SKIPPED, SUCCEEDED
from fastapi_chain.plan.nodes import MISSING


def reopen(run: RunState, from_: str) -> bool:
    """Make what is to run again pending; return whether there is anything.

    What was undone or cancelled counts as not run. Whatever lies below a task that runs again runs again too: what it
    made, it made of values that no longer hold.

    Args:
        run: A finished run.
        from_: `failed`, `start`, or the name of a task.

    Raises:
        KeyError: There is no such task.
    """
    run.settle()
    ledger = run.ledger
    again = _chosen(run, from_) | ledger.undone
    if not again:
        return False
    again |= {i for i, state in enumerate(ledger.states) if state == CANCELLED}
    for node in run.plan.nodes:
        below = any(parent in again for parent in node.parents)
        if below or node.index in again:
            again.add(node.index)
            _reset(run, node.index, keep_items=from_ == "failed" and not below)
    for told in (ledger, *run.fans.values()):
        # Undos that have failed belong to the round that is over.
        told.undos.clear()
    run.lingering.late.clear()
    run.state, run.reason, run.error, run.cancel_reason = "queued", None, None, None
    run.finished = run.deadline_at = None
    return True


def _chosen(run: RunState, from_: str) -> set[int]:
    """Return the tasks that *from_* names."""
    ledger = run.ledger
    if from_ == "start":
        return set(range(len(ledger.states)))
    if from_ != "failed":
        return {run.plan.index[from_]}
    failed = {
        i
        for i, state in enumerate(ledger.states)
        if state in {FAILED, CANCELLED} or (state == SKIPPED and ledger.states[ledger.roots.get(i, i)] == FAILED)
    }
    # Of an optional fan-out, items may have failed although the whole has not.
    return failed | {i for i, fan in run.fans.items() if FAILED in fan.states}


def _reset(run: RunState, i: int, *, keep_items: bool) -> None:
    """Make task *i* pending; of a fan-out perhaps only the items that have failed, were cancelled or undone."""
    fan, name = run.fans.get(i), run.plan.names[i]
    run.progress.pop(name, None)
    if fan is not None:
        for k, state in enumerate(fan.states):
            if not (keep_items and state in {SUCCEEDED, SKIPPED} and k not in fan.undone):
                fan.reset(k)
                run.values[i][k] = MISSING
                run.progress.pop(f"{name}[{k}]", None)
        if not keep_items:
            run.items.pop(i, None)
    run.ledger.reset(i)
    run.slots[i] = MISSING
