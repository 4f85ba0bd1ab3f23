"""Attempts that run in a thread, where nothing can stop them."""

import asyncio
from contextvars import ContextVar
from threading import Lock
from typing import Final

from fastapi_chain._threads import post, settle
from fastapi_chain.errors import TaskTimeout

from .gate import Gate
from .unit import Unit

_here: Final[ContextVar["Hidden | None"]] = ContextVar("fastapi_chain_hidden", default=None)


class Hidden:
    """One such attempt. Its run may turn away from it, for lack of time or because it was cancelled, and it runs on.

    It is remembered then: by its unit, so that no second one starts beside it; by its run, since it may take effect
    yet; and it keeps its place in the gate.
    """

    def __init__(self, unit: Unit) -> None:
        """Prepare to make an attempt of *unit*."""
        self._unit = unit
        self._began: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._inside = False
        self._returned = False
        self._gate: Gate | None = None
        self._lock = Lock()

    async def call(self) -> object:
        """Wait for it: for no longer than the time-out of its task, and not beyond the cancellation of its run.

        Raises:
            TaskTimeout: It takes too long.
        """
        unit, step, seconds = self._unit, self._unit.step, self._unit.step.spec.timeout
        work = self._work = self._start()
        try:
            if seconds is not None and step.threaded:
                # A task that waits for a free thread has not begun, so its time does not run yet.
                await asyncio.wait((work, self._began), return_when=asyncio.FIRST_COMPLETED)
            await asyncio.wait((work,), timeout=seconds)
        except asyncio.CancelledError:
            unit.left = self
            unit.run.lingering.add(work, unit.effect)
            if step.detached and not self._inside:
                # It is still busy with its dependencies, and those can be stopped.
                work.cancel()
            raise
        if work.done():
            return work.result()
        unit.left = self
        unit.run.lingering.add(work, None)
        raise TaskTimeout(task=unit.name, seconds=seconds or 0.0, attempt=unit.attempt, max_attempts=unit.max_attempts)

    def _start(self) -> "asyncio.Future[object]":
        unit = self._unit
        if unit.step.threaded:
            return unit.hop.start(self._in_thread, unit.run)
        # What opens its dependencies on the loop must close them in the same asyncio task, whoever waits for that.
        work = asyncio.ensure_future(self._on_loop())
        work.add_done_callback(self._return)
        return work

    def _in_thread(self) -> object:
        """Make the attempt; the body of a thread."""
        try:
            self.enter()
            return self._unit.step.call(self._unit.slots())
        finally:
            self._return()

    async def _on_loop(self) -> object:
        """Make the attempt where some dependencies are `async`: from them, `enter_thread` leads back to here."""
        _here.set(self)
        return await self._unit.step.call(self._unit.slots())  # type: ignore[misc]  # detached: it gives an awaitable

    def enter(self) -> None:
        """Let the function itself begin; called in its thread.

        Raises:
            asyncio.CancelledError: Its run has ended while it waited for the thread.
        """
        if self._unit.cancelled:
            raise asyncio.CancelledError
        self._inside = True
        post(self._began.get_loop(), settle, self._began, None, None)

    def over(self, gate: Gate) -> bool:
        """Whether it has returned; if not, it gives back its place in *gate* itself as soon as it does."""
        with self._lock:
            self._gate = gate
            return self._returned

    def _return(self, _work: object = None) -> None:
        with self._lock:
            self._returned = True
            gate = self._gate
        if gate is not None:
            gate.leave()

    async def end(self) -> None:
        """Return when it has."""
        await asyncio.wait((self._work,))


def enter_thread() -> None:
    """Let a function whose dependencies were opened on the loop begin; called in its thread.

    Raises:
        asyncio.CancelledError: Its run has ended while it waited for the thread.
    """
    hidden = _here.get()
    assert hidden is not None, "such a function is only ever called by a hidden attempt"
    hidden.enter()
