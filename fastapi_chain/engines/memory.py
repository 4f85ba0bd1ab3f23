"""The memory engine: runs live in this process and end with it."""

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Mapping
from contextvars import copy_context
from typing import Final
from weakref import WeakKeyDictionary, WeakValueDictionary

from fastapi_chain._fan import FanOutRun
from fastapi_chain._fastapi import overrides_of
from fastapi_chain._program import Gates, Program
from fastapi_chain._state import RunState, Sink
from fastapi_chain._threads import Hopper, ThreadPool, default_pool
from fastapi_chain.execute import Unit, execute
from fastapi_chain.observe.log import log_event
from fastapi_chain.plan import Plan
from fastapi_chain.run import Run
from fastapi_chain.schedule import run_plan

from .base import RunRequest
from .line import Line
from .live import LiveRun


_log: Final = logging.getLogger("fastapi_chain")


class MemoryEngine:
    """Runs chains on the running loop."""

    name: Final = "memory"
    heed: tuple[Sink, ...] = (log_event,)

    def __init__(
        self,
        *,
        pool: ThreadPool = default_pool,
        sinks: tuple[Sink, ...] = (),
        max_running: int | None = None,
        fast: bool = True,
    ) -> None:
        """Prepare an engine.

        Args:
            pool: The threads of `def` tasks.
            sinks: Who is told every event.
            max_running: How many runs at once; the others are queued. None: no limit.
            fast: Whether runs take the fast path (`line.py`) or the plain one (`schedule.run_plan`); they do the same.
        """
        self.hop = Hopper(pool)
        self.gates = Gates()
        self._sinks = sinks
        self._fast = fast
        self._max_running = max_running
        self._room: asyncio.Semaphore | None = None
        self._programs: WeakKeyDictionary[Plan, Program] = WeakKeyDictionary()
        self._overridden: WeakKeyDictionary[Plan, tuple[Mapping[object, object], Program]] = WeakKeyDictionary()
        self._last: tuple[Plan | None, Program | None] = None, None  # what the next run will most likely need again
        self._active: dict[asyncio.Task[None], LiveRun] = {}
        self._keyed: WeakValueDictionary[tuple[str, str], LiveRun] = WeakValueDictionary()
        self._pending: Counter[str] = Counter()

    def take(self, request: RunRequest) -> Run:
        """Make a run, queued; nothing starts yet. Where its key has a run already, return that one."""
        key = None if request.key is None else (request.plan.chain, request.key)
        live = None if key is None else self._keyed.get(key)
        if live is None:
            live = LiveRun(self, RunState(request.plan, request.values, self._sinks), request)
            if request.counted:
                self._pending[request.plan.chain] += 1
            if key is not None:
                self._keyed[key] = live
        else:
            live.takers += 1
        window = request.window
        if window is None:
            return Run(live)
        # The endpoint holds a promised run: from now on its window shows the real one.
        if live.takers == 1:
            live.inner.id = window.id
        window._backend = live  # noqa: SLF001 - the window is ours
        return window

    def start(self, run: Run, request: RunRequest | None = None) -> "asyncio.Task[None]":
        """Start *run* at once, as a task of the running loop that the engine holds on to."""
        live = live_of(run)
        if live.task is not None:
            return live.task
        if request is not None and request is not live.request:
            live.serve(request)
        return self._start(live)

    def _start(self, live: LiveRun) -> "asyncio.Task[None]":
        context = copy_context() if live.request.context is None else live.request.context
        live.task = asyncio.get_running_loop().create_task(self._perform(live), context=context)
        self._active[live.task] = live
        live.task.add_done_callback(self._ended)
        return live.task

    def drop(self, run: Run) -> None:
        """Forget *run*, unless somebody else has taken it as well."""
        live = live_of(run)
        live.takers -= 1
        if live.takers == 0 and live.task is None and live.request.counted:
            self.forget(live)

    def forget(self, live: LiveRun) -> None:
        """Count *live* as pending no longer; its key is free again unless the run is kept."""
        self._pending[live.chain] -= 1
        if live.request.key is not None and live.inner.finished is None:
            self._keyed.pop((live.chain, live.request.key), None)

    def reopen(self, live: LiveRun) -> None:
        """Start a run that had finished."""
        if live.request.counted:
            self._pending[live.chain] += 1
        self._start(live)

    def pending(self, chain: str) -> int:
        """Return how many runs of *chain* are queued or running."""
        return self._pending[chain]

    def _ended(self, task: "asyncio.Task[None]") -> None:
        self._active.pop(task, None)
        error = None if task.cancelled() else task.exception()
        if error is not None:
            # A run keeps the errors of its tasks to itself, so this is SystemExit or a bug of ours.
            _log.error("a run ended with an error of its own", exc_info=error)

    def perform(self, run: Run) -> Awaitable[None]:
        """Run *run* here, and return when it has finished."""
        live: LiveRun = run._backend  # type: ignore[assignment]  # noqa: SLF001 - the window is ours
        # No coroutine of our own around the run's where there is nothing to add.
        return live.perform() if self._max_running is None else self._perform(live)

    async def _perform(self, live: LiveRun) -> None:
        """Run *live* when its turn has come."""
        if self._max_running is None:
            await live.perform()
            return
        if self._room is None:
            self._room = asyncio.Semaphore(self._max_running)
        async with self._room:
            await live.perform()

    def run_tasks(self, live: LiveRun) -> Awaitable[None]:
        """Run the tasks of a run, on the path of this engine."""
        program = self.program(live.inner)
        if not self._fast:
            return self._run_plainly(live, program)
        live.line = Line(live.inner, program, self.hop)
        return live.line.go()

    async def _run_plainly(self, live: LiveRun, program: Program) -> None:
        live.performer = asyncio.current_task()

        async def run_task(i: int) -> None:
            over = live.inner.plan.nodes[i].over
            if over is None:
                await execute(Unit(live.inner, program.steps[i], self.hop))
            else:
                await FanOutRun(live.inner, program.steps[i], self.hop, over)()

        await run_plan(live.inner, run_task)

    def program(self, state: RunState) -> Program:
        """Return the program of the run's plan; it is compiled once, and anew when the overrides of the app change."""
        overrides = None if state.app is None else overrides_of(state.app)
        if not overrides:
            plan, program = self._last
            if plan is not state.plan or program is None:
                program = self._programs.get(state.plan)
                if program is None:
                    program = self._programs[state.plan] = Program(state.plan, self.gates, self.hop, {})
                self._last = state.plan, program
            return program
        known = self._overridden.get(state.plan)
        if known is None or known[0] != overrides:
            program = Program(state.plan, self.gates, self.hop, overrides)
            known = self._overridden[state.plan] = dict(overrides), program
        return known[1]

    async def drain(self, seconds: float) -> None:
        """Let what runs come to its end, for at most *seconds*; cancel the rest, and let that end."""
        if self._active:
            await asyncio.wait(self._active, timeout=seconds)
        for live in list(self._active.values()):
            live.stop("shutdown")
        await self.idle()

    async def idle(self) -> None:
        """Return when nothing runs any more."""
        while self._active:
            await asyncio.wait(self._active)


def live_of(run: Run) -> LiveRun:
    """Return what stands behind a run of the memory engine."""
    live: LiveRun = run._backend  # type: ignore[assignment]  # noqa: SLF001 - the window is ours
    return live

