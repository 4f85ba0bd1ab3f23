"""What one can do with a run from outside."""

import asyncio
import threading
from typing import Annotated

import pytest
from fastapi import Depends, FastAPI

from fastapi_chain import Progress, RunNotFinished, chain, task
from fastapi_chain.engines.base import RunRequest
from fastapi_chain.engines.memory import live_of
from fastapi_chain.engines.program import Program
from tests.engines.kit import Kit, Log, MemoryKit, settle, states


def test_waiting_may_have_a_limit(engine: Kit):
    """After that there is a TimeoutError, and the run goes on; a finished run is not waited for."""
    release = asyncio.Event()

    @task
    async def one() -> int:
        await release.wait()
        return 1

    async def main():
        run = await chain(one).start()
        with pytest.raises(TimeoutError):
            await run.wait(timeout=1)
        with pytest.raises(TimeoutError):
            await run.wait(timeout=0)
        with pytest.raises(RunNotFinished):
            run.raise_for_error()
        release.set()
        assert await run.wait(timeout=100) is run
        assert await run.wait() is run
        return run[one]

    assert engine.play(main) == 1


def test_a_value_that_is_not_there_yet(memory: MemoryKit):
    """Asking for it says which task is still in which state."""
    release = asyncio.Event()

    @task
    async def one() -> int:
        await release.wait()
        return 1

    @task(after=[one])
    async def two(one: int) -> int:
        return one

    async def main():
        run = await chain(two).start()
        await settle()
        texts = []
        for made in (one, two):
            with pytest.raises(RunNotFinished) as caught:
                run[made]
            texts.append(str(caught.value).partition("\n")[0])
        release.set()
        await run.wait()
        assert texts == [
            f"Task 'one' of run '{run.id}' is still running.",
            f"Task 'two' of run '{run.id}' is still pending.",
        ]

    memory.play(main)


def test_who_waits_and_gives_up_is_forgotten(memory: MemoryKit):
    """Polling with a time-out leaves nothing behind."""
    release = asyncio.Event()

    @task
    async def one() -> None:
        await release.wait()

    async def main():
        run = await chain(one).start()
        for _ in range(100):
            with pytest.raises(TimeoutError):
                await run.wait(timeout=0.1)
        assert len(live_of(run)._waiting) == 0
        waiting = [asyncio.ensure_future(run.wait()) for _ in range(3)]
        await settle()
        waiting[0].cancel()
        release.set()
        await asyncio.wait(waiting)
        return [waiter.cancelled() for waiter in waiting]

    assert memory.play(main) == [True, False, False]


def test_one_may_wait_on_another_loop(memory: MemoryKit):
    """In a thread with a loop of its own."""
    release = threading.Event()

    @task
    def one() -> int:
        release.wait(10)
        return 1

    async def main():
        run = await chain(one).start()

        async def wait() -> int:
            await run.wait()
            return run[one]

        waiting = asyncio.ensure_future(asyncio.to_thread(asyncio.run, wait()))
        await settle()
        release.set()
        return await waiting

    assert memory.play_for_real(main) == 1


def test_a_run_that_somebody_performs_is_waited_for(memory: MemoryKit):
    """To perform it again does not run it again."""
    calls = Log()

    @task
    async def one() -> None:
        calls("call")
        await asyncio.sleep(1)

    async def main():
        run = await chain(one).start()
        await settle()
        await memory.engine.perform(run)
        assert run.state == "succeeded"
        await memory.engine.perform(run)
        assert memory.engine.start(run) is memory.engine.start(run)

    memory.play(main)
    assert calls == ["call"]


def test_an_error_of_the_machinery_is_not_swallowed(memory: MemoryKit, caplog: pytest.LogCaptureFixture):
    """It ends the run, goes through to whoever performs it, and to the log if nobody does."""

    @task
    async def one() -> int:
        return 1

    async def main():
        def broken(_state: object) -> Program:
            raise RuntimeError("a bug of ours")

        memory.engine.program = broken  # type: ignore[method-assign]
        run = await chain(one).start()
        await run.wait()
        with pytest.raises(RuntimeError, match="a bug of ours"):
            await chain(one, name="other").run()
        return run

    run = memory.play(main)
    assert (run.state, states(run)) == ("cancelled", {"one": "cancelled run_cancelled"})
    assert caplog.messages == ["a run ended with an error of its own"]


