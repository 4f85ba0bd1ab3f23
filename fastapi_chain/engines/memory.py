"""The memory engine: runs live in this process and end with it."""

import asyncio
import logging
import threading
from collections import Counter
from collections.abc import Awaitable, Coroutine, Iterable, Mapping
from contextvars import Context, copy_context
from typing import Any, Final
from weakref import WeakKeyDictionary, WeakValueDictionary

from fastapi_chain._fastapi import overrides_of
from fastapi_chain._state import RunState, Sink
from fastapi_chain._state.telling import Heed
from fastapi_chain._threads import Hopper, ThreadPool, default_pool
from fastapi_chain.engines.fan import FanOutRun
from fastapi_chain.engines.program import Gates, Program
from fastapi_chain.errors import ChainError
from fastapi_chain.execute import execute
from fastapi_chain.execute.gate import Gate
from fastapi_chain.execute.unit import Unit
from fastapi_chain.observe.log import log_event
from fastapi_chain.plan import Plan
from fastapi_chain.run import Run
from fastapi_chain.schedule import PlanRun

from .base import RunRequest
from .driving import begin
from .history import History, Remembering
from .keys import MemoryKeys
from .line import Line
from .live import LiveRun

_log: Final = logging.getLogger("fastapi_chain")

UNDO_SECONDS: Final = 5.0
"""How long a shutdown waits, beyond its `drain_timeout`, for runs that it has cancelled: for their undo, above all."""


