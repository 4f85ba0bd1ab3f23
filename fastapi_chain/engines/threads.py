"""The threads of one run on the fast path: each goes on with what it has made ready itself, then with what waits.

So a row of `def` tasks costs one hop in all, and a graph of them at most one for each thread.

Tasks that are ready lie in one queue of the run, each with the context in which it is to be called. What the pool is
given is *helpers*, never more of them than it has threads: a helper takes one task after the other from the queue, and
gives its thread back after any of them if somebody else waits for one.
"""

import asyncio
from collections import deque
from contextvars import Context, copy_context
from threading import Lock
from typing import Final, Protocol

from fastapi_chain._state import RunState
from fastapi_chain._state.ledger import RUNNING, SUCCEEDED
from fastapi_chain._threads import Hopper, post, settle
from fastapi_chain.context import running
from fastapi_chain.engines.program import Program
from fastapi_chain.events import TaskEvent, TaskStarted, TaskSucceeded
from fastapi_chain.execute.unit import Unit
from fastapi_chain.schedule import Schedule

from .workers import NOTHING

_SLICE: Final = 0.01
"""Seconds for which a thread goes on with what it has made ready itself, although something else waits."""


class Home(Protocol):
    """What the threads need of the line they belong to."""

    run: RunState
    program: Program
    hop: Hopper
    loop: asyncio.AbstractEventLoop
    schedule: Schedule | None

    def unit(self, i: int) -> Unit:
        """Return task *i* as what is executed."""

    def spawn(self, i: int) -> None:
        """Start task *i*."""

    def wake(self) -> None:
        """Look whether the run has come to its end."""

    def rescue(self, i: int, error: BaseException) -> None:
        """Go on after task *i* raised *error*."""


class ThreadWorker:
    """A thread that works for a run, and the task it is at."""

    __slots__ = ("at", "home", "late", "until")

    def __init__(self, home: Home) -> None:
        """Begin without a task."""
        self.home = home
        self.at = NOTHING
        self.until = 0.0  # when it is time to look whether something else waits for the thread
        self.late: asyncio.Future[object] | None = None  # who waits for it although the run has turned away

    def link(self) -> Unit:
        """Return the task that runs here."""
        return self.home.unit(self.at)


Job = tuple[ThreadWorker, Context]
"""A task from the queue: who is at it, and the context in which it is called."""


