"""Attempts: how many, when, and what they hold up."""

import asyncio
import traceback
from itertools import pairwise
from typing import Any

import pytest
import tenacity
from tenacity import AsyncRetrying, Retrying, retry_if_exception_type, stop_after_attempt, stop_after_delay, wait_fixed

from fastapi_chain import Backoff, RetryAfter, Skip, TaskContext, chain, task
from tests.engines.kit import Kit, Log, MemoryKit, settle


def failing(log: Log, times: int, error: BaseException | None = None) -> Any:
    """Return what fails that many times."""

    def act() -> None:
        log(asyncio.get_running_loop().time() if asyncio._get_running_loop() else None)
        if len(log) <= times:
            raise error or ConnectionError(len(log))

    return act


@pytest.mark.parametrize("sync", [False, True])
def test_three_retries_are_at_most_four_attempts(engine: Kit, *, sync: bool):
    """`retries=3` means three more; each attempt is kept with its error."""
    seen = Log()

    @task(retries=3, backoff=0)
    async def a(ctx: TaskContext) -> None:
        seen((ctx.attempt, ctx.max_attempts))
        raise ConnectionError(ctx.attempt)

    @task(retries=3, backoff=0)
    def b(ctx: TaskContext) -> None:
        seen((ctx.attempt, ctx.max_attempts))
        raise ConnectionError(ctx.attempt)

    async def main():
        return await chain(b if sync else a).run()

    run = engine.play(main)
    record = run.tasks["b" if sync else "a"]
    assert seen == [(1, 4), (2, 4), (3, 4), (4, 4)]
    assert [(attempt.n, attempt.state, str(attempt.error)) for attempt in record.attempts] == [
        (n, "failed", f"ConnectionError: {n}") for n in (1, 2, 3, 4)
    ]
    assert (record.state, record.max_attempts, str(record.error)) == ("failed", 4, "ConnectionError: 4")


@pytest.mark.parametrize("sync", [False, True])
def test_the_attempt_that_succeeds_is_the_last(engine: Kit, *, sync: bool):
    """After it there is none, whatever is left of the retries."""
    seen = Log()
    act = failing(seen, 2)

    @task(retries=5, backoff=0)
    async def a() -> int:
        act()
        return 1

    @task(retries=5, backoff=0)
    def b() -> int:
        act()
        return 1

    @task(after=[a])
    async def after_a(a: int) -> int:
        return a + 1

    @task(after=[b])
    async def after_b(b: int) -> int:
        return b + 1

    async def main():
        return await chain(after_b if sync else after_a).run()

    run = engine.play(main)
    assert [attempt.state for attempt in run.tasks["b" if sync else "a"].attempts] == ["failed", "failed", "succeeded"]
    assert run["after_b" if sync else "after_a"] == 2


ROWS = [
    # backoff, seconds between attempts
    (0, [0, 0, 0]),
    (2.5, [2.5, 2.5, 2.5]),
    (Backoff(initial=1, factor=3, maximum=5, jitter=False), [1, 3, 5]),
]


@pytest.mark.parametrize(("backoff", "waits"), ROWS)
def test_the_waits_between_attempts(engine: Kit, backoff: Any, waits: list[float]):
    """A number is a constant wait; a `Backoff` grows up to its maximum. The record says how long each wait was."""
    seen = Log()
    act = failing(seen, 4)

    @task(retries=3, backoff=backoff)
    async def a() -> None:
        act()

    async def main():
        return await chain(a).run()

    attempts = engine.play(main).tasks["a"].attempts
    assert [later - sooner for sooner, later in pairwise(seen)] == pytest.approx(waits)
    assert [attempt.backoff for attempt in attempts] == [None, *[pytest.approx(wait, abs=1e-3) for wait in waits]]


def test_the_wait_is_jittered_by_default(engine: Kit):
    """The default is a random part of 1, 2, 4 … seconds."""
    seen = Log()
    act = failing(seen, 4)

    @task(retries=3)
    async def a() -> None:
        act()

    async def main():
        await chain(a).run()

    engine.play(main)
    waits = [later - sooner for sooner, later in pairwise(seen)]
    assert all(0 <= wait <= most for wait, most in zip(waits, (1, 2, 4), strict=True))


ERRORS = [
    # what is raised, options, attempts
    (ConnectionError(), {"retry_on": ConnectionError}, 3),
    (ValueError(), {"retry_on": (ConnectionError, OSError)}, 1),
    (ConnectionError(), {"give_up_on": ConnectionError}, 1),
    (ConnectionResetError(), {"retry_on": OSError, "give_up_on": ConnectionError}, 1),
    (Skip("enough"), {}, 1),
    (RetryAfter(1), {"retry_on": ValueError}, 3),
    (RetryAfter(1), {"give_up_on": RetryAfter}, 1),
    (tenacity.TryAgain(), {}, 3),
]


