"""Every error of a run, met where users meet it: its whole text, before and after pickling."""

import asyncio
import pickle
import textwrap
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from fastapi_chain import (
    ChainError,
    DeadlineExceeded,
    MissingInput,
    NothingToRetry,
    OutputValidationError,
    QueueFull,
    Run,
    RunCancelled,
    RunFinished,
    RunNotFinished,
    Skip,
    TaskCancelled,
    TaskFailed,
    TaskSkipped,
    TaskTimeout,
    UnknownInput,
    chain,
    task,
)
from tests.engines.kit import Log, MemoryKit, settle


def check(error: BaseException | None, kind: type[ChainError], text: str) -> None:
    """Compare an error with what is expected, and with what comes out of a pickle."""
    assert type(error) is kind
    assert str(error) == textwrap.dedent(text).strip()
    again = pickle.loads(pickle.dumps(error))
    assert (type(again), str(again)) == (kind, str(error))
    assert getattr(again, "__notes__", None) == getattr(error, "__notes__", None)


@contextmanager
def told(kind: type[ChainError], text: str) -> Iterator[None]:
    """Expect an error that says so."""
    with pytest.raises(kind) as caught:
        yield
    check(caught.value, kind, text)


def test_what_a_run_is_started_with(memory: MemoryKit):
    """A keyword that is no input, and an input that is missing; too many runs."""
    going = Log()

    @task
    async def charge(order_id: int, user: str = "guest") -> None:
        await going[0].wait()

    async def main():
        going(asyncio.Event())
        checkout = chain(charge, name="checkout", max_pending=1)
        with told(
            UnknownInput,
            """
            Chain 'checkout' has no input 'oder_id'.
                it takes   order_id, user
            Fix: write order_id=...
            See errors#unknown-input
            """,
        ):
            await checkout.start(oder_id=3)
        with told(
            MissingInput,
            f"""
            Chain 'checkout' needs 'order_id', but was started without it.
                order_id: int   needed by 'charge'   {charge.spec.source.at}
                given           user
            Fix: start(order_id=...)
            See errors#missing-input
            """,
        ):
            await checkout.run(user="eve")
        run = await checkout.start(order_id=3)
        with told(
            QueueFull,
            """
            Chain 'checkout' has 1 run queued or running, as many as it may have.
            Fix, one of:
              - try again in 1 s
              - allow more: chain(..., max_pending=2)
            See errors#queue-full
            """,
        ):
            await checkout.start(order_id=4)
        going[0].set()
        await run.wait()

    memory.play(main)


def test_what_is_asked_of_a_run_too_early(memory: MemoryKit):
    """For its end, for a task's value, for another try."""
    going = Log()

    @task
    async def charge() -> int:
        return await going[0].wait()

    async def main():
        going(asyncio.Event())
        run = await chain(charge).start()
        await settle()
        still = f"""
            Run '{run.id}' is still running.
            Fix: await run.wait()
            See errors#run-not-finished
            """
        with told(RunNotFinished, still):
            run.raise_for_error()
        with told(RunNotFinished, still):
            await run.retry("start")
        with told(
            RunNotFinished,
            f"""
            Task 'charge' of run '{run.id}' is still running.
            Fix: await run.wait()
            See errors#run-not-finished
            """,
        ):
            _ = run[charge]
        going[0].set()
        await run.wait()

    memory.play(main)


def test_what_is_asked_of_a_run_too_late(memory: MemoryKit):
    """To be cancelled, and to try again although nothing has failed."""

    @task
    async def charge() -> int:
        return 1

    async def main():
        run = await chain(charge).run()
        with told(
            RunFinished,
            f"""
            Run '{run.id}' has already succeeded, so it cannot be cancelled.
            See errors#run-finished
            """,
        ):
            await run.cancel()
        with told(
            NothingToRetry,
            f"""
            Nothing failed in run '{run.id}', so there is nothing to retry.
            Fix, one of:
              - run everything again: await run.retry("start")
              - run one task and all after it again: await run.retry(task)
            See errors#nothing-to-retry
            """,
        ):
            await run.retry()

    memory.play(main)