class Threads:
    """All threads that work for one run; false when there is nothing for any of them to do."""

    __slots__ = (
        "_abandoned",
        "_coming",
        "_home",
        "_ledger",
        "_now",
        "_pool",
        "_queue",
        "_run",
        "_schedule",
        "_steps",
        "_under_way",
        "_workers",
        "_working",
        "lock",
    )

    def __init__(self, home: Home) -> None:
        """Begin without any."""
        assert home.schedule is not None, "threads start after the straight line"
        self._home = home
        self._schedule = home.schedule
        self._steps = home.program.steps
        self._pool = home.hop.pool
        self._run = home.run
        self._ledger = home.run.ledger
        self._now = home.run.clock.monotonic
        self._queue: deque[tuple[int, Context]] = deque()  # the tasks that wait for a thread
        self._coming = False  # whether a helper waits for a thread: one at a time, it calls the next when it has come
        self._working = 0  # helpers that have one
        self._workers: set[ThreadWorker] = set()  # those that are at a task
        self._under_way = 0  # tasks that have become ready and have neither ended here nor come to the loop
        self._abandoned = False  # whether the run has turned away
        self.lock = Lock()
        """Held while anybody counts down in a run that has threads, and while somebody begins to follow it."""

    def __bool__(self) -> bool:
        return self._under_way > 0 and not self._abandoned

    def start(self, i: int) -> None:
        """Let a thread run task *i* and what it makes ready."""
        with self.lock:
            self._under_way += 1
            self._queue.append((i, copy_context()))
            short = self._is_short()
        if short:
            self._call()

    # --- helpers

    def _help(self) -> None:
        """Run what waits, one task after the other; the body of a thread."""
        with self.lock:
            self._coming = False
            self._working += 1
            job = self._take(ThreadWorker(self._home), self._now())
            short = self._is_short()
        if short:
            self._call()
        while job is not None:
            job = job[1].run(self._work, job)

    def _is_short(self) -> bool:
        """Whether to call another helper for what waits, which counts as coming then. The lock is held."""
        if not self._queue or self._coming or self._working >= self._pool.size:
            return False
        self._coming = True
        return True

    def _call(self) -> None:
        """Call a helper. The lock is not held: that may start a thread, which takes its time."""
        self._pool.submit(self._help, self)

    def _take(self, worker: ThreadWorker, now: float) -> Job | None:
        """Give *worker* what waits first; if nothing does, let the helper go. The lock is held."""
        if not self._queue:
            self._let_go(worker)
            return None
        i, context = self._queue.popleft()
        worker.until = now + _SLICE
        self._workers.add(worker)
        self._begin(worker, i, now)
        return worker, context

    def _let_go(self, worker: ThreadWorker) -> None:
        """Let the helper go that *worker* is, or would be. The lock is held."""
        self._workers.discard(worker)
        self._working -= 1

    def _next(self, worker: ThreadWorker, now: float) -> Job | None:
        """Give *worker* what waits first, unless somebody else waits for the thread. The lock is held."""
        if self._pool.is_wanted(self):
            self._let_go(worker)
            return None
        return self._take(worker, now)

    # --- tasks

    def _work(self, job: Job) -> Job | None:
        """Run the task of *job* and what it makes ready, one after the other; return what the thread does next."""
        worker = job[0]
        running.set(worker)
        steps, slots = self._steps, self._run.slots
        then: Job | None = job
        while then is job:
            step = steps[worker.at]
            try:
                value = step.call(slots)
                if type(value) is not step.exact:
                    step.check(value)
            except BaseException as error:  # noqa: BLE001 - whatever the user's code raises is an outcome
                return self._after(worker, error)
            then = self._following(job, value)
        return then

    def _following(self, job: Job, value: object) -> Job | None:
        """Put down that the task of *job* has returned *value*; return what the thread does next.

        That is *job* itself if it goes on in the same context with a task that it has just made ready.
        """
        worker = job[0]
        there: list[int] = []
        with self.lock:
            if self._abandoned:
                post(self._home.loop, self._return, worker, value, None)
                return None
            ready = self._count(worker.at, value, self._now())
            # Later than what has been skipped because of that.
            now = self._now()
            self._under_way += len(ready) - 1
            stays = bool(ready) and self._share(worker, ready, there, now)
            then = job if stays else self._next(worker, now)
            short = self._is_short() if self._queue else False
            over = not self._under_way
            if over and self._coming and self._pool.withdraw(self):
                self._coming = False
        if short:
            self._call()
        for i in there:
            post(self._home.loop, self._spawn, i)
        if over:
            post(self._home.loop, self._home.wake)
        return then

    def _begin(self, worker: ThreadWorker, i: int, now: float) -> None:
        """Let *worker* begin with task *i*. The lock is held."""
        worker.at = i
        self._ledger.states[i] = RUNNING
        self._ledger.began[i] = now
        if self._run.followed:
            self._tell(TaskStarted, i, max_attempts=self._home.unit(i).max_attempts)

    def _count(self, i: int, value: object, now: float) -> list[int]:
        """Put task *i* down as succeeded; return the tasks that may start because of it. The lock is held."""
        run = self._run
        run.slots[i] = value
        run.ended[i] = now
        self._ledger.states[i] = SUCCEEDED
        if run.followed:
            self._tell(TaskSucceeded, i)
        return self._schedule.ended(i)

    def _share(self, worker: ThreadWorker, ready: list[int], there: list[int], now: float) -> bool:
        """Let *worker* go on with one of *ready* and the others wait; the lock is held.

        Args:
            worker: Who has made them ready.
            ready: The tasks.
            there: Where those go that have to start on the loop.
            now: The time.

        Returns:
            Whether *worker* goes on: not if there is no `def` task, or it is time for others.
        """
        here = NOTHING
        for i in ready:
            step = self._steps[i]
            if not (step.threaded and step.light):
                there.append(i)
            elif here < 0 and (now <= worker.until or not (self._queue or self._pool.crowded)):
                here = i
                self._begin(worker, i, now)
            else:
                self._queue.append((i, copy_context()))
        return here >= 0

    def _tell(self, kind: type[TaskEvent], i: int, **fields: object) -> None:
        run = self._run
        run.tell_from_anywhere(kind, task=run.plan.names[i], attempt=run.ledger.attempt(i), **fields)

    # --- what goes wrong, and what goes back to the loop

    def _after(self, worker: ThreadWorker, error: BaseException) -> Job | None:
        """Let the loop see to *error*, which *worker*'s task has raised; return what the thread does next.

        Retries wait on the loop, and hold no thread. Until it has come there, *worker* stands for the task.
        """
        post(self._home.loop, self._raised, worker, error)
        with self.lock:
            then = self._next(ThreadWorker(self._home), self._now())
            short = self._is_short()
        if short:
            self._call()
        return then

    def _raised(self, worker: ThreadWorker, error: BaseException) -> None:
        """See to an error, on the loop. If the run was stopped, nobody does."""
        if self._abandoned:
            self._return(worker, None, error)
            return
        self._home.rescue(worker.at, error)
        with self.lock:
            self._workers.discard(worker)
        self._hand_over()

    def _spawn(self, i: int) -> None:
        """Start task *i*, on the loop."""
        self._home.spawn(i)
        self._hand_over()

    def _hand_over(self) -> None:
        """Count a task as come to the loop, where somebody else stands for it by now."""
        with self.lock:
            self._under_way -= 1
        self._home.wake()

    def _return(self, worker: ThreadWorker, value: object, error: BaseException | None) -> None:
        """Put down what has come of a call that the run has turned away from."""
        assert worker.late is not None, "it was in a call, or it would have nothing to say"
        settle(worker.late, value, error)

    def abandon(self) -> None:
        """Turn away from all threads: the run is stopped. What waits is called off; what runs in them runs on."""
        home = self._home
        with self.lock:
            self._abandoned = True
            self._queue.clear()
            self._pool.withdraw(self)
            workers = tuple(self._workers)
            for worker in workers:
                worker.late = home.loop.create_future()
        for worker in workers:
            assert worker.late is not None, "it has just been made"
            home.run.lingering.add(worker.late, (worker.at, None))
            home.unit(worker.at).cancel()
