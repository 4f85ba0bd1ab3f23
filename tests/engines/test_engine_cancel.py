"""Cancelling a run, and deadlines."""

import asyncio
import threading
from typing import Annotated

import pytest
from fastapi import Depends

from fastapi_chain import (
    DeadlineExceeded,
    Run,
    RunCancelled,
    RunFinished,
    TaskCancelled,
    TaskContext,
    chain,
    task,
)
from tests.engines.kit import Kit, Log, MemoryKit, settle, states


def test_cancel_reaches_async_tasks_at_once_and_flags_threads(memory: MemoryKit):
    """`async` tasks get a `CancelledError`, `def` ones see `ctx.cancelled`; nothing starts any more."""
    seen, inside, held, left = Log(), threading.Event(), threading.Event(), threading.Event()

    @task
    async def one() -> None:
        await asyncio.sleep(0)

    @task(after=[one])
    async def waits() -> None:
        try:
            await asyncio.sleep(1000)
        finally:
            seen("waits ends")

    @task(after=[one])
    def thread(ctx: TaskContext) -> None:
        seen(ctx.cancelled)
        inside.set()
        held.wait(10)
        seen(ctx.cancelled)
        left.set()

    @task(after=[thread])
    def never() -> None:
        seen("never")

    async def main():
        run = await chain(waits, never).start()
        await asyncio.to_thread(inside.wait)
        await run.cancel()
        await run.wait()
        held.set()
        with pytest.raises(TaskCancelled) as caught:
            run[waits]
        assert caught.value.reason == "run_cancelled"
        with pytest.raises(RunCancelled):
            run.raise_for_error()
        with pytest.raises(RunFinished) as finished:
            await run.cancel()
        assert str(finished.value).partition("\n")[0].endswith("has already cancelled, so it cannot be cancelled.")
        await asyncio.to_thread(left.wait)
        return run

    run = memory.play_for_real(main)
    assert (run.state, run.reason) == ("cancelled", "run_cancelled")
    assert states(run) == {
        "one": "succeeded",
        "waits": "cancelled run_cancelled",
        "thread": "cancelled run_cancelled",
        "never": "cancelled run_cancelled",
    }
    assert sorted(map(str, seen)) == ["False", "True", "waits ends"]
    assert [attempt.state for attempt in run.tasks["thread"].attempts] == ["cancelled"]


def test_a_queued_run_can_be_cancelled(memory: MemoryKit):
    """It ends at once, with a reason for every task, and never begins."""
    seen = Log()

    @task
    async def one() -> None:
        seen("one")

    async def main():
        run = await chain(one).start()
        await run.cancel()
        await run.wait()
        await settle()
        return run

    run = memory.play(main)
    assert (run.state, run.reason, states(run), seen) == (
        "cancelled",
        "run_cancelled",
        {"one": "cancelled run_cancelled"},
        [],
    )


@pytest.mark.parametrize("where", ["line", "line without a wait", "worker", "worker without a wait", "dependency"])
def test_a_task_cancels_its_own_run(memory: MemoryKit, where: str):
    """From anywhere: it is cancelled at its next `await`; if it has none, it has succeeded. Nothing starts after it."""
    seen = Log()

    async def cancels(run: Run) -> None:
        await run.cancel()

    async def dependency():
        await runs[0].cancel()
        await asyncio.sleep(1)
        return 1

    runs: list[Run] = []

    @task
    async def first() -> None:
        if where.startswith("worker"):
            await asyncio.sleep(1)

    @task(after=[first])
    async def beside() -> None:
        seen("beside begins")
        try:
            await asyncio.sleep(10)
        finally:
            seen("beside ends")

    if where == "dependency":

        @task(after=[first])
        async def acts(x: Annotated[int, Depends(dependency)]) -> None:
            seen("never")
    else:

        @task(after=[first])
        async def acts(run: Run) -> None:
            if where == "worker":
                await asyncio.sleep(1)
            await cancels(run)
            seen("cancelled it")
            if "without" not in where:
                await asyncio.sleep(1)
                seen("never")

    @task(after=[acts])
    async def after() -> None:
        seen("never")

    async def main():
        runs.append(await chain(after, beside).start())
        await runs[0].wait()
        seen(asyncio.current_task().cancelling())

    memory.play(main)
    run = runs[0]
    ends = "succeeded" if "without" in where else "cancelled run_cancelled"
    assert (run.state, run.reason) == ("cancelled", "run_cancelled")
    assert [states(run)[name] for name in ("first", "acts", "after")] == ["succeeded", ends, "cancelled run_cancelled"]
    assert "never" not in seen
    assert seen.count("beside begins") == seen.count("beside ends")


