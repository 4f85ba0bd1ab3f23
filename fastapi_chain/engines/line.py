"""The fast path: a whole run in one asyncio task, as long as nothing waits.

**The straight line.** The tasks are awaited one after the other in topological order, in the asyncio task that is here
already. Coroutines that never suspend cannot interleave anyway, so nothing is lost, and nothing has to be counted:
`run.pos` says how far the line has come, and one end stamp a task is all that is written.

**Take-over.** The line is driven by hand up to its first suspension (`driving.py`). If a task suspends, the rest of the
graph is counted at that moment, once: every other task that is ready gets a worker, and the line goes on as one of them
when its task returns. A worker goes on with the first task it has made ready and gives away the others.

**Threads.** The thread that ends a `def` task counts its children down under a lock, goes on with one that is ready and
`def` itself, or with what waits in the run's queue, and wakes the loop only for what is not `def` (`threads.py`).

Whatever is not a plain call (gates, fan-outs, time-outs of threads) and whatever goes wrong is left to `execute`.
"""

import asyncio
from collections.abc import Callable, Coroutine, Iterable
from contextlib import suppress

from anyio import CancelScope

from fastapi_chain._state import OFF_LINE, RunState, rested
from fastapi_chain._state.ledger import SUCCEEDED
from fastapi_chain._threads import Hopper
from fastapi_chain.context import running
from fastapi_chain.engines.program import CHUNK, Program
from fastapi_chain.events import TaskSucceeded
from fastapi_chain.execute import ends_run, recover, sober, was_cancelled
from fastapi_chain.execute.unit import Unit
from fastapi_chain.schedule import Schedule

from .threads import Threads
from .workers import NOTHING, Bench, Worker


