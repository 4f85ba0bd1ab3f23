"""The gate of a task: places, starts in a time, and turns."""

import asyncio
import threading
from collections.abc import Callable, Coroutine
from typing import Any

from fastapi_chain._clock import Clock
from fastapi_chain.execute.gate import Gate
from fastapi_chain.spec import Rate


class SetClock(Clock):
    """A clock that stands still until it is set; sleepers are called by hand."""

    def __init__(self) -> None:
        self.now = 0.0
        self.timers: list[tuple[float, Callable[[], object]]] = []

    def monotonic(self) -> float:  # type: ignore[override]
        return self.now

    def call_later(self, seconds: float, callback: Callable[[], object]) -> Any:
        self.timers.append((self.now + seconds, callback))

    async def advance(self, seconds: float) -> None:
        """Let time pass, and whoever waits for it act."""
        self.now += seconds
        due = [timer for timer in self.timers if timer[0] <= self.now]
        self.timers = [timer for timer in self.timers if timer[0] > self.now]
        for _, callback in due:
            callback()
        await turns()


async def turns(many: int = 3) -> None:
    for _ in range(many):
        await asyncio.sleep(0)


def enters(gate: Gate, clock: Clock, seen: list[str], name: str, run: object = None) -> "asyncio.Task[None]":
    """Let somebody queue up who says when he is in."""

    async def enter() -> None:
        await gate.enter(clock, run)
        seen.append(name)

    return asyncio.ensure_future(enter())


def play(main: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(main())


def test_places_are_given_in_order():
    """Without runs it is first come, first served."""

    async def main() -> None:
        gate, clock, seen = Gate(2), SetClock(), []
        for name in "abcd":
            enters(gate, clock, seen, name)
        await turns()
        assert seen == ["a", "b"]
        gate.leave()
        await turns()
        assert seen == ["a", "b", "c"]

    play(main)


def test_runs_take_turns():
    """Each run gets one place, then the next run, whatever the first still wants."""

    async def main() -> None:
        gate, clock, seen = Gate(1), SetClock(), []
        await gate.enter(clock)
        for name, run in (("a1", "a"), ("a2", "a"), ("a3", "a"), ("b1", "b"), ("c1", None)):
            enters(gate, clock, seen, name, run)
        await turns()
        for _ in range(5):
            gate.leave()
            await turns()
        assert seen == ["a1", "b1", "c1", "a2", "a3"]

    play(main)


def test_a_rate_is_a_bucket_of_one_second():
    """Two at once, then one each half second; one timer is enough for all who wait."""

    async def main() -> None:
        gate, clock, seen = Gate(None, Rate(count=2, seconds=1.0)), SetClock(), []
        for name in "abcde":
            enters(gate, clock, seen, name)
        await turns()
        assert (seen, len(clock.timers)) == (["a", "b"], 1)
        await clock.advance(0.5)
        assert (seen, len(clock.timers)) == (["a", "b", "c"], 1)
        await clock.advance(1.0)
        assert seen == ["a", "b", "c", "d", "e"]
        gate.leave()

    play(main)


def test_a_limit_and_a_rate_together():
    """A place alone is not enough; while places lack no timer is set."""

    async def main() -> None:
        gate, clock, seen = Gate(1, Rate(count=1, seconds=1.0)), SetClock(), []
        for name in "abc":
            enters(gate, clock, seen, name)
        await turns()
        assert (seen, clock.timers) == (["a"], [])
        gate.leave()
        await turns()
        assert (seen, len(clock.timers)) == (["a"], 1)
        await clock.advance(1.0)
        assert seen == ["a", "b"]
        await clock.advance(5.0)
        assert seen == ["a", "b"]
        gate.leave()
        await turns()
        assert seen == ["a", "b", "c"]

    play(main)


def test_a_clock_that_goes_back_takes_nothing_away():
    """Runs may tell the time by different clocks."""

    async def main() -> None:
        gate, clock = Gate(None, Rate(count=2, seconds=1.0)), SetClock()
        clock.now = 100.0
        await gate.enter(clock)
        clock.now = 0.0
        await gate.enter(clock)

    play(main)


def test_who_is_cancelled_while_waiting_leaves_the_queue():
    """Alone in his turn or not."""

    async def main() -> None:
        gate, clock, seen = Gate(1), SetClock(), []
        await gate.enter(clock)
        one, _two, three = (enters(gate, clock, seen, name, run) for name, run in (("a", "r"), ("b", "r"), ("c", None)))
        await turns()
        one.cancel()
        three.cancel()
        await turns()
        gate.leave()
        await turns()
        assert (seen, gate._waiting) == (["b"], {})

    play(main)


def test_who_is_cancelled_in_the_moment_of_entering_passes_it_on():
    """The place and the start go to the next one."""

    async def main() -> None:
        gate, clock, seen = Gate(1, Rate(count=1, seconds=60.0)), SetClock(), []
        await gate.enter(clock)
        one = enters(gate, clock, seen, "a")
        enters(gate, clock, seen, "b")
        await turns()
        gate.leave()
        clock.now = 60.0
        gate._again()
        one.cancel()
        await turns()
        assert seen == ["b"]

    play(main)


def test_a_loop_that_is_closed_holds_up_nobody():
    """Whoever waited on it, and its timer, are forgotten by those on another loop."""
    gate, clock = Gate(1, Rate(count=1, seconds=1.0)), SetClock()
    seen: list[str] = []

    async def leaves_somebody() -> None:
        await gate.enter(clock)
        gate.leave()
        left.append(asyncio.ensure_future(gate.enter(clock)))
        await turns()
        assert gate._alarm is asyncio.get_running_loop()

    left: list[asyncio.Future[None]] = []
    loop = asyncio.new_event_loop()
    loop.run_until_complete(leaves_somebody())
    loop.close()

    async def main() -> None:
        clock.now = 0.5
        enters(gate, clock, seen, "a")
        await turns()
        assert seen == []
        await clock.advance(0.5)
        assert seen == ["a"]
        gate.leave()

    play(main)
    for task in left:
        # It can never go on: let nobody complain that it has not.
        task._log_destroy_pending = False  # type: ignore[attr-defined]
        task.get_coro().close()  # type: ignore[attr-defined]


def test_a_place_may_be_given_back_by_any_thread():
    """The waiter is let in on its own loop."""

    async def main() -> None:
        gate, clock, seen = Gate(1), SetClock(), []
        await gate.enter(clock)
        waiter = enters(gate, clock, seen, "a")
        await turns()
        thread = threading.Thread(target=gate.leave)
        thread.start()
        await waiter
        thread.join()
        assert seen == ["a"]

    play(main)
