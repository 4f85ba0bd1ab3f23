"""Declared retries as tenacity's objects."""

import asyncio
from typing import Any

import pytest
from tenacity import AsyncRetrying, retry_if_exception_type, stop_after_attempt, stop_after_delay, wait_exponential

from fastapi_chain import Backoff, OutputValidationError, Registry, RetryAfter, Skip
from fastapi_chain.execute.retry import policy_of
from fastapi_chain.spec import Source


def policy(**options: Any) -> Any:
    """Return the policy of a task with these options."""

    async def t() -> None: ...

    return policy_of(Registry("r").task(**options)(t).spec)


def delay(decides: Any, attempt: int, error: BaseException, seconds: float = 0.0) -> float | None:
    said = decides.delay(attempt, error, lambda: seconds)
    return asyncio.run(said) if asyncio.iscoroutine(said) else said


def test_without_retries_nothing_is_asked():
    """Neither is tenacity when a task has none."""
    assert policy() is None


def test_the_wait_grows_to_its_maximum():
    """Without jitter it is exact; after the last attempt there is none."""
    decides = policy(retries=4, backoff=Backoff(initial=1, factor=2, maximum=3, jitter=False))
    assert [delay(decides, n, ValueError()) for n in (1, 2, 3, 4, 5)] == [1.0, 2.0, 3.0, 3.0, None]


def test_with_jitter_it_is_a_part_of_that():
    """Evenly from nothing to the whole."""
    decides = policy(retries=9, backoff=Backoff(initial=10))
    waits = [delay(decides, 3, ValueError()) or 0.0 for _ in range(200)]
    assert 0 <= min(waits) < 10
    assert 30 < max(waits) <= 40


NEVER = [Skip("x"), asyncio.CancelledError(), KeyboardInterrupt(), SystemExit()]


@pytest.mark.parametrize("error", NEVER, ids=lambda error: type(error).__name__)
def test_what_is_never_retried(error: BaseException):
    """Whatever `retry_on` says."""
    assert delay(policy(retries=3, backoff=0, retry_on=BaseException), 1, error) is None


def test_a_wrong_output_is_never_retried():
    """It would be wrong again, even if the user's own policy says otherwise."""
    error = OutputValidationError(task=Source(name="t", file="f", line=1), value=1, expected=str)
    assert delay(policy(retry=AsyncRetrying(stop=stop_after_attempt(5))), 1, error) is None


def test_retry_after_asks_for_a_time():
    """Past `retry_on`, not past the number of attempts or `give_up_on`."""
    decides = policy(retries=1, retry_on=OSError)
    assert [delay(decides, n, RetryAfter(7)) for n in (1, 2)] == [7.0, None]
    assert delay(policy(retries=1, give_up_on=RetryAfter), 1, RetryAfter(7)) is None
    own = policy(retry=AsyncRetrying(stop=stop_after_attempt(2), retry=retry_if_exception_type(OSError)))
    assert [delay(own, n, RetryAfter(7)) for n in (1, 2)] == [7.0, None]


def test_a_policy_of_the_users_own():
    """Its stop, wait and retry are asked with what they need: the attempt, the error, the time since the first."""
    decides = policy(
        retry=AsyncRetrying(
            stop=stop_after_delay(10) | stop_after_attempt(3),
            wait=wait_exponential(multiplier=4),
            retry=retry_if_exception_type(OSError),
        ),
        give_up_on=PermissionError,
    )
    assert delay(decides, 1, OSError()) == 4.0
    assert delay(decides, 2, OSError()) == 8.0
    assert delay(decides, 3, OSError()) is None
    assert delay(decides, 1, OSError(), 11.0) is None
    assert delay(decides, 1, ValueError()) is None
    assert delay(decides, 1, PermissionError()) is None


def test_a_policy_may_be_asynchronous():
    """All three parts of it."""

    async def stop(state: Any) -> bool:
        return state.attempt_number > 2

    async def wait(state: Any) -> float:
        return 5

    async def retry(state: Any) -> bool:
        return isinstance(state.outcome.exception(), OSError)

    decides = policy(retry=AsyncRetrying(stop=stop, wait=wait, retry=retry))
    assert [delay(decides, 1, OSError()), delay(decides, 3, OSError()), delay(decides, 1, ValueError())] == [
        5.0,
        None,
        None,
    ]