class Line:
    """One run of a program."""

    # What a run that never suspends does without is the class's until it is set.
    main: "asyncio.Task[object] | None" = None
    schedule: Schedule | None
    """Made when the straight line ends before the run does."""
    threads: Threads | None = None
    """Made when the first `def` task starts."""
    done: "asyncio.Future[None] | None" = None
    busy: bool = False
    """The main task is at a task of the run, so that is where it can be cancelled."""
    stops: int = 0
    """How often we have cancelled the main task ourselves."""
    broken: BaseException | None = None
    """What came out of a worker although it is no outcome: `SystemExit`, or a bug of ours."""
    worker: Worker
    """The main task, once it has left the line: made with the schedule."""
    workers: set[Worker]
    """The other tasks: made with the schedule."""
    states: bytearray
    """Those of the ledger: at hand from then on."""
    bench: Bench
    """What workers work with: made with the schedule."""

    def __init__(self, run: RunState, program: Program, hop: Hopper) -> None:
        """Prepare to run *program* for *run*, which is open; threads come from *hop*'s pool."""
        assert run.loop is not None, "an open run has a loop"
        self.run = run
        self.program = program
        self.hop = hop
        self.loop = run.loop
        # Asked after each task: quicker here than on the class.
        self.schedule = None

    def link(self) -> Unit:
        """Return the task that the line is at."""
        pos = self.run.pos
        if pos == OFF_LINE:
            return self.unit(self.worker.at)
        return self.unit(pos if pos >= 0 else rested(pos) - 1)

    def unit(self, i: int) -> Unit:
        """Return task *i* as what is executed."""
        return Unit(self.run, self.program.steps[i], self.hop)

    async def go(self) -> None:
        """Run until every task has ended, or the run was stopped and what was under way has ended.

        The head of the order is run right here, in a row: that is the straight line.

        Raises:
            asyncio.CancelledError: The task that waits here was cancelled.
        """
        run = self.run
        running.set(self)
        main = self.main = asyncio.current_task(self.loop)
        if main is not None and main.cancelling() != run.cancelling:
            run.cancelling = main.cancelling()
        slots, ended, now = run.slots, run.ended, run.clock.monotonic
        i, failure = NOTHING, None
        try:
            for chunk in () if run.followed or not run.spotless else self.program.line:
                self.busy = True
                for i, call, exact, check in chunk:
                    run.pos = i
                    value = await call(slots)  # type: ignore[misc]  # the line holds only calls that give awaitables
                    if type(value) is not exact:
                        check(value)
                    slots[i] = value
                    ended[i] = now()
                    if self.schedule is not None:
                        break
                else:
                    self.busy = False
                    run.pos = rested(i + 1)
                    if len(chunk) == CHUNK and await self._leave_off():
                        break
                    continue
                break
        except BaseException as error:  # noqa: BLE001 - what it means is found out once it is not being handled any more
            failure = error
        if failure is not None or self.schedule is not None or i + 1 < len(ended):
            await self._go_on(i, failure)

    async def _leave_off(self) -> bool:
        """Give everybody else on the loop a turn, between two tasks; return whether that has ended the line."""
        await asyncio.sleep(0)
        return self.run.cancel_reason is not None or self.run.followed or self.schedule is not None

    async def _go_on(self, i: int, failure: BaseException | None) -> None:
        """Run the rest after the straight line, which has come to task *i* and has met *failure* there, if anything."""
        outside: BaseException | None = None
        try:
            i = await self._off_line(i, failure)
            if i >= 0:
                self.busy = True
                await self.worker.work(i)
            self.busy = False
            if self.workers or self.threads:
                await self._join()
            if self.run.cancel_reason is None and was_cancelled(self.run):
                await sober(self.run)
        except BaseException as error:  # noqa: BLE001 - raised again, once what is under way has ended
            outside = error
            self.busy = False
            await self._clear()
        finally:
            # For those who are told how it ends. The context is the run's own: nobody was told anything else in it.
            running.set(None)
        self._acquit(self.broken or outside)

    async def _off_line(self, i: int, failure: BaseException | None) -> int:
        """Leave the line at task *i*; return the task to go on with.

        Raises:
            BaseException: It is no outcome of a task.
        """
        if failure is None:
            return self.land(i) if self.busy else self.route(self._count())
        if self.busy and isinstance(failure, Exception):
            # Whatever the user's code raises is an outcome. The others need not wait for its retries.
            self.take_over()
            self.worker.at = i
            return await self.mend(i, failure)
        if self.busy and isinstance(failure, asyncio.CancelledError):
            return self.cancelled(i, failure)
        raise failure

    # --- from the line to workers

    def _count(self) -> list[int]:
        """Count what is left of the graph, once; return the tasks that may start now."""
        run = self.run
        if self.schedule is not None:
            return []
        pos = run.pos
        schedule = self.schedule = Schedule(run)
        run.pos = OFF_LINE
        run.main, run.left_behind = self.main, 0
        self.states = schedule.states
        self.bench = (run, self.program.steps, run.slots, self.states, run.ledger.began, run.ended, run.clock.monotonic)
        self.worker = Worker(self)
        if pos >= 0:
            self.worker.at = pos
        self.workers = set()
        return schedule.ready()

    def take_over(self) -> None:
        """Start everything else that is ready: the line has suspended in a task."""
        for i in self._count():
            self.spawn(i)

    def land(self, i: int) -> int:
        """Count task *i*, which has returned, and return the task to go on with."""
        run, schedule = self.run, self.schedule
        assert schedule is not None, "nothing is counted on the straight line"
        self.states[i] = SUCCEEDED
        if run.followed:
            run.tell(TaskSucceeded, task=run.plan.names[i], attempt=run.ledger.attempt(i))
        if self.threads is not None or not schedule.sure:
            return self.route(self.ended(i))
        # `route` and `Schedule.ended`, written out: nearly every task comes by here.
        left, here = schedule.left, NOTHING
        for child in schedule.children[i]:
            left[child] -= 1
            if not left[child]:
                if here < 0 and self.program.steps[child].inline:
                    here = child
                else:
                    self.spawn(child)
        return here if run.cancel_reason is None else NOTHING

    async def mend(self, i: int, error: BaseException) -> int:
        """See to task *i*, which raised *error*; return the task to go on with."""
        try:
            await recover(self.unit(i), error)
        except asyncio.CancelledError as cancelled:
            return self._given_up(cancelled)
        return self.route(self.ended(i))

    def cancelled(self, i: int, error: asyncio.CancelledError) -> int:
        """Go on after task *i* was cancelled, or has raised the error of itself: then it has failed like any other."""
        unit = self.unit(i)
        if ends_run(self.run):
            self._count()
            unit.cancel()
            return self._given_up(error)
        self.take_over()
        unit.note(error, unit.attempt)
        unit.fail(error)
        return self.route(self.ended(i))

    def _given_up(self, error: asyncio.CancelledError) -> int:
        """Stop here if the run was stopped; let a cancellation from outside through."""
        if self.run.cancel_reason is None:
            raise error
        return NOTHING

    # --- workers

    def ended(self, i: int) -> list[int]:
        """Count task *i* as ended; return the tasks that may start because of it."""
        assert self.schedule is not None, "nothing is counted on the straight line"
        if self.threads is None:
            return self.schedule.ended(i)
        with self.threads.lock:
            return self.schedule.ended(i)

    def route(self, ready: Iterable[int]) -> int:
        """Return the task of *ready* to go on with here; start the others elsewhere."""
        if self.run.cancel_reason is not None:
            return NOTHING
        here = NOTHING
        for i in ready:
            step = self.program.steps[i]
            if here < 0 and step.inline:
                here = i
            else:
                self.spawn(i)
        return here

    def spawn(self, i: int) -> None:
        """Start task *i* in a worker of its own."""
        if self.run.cancel_reason is not None:
            return
        step = self.program.steps[i]
        if step.threaded and step.light and not self.run.in_context:
            if self.threads is None:
                self.threads = Threads(self)
            self.threads.start(i)
            return
        worker = Worker(self)
        self._employ(worker, worker.work(i) if step.inline else worker.heavy(i))

    def rescue(self, i: int, error: BaseException) -> None:
        """See to task *i*, which raised *error* in a thread."""
        worker = Worker(self)
        self._employ(worker, worker.rescue(i, error))

    def _employ(self, worker: Worker, body: Coroutine[object, object, None]) -> None:
        """Let *worker* do *body* in a task of its own."""
        # Not `create_task`: with a factory for eager tasks, workers that start workers would start inside of each
        # other.
        task = worker.task = asyncio.Task(body, loop=self.loop)
        task.add_done_callback(worker.gone)
        self.workers.add(worker)

    # --- the end

    def dismiss(self, worker: Worker, task: "asyncio.Task[None] | None" = None) -> None:
        """Let *worker* go; *task* is given if it has ended by itself, and perhaps badly."""
        if task is not None:
            if task.cancelled():
                # If somebody has cancelled just this asyncio task, the run cannot become whole any more.
                self._halt()
            elif task.exception() is not None:
                self.broken = task.exception()
                self._halt()
        workers = self.workers
        workers.discard(worker)
        if not workers:
            self.wake()

    def _halt(self) -> None:
        """Cancel the run from inside, unless it has been stopped already."""
        if self.run.cancel_reason is None:
            self.run.cancel_reason = "run_cancelled"
            self.stop()

    def wake(self) -> None:
        """Let the main task go on if nothing is under way any more."""
        if self.done is not None and not self.done.done() and not self.workers and not self.threads:
            self.done.set_result(None)

    async def _join(self) -> None:
        """Wait until nothing is under way any more."""
        while self.workers or self.threads:
            self.done = self.loop.create_future()
            await self.done

    def stop(self) -> None:
        """End what is under way: `run.cancel_reason` says why. Threads run on, but nobody waits for them here."""
        if self.schedule is None:
            # From now on the line ends with the task that it is at.
            self._count()
        for worker in self.workers:
            worker.cancel()
        if asyncio.current_task(self.loop) is not self.main:
            self._cancel_main()
        else:
            # A task of the run has stopped it from inside: it may return before its next await, and then there is
            # nothing to cancel.
            self.loop.call_soon(self._cancel_main)
        if self.threads is not None:
            self.threads.abandon()
            self.wake()

    def listen(self, begin: Callable[[], None]) -> None:
        """Call *begin* at a moment at which no thread changes anything; from then on everything is told."""
        if self.run.pos >= 0:
            # The line tells nothing, so it ends with the task that it is at.
            self.take_over()
        if self.threads is None:
            begin()
        else:
            with self.threads.lock:
                begin()

    def _cancel_main(self) -> None:
        """Cancel the task that the main task is at, if it is at one."""
        if self.busy and self.main is not None:
            self.stops += 1
            self.main.cancel()

    async def _clear(self) -> None:
        """End everything after the main task was cancelled, however often it is cancelled again meanwhile."""
        self._halt()
        # anyio cancels again in every cycle of the loop, except behind a shield.
        with CancelScope(shield=True):
            while self.workers or self.threads:
                with suppress(asyncio.CancelledError):
                    await self._join()

    def _acquit(self, error: BaseException | None) -> None:
        """Take back the cancellations that were our own; let what came from outside through.

        Args:
            error: What has ended the run, if anything did.
        """
        assert self.main is not None, "it is set before anything runs"
        while self.stops:
            self.stops -= 1
            self.main.uncancel()
        # A cancellation from outside goes on as it is: anyio knows its own by their text.
        ours = isinstance(error, asyncio.CancelledError) and self.main.cancelling() <= self.run.cancelling
        if error is not None and not ours:
            raise error
