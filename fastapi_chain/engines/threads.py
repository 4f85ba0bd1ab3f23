"""The threads of one run on the fast path: each goes on with what it has made ready itself.

So a row of `def` tasks costs one hop in all, and a graph of them about one for each branch.
"""

import asyncio
from collections.abc import Iterable
from contextvars import copy_context
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
"""Seconds after which a thread looks whether other runs wait for one."""


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

    __slots__ = ("at", "home", "late", "told", "until")

    def __init__(self, home: Home, at: int) -> None:
        """Begin at task *at*."""
        self.home = home
        self.at = at
        self.told = False  # whether it has given the loop something to do
        self.until = 0.0  # when it is time to look whether others want the thread
        self.late: asyncio.Future[object] | None = None  # who waits for it although the run has turned away

    def link(self) -> Unit:
        """Return the task that runs here."""
        return self.home.unit(self.at)


class Threads:
    """All threads that work for one run; false when there are none."""

    __slots__ = ("_home", "_workers", "lock")

    def __init__(self, home: Home) -> None:
        """Begin without any."""
        self._home = home
        self._workers: set[ThreadWorker] = (
            set()
        )  # a worker that is not in here is one that the run has turned away from
        self.lock = Lock()
        """Held while anybody counts down in a run that has threads, and while somebody begins to follow it."""

    def __bool__(self) -> bool:
        return bool(self._workers)

    def start(self, i: int) -> None:
        """Let a thread run task *i* and what it makes ready. Any thread may call this."""
        worker = ThreadWorker(self._home, i)
        context = copy_context()
        with self.lock:
            self._workers.add(worker)
        self._home.hop.pool.submit(lambda: context.run(self._work, worker), self._home.run)

    def _work(self, worker: ThreadWorker) -> None:
        """Run one task after the other; the body of a thread."""
        running.set(worker)
        run, steps = self._home.run, self._home.program.steps
        slots = run.slots
        i = self._first(worker)
        while i >= 0:
            step = steps[i]
            try:
                value = step.call(slots)
                if type(value) is not step.exact:
                    step.check(value)
            except BaseException as error:  # noqa: BLE001 - whatever the user's code raises is an outcome
                post(self._home.loop, self._raised, worker, i, error)
                return
            i = self._following(worker, i, value)

    def _first(self, worker: ThreadWorker) -> int:
        """Return the task to begin with; none if the run was stopped while it waited for a thread."""
        worker.until = self._home.run.now() + _SLICE
        with self.lock:
            if worker not in self._workers:
                return NOTHING
            self._begin(worker.at)
            return worker.at

    def _following(self, worker: ThreadWorker, i: int, value: object) -> int:
        """Put down that task *i* has returned *value*; return the task to go on with, and start the others."""
        with self.lock:
            if worker not in self._workers:
                post(self._home.loop, self._return, worker, value, None)
                return NOTHING
            ready = self._count(i, value)
            here = self._choose(worker, ready)
        if ready:
            self._hand_out(worker, ready)
        if here < 0:
            self._leave(worker)
        return here

    def _begin(self, i: int) -> None:
        """Put task *i* down as running. The lock is held."""
        run = self._home.run
        run.ledger.states[i] = RUNNING
        run.ledger.began[i] = run.clock.monotonic()
        if run.followed:
            self._tell(TaskStarted, i, max_attempts=self._home.unit(i).max_attempts)

    def _count(self, i: int, value: object) -> list[int]:
        """Put task *i* down as succeeded; return the tasks that may start because of it. The lock is held."""
        run, schedule = self._home.run, self._home.schedule
        assert schedule is not None, "threads start after the straight line"
        run.slots[i] = value
        run.ended[i] = run.clock.monotonic()
        run.ledger.states[i] = SUCCEEDED
        if run.followed:
            self._tell(TaskSucceeded, i)
        return schedule.ended(i)

    def _choose(self, worker: ThreadWorker, ready: list[int]) -> int:
        """Take the task to go on with out of *ready*; none if it is time for other runs. The lock is held."""
        home = self._home
        if home.hop.pool.crowded and home.run.now() > worker.until:
            return NOTHING
        for i in ready:
            step = home.program.steps[i]
            if step.light and step.threaded:
                ready.remove(i)
                worker.at = i
                self._begin(i)
                return i
        return NOTHING

    def _tell(self, kind: type[TaskEvent], i: int, **fields: object) -> None:
        run = self._home.run
        run.tell_from_anywhere(kind, task=run.plan.names[i], attempt=run.ledger.attempt(i), **fields)

    def _hand_out(self, worker: ThreadWorker, ready: Iterable[int]) -> None:
        """Start what *worker* does not go on with: `def` tasks right from here, others on the loop."""
        home = self._home
        for i in ready:
            step = home.program.steps[i]
            if step.light and step.threaded:
                self.start(i)
            else:
                worker.told = True
                post(home.loop, home.spawn, i)

    def _leave(self, worker: ThreadWorker) -> None:
        """Let *worker* go, from its own thread: the loop is woken only if that was the last one.

        One that has given the loop something to do leaves there, after that: or the run would seem to be over before.
        """
        if worker.told:
            post(self._home.loop, self._left, worker)
            return
        with self.lock:
            self._workers.discard(worker)
            last = not self._workers
        if last:
            post(self._home.loop, self._home.wake)

    def _raised(self, worker: ThreadWorker, i: int, error: BaseException) -> None:
        """Let the loop see to an error: retries wait there, and hold no thread. If the run was stopped, nobody does."""
        if worker in self._workers:
            self._home.rescue(i, error)
            self._left(worker)
        else:
            self._return(worker, None, error)

    def _return(self, worker: ThreadWorker, value: object, error: BaseException | None) -> None:
        """Put down what has come of a call that the run has turned away from."""
        assert worker.late is not None, "it was in a call, or it would have nothing to say"
        settle(worker.late, value, error)

    def _left(self, worker: ThreadWorker) -> None:
        """Let *worker* go."""
        with self.lock:
            self._workers.discard(worker)
        self._home.wake()

    def abandon(self) -> None:
        """Turn away from all threads: the run is stopped. What runs in them runs on."""
        home = self._home
        with self.lock:
            workers, self._workers = self._workers, set()
            for worker in workers:
                if home.run.ledger.states[worker.at] == RUNNING:
                    worker.late = home.loop.create_future()
        for worker in workers:
            if worker.late is not None:
                home.run.lingering.add(worker.late, (worker.at, None))
                home.unit(worker.at).cancel()
