"""Retry in place: which tasks of a finished run become pending again."""

from ._ledger import CANCELLED, FAILED, SKIPPED, SUCCEEDED
from ._state import MISSING, RunState


def reopen(run: RunState, from_: str) -> bool:
    """Make what is to run again pending; return whether there is anything.

    A task that was undone counts as not run. Whatever lies below a task that runs again runs again too: what it made, it made of
    values that no longer hold.

    Args:
        run: A finished run.
        from_: `failed`, `start`, or the name of a task.

    Raises:
        KeyError: There is no such task.
    """
    run.settle()
    again = _chosen(run, from_)
    if not again:
        return False
    again |= run.ledger.undone
    for node in run.plan.nodes:
        if node.index in again or any(parent in again for parent in node.parents):
            again.add(node.index)
            _reset(run, node.index, keep_items=from_ == "failed")
    run.late.clear()
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
    return {
        i
        for i, state in enumerate(ledger.states)
        if state in {FAILED, CANCELLED} or (state == SKIPPED and ledger.states[ledger.roots.get(i, i)] == FAILED)
    }


def _reset(run: RunState, i: int, *, keep_items: bool) -> None:
    """Make task *i* pending; of a fan-out that failed, the items that succeeded are kept."""
    fan = run.fans.get(i)
    if fan is not None:
        kept = keep_items and run.ledger.states[i] in {FAILED, CANCELLED} and i not in run.ledger.undone
        for k, state in enumerate(fan.states):
            if not (kept and state == SUCCEEDED):
                fan.reset(k)
                run.values[i][k] = MISSING
        if not kept:
            del run.fans[i], run.values[i]
    run.ledger.reset(i)
    run.slots[i] = MISSING
