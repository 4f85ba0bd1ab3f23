"""What the conformance tests need of an engine: to play a piece of user code with it in place."""

import asyncio
import selectors
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Protocol

from fastapi_chain import Run
from fastapi_chain._clock import Clock, use_clock
from fastapi_chain._state import Sink
from fastapi_chain._threads import ThreadPool
from fastapi_chain.engines.here import set_engine
from fastapi_chain.engines.memory import MemoryEngine

Main = Callable[[], Coroutine[Any, Any, Any]]


class Kit(Protocol):
    """An engine under test."""

    def play(self, main: Main, **options: Any) -> Any:
        """Run *main* on a loop of its own, on which the engine holds; waiting costs nothing."""

    def play_for_real(self, main: Main, **options: Any) -> Any:
        """The same in real time: for threads that are waited for."""


class Jumping(selectors.DefaultSelector):
    """Lets time jump to the next timer as soon as there is nothing else to do."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 1000.0
        self.busy: Callable[[], bool] = lambda: False
        self.due: tuple[int, Callable[[], object]] | None = None

    def after(self, turns: int, callback: Callable[[], object]) -> None:
        """Call *callback* after that many turns of the loop, between two of them; that holds up no time."""
        self.due = turns, callback

    def select(self, timeout: float | None = None) -> Any:
        if self.due is not None:
            turns, callback = self.due
            self.due = (turns - 1, callback) if turns > 1 else None
            if turns <= 1:
                callback()
                timeout = 0
        if timeout is None or timeout <= 0:
            return super().select(timeout)
        if self.busy():
            # Threads take real time, and nobody may seem to wait for them longer than they take.
            return super().select(0.001)
        self.now += timeout
        return super().select(0)


class VirtualLoop(asyncio.SelectorEventLoop):
    """A loop whose time is that of its selector."""

    def __init__(self, jumping: Jumping) -> None:
        super().__init__(jumping)
        self.jumping = jumping

    def time(self) -> float:
        # While the loop is being made there is none.
        return (getattr(self, "jumping", None) and self.jumping.now) or 1000.0


class VirtualClock(Clock):
    """The library's clock, told by a loop."""

    def __init__(self, jumping: Jumping) -> None:
        self._jumping = jumping

    def monotonic(self) -> float:  # type: ignore[override]
        return self._jumping.now

    def time(self) -> float:
        return 1_700_000_000.0 + self._jumping.now


class MemoryKit:
    """The memory engine, on one of its two paths."""

    def __init__(self, *, fast: bool) -> None:
        self.fast = fast
        self.engine: MemoryEngine

    def _engine(
        self, *, max_running: int | None = None, sinks: tuple[Sink, ...] = (), threads: int = 16
    ) -> MemoryEngine:
        engine = MemoryEngine(fast=self.fast, pool=ThreadPool(threads), max_running=max_running, sinks=sinks)
        engine.heed = ()
        return engine

    def play(self, main: Main, **options: Any) -> Any:
        jumping = Jumping()
        engine = self.engine = self._engine(**options)
        jumping.busy = lambda: engine.hop.pool._threads > len(engine.hop.pool._idle)
        with asyncio.Runner(loop_factory=lambda: VirtualLoop(jumping)) as runner:
            return runner.run(self._play(main, engine, VirtualClock(jumping)))

    def play_for_real(self, main: Main, **options: Any) -> Any:
        engine = self.engine = self._engine(**options)
        return asyncio.run(self._play(main, engine, Clock()))

    async def _play(self, main: Main, engine: MemoryEngine, clock: Clock) -> Any:
        loop = asyncio.get_running_loop()
        problems: list[dict[str, Any]] = []
        loop.set_exception_handler(lambda _loop, context: problems.append(context))
        set_engine(loop, engine)
        back = use_clock(clock)
        await engine.open()
        try:
            result = await main()
            await engine.idle()
            # Callbacks of what has just ended may have something to complain of.
            await settle()
        finally:
            back()
            set_engine(loop, None)
        assert problems == []
        return result


async def settle(turns: int = 5) -> None:
    """Let everything on the loop that can happen now happen."""
    for _ in range(turns):
        await asyncio.sleep(0)


def states(run: Run) -> dict[str, str]:
    """Return the state of every task, with the reason where there is one."""
    return {
        name: " ".join(filter(None, (task.state, task.skip_reason, task.cancel_reason)))
        for name, task in run.tasks.items()
    }


class Log(list[Any]):
    """What has happened, in order."""

    def __call__(self, what: Any) -> None:
        self.append(what)


async def together(*awaitables: Awaitable[Any]) -> list[Any]:
    """Wait for all."""
    return list(await asyncio.gather(*awaitables))
