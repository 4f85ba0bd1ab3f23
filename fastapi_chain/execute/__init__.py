"""4. EXECUTE: one task, from its first attempt to its outcome; it never knows other tasks.

attempt -> classify -> record, each a function of its own. The same code runs a task, an item of a fan-out and an undo,
on every engine.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from typing import TypeAlias

from fastapi_chain._state import RunState
from fastapi_chain._state.ledger import error_info
from fastapi_chain._threads import Escaped
from fastapi_chain.context import running
from fastapi_chain.errors import Skip

from .hidden import Hidden
from .unit import Unit

Perform: TypeAlias = Callable[[Unit], Coroutine[object, object, None]]
"""Runs a unit to its outcome: `execute`, or what an engine puts around it."""


async def execute(unit: Unit) -> None:
    """Run *unit* to its outcome and put it down in the ledger.

    Raises:
        asyncio.CancelledError: The run was cancelled; the ledger says so.
    """
    running.set(unit)
    try:
        value = await attempt(unit)
    except asyncio.CancelledError as error:
        _cancelled(unit, error)
        return
    except Exception as error:  # noqa: BLE001 - whatever the user's code raises is an outcome
        failure = error
    else:
        unit.succeed(value)
        return
    # Not while the error is being handled: it would be the context of whatever the next attempt raises or logs.
    await recover(unit, failure)


async def attempt(unit: Unit) -> object:
    """Make one attempt: pass the gate, call the function and check what it returns."""
    step, gate = unit.step, unit.step.gate
    if gate is not None:
        await gate.enter(unit.run.clock, unit.run)
    try:
        unit.begin()
        if step.threaded or step.detached:
            value = await Hidden(unit).call()
        else:
            value = await step.call(unit.slots())  # type: ignore[misc]  # not threaded: the call gives an awaitable
    finally:
        if gate is not None and (unit.left is None or unit.left.over(gate)):
            gate.leave()
    if type(value) is not step.exact:
        step.check(value)
    return value


async def recover(unit: Unit, error: BaseException) -> None:
    """Go on after a failed attempt: try again as long as the policy says so, then put the outcome down.

    The fast path comes here with the error of an attempt that it made itself.

    Raises:
        asyncio.CancelledError: The run was cancelled; the ledger says so.
    """
    while True:
        try:
            error = error.cause if isinstance(error, Escaped) else error
            number = unit.attempt
            unit.note(error, number)
            delay = _delay(unit, error, number)
            if delay is not None and not isinstance(delay, float):
                delay = await _asked(delay, error)
            if delay is None:
                _conclude(unit, error)
                return
            unit.retry(error, delay, number)
            if delay > 0 or unit.left is not None or was_cancelled(unit.run):
                await _rest(unit, delay)
            value = await attempt(unit)
        except asyncio.CancelledError as cancelled:
            _cancelled(unit, cancelled)
            return
        except Exception as another:  # noqa: BLE001 - whatever the user's code raises is an outcome
            error = another
        else:
            unit.succeed(value)
            return


def _delay(unit: Unit, error: BaseException, number: int) -> float | Awaitable[float | None] | None:
    """Return the seconds to wait before the attempt after *number*; None: there is none."""
    policy = unit.step.policy
    if policy is None or unit.cancelled:
        return None
    return policy.delay(number - unit.ledger.before(unit.i), error, unit.since_first)


async def _asked(delay: Awaitable[float | None], error: BaseException) -> float | None:
    """Return what a policy of the user's own says."""
    try:
        return await delay
    except Exception as broken:  # noqa: BLE001 - a policy of the user's own
        # The task has failed; that nobody could say what to do about it comes on top.
        with suppress(Exception):
            error.add_note(f"its retry policy raised {error_info(broken)}")
        return None


async def _rest(unit: Unit, delay: float) -> None:
    """Wait for the next attempt, with no place held."""
    await sober(unit.run)
    if delay > 0:
        await unit.run.clock.sleep(delay)
    if unit.left is not None:
        # Two threads in one task at once would be worse than waiting.
        await unit.left.end()
        unit.left = None


def _conclude(unit: Unit, error: BaseException) -> None:
    """Put down an error that is not retried."""
    if isinstance(error, Skip):
        unit.skip(f"skip: {error.reason}")
    else:
        unit.fail(error)


def _cancelled(unit: Unit, error: asyncio.CancelledError) -> None:
    """Put down that *unit* was cancelled; or that it has failed, if its own code raised the error out of nothing."""
    if ends_run(unit.run):
        unit.cancel()
        raise error
    unit.note(error, unit.attempt)
    unit.fail(error)


async def sober(run: RunState) -> None:
    """Take back what the last attempt may have left on this asyncio task, or the next one would seem to be cancelled.

    Before Python 3.13 a `TaskGroup` whose child fails while it waits for the others forgets to take back its
    cancellation. But in the task that performs the run, one that nobody has left behind was meant for the run, although
    the user's code has swallowed it.

    Raises:
        asyncio.CancelledError: There is a cancellation that has not been met yet, or has been swallowed.
    """
    # With the loop: to find that takes a system call, on some versions.
    task = asyncio.current_task(run.loop)
    while task is not None and task.cancelling() > run.cancelling:
        await asyncio.sleep(0)
        shared = task is run.main
        if run.leaving or (shared and task.cancelling() > run.cancelling + run.left_behind):
            raise asyncio.CancelledError
        run.left_behind -= shared
        task.uncancel()


def ends_run(run: RunState) -> bool:
    """Whether a cancellation that has just been met was meant for the run."""
    stopped = run.cancel_reason is not None and not run.undoing
    return stopped or was_cancelled(run)


def was_cancelled(run: RunState) -> bool:
    """Whether this asyncio task has been cancelled since the run began, by whomever: `sober` finds out."""
    task = asyncio.current_task(run.loop)
    return task is not None and task.cancelling() > run.cancelling
