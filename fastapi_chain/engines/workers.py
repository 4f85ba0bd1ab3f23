"""The asyncio tasks of one run on the fast path, once something has waited: each goes on with what it made ready."""

import asyncio
from collections.abc import Callable
from typing import Final, Protocol, TypeAlias

from fastapi_chain._state import RunState
from fastapi_chain._state.ledger import RUNNING
from fastapi_chain._threads import Hopper
from fastapi_chain.context import running
from fastapi_chain.engines.fan import FanOutRun
from fastapi_chain.engines.program import CHUNK, Program
from fastapi_chain.events import TaskStarted
from fastapi_chain.execute import execute, sober
from fastapi_chain.execute.call import Slots
from fastapi_chain.execute.unit import Step, Unit

NOTHING: Final = -1
"""No task to go on with."""


Bench: TypeAlias = tuple[RunState, tuple[Step, ...], Slots, bytearray, list[float], list[float], Callable[[], float]]
"""What all workers of a run work with: the run, its steps and slots; the states, the times at which tasks began and
ended, and the time now."""


class Home(Protocol):
    """What a worker needs of its line."""

    run: RunState
    program: Program
    hop: Hopper
    bench: Bench

    def unit(self, i: int) -> Unit:
        """Return task *i* as what is executed."""

    def land(self, i: int) -> int:
        """Count task *i*, which has returned, and return the task to go on with."""

    async def mend(self, i: int, error: BaseException) -> int:
        """See to task *i*, which raised *error*; return the task to go on with."""

    def cancelled(self, i: int, error: asyncio.CancelledError) -> int:
        """See to task *i*, which was cancelled; return the task to go on with."""

    def route(self, ready: list[int]) -> int:
        """Return the task of *ready* to go on with here; start the others elsewhere."""

    def dismiss(self, worker: "Worker", task: "asyncio.Task[None] | None" = None) -> None:
        """Let *worker* go; *task* is given if it has ended by itself, and perhaps badly."""

    def ended(self, i: int) -> list[int]:
        """Count task *i* as ended; return the tasks that may start because of it."""


class Worker:
    """Runs tasks one after the other, and knows which one it is at: `current_task()` asks it."""

    __slots__ = ("at", "line", "task")

    def __init__(self, line: Home) -> None:
        """Work for *line*."""
        self.line = line
        self.at = NOTHING
        self.task: asyncio.Task[None] | None = None

    def link(self) -> Unit:
        """Return the task that runs here."""
        return self.line.unit(self.at)

    def cancel(self) -> None:
        """Cancel the task that runs here, once: it may be cleaning up already."""
        if self.task is not None and not self.task.cancelling():
            self.task.cancel()

    async def work(self, i: int) -> None:
        """Run task *i* and whatever it makes ready, one after the other, for as long as that is a plain call."""
        line, turn = self.line, CHUNK
        run, steps, slots, states, began, ended, now = line.bench
        me = self.task or asyncio.current_task(run.loop)
        assert me is not None, "a worker is an asyncio task"
        failure: Exception | None = None
        running.set(self)
        while i >= 0:
            if me.cancelling() > run.cancelling:
                await sober(run)
            self.at = i
            step = steps[i]
            states[i] = RUNNING
            began[i] = now()
            if run.followed:
                self.tell(i)
            try:
                value = await step.call(slots)  # type: ignore[misc]  # an inline step
                if type(value) is not step.exact:
                    step.check(value)
            except Exception as error:  # noqa: BLE001 - whatever the user's code raises is an outcome
                failure = error
            except asyncio.CancelledError as error:
                i = line.cancelled(i, error)
                continue
            else:
                slots[i] = value
                ended[i] = now()
                i = line.land(i)
                turn -= 1
                if turn:
                    continue
            # Not while the error is being handled: it would be the context of what the next attempt raises.
            if failure is not None:
                i, failure = await line.mend(i, failure), None
            else:
                # Everybody else on the loop gets a turn.
                await asyncio.sleep(0)
                turn = CHUNK
        self._leave()

    def _leave(self) -> None:
        """Leave by oneself, which spares the loop a turn; unless something is wrong, or this is the main task."""
        task = self.task
        if task is not None and not task.cancelling():
            task.remove_done_callback(self.gone)
            self.line.dismiss(self)

    def gone(self, task: "asyncio.Task[None]") -> None:
        """Leave, however that came about: one that is cancelled before its first step runs no code at all."""
        self.line.dismiss(self, task)

    def tell(self, i: int) -> None:
        """Tell those who follow that task *i* has started."""
        unit = self.line.unit(i)
        unit.tell(TaskStarted, attempt=unit.attempt, max_attempts=unit.max_attempts)

    async def heavy(self, i: int) -> None:
        """Run task *i*, which is more than a call, then go on as any worker does."""
        line = self.line
        over = line.run.plan.nodes[i].over
        self.at = i
        if over is None:
            await execute(line.unit(i))
        else:
            await FanOutRun(line.run, line.program.steps[i], line.hop, over)()
        await self.work(line.route(line.ended(i)))

    async def rescue(self, i: int, error: BaseException) -> None:
        """See to task *i*, which raised *error* in a thread, then go on as any worker does."""
        running.set(self)
        self.at = i
        await self.work(await self.line.mend(i, error))