def test_tasks_without_a_value(memory: MemoryKit):
    """Skipped, skipped behind a failure, failed with what is no `Exception`, cancelled."""

    @task
    async def scan() -> int:
        raise Skip("no pages")

    @task
    async def charge() -> int:
        raise asyncio.CancelledError

    @task(after=[charge])
    async def receipt(charge: int) -> int:
        return charge

    @task
    async def sleeps() -> int:
        await asyncio.sleep(100)
        return 1

    async def main() -> Run:
        run = await chain(scan, receipt, sleeps).start()
        await settle()
        await run.cancel()
        await run.wait()
        for skipped, reason in ((scan, "skip: no pages"), (receipt, "upstream_failed: charge")):
            with told(
                TaskSkipped,
                f"""
                Task '{skipped.name}' was skipped, so it has no output.
                    reason   {reason}
                    run      {run.id}
                Fix: ask without an error: run.outputs.get("{skipped.name}")
                See errors#task-skipped
                """,
            ):
                _ = run[skipped]
        with told(
            TaskCancelled,
            f"""
            Task 'sleeps' was cancelled, so it has no output.
                reason   run_cancelled
                run      {run.id}
            Fix, one of:
              - ask without an error: run.outputs.get("sleeps")
              - run it again: await run.retry(task)
            See errors#task-cancelled
            """,
        ):
            _ = run[sleeps]
        with told(
            TaskFailed,
            f"""
            Task 'charge' failed, tried once: CancelledError
                run   {run.id}
            Fix: remove the cause, then: await run.retry()
            See errors#task-failed
            """,
        ):
            _ = run[charge]
        with told(
            RunCancelled,
            f"""
            Run '{run.id}' was cancelled.
                reason   run_cancelled
            Fix: run it again: await run.retry("start")
            See errors#run-cancelled
            """,
        ):
            run.raise_for_error()

    memory.play(main)


def test_what_makes_an_attempt_or_a_run_fail(memory: MemoryKit):
    """Time that is over, for an attempt of either kind and for the whole run, and what the annotation does not say."""
    held = threading.Event()

    @task(timeout=5, retries=1, backoff=0)
    async def slow() -> None:
        await asyncio.sleep(10)

    @task(timeout=0.01)
    def slow_thread() -> None:
        held.wait(20)

    @task(retries=3)
    async def counts() -> int:
        return "12"  # type: ignore[return-value]

    @task
    async def endless() -> None:
        await asyncio.sleep(1000)

    async def main() -> None:
        run = await chain(slow, counts, endless, name="checkout", deadline=60).run()
        check(
            run.errors["slow"],
            TaskTimeout,
            """
            Task 'slow' took longer than its timeout of 5 s (attempt 2 of 2).
            Fix: give it more time: @task(timeout=10)
            See errors#task-timeout
            """,
        )
        check(
            run.errors["counts"],
            OutputValidationError,
            f"""
            Task 'counts' returned str, but its annotation says int.
                returned      '12'
                wrong         Input should be a valid integer
                declared at   {counts.spec.source.at}
            Fix, one of:
              - return what the annotation says: int
              - correct the annotation: def counts(...) -> str
            See errors#output-validation
            """,
        )
        assert len(run.tasks["counts"].attempts) == 1
        with pytest.raises(ExceptionGroup) as group:
            run.raise_for_error()
        assert {type(error) for error in group.value.exceptions} == {
            TaskTimeout,
            OutputValidationError,
            DeadlineExceeded,
        }
        check(
            group.value.exceptions[-1],
            DeadlineExceeded,
            f"""
            A run of chain 'checkout' took longer than its deadline of 60 s.
                run   {run.id}
            Fix, one of:
              - give it more time: chain(..., deadline=120)
              - end a slow attempt early: @task(timeout=...)
            See errors#deadline-exceeded
            """,
        )

    memory.play(main)

    async def with_threads() -> None:
        run = await chain(slow_thread).run()
        check(
            run.errors["slow_thread"],
            TaskTimeout,
            """
            Task 'slow_thread' took longer than its timeout of 0.01 s (attempt 1 of 1).
            Fix: give it more time: @task(timeout=0.02)
            See errors#task-timeout
            """,
        )
        held.set()

    memory.play_for_real(with_threads)
