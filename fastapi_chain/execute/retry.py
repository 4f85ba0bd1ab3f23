"""Declared retries -> tenacity.

tenacity's objects decide (`stop`, `wait`, `retry`, asked with a `RetryCallState`), the executor drives. They are asked
only after a failure: an attempt that succeeds never meets them. tenacity is loaded for the first task that has retries.
"""

from collections.abc import Awaitable, Callable, Iterable
from functools import cache
from importlib import import_module
from inspect import isawaitable
from typing import Any, Final, Protocol, TypeAlias, TypeVar, cast

from fastapi_chain.errors import OutputValidationError, RetryAfter, Skip
from fastapi_chain.spec import TaskSpec

_NEVER: Final = (OutputValidationError, Skip)
"""What no retry can mend: the same value would be wrong again, and a skip is no failure."""


T = TypeVar("T")

State: TypeAlias = Any
"""tenacity's `RetryCallState`."""


@cache
def _tenacity() -> Any:  # noqa: ANN401 - the module
    # It loads a dozen modules, a tenth of what it takes to import this package, and many an app retries nothing.
    return import_module("tenacity")


def prepare(specs: Iterable[TaskSpec]) -> None:
    """Load tenacity if one of *specs* has retries, so that its first run does not have to."""
    if any(spec.retries or spec.policy is not None for spec in specs):
        _tenacity()


class Policy(Protocol):
    """The part of a tenacity policy that decides; that of an `AsyncRetrying` may be `async`."""

    stop: Callable[[State], bool | Awaitable[bool]]
    wait: Callable[[State], float | Awaitable[float]]
    retry: Callable[[State], bool | Awaitable[bool]]


class _Attempt:
    """As much of a `RetryCallState` as tenacity's stops and waits look at that go by the number of the attempt.

    The whole of it keeps an outcome as well, a `Future` made of locks.
    """

    __slots__ = ("attempt_number",)

    def __init__(self, number: int) -> None:
        self.attempt_number = number


class _Declared:
    """What `retries`, `backoff`, `retry_on` and `give_up_on` say; none of it has to be awaited."""

    def __init__(self, spec: TaskSpec) -> None:
        backoff = spec.backoff
        tenacity = _tenacity()
        self._stop = tenacity.stop_after_attempt(spec.retries + 1)
        kind = tenacity.wait_random_exponential if backoff.jitter else tenacity.wait_exponential
        self._wait = kind(multiplier=backoff.initial, exp_base=backoff.factor, max=backoff.maximum)
        self._at_once = backoff.initial == 0  # however often it is doubled
        self._retry_on = spec.retry_on

    def delay(self, attempt: int, error: Exception) -> float | None:
        """Return the seconds to wait after *attempt*, which raised *error*; None: there is no other."""
        state = _Attempt(attempt)
        if self._stop(state):
            return None
        if isinstance(error, RetryAfter):
            return float(error.seconds)
        if not isinstance(error, self._retry_on):
            return None
        return 0.0 if self._at_once else float(self._wait(state))


class RetryPolicy:
    """Says whether, and when, a failed task is tried again."""

    def __init__(self, spec: TaskSpec) -> None:
        """Take the policy that *spec* declares or was given."""
        self._declared = None if spec.policy is not None else _Declared(spec)
        self._policy = cast("Policy", spec.policy)
        self._fn = spec.fn
        self._give_up_on = (*_NEVER, *spec.give_up_on)

    def delay(
        self, attempt: int, error: BaseException, since_first: Callable[[], float]
    ) -> float | Awaitable[float | None] | None:
        """Return the seconds to wait before the next attempt; None: there is none.

        Only what a policy of the user's own says is to be awaited.

        Args:
            attempt: The number of the attempt that failed, from 1.
            error: What it raised.
            since_first: Says how long ago the first attempt began, in seconds.

        Raises:
            Exception: Whatever the user's own policy raises.
        """
        if not isinstance(error, Exception) or isinstance(error, self._give_up_on):
            return None
        return (
            self._asked(attempt, error, since_first) if self._declared is None else self._declared.delay(attempt, error)
        )

    async def _asked(self, attempt: int, error: Exception, since_first: Callable[[], float]) -> float | None:
        """Ask the user's own policy."""
        state: State = _tenacity().RetryCallState(self._policy, self._fn, (), {})
        state.attempt_number = attempt
        state.set_exception((type(error), error, error.__traceback__))
        # tenacity stamps the outcome with its own clock; what counts here is the time since the first attempt.
        state.outcome_timestamp = state.start_time + since_first()
        if isinstance(error, RetryAfter):
            state.upcoming_sleep = error.seconds
        elif await _said(self._policy.retry(state)):
            state.upcoming_sleep = await _said(self._policy.wait(state))
        else:
            return None
        return None if await _said(self._policy.stop(state)) else float(state.upcoming_sleep)


async def _said(answer: T | Awaitable[T]) -> T:
    """Return *answer*, awaited if need be."""
    return await answer if isawaitable(answer) else answer


def policy_of(spec: TaskSpec) -> RetryPolicy | None:
    """Return what decides about retries of *spec*; None if nothing can make it try again."""
    return None if spec.policy is None and spec.retries == 0 else RetryPolicy(spec)