def test_the_performing_task_is_left_as_it_was(memory: MemoryKit):
    """Whoever runs a chain that cancels itself gets the cancelled run, and no cancellation."""

    @task
    async def acts(run: Run) -> None:
        await run.cancel()

    @task
    async def acts_and_waits(run: Run) -> None:
        await run.cancel()
        await asyncio.sleep(1)

    async def main():
        for acting in (acts, acts_and_waits):
            run = await chain(acting).run()
            assert (run.state, asyncio.current_task().cancelling()) == ("cancelled", 0)
            await asyncio.sleep(1)
            async with asyncio.timeout(5):
                await asyncio.sleep(1)

    memory.play(main)


@pytest.mark.parametrize("how", ["loop of its own", "loop of the run"])
def test_a_thread_cancels_its_run(memory: MemoryKit, how: str):
    """A `def` task may do so from a loop of its own, or on the loop of the run."""
    loops: list[asyncio.AbstractEventLoop] = []
    done = threading.Event()

    @task
    def acts(run: Run) -> str:
        if how == "loop of its own":
            asyncio.run(run.cancel())
        else:
            asyncio.run_coroutine_threadsafe(run.cancel(), loops[0]).result(10)
        done.wait(10)
        return "late"

    async def main():
        loops.append(asyncio.get_running_loop())
        run = await chain(acts).run()
        done.set()
        return run

    run = memory.play_for_real(main)
    assert (run.state, states(run)) == ("cancelled", {"acts": "cancelled run_cancelled"})


def test_a_task_that_swallows_its_cancellation_has_succeeded(memory: MemoryKit):
    """The run waits for it and is cancelled all the same; nothing starts after it."""

    @task
    async def stubborn() -> str:
        try:
            await asyncio.sleep(10)
        except asyncio.CancelledError:
            await asyncio.sleep(2)
        return "done"

    @task
    async def stubborn_too() -> str:
        try:
            await asyncio.sleep(10)
        except asyncio.CancelledError:
            await asyncio.sleep(1)
        return "done"

    @task(after=[stubborn, stubborn_too])
    async def after() -> None: ...

    async def main():
        run = await chain(after).start()
        await asyncio.sleep(1)
        await run.cancel()
        await run.wait()
        return run

    run = memory.play(main)
    assert run.state == "cancelled"
    assert states(run) == {
        "stubborn": "succeeded",
        "stubborn_too": "succeeded",
        "after": "cancelled run_cancelled",
    }


def test_an_error_of_a_cancelled_task_is_not_retried(memory: MemoryKit):
    """What a task raises while it is being cancelled is its error, and final."""

    @task(retries=5, backoff=0)
    async def fails() -> None:
        try:
            await asyncio.sleep(10)
        except asyncio.CancelledError:
            raise ConnectionError from None

    @task(retries=5, backoff=0)
    async def fails_too() -> None:
        try:
            await asyncio.sleep(10)
        except asyncio.CancelledError:
            raise ConnectionError from None

    async def main():
        run = await chain(fails, fails_too).start()
        await asyncio.sleep(1)
        await run.cancel()
        await run.wait()
        return run

    run = memory.play(main)
    assert (run.state, [len(record.attempts) for record in run.tasks.values()]) == ("cancelled", [1, 1])
    assert states(run) == {"fails": "failed", "fails_too": "failed"}


@pytest.mark.parametrize("which", ["line", "line later", "worker", "item"])
@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_what_is_to_end_the_process_ends_the_run_and_goes_on(memory: MemoryKit, which: str, error: type[BaseException]):
    """`KeyboardInterrupt` and `SystemExit` in an `async` task go through to the loop; the run has ended, undone."""
    seen = Log()
    runs: list[Run] = []

    async def take_back() -> None:
        seen("undone")

    @task(undo=take_back)
    async def one(run: Run) -> list[int]:
        runs.append(run)
        return [1]

    @task(each=one)
    async def item(number: int) -> None:
        if which == "item":
            await asyncio.sleep(0)
            raise error

    @task(after=[one])
    async def beside() -> None:
        try:
            await asyncio.sleep(10)
        finally:
            seen("beside ends")

    @task(after=[one])
    async def ends() -> None:
        if which == "line later":
            await asyncio.sleep(0)
        if which.startswith("line"):
            raise error

    @task(after=[item])
    async def ends_later() -> None:
        await asyncio.sleep(0)
        if which == "worker":
            raise error

    async def main():
        await chain(ends, beside, ends_later).run()

    with pytest.raises(error):
        memory.play(main)
    assert (runs[0].state, runs[0].reason) == ("cancelled", "run_cancelled")
    assert set(states(runs[0]).values()) <= {"succeeded", "cancelled run_cancelled"}
    assert seen in (["beside ends", "undone"], ["undone"])