@pytest.mark.parametrize(("error", "options", "attempts"), ERRORS)
def test_what_is_retried(engine: Kit, error: Exception, options: dict[str, Any], attempts: int):
    """`retry_on` says what, `give_up_on` wins over it; a skip is never retried, `RetryAfter` always asks for it."""

    @task(retries=2, backoff=0, **options)
    async def a() -> None:
        raise error

    async def main():
        return await chain(a).run()

    assert len(engine.play(main).tasks["a"].attempts) == attempts


def test_retry_after_sets_the_time_and_uses_up_an_attempt(engine: Kit):
    """The next attempt begins when the task has asked for it; with no attempt left it is a failure."""
    seen = Log()

    @task(retries=2, backoff=1)
    async def a() -> None:
        seen(asyncio.get_running_loop().time())
        raise RetryAfter(30)

    @task
    async def b() -> None:
        raise RetryAfter(5)

    async def main():
        return await chain(a, b).run()

    run = engine.play(main)
    assert [later - sooner for sooner, later in pairwise(seen)] == [30, 30]
    assert str(run.errors["a"]) == "try again in 30 s"
    assert str(run.errors["b"]) == "try again in 5 s"


def test_while_it_waits_a_task_is_retrying(engine: Kit):
    """Its state, its next time and its last error are to be seen; a branch beside it goes on."""
    seen = Log()

    @task(retries=1, backoff=10)
    async def flaky() -> None:
        seen("attempt")
        if len(seen) == 1:
            raise ConnectionError("no answer")

    @task
    async def beside() -> None:
        await asyncio.sleep(3)

    @task(after=[beside])
    def behind() -> None:
        seen("behind")

    async def main():
        run = await chain(flaky, behind).start()
        await settle()
        record = run.tasks["flaky"]
        assert (record.state, str(record.error)) == ("retrying", "ConnectionError: no answer")
        assert (record.next_attempt_at - record.finished_at).total_seconds() == pytest.approx(10, abs=1e-3)
        await run.wait()
        assert run.tasks["flaky"].next_attempt_at is None
        return run

    assert engine.play(main).state == "succeeded"
    assert seen == ["attempt", "behind", "attempt"]


def test_waiting_for_a_retry_holds_no_thread_and_no_place(engine: Kit):
    """With one thread and `limit=1`, others run while one waits for its next attempt."""
    seen = Log()

    @task(retries=1, backoff=5)
    def flaky() -> None:
        seen("flaky")
        if seen.count("flaky") == 1:
            raise ConnectionError

    @task(retries=1, backoff=5, limit=1)
    async def limited(name: str) -> None:
        seen(name)
        if seen.count(name) == 1:
            raise ConnectionError

    @task(after=[flaky], run_if="all_done")
    async def done() -> None: ...

    @task(name="other")
    def other() -> None:
        seen("other")

    async def main():
        first = await chain(limited, flaky, other, name="one").start(name="first")
        second = await chain(limited, name="two").start(name="second")
        await first.wait()
        await second.wait()
        return [first.state, second.state]

    assert engine.play(main, threads=1) == ["succeeded", "succeeded"]
    assert sorted(seen[:4]) == ["first", "flaky", "other", "second"]


def test_a_whole_tenacity_policy(engine: Kit):
    """`retry=` takes the stop, wait and retry of any tenacity policy, sync or async, and its number of attempts."""
    seen = Log()

    async def only_connection_errors(state: Any) -> bool:
        return isinstance(state.outcome.exception(), ConnectionError)

    policies = [
        Retrying(stop=stop_after_attempt(3), wait=wait_fixed(2), retry=retry_if_exception_type(ConnectionError)),
        AsyncRetrying(stop=stop_after_attempt(3), wait=wait_fixed(2), retry=only_connection_errors),
    ]
    tasks = []
    for i, policy in enumerate(policies):

        @task(name=f"t{i}", retry=policy)
        async def a(ctx: TaskContext) -> None:
            seen((ctx.task, ctx.attempt, ctx.max_attempts, asyncio.get_running_loop().time() - began[0]))
            raise ConnectionError

        @task(name=f"u{i}", retry=policy)
        async def b() -> None:
            raise ValueError

        tasks += [a, b]
    began = []

    async def main():
        began.append(asyncio.get_running_loop().time())
        return await chain(*tasks).run()

    run = engine.play(main)
    assert sorted(seen) == [(name, n, 3, 2 * n - 2) for name in ("t0", "t1") for n in (1, 2, 3)]
    assert [len(run.tasks[name].attempts) for name in ("t0", "u0", "t1", "u1")] == [3, 1, 3, 1]
    assert run.tasks["t0"].max_attempts == 3