class MemoryEngine(Remembering):
    """Runs chains on the running loop."""

    name: Final = "memory"
    hold_soon: Final = None
    enlist: Final = None
    max_pending: int | None = None
    heed: tuple[Heed, ...] = (log_event,)

    def __init__(
        self,
        *,
        pool: ThreadPool = default_pool,
        sinks: tuple[Sink, ...] = (),
        max_running: int | None = None,
        fast: bool = True,
        kept: History | None = None,
    ) -> None:
        """Prepare an engine.

        Args:
            pool: The threads of `def` tasks.
            sinks: Who is told every event.
            max_running: How many runs at once; the others are queued. None: no limit.
            fast: Whether runs take the fast path (`line.py`) or the plain one (`schedule.PlanRun`); they do the same.
            kept: Where runs are remembered, to be found again; None: nowhere.
        """
        self.kept = kept
        self.keys = MemoryKeys()
        self.hop = Hopper(pool)
        self.gates = Gates()
        self._sinks = sinks
        self._fast = fast
        self._room = None if max_running is None else Gate(max_running)
        self._programs: WeakKeyDictionary[Plan, Program] = WeakKeyDictionary()
        self._overridden: WeakKeyDictionary[Plan, tuple[Mapping[object, object], Program]] = WeakKeyDictionary()
        self._last: tuple[Plan | None, Program | None] = None, None  # what the next run will most likely need again
        self._active: dict[asyncio.Task[None], LiveRun] = {}
        self._keyed: WeakValueDictionary[tuple[Plan, str], LiveRun] = WeakValueDictionary()
        self._pending: Counter[str] = Counter()
        self._lock = threading.Lock()

    def take(self, request: RunRequest) -> Run:
        """Make a run, queued; nothing starts yet. Where its key has a run already, return that one."""
        if not request.counted:
            live = self._make(request)
        else:
            # `def` endpoints take their runs in their threads.
            with self._lock:
                live = self._take_counted(request)
        window = request.window
        if window is None:
            return Run(live)
        # The endpoint holds a promised run: from now on its window shows the real one.
        window._backend = live  # noqa: SLF001 - the window is ours
        return window

    def _make(self, request: RunRequest) -> LiveRun:
        state = RunState(request.plan, request.values, self._sinks)
        if request.window is not None:
            state.id = request.window.id
        live = LiveRun(self, state, request)
        if self.kept is not None:
            self.kept.begin(live)
        return live

    def _take_counted(self, request: RunRequest) -> LiveRun:
        chain = request.plan.chain
        live = None if request.key is None else self._keyed.get((request.plan, request.key))
        if live is not None:
            live.takers += 1
            return live
        live = self._make(request)
        self._pending[chain] += 1
        if request.key is not None:
            self._keyed[request.plan, request.key] = live
        return live

    def start(self, run: Run, request: RunRequest | None = None) -> "asyncio.Task[None]":
        """Start *run* at once, as a task of the running loop that the engine holds on to."""
        live = live_of(run)
        return live.task or self._start(live, self.perform(run, request))

    def _start(self, live: LiveRun, body: Coroutine[Any, Any, None]) -> "asyncio.Task[None]":
        context = copy_context() if live.request.context is None else live.request.context
        live.task = asyncio.get_running_loop().create_task(body, context=context)
        self._active[live.task] = live
        live.task.add_done_callback(self._ended)
        return live.task

    def drop(self, run: Run) -> None:
        """Forget *run*, unless somebody else has taken it as well."""
        live = live_of(run)
        with self._lock:
            live.takers -= 1
            last = live.takers == 0 and not live.begun
            if last and live.request.key is not None:
                del self._keyed[live.inner.plan, live.request.key]
        if last:
            if self.kept is not None:
                self.kept.drop(live)
            live.give_up()

    def forget(self, live: LiveRun) -> None:
        """Count *live* as pending no longer."""
        with self._lock:
            self._pending[live.chain] -= 1

    def reopen(self, live: LiveRun) -> None:
        """Start a run that had finished."""
        if live.request.counted:
            self._pending[live.chain] += 1
        if self.kept is not None:
            self.kept.begin(live)
        live.task = self._start(
            live, self._whole(live) if self._room is None else self._in_turn(live, self._room, None)
        )

    def pending(self, chain: str | None) -> int:
        """Return how many runs of *chain*, or of all chains, are queued or running."""
        if chain is not None:
            return self._pending[chain]
        return 0 if self.kept is None else self.kept.open

    def _ended(self, task: "asyncio.Task[None]") -> None:
        live = self._active.pop(task)
        if live.task is task and live.inner.finished is None:
            # It was cancelled before its first step, and so runs no code at all.
            live.give_up()
        error = None if task.cancelled() else task.exception()
        if error is not None:
            # A run keeps the errors of its tasks to itself, so this is SystemExit or a bug of ours.
            _log.error("a run ended with an error of its own", exc_info=error)

    def begin(
        self, run: Run, request: RunRequest | None = None, context: Context | None = None
    ) -> Awaitable[None] | None:
        """Run *run* here as far as it goes without waiting, and return what is left; see `Engine.begin`."""
        live: LiveRun = run._backend  # type: ignore[assignment]  # noqa: SLF001 - the window is ours
        if live.begun:
            # Somebody else performs it.
            return live.wait(None)
        live.begun = True
        if request is not None and live.takers > 1:
            live.serve(request)
        return begin(live, context) if self._room is None else self._in_turn(live, self._room, context)

    async def perform(self, run: Run, request: RunRequest | None = None) -> None:
        """Run *run* here, and return when it has finished; one that somebody else performs is waited for."""
        rest = self.begin(run, request)
        if rest is not None:
            await rest

    async def _in_turn(self, live: LiveRun, room: Gate, context: Context | None) -> None:
        """Run *live* when its turn has come."""
        try:
            await room.enter(live.inner.clock)
        except asyncio.CancelledError:
            live.stop("run_cancelled")
            await self._whole(live, context)
            raise
        try:
            await self._whole(live, context)
        finally:
            room.leave()

    @staticmethod
    async def _whole(live: LiveRun, context: Context | None = None) -> None:
        rest = begin(live, context)
        if rest is not None:
            await rest

    def run_tasks(self, live: LiveRun) -> Awaitable[None]:
        """Run the tasks of a run, on the path of this engine."""
        state = live.inner
        program = self.program(state)
        if self._fast:
            live.path = line = Line(state, program, self.hop)
            return line.go()
        live.path = path = self._plainly(state, program)
        return path.go()

    def _plainly(self, state: RunState, program: Program) -> PlanRun:
        async def run_task(i: int) -> None:
            over = state.plan.nodes[i].over
            if over is None:
                await execute(Unit(state, program.steps[i], self.hop))
            else:
                await FanOutRun(state, program.steps[i], self.hop, over)()

        return PlanRun(state, run_task)

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

    # --- the app begins and ends

    def check(self, _plan: Plan) -> Iterable[ChainError]:
        """Return what speaks against running a plan here: nothing, values stay where they are."""
        return ()

    async def open(self) -> None:
        """Begin: there is nothing to prepare."""
        self._hurry = asyncio.Event()

    def hurry(self) -> None:
        """Wait no longer for what is still under way."""
        self._hurry.set()

    async def drain(self, seconds: float) -> None:
        """Let what runs come to its end, for at most *seconds*; then cancel it, and give it a few more for its undo.

        Runs that never began are told so: they end cancelled as well.
        """
        await self._rest(seconds)
        self._hurry.clear()
        for live in list(self._active.values()):
            live.stop("shutdown")
        await self._rest(UNDO_SECONDS)
        for task, live in list(self._active.items()):
            _log.warning("run %s of chain %r has not ended in time and is left behind", live.id[:8], live.chain)
            task.cancel()

    async def _rest(self, seconds: float) -> None:
        """Return when nothing runs any more, after *seconds*, or when there is a hurry."""
        hurry = asyncio.ensure_future(self._hurry.wait())
        try:
            async with asyncio.timeout(seconds):
                while self._active and not hurry.done():
                    await asyncio.wait((*self._active, hurry), return_when=asyncio.FIRST_COMPLETED)
        except TimeoutError:
            pass
        finally:
            hurry.cancel()

    async def idle(self) -> None:
        """Return when nothing runs any more."""
        while self._active:
            await asyncio.wait(self._active)


def live_of(run: Run) -> LiveRun:
    """Return what stands behind a run of the memory engine."""
    live: LiveRun = run._backend  # type: ignore[assignment]  # noqa: SLF001 - the window is ours
    return live