def test_a_deadline_fails_the_run(engine: Kit):
    """Running and waiting tasks are cancelled with that reason, what was done is undone, and the error says so."""
    seen = Log()

    def take_back() -> None:
        seen("undone")

    @task(undo=take_back)
    async def one() -> None: ...

    @task(after=[one])
    async def slow() -> None:
        await asyncio.sleep(1000)

    @task(after=[one], retries=3, backoff=500)
    async def retries() -> None:
        raise ConnectionError

    @task(after=[slow])
    async def never() -> None: ...

    async def main():
        return await chain(never, retries, deadline=20).run()

    run = engine.play(main)
    assert (run.state, run.reason, seen) == ("failed", "deadline", ["undone"])
    assert states(run) == {
        "one": "succeeded",
        "slow": "cancelled deadline",
        "never": "cancelled deadline",
        "retries": "cancelled deadline",
    }
    with pytest.raises(ExceptionGroup) as caught:
        run.raise_for_error()
    assert isinstance(caught.value.exceptions[-1], DeadlineExceeded)


def test_a_run_that_is_over_in_time_knows_no_deadline(engine: Kit):
    """Nor does its undo: that may take longer."""
    seen = Log()

    async def take_back(ctx: TaskContext) -> None:
        await asyncio.sleep(30)
        seen((ctx.time_left(), ctx.cancelled))

    @task(undo=take_back)
    async def one() -> None: ...

    @task(after=[one])
    async def fails() -> None:
        raise ValueError

    async def main():
        return await chain(fails, deadline=20).run()

    run = engine.play(main)
    assert (run.state, run.reason, seen) == ("failed", None, [(None, False)])


def test_the_first_reason_counts(memory: MemoryKit):
    """A run that is cancelled while its deadline is near, or while it ends, keeps the reason it had."""

    async def take_back() -> None:
        await runs[0].cancel()
        await asyncio.sleep(30)

    @task(undo=take_back)
    async def one() -> None: ...

    @task(after=[one])
    async def slow() -> None:
        try:
            await asyncio.sleep(10)
        finally:
            await asyncio.sleep(30)

    @task(after=[one])
    async def fails() -> None:
        raise ValueError

    runs: list[Run] = []

    async def main():
        runs.append(await chain(slow, deadline=20, name="cancelled").start())
        await asyncio.sleep(1)
        await runs[0].cancel()
        await runs[0].cancel()
        await runs[0].wait()
        first = runs.pop()
        runs.append(await chain(fails, name="failed").start())
        await runs[0].wait()
        return first, runs[0]

    cancelled, failed = memory.play(main)
    assert (cancelled.state, cancelled.reason, cancelled.tasks["one"].undone) == ("cancelled", "run_cancelled", True)
    assert (failed.state, failed.reason, failed.tasks["one"].undone) == ("failed", None, True)


def test_at_shutdown_runs_may_come_to_their_end(memory: MemoryKit):
    """`drain` waits, then cancels the rest with the reason `shutdown`, those that wait for room included."""

    @task
    async def slow(seconds: int) -> int:
        await asyncio.sleep(seconds)
        return seconds

    async def main():
        ch = chain(slow)
        runs = [await ch.start(seconds=seconds) for seconds in (1, 100, 5)]
        await memory.engine.drain(10)
        return runs

    runs = memory.play(main, max_running=2)
    assert [(run.state, run.reason) for run in runs] == [
        ("succeeded", None),
        ("cancelled", "shutdown"),
        ("succeeded", None),
    ]
    assert states(runs[1]) == {"slow": "cancelled shutdown"}


def test_at_shutdown_queued_runs_are_cancelled(memory: MemoryKit):
    """They never begin."""
    seen = Log()

    @task
    async def slow() -> None:
        seen("begins")
        await asyncio.sleep(100)

    async def main():
        ch = chain(slow)
        runs = [await ch.start() for _ in range(3)]
        await asyncio.sleep(1)
        await memory.engine.drain(0)
        return runs

    runs = memory.play(main, max_running=1)
    assert [(run.state, run.reason, run.started_at is None) for run in runs] == [
        ("cancelled", "shutdown", False),
        ("cancelled", "shutdown", True),
        ("cancelled", "shutdown", True),
    ]
    assert seen == ["begins"]
