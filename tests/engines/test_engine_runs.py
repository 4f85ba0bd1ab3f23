"""What one can do with a run from outside."""

import asyncio
import threading

import pytest

from fastapi_chain import RunNotFinished, chain, task
from fastapi_chain._program import Program
from fastapi_chain.engines.memory import live_of
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
