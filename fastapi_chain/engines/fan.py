"""Fan-out: one call of a task for each item of a list, each a unit of its own, and the list of their results.

Items are started one by one as room comes free, so ten thousand of them take the memory of those that run; and a gate
lets runs take turns, so that a run that has many items keeps no other one from it.
"""

import asyncio
from collections.abc import Iterable
from contextlib import suppress
from typing import Final

from anyio import CancelScope

from fastapi_chain._state import RunState
from fastapi_chain._state.ledger import FAILED, RETRYING, SUCCEEDED, Ledger
from fastapi_chain._threads import Hopper
from fastapi_chain.execute import Perform, execute
from fastapi_chain.execute.unit import Step, Unit
from fastapi_chain.plan.nodes import MISSING

WINDOW: Final = 1000
"""How many items of one fan-out are under way at most; those that wait for a retry hold up nobody, and do not count."""

_BREATH: Final = 100
"""After how many items the loop gets a turn."""


class FanOutRun:
    """The fan-out of one task in one run."""

    def __init__(
        self,
        run: RunState,
        step: Step,
        hop: Hopper,
        over: int,
        *,
        unit: type[Unit] = Unit,
        perform: Perform = execute,
    ) -> None:
        """Prepare to call *step* for each item of what task number *over* returned.

        Args:
            run: The run.
            step: The task.
            hop: Runs sync callables in a thread.
            over: The task that gives the list.
            unit: What stands for an item.
            perform: Runs an item to its outcome; a durable engine keeps that as well.
        """
        self._run = run
        self._step = step
        self._hop = hop
        self._over = over
        self._unit = unit
        self._perform = perform
        self._whole = Unit(run, step, hop)
        self._active: set[asyncio.Task[None]] = set()
        self._room = asyncio.Event()
        self._broken: BaseException | None = None

    async def __call__(self) -> None:
        """Run all items that have not ended yet, and put the outcome of the whole down.

        Raises:
            asyncio.CancelledError: The run was cancelled.
        """
        self._whole.begin()
        try:
            items = self.prepare()
        except Exception as error:  # noqa: BLE001 - the iterator is the user's own code
            self._whole.fail(error)
            return
        try:
            await self._feed(items)
        except BaseException:
            await self._abort()
            raise
        self.conclude()

    def prepare(self) -> list[object]:
        """Return the items, with a ledger ready for them; a ledger that is there already is gone on with.

        Raises:
            TypeError: There is nothing to walk through.
            Exception: Whatever an iterator of the user's own raises.
        """
        run, i = self._run, self._step.index
        if i not in run.items:
            values = run.slots[self._over]
            if not isinstance(values, Iterable):
                over = run.plan.names[self._over]
                text = f"task {self._step.name!r} runs for each item of {over!r}, which returned {values!r}"
                raise TypeError(text)
            # An iterator gives its items only once, and a list may be changed by whoever else has it.
            run.items[i] = list(values)
        items = run.items[i]
        known = run.fans.get(i)
        if known is None or len(known.states) != len(items):
            run.fans[i] = Ledger([0.0] * len(items), run.epoch)
            run.values[i] = [MISSING] * len(items)
        return items

    async def _feed(self, items: list[object]) -> None:
        """Start items while there is room for them; wait for all."""
        loop, states = asyncio.get_running_loop(), self._run.fans[self._step.index].states
        for k, item in enumerate(items):
            if states[k] >= SUCCEEDED:
                continue
            unit = self._unit.of_item(self._run, self._step, self._hop, k, item)
            unit.rests = self._room.set
            task = loop.create_task(self._perform(unit))
            self._active.add(task)
            task.add_done_callback(self._done)
            while len(self._active) >= WINDOW and len(self._active) - states.count(RETRYING) >= WINDOW:
                await self._wait()
            if k % _BREATH == _BREATH - 1:
                await asyncio.sleep(0)
        while self._active:
            await self._wait()
        self._check()

    async def _wait(self) -> None:
        """Wait for an item to end, or to make room for others."""
        self._room.clear()
        await self._room.wait()
        self._check()

    def _check(self) -> None:
        if self._broken is not None:
            raise self._broken

    def _done(self, task: "asyncio.Task[None]") -> None:
        self._active.discard(task)
        self._room.set()
        if task.cancelled():
            # Perhaps somebody has cancelled that one asyncio task: without it the list is not whole.
            self._broken = asyncio.CancelledError()
        elif task.exception() is not None:
            # The outcome of an item is in its ledger: what comes out here is SystemExit, or a bug of ours.
            self._broken = task.exception()

    async def _abort(self) -> None:
        """End all items, those that have not begun included."""
        for task in self._active:
            if not task.cancelling():
                task.cancel()
        with CancelScope(shield=True):
            while self._active:
                with suppress(asyncio.CancelledError):
                    await asyncio.wait(self._active)
        self._whole.cancel()

    def conclude(self) -> None:
        """Put the outcome of the whole down: failed if an item that counts failed."""
        run, step = self._run, self._step
        fan, values = run.fans[step.index], run.values[step.index]
        failed = -1 if step.spec.optional else fan.states.find(FAILED)
        if failed < 0:
            self._whole.succeed([value for value in values if value is not MISSING])
        else:
            self._whole.fail(fan.errors[failed])
