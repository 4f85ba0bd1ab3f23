"""Fan-out: one call of a task for each item of a list, each a unit of its own, and the list of their results.

Items are started one by one as places come free, so ten thousand of them take the memory of those that run, and a run that has
many keeps no other one from the gate they share.
"""

import asyncio
from collections.abc import Iterable
from typing import Final

from ._ledger import CANCELLED, FAILED, PENDING, RUNNING, SUCCEEDED, Ledger, error_info
from ._state import MISSING, RunState
from ._threads import Hopper

from .events import TaskFailed, TaskStarted, TaskSucceeded
from .execute import Step, Unit, execute

WINDOW: Final = 1000
"""How many items of one fan-out are under way at most, those that wait for a retry included."""

_BREATH: Final = 100
"""After how many items that never waited the loop gets a turn."""


class FanOutRun:
    """The fan-out of one task in one run."""

    def __init__(self, run: RunState, step: Step, hop: Hopper, over: int) -> None:
        """Prepare to call *step* for each item of what task number *over* returned."""
        self._run = run
        self._step = step
        self._hop = hop
        self._over = over
        self._active: set[asyncio.Task[None]] = set()
        self._room = asyncio.Event()

    async def __call__(self) -> None:
        """Run all items that have not succeeded yet, and put the outcome of the whole down.

        Raises:
            asyncio.CancelledError: The run was cancelled.
        """
        run, i = self._run, self._step.index
        run.ledger.states[i] = RUNNING
        run.ledger.began[i] = run.now()
        try:
            items = self._items()
        except TypeError as error:
            self._end(error)
            return
        if run.followed:
            run.tell(TaskStarted, task=self._step.name, attempt=1, max_attempts=1)
        try:
            await self._feed(items)
        except asyncio.CancelledError:
            await self._abort()
            raise
        self._end(None)

    def _items(self) -> list[object]:
        """Return the items, with a ledger ready for them; a ledger that is there already is gone on with."""
        run, i = self._run, self._step.index
        values = run.slots[self._over]
        if not isinstance(values, Iterable):
            text = f"task {self._step.name!r} runs for each item of {run.plan.names[self._over]!r}, which returned {values!r}"
            raise TypeError(text)
        items = list(values)
        known = run.fans.get(i)
        if known is None or len(known.states) != len(items):
            run.fans[i] = Ledger([0.0] * len(items), run.epoch)
            run.values[i] = [MISSING] * len(items)
        return items

    async def _feed(self, items: list[object]) -> None:
        """Start items while there is room for them; wait for all."""
        run, gate = self._run, self._step.gate
        fan = run.fans[self._step.index]
        for k, item in enumerate(items):
            if fan.states[k] == SUCCEEDED:
                continue
            if gate is not None:
                # Whoever waits for a place waits here, one at a time for each run: that is what makes it fair.
                await gate.enter(run.clock)
            unit = Unit.of_item(run, self._step, self._hop, k, item)
            task = asyncio.get_running_loop().create_task(execute(unit, entered=gate is not None))
            self._active.add(task)
            task.add_done_callback(self._done)
            while len(self._active) >= WINDOW:
                self._room.clear()
                await self._room.wait()
            if k % _BREATH == _BREATH - 1:
                await asyncio.sleep(0)
        while self._active:
            await asyncio.wait(self._active)

    def _done(self, task: "asyncio.Task[None]") -> None:
        self._active.discard(task)
        self._room.set()

    async def _abort(self) -> None:
        """End all items, those that have not begun included."""
        for task in self._active:
            task.cancel()
        while self._active:
            await asyncio.wait(self._active)
        run, i = self._run, self._step.index
        fan = run.fans[i]
        for k, state in enumerate(fan.states):
            if state == PENDING:
                fan.states[k] = CANCELLED
                fan.reasons[k] = run.cancel_reason or "run_cancelled"
        Unit(run, self._step, self._hop).cancel()

    def _end(self, error: BaseException | None) -> None:
        """Put the outcome of the whole down: failed if an item that counts failed."""
        run, step = self._run, self._step
        i, now = step.index, run.now()
        run.ledger.ended[i] = now
        fan = run.fans.get(i)
        if error is None and fan is not None and not step.spec.optional:
            error = next((fan.errors[k] for k, state in enumerate(fan.states) if state == FAILED), None)
        if error is None:
            run.slots[i] = [value for value in run.values[i] if value is not MISSING]
            run.ledger.states[i] = SUCCEEDED
            if run.followed:
                run.tell(TaskSucceeded, task=step.name, attempt=1)
            return
        run.ledger.close(i, "failed", now, error)
        run.ledger.states[i] = FAILED
        run.ledger.errors[i] = error
        seconds = now - run.ledger.began[i]
        run.tell(TaskFailed, task=step.name, attempt=1, error=error_info(error), seconds=seconds, exception=error)