def test_a_run_whose_asyncio_task_never_begins_ends_cancelled(memory: MemoryKit):
    """It is cancelled before its first step: no code of it runs at all, yet whoever waits is told."""
    seen = Log()

    @task
    async def one() -> None:
        seen("never")

    async def main():
        run = await chain(one).start()
        memory.engine.start(run).cancel()
        await run.wait()
        return run

    run = memory.play(main)
    assert (run.state, run.reason, states(run), seen) == (
        "cancelled",
        "run_cancelled",
        {"one": "cancelled run_cancelled"},
        [],
    )


def test_what_does_not_end_at_shutdown_is_left_behind(memory: MemoryKit, caplog: pytest.LogCaptureFixture):
    """An undo gets a few seconds more, fewer if somebody is in a hurry; then the log says which run has not ended."""

    async def take_back() -> None:
        await asyncio.sleep(10_000)

    @task(undo=take_back)
    async def one() -> None: ...

    @task(after=[one])
    async def slow() -> None:
        await asyncio.sleep(10_000)

    async def main():
        run = await chain(slow, name="stubborn").start()
        await settle()
        for moment in (1, 2):
            asyncio.get_running_loop().call_later(moment, memory.engine.hurry)
        await memory.engine.drain(1000)
        return run

    run = memory.play(main)
    assert caplog.messages == [f"run {run.id[:8]} of chain 'stubborn' has not ended in time and is left behind"]
    assert (run.state, run.reason) == ("cancelled", "shutdown")


def test_a_program_is_compiled_once_for_each_set_of_overrides(memory: MemoryKit):
    """Runs of one app share it; when its overrides change, another one is made."""

    def value() -> int:
        return 1

    @task
    async def one(x: Annotated[int, Depends(value)]) -> int:
        return x

    async def main():
        ch = chain(one)
        app = FastAPI()

        async def result() -> object:
            request = RunRequest(ch.plan, {})
            request.app = app
            run = memory.engine.take(request)
            await memory.engine.perform(run)
            return run[one]

        results = [await result()]
        for override in (2, 2, 3):
            app.dependency_overrides[value] = lambda override=override: override
            results += [await result(), await result()]
        app.dependency_overrides.clear()
        return [*results, await result()]

    assert memory.play(main) == [1, 2, 2, 2, 2, 3, 3, 1]


def test_a_run_cannot_be_discarded_any_more(memory: MemoryKit):
    """Once it is made, that has no effect."""

    @task
    async def one() -> None: ...

    async def main():
        run = await chain(one).start()
        run.discard()
        await run.wait()
        return run

    assert memory.play(main).state == "succeeded"


def test_a_run_may_let_go_of_its_events(memory: MemoryKit):
    """They are told again from what is known of its tasks; one that nobody followed has none to let go of."""

    @task
    async def one() -> None: ...

    async def main():
        run = await chain(one).run()
        live_of(run).rest()
        first = [event async for event in run.events()]
        live_of(run).rest()
        return first, [event async for event in run.events()]

    first, second = memory.play(main)
    assert first == second


def test_what_cannot_be_told_again_in_full_keeps_its_last_number(memory: MemoryKit):
    """Of all progress only the last is kept: whoever has seen the end of the run is told nothing new."""

    @task
    async def one(progress: Progress) -> None:
        for done in range(5):
            progress(done)
            await asyncio.sleep(1)

    async def main():
        run = await chain(one).start()
        told = [event async for event in run.events()]
        live_of(run).rest()
        again = [event async for event in run.events()]
        return told, again, [event async for event in run.events(told[-1].seq)]

    told, again, new = memory.play(main)
    assert (len(told), len(again), again[-1].seq, new) == (9, 5, told[-1].seq, [])
    assert [event.seq for event in again] == [5, 6, 7, 8, 9]
