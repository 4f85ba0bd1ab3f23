"""The lines that the library itself writes to the standard log are put together only if somebody reads them."""

import asyncio
import logging

import pytest

from fastapi_chain import Run, chain, task


class Loud(Exception):
    """An error."""


def failed_run() -> Run:
    @task(retries=1, backoff=0)
    async def ring() -> None:
        raise Loud("too loud")

    return asyncio.run(chain(ring).run())


def test_the_log_says_what_has_failed(caplog: pytest.LogCaptureFixture) -> None:
    """Each attempt is a line, whose parts can be read apart from its text."""
    run = failed_run()
    assert [(record.levelname, record.getMessage().partition(" in ")[0]) for record in caplog.records] == [
        ("WARNING", "task 'ring' failed (attempt 1 of 2), next try"),
        ("ERROR", "task 'ring' failed after 2 attempts"),
    ]
    assert caplog.records[0].args == ("ring", 1, 2, "0 s", run.tasks["ring"].attempts[0].error)
    assert caplog.records[1].getMessage().endswith(f"Loud: too loud (run {run.id[:8]}, chain 'ring')")


def test_a_log_that_is_off_gets_nothing(caplog: pytest.LogCaptureFixture) -> None:
    """Below the level of the log no line is made, and the run is the same."""
    caplog.set_level(logging.CRITICAL, logger="fastapi_chain")
    run = failed_run()
    assert (run.state, caplog.records) == ("failed", [])