def test_a_policy_may_know_no_number_of_attempts(engine: Kit):
    """One that stops by time counts the time since the first attempt; no attempt is ever "2 of 1"."""
    seen = Log()

    @task(retry=AsyncRetrying(stop=stop_after_delay(5), wait=wait_fixed(2)))
    async def a(ctx: TaskContext) -> None:
        seen((ctx.attempt, ctx.max_attempts))
        raise ConnectionError

    async def main():
        return await chain(a).run()

    run = engine.play(main)
    assert seen == [(1, 1), (2, 2), (3, 3), (4, 4)]
    assert run.errors["a"].__notes__ == [f"raised by task 'a', attempt 4 of 4, run {run.id[:8]}"]


def test_a_policy_that_fails_leaves_the_task_failed(engine: Kit):
    """The error is the task's own, with a note of what went wrong on top."""

    def broken(state: Any) -> bool:
        return state.outcome.exception().status == 503

    @task(retry=AsyncRetrying(stop=stop_after_attempt(3), retry=broken))
    async def a() -> None:
        raise ConnectionError("no answer")

    async def main():
        return await chain(a).run()

    run = engine.play(main)
    assert str(run.tasks["a"].error) == "ConnectionError: no answer"
    assert run.errors["a"].__notes__[-1] == (
        "its retry policy raised AttributeError: 'ConnectionError' object has no attribute 'status'"
    )


def test_an_error_before_and_one_after_the_first_wait(engine: Kit):
    """It makes no difference whether a task has already suspended when it raises, in whichever attempt."""
    seen = Log()

    @task(retries=3, backoff=0)
    async def a(ctx: TaskContext) -> int:
        seen(ctx.attempt)
        if ctx.attempt in {2, 3}:
            await asyncio.sleep(0)
        if ctx.attempt < 4:
            raise ConnectionError
        return 5

    @task
    async def b() -> int:
        await asyncio.sleep(0)
        return 1

    @task(after=[a, b])
    async def c(a: int, b: int) -> int:
        return a + b

    async def main():
        return (await chain(c).run())[c]

    assert engine.play(main) == 6
    assert seen == [1, 2, 3, 4]


def linked(error: BaseException | None) -> Any:
    """Return what an error says of others: its cause, and what was being handled when it was raised."""
    if error is None:
        return None
    inner = [linked(one) for one in error.exceptions] if isinstance(error, ExceptionGroup) else []
    return str(error.args[0]), linked(error.__cause__), linked(error.__context__), *inner


@pytest.mark.parametrize("limit", [None, 4], ids=["light", "limited"])
@pytest.mark.parametrize("sync", [False, True], ids=["async", "def"])
def test_the_error_of_an_attempt_stands_alone(memory: MemoryKit, limit: int | None, *, sync: bool):
    """It has nothing of an earlier attempt's in its context; what the user's own code has chained is as it was."""
    raised: list[ConnectionError] = []

    def fail() -> None:
        first = not raised
        raised.append(ConnectionError(f"plain {len(raised)}"))
        try:
            try:
                raise LookupError("cause")
            except LookupError as cause:
                raise ValueError("chained") from cause
        except ValueError as chained:
            raised[-1].__cause__ = None if first else chained
            if len(raised) == 3:
                # In a group, with itself further down.
                raise ExceptionGroup("group", [raised[-1], chained]) from chained
            raise raised[-1]  # noqa: B904 - what is being handled is to be its context

    @task(retries=2, backoff=0, limit=limit)
    async def a() -> None:
        fail()

    @task(retries=2, backoff=0, limit=limit)
    def b() -> None:
        fail()

    async def main():
        return await chain(b if sync else a).run()

    run = memory.play(main)
    chained = ("chained", ("cause", None, None), ("cause", None, None))
    assert [linked(error) for error in raised] == [
        ("plain 0", None, chained),
        ("plain 1", chained, chained),
        ("plain 2", chained, None),
    ]
    assert linked(run.errors["b" if sync else "a"]) == ("group", chained, chained, ("plain 2", chained, None), chained)


def test_the_traceback_of_the_last_attempt_is_that_of_one_error(memory: MemoryKit):
    """Nothing was being handled when it was raised: nothing is told but where it comes from."""

    @task(retries=3, backoff=0)
    async def a() -> None:
        raise ConnectionError

    async def main():
        run = await chain(a).run()
        return "".join(traceback.format_exception(run.errors["a"]))

    assert memory.play(main).count("Traceback") == 1
