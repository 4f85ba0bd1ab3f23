"""What is written to the log `fastapi_chain` about a run."""

import asyncio
import logging

import pytest

from fastapi_chain import Run, Skip, chain, task
from fastapi_chain.testing import ChainClock


def lines(caplog: pytest.LogCaptureFixture, run: Run) -> list[tuple[int, str]]:
    """Return level and text of each line, without the id of the run."""
    return [(record.levelno, record.getMessage().replace(run.id[:8], "7f3a")) for record in caplog.records]


def test_what_goes_wrong_is_one_line_each(caplog: pytest.LogCaptureFixture, chain_clock: ChainClock):
    """An attempt that failed, a failure, what is skipped because of it, an undo that failed; nothing else."""

    async def give_back(hold: int) -> None:
        raise OSError("no answer")

    @task(undo=give_back)
    async def hold() -> int:
        return 1

    @task(retries=1, backoff=0.5)
    async def charge() -> int:
        raise ValueError("100 % declined")

    @task(after=[charge])
    async def receipt() -> None: ...

    @task(after=[receipt])
    async def mail() -> None: ...

    @task
    async def free() -> None:
        raise Skip("nothing to do")

    async def main():
        return await chain(hold, mail, free, name="checkout").run()

    run = asyncio.run(main())
    assert lines(caplog, run) == [
        (logging.WARNING, "task 'charge' failed (attempt 1 of 2), next try in 0.5 s: ValueError: 100 % declined"),
        (
            logging.ERROR,
            "task 'charge' failed after 2 attempts in 0.5 s: ValueError: 100 % declined (run 7f3a, chain 'checkout')",
        ),
        (logging.WARNING, "task 'receipt' skipped: it needs 'charge', which failed"),
        (logging.WARNING, "task 'mail' skipped: it needs 'charge', which failed"),
        (logging.ERROR, "undo of task 'hold' failed: OSError: no answer (run 7f3a, chain 'checkout')"),
    ]
    record = caplog.records[1]
    assert [vars(record)[name] for name in ("chain", "run_id", "task", "attempt")] == ["checkout", run.id, "charge", 2]
    assert record.exc_info is not None
    assert record.exc_info[1] is run.errors["charge"]


def test_an_item_that_fails_is_one_line(caplog: pytest.LogCaptureFixture, chain_clock: ChainClock):
    """The fan-out that fails because of it has none; one that fails by itself has."""

    @task
    async def targets() -> list[int]:
        return [0, 1, 2]

    @task(each=targets)
    async def deliver(target: int) -> int:
        if target:
            raise ConnectionError(target)
        return target

    @task
    async def broken():
        return 3

    @task(each={"one": broken})
    async def never(one: int) -> None: ...

    async def main():
        return await chain(deliver, never, name="webhooks").run()

    run = asyncio.run(main())
    assert {name: task.state for name, task in run.tasks.items()} == {
        "targets": "succeeded",
        "broken": "succeeded",
        "deliver": "failed",
        "never": "failed",
    }
    told = [text.partition(": ")[2] for level, text in lines(caplog, run) if level == logging.ERROR]
    assert sorted(told) == [
        "ConnectionError: 1 (run 7f3a, chain 'webhooks')",
        "ConnectionError: 2 (run 7f3a, chain 'webhooks')",
        f"TypeError: {run.errors['never']} (run 7f3a, chain 'webhooks')",
    ]


def test_a_run_that_ends_early_says_why(caplog: pytest.LogCaptureFixture):
    """Whatever has ended it."""

    @task
    async def waits(run: Run) -> None:
        await run.cancel()
        await asyncio.Event().wait()

    async def main():
        return await chain(waits, name="slow").run()

    run = asyncio.run(main())
    assert lines(caplog, run) == [(logging.WARNING, "run 7f3a of chain 'slow' ended cancelled: run_cancelled")]
