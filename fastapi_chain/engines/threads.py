"""The threads of one run on the fast path: each goes on with what it has made ready itself.

So a row of `def` tasks costs one hop in all, and a graph of them about one for each branch.
"""

import asyncio
from collections.abc import Iterable
from contextvars import copy_context
from threading import Lock
from typing import Final, Protocol

from fastapi_chain._ledger import RUNNING, SUCCEEDED
from fastapi_chain._program import Program
from fastapi_chain._state import RunState
from fastapi_chain._threads import Hopper, post, settle
from fastapi_chain.context import running
from fastapi_chain.events import TaskStarted, TaskSucceeded
from fastapi_chain.execute import Unit
from fastapi_chain.schedule import Schedule

_NOTHING: Final = -1


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

    __slots__ = ("at", "gone", "home", "late")

    def __init__(self, home: Home, at: int) -> None:
        """Begin at task *at*."""
        self.home = home
        self.at = at
        self.gone = False  # the run has turned away from it
        self.late: asyncio.Future[object] | None = None  # who waits for it all the same

    def link(self) -> Unit:
        """Return the task that runs here."""
        return self.home.unit(self.at)


class Threads:
    """All threads that work for one run; false when there are none."""

    __slots__ = ("_home", "_workers", "lock")

    def __init__(self, home: Home) -> None:
        """Begin without any."""
        self._home = home
        self._workers: set[ThreadWorker] = set()
        self.lock = Lock()
        """Held while anybody counts down in a run that has threads."""

    def __bool__(self) -> bool:
        return bool(self._workers)

    def start(self, i: int) -> None:
        """Let a thread run task *i* and what it makes ready."""
        worker = ThreadWorker(self._home, i)
        with self.lock:
            self._workers.add(worker)
        self._submit(worker)

    def _submit(self, worker: ThreadWorker) -> None:
        context = copy_context()
        self._home.hop.pool.submit(lambda: context.run(self._work, worker))

    def _work(self, worker: ThreadWorker) -> None:
        """Run one task after the other; the body of a thread."""
        running.set(worker)
        run, steps = self._home.run, self._home.program.steps
        slots, ledger, now = run.slots, run.ledger, run.now
        if not self._begin(worker):
            return
        i = worker.at
        while i >= 0:
            step = steps[i]
            try:
                value = step.call(slots)
                if type(value) is not step.exact:
                    step.check(value)
            except BaseException as error:  # noqa: BLE001 - whatever the user's code raises is an outcome
                self._raised(worker, i, error)
                return
            end = now()
            with self.lock:
                if worker.gone:
                    break
                slots[i] = value
                ledger.ended[i] = end
                ledger.states[i] = SUCCEEDED
                i, others = self._next(worker, i)
            if run.followed:
                self._tell(step.name)
            self._hand_out(others)
        else:
            self._leave(worker)
            return
        self._too_late(worker, value, None)

    def _begin(self, worker: ThreadWorker) -> bool:
        """Put the first task down as running; return whether the run still wants it."""
        run = self._home.run
        with self.lock:
            if worker.gone:
                return False
            run.ledger.states[worker.at] = RUNNING
            run.ledger.began[worker.at] = run.now()
            return True

    def _next(self, worker: ThreadWorker, i: int) -> tuple[int, list[int]]:
        """Count task *i* as ended; return the task to go on with and the others that are ready. The lock is held."""
        home = self._home
        assert home.schedule is not None, "threads start after the straight line"
        here, others = _NOTHING, []
        for j in home.schedule.ended(i):
            step = home.program.steps[j]
            if here < 0 and step.light and step.threaded:
                here = worker.at = j
                home.run.ledger.states[j] = RUNNING
                home.run.ledger.began[j] = home.run.now()
            else:
                others.append(j)
        return here, others

    def _hand_out(self, others: Iterable[int]) -> None:
        """Start what this thread does not go on with: `def` tasks right from here, others on the loop."""
        home = self._home
        for j in others:
            step = home.program.steps[j]
            if step.light and step.threaded:
                self.start(j)
            else:
                post(home.loop, home.spawn, j)

    def _leave(self, worker: ThreadWorker) -> None:
        """Let the thread go: there is nothing left for it."""
        with self.lock:
            self._workers.discard(worker)
            last = not self._workers
        if last:
            post(self._home.loop, self._home.wake)

    def _raised(self, worker: ThreadWorker, i: int, error: BaseException) -> None:
        """Let the loop see to an error: retries wait there, and hold no thread."""
        if worker.gone:
            self._too_late(worker, None, error)
        else:
            post(self._home.loop, self._rescue, worker, i, error)

    def _rescue(self, worker: ThreadWorker, i: int, error: BaseException) -> None:
        """Hand the task over to the loop; unless the run has been stopped in the meantime."""
        if worker.gone:
            if worker.late is not None:
                worker.late.set_exception(error)
            return
        self._home.rescue(i, error)
        with self.lock:
            self._workers.discard(worker)

    def _too_late(self, worker: ThreadWorker, value: object, error: BaseException | None) -> None:
        """Tell whoever waits for the thread that it has returned."""
        if worker.late is not None:
            post(self._home.loop, settle, worker.late, value, error)

    def _tell(self, name: str) -> None:
        """Tell somebody who has come to watch meanwhile."""
        run = self._home.run
        run.tell_from_anywhere(TaskStarted, task=name, attempt=1, max_attempts=1)
        run.tell_from_anywhere(TaskSucceeded, task=name, attempt=1)

    def abandon(self) -> None:
        """Turn away from all threads: the run is stopped. What runs in them runs on."""
        home = self._home
        with self.lock:
            workers, self._workers = self._workers, set()
            for worker in workers:
                worker.gone = True
                if home.run.ledger.states[worker.at] == RUNNING:
                    worker.late = home.loop.create_future()
        for worker in workers:
            if worker.late is not None:
                home.run.linger(worker.at, worker.late)
                home.unit(worker.at).cancel()
