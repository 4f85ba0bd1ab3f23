"""What becomes of a task when those before it fail, are skipped, or may fail."""

import asyncio

import pytest

from fastapi_chain import (
    Failed,
    Outcome,
    Registry,
    Skip,
    Skipped,
    Succeeded,
    TaskContext,
    TaskFailed,
    TaskSkipped,
    chain,
    task,
)
from tests.engines.kit import Kit, Log, states


def test_a_failure_touches_only_what_needs_it(engine: Kit):
    """What comes after a failed task is skipped, however far down, and says because of whom; all others run."""

    @task
    async def charge() -> int:
        raise ConnectionError("no answer")

    @task(after=[charge])
    async def receipt(charge: int) -> int:
        return charge

    @task(after=[receipt])
    def mail(receipt: int) -> None: ...

    @task(after=[mail])
    async def archive() -> None: ...

    @task
    async def index() -> int:
        return 1

    @task(after=[index])
    def notify(index: int) -> int:
        return index

    async def main():
        return await chain(archive, notify).run()

    run = engine.play(main)
    assert run.state == "failed"
    assert states(run) == {
        "charge": "failed",
        "receipt": "skipped upstream_failed: charge",
        "mail": "skipped upstream_failed: charge",
        "archive": "skipped upstream_failed: charge",
        "index": "succeeded",
        "notify": "succeeded",
    }
    assert [str(error) for error in run.errors.values()] == ["no answer"]
    with pytest.raises(ConnectionError):
        run[charge]
    with pytest.raises(TaskSkipped) as caught:
        run[mail]
    assert caught.value.reason == "upstream_failed: charge"
    with pytest.raises(ExceptionGroup) as group:
        run.raise_for_error()
    assert group.value.exceptions == (run.errors["charge"],)


def test_the_exception_keeps_its_type_and_says_where_it_comes_from(engine: Kit):
    """The user's exception is kept as it is, with its traceback and one note: who raised it, in which attempt."""

    @task(retries=1, backoff=0)
    async def charge() -> int:
        raise known

    known = ConnectionError("no answer")

    async def main():
        return await chain(charge).run()

    run = engine.play(main)
    assert run.errors["charge"] is known
    assert known.__notes__ == [f"raised by task 'charge', attempt 2 of 2, run {run.id[:8]}"]
    assert known.__traceback__ is not None


class Frozen(Exception):
    """It takes no notes, and has no text."""

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(name)

    def __str__(self) -> str:
        raise ValueError("no text either")


@pytest.mark.parametrize("sync", [False, True])
def test_an_exception_that_can_be_neither_noted_nor_shown_is_an_outcome_like_any_other(engine: Kit, *, sync: bool):
    """Whatever is wrong with the exception itself, the run goes on."""

    @task
    async def a() -> None:
        raise Frozen

    @task
    def b() -> None:
        raise Frozen

    async def main():
        return await chain(b if sync else a).run()

    run = engine.play(main)
    record = run.tasks["b" if sync else "a"]
    assert (record.state, str(record.error)) == ("failed", "Frozen: (its text cannot be made)")


def test_skip_is_not_a_failure(engine: Kit):
    """A task that raises `Skip` is skipped, with what needs it; the run succeeds."""

    @task(retries=3)
    async def rows() -> int:
        raise Skip("no rows today")

    @task(after=[rows])
    async def load(rows: int) -> None: ...

    @task(after=[load])
    def report() -> None: ...

    @task
    def other() -> None:
        raise Skip

    async def main():
        return await chain(report, other).run()

    run = engine.play(main)
    assert run.state == "succeeded"
    assert states(run) == {
        "rows": "skipped skip: no rows today",
        "load": "skipped upstream_skipped: rows",
        "report": "skipped upstream_skipped: rows",
        "other": "skipped skip: ",
    }
    assert [attempt.state for attempt in run.tasks["rows"].attempts] == ["skipped"]
    assert run.errors == {}
    run.raise_for_error()


def test_a_failure_weighs_more_than_a_skip(engine: Kit):
    """What needs both a skipped and a failed task is skipped because of the failure."""

    @task
    async def skips() -> int:
        raise Skip("nothing")

    @task
    async def fails() -> int:
        raise ValueError

    @task(after=[skips, fails])
    async def both(skips: int, fails: int) -> None: ...

    async def main():
        return await chain(both).run()

    assert states(engine.play(main))["both"] == "skipped upstream_failed: fails"


def test_the_failure_of_an_optional_task_leaves_the_run_succeeded(engine: Kit):
    """It is shown as failed, what needs it is skipped, and nothing is raised."""

    @task(optional=True)
    async def thumb() -> int:
        raise ValueError("no picture")

    @task(after=[thumb])
    async def label(thumb: int) -> None: ...

    async def main():
        return await chain(label).run()

    run = engine.play(main)
    assert (run.state, states(run)) == ("succeeded", {"thumb": "failed", "label": "skipped upstream_failed: thumb"})
    assert list(run.errors) == ["thumb"]
    run.raise_for_error()


def test_a_default_stands_in_for_what_was_skipped_or_may_fail(engine: Kit):
    """Behind a skip, a condition, or an optional failure a default is used; behind a failure that counts it is not."""
    seen = Log()

    @task
    async def skips() -> int:
        raise Skip

    @task(optional=True)
    async def may_fail() -> int:
        raise ValueError

    @task
    async def fails() -> int:
        raise ValueError

    @task(after=[skips], run_if="any_failed")
    async def never() -> int:
        return 4

    @task(after=[may_fail])
    async def behind(may_fail: int) -> int:
        return may_fail

    @task
    async def fine() -> int:
        return 5

    @task(after=[skips, may_fail, never, behind, fine])
    async def takes(skips: int = 1, may_fail: int = 2, never: int = 3, behind: int = 4, fine: int = 0) -> None:
        seen((skips, may_fail, never, behind, fine))

    @task(after=[skips, may_fail, never, behind, fine])
    def takes_in_thread(skips: int = 1, *, may_fail: int = 2, never: int = 3, behind: int = 4, fine: int = 0) -> None:
        seen((skips, may_fail, never, behind, fine))

    @task(after=[fails])
    async def left_out(fails: int = 1) -> None:
        seen("never")

    async def main():
        return await chain(takes, takes_in_thread, left_out).run()

    run = engine.play(main)
    assert seen == [(1, 2, 3, 4, 5)] * 2
    assert states(run)["left_out"] == "skipped upstream_failed: fails"


def test_outcome_parameters_say_what_a_task_tolerates(engine: Kit):
    """`Outcome` takes whatever happened, `Failed`, `Skipped` and `Succeeded` only that; else it is a condition."""
    seen: dict[str, object] = {}
    registry = Registry("outcomes")
    task = registry.task

    @task
    async def good() -> int:
        return 7

    @task(retries=1, backoff=0)
    def bad() -> int:
        raise ValueError("broken")

    @task
    async def empty() -> int:
        raise Skip("nothing")

    @task(after=[bad])
    async def behind(bad: int) -> int:
        return bad

    @task(after=[good, bad, empty, behind])
    async def audit(good: Outcome[int], bad: Outcome[int], empty: Outcome[int], behind: Outcome[int]) -> None:
        seen["audit"] = (good, bad, empty, behind)

    @task(after=[bad])
    async def on_failure(bad: Failed) -> None:
        seen["on_failure"] = bad

    @task(after=[good])
    def on_no_failure(good: Failed) -> None: ...

    @task(after=[behind])
    async def on_far_failure(behind: Failed) -> None: ...

    @task(after=[empty])
    def on_skip(empty: Skipped) -> None:
        seen["on_skip"] = empty

    @task(after=[good])
    async def on_success(good: Succeeded[int]) -> None:
        seen["on_success"] = good

    @task(after=[bad])
    async def on_no_success(bad: Succeeded[int]) -> None: ...

    @task(after=[empty])
    async def on_skip_or_success(empty: Succeeded[int] | Skipped) -> None:
        seen["either"] = empty

    async def main():
        return await chain(registry).run()

    run = engine.play(main)
    failed = seen["on_failure"]
    assert isinstance(failed, Failed)
    assert (failed.task, str(failed.error), failed.attempts) == ("bad", "ValueError: broken", 2)
    assert failed.exception() is run.errors["bad"]
    assert seen["audit"] == (Succeeded(7), failed, Skipped("skip: nothing"), Skipped("upstream_failed: bad"))
    assert (seen["on_skip"], seen["on_success"], seen["either"]) == (
        Skipped("skip: nothing"),
        Succeeded(7),
        Skipped("skip: nothing"),
    )
    assert {name: state for name, state in states(run).items() if name.startswith("on_")} == {
        "on_failure": "succeeded",
        "on_no_failure": "skipped condition",
        "on_far_failure": "skipped condition",
        "on_skip": "succeeded",
        "on_success": "succeeded",
        "on_no_success": "skipped upstream_failed: bad",
        "on_skip_or_success": "succeeded",
    }


def test_none_stands_for_the_outcomes_that_a_parameter_does_not_name(engine: Kit):
    """`Failed | None` runs whatever happened: it is given the failure, or None if there was none."""
    seen: dict[str, object] = {}
    registry = Registry("or-none")
    task = registry.task

    @task
    async def good() -> int:
        return 7

    @task
    async def bad() -> int:
        raise ValueError("broken")

    @task
    async def empty() -> int:
        raise Skip("enough")

    @task(after=[good, bad, empty])
    async def failures(good: Failed | None, bad: Failed | None, empty: Failed | None = None) -> None:
        seen["failures"] = (good, bad and bad.error.message, empty)

    @task(after=[good, bad, empty])
    def others(good: Succeeded[int] | None, bad: Outcome[int] | None, empty: Succeeded[int] | Skipped | None) -> None:
        seen["others"] = (good, isinstance(bad, Failed), empty)

    async def main():
        return await chain(registry).run()

    engine.play(main)
    assert seen == {"failures": (None, "broken", None), "others": (Succeeded(7), True, Skipped("skip: enough"))}


ROWS = [
    # run_if, what the two tasks before it do, how it ends
    ("all_succeeded", "ok", "ok", "succeeded"),
    ("all_succeeded", "ok", "fail", "skipped upstream_failed: b"),
    ("all_succeeded", "skip", "ok", "skipped upstream_skipped: a"),
    ("all_done", "fail", "skip", "succeeded"),
    ("any_failed", "ok", "fail", "succeeded"),
    ("any_failed", "ok", "skip", "skipped condition"),
    ("any_failed", "ok", "ok", "skipped condition"),
    ("any_succeeded", "fail", "ok", "succeeded"),
    ("any_succeeded", "fail", "skip", "skipped condition"),
]


@pytest.mark.parametrize(("run_if", "one", "two", "ends"), ROWS)
def test_run_if_is_about_the_tasks_in_after(engine: Kit, run_if: str, one: str, two: str, ends: str):
    """Each of the four conditions, by what happened to the tasks before."""

    def do(what: str) -> None:
        if what == "fail":
            raise ValueError
        if what == "skip":
            raise Skip

    @task
    async def a() -> None:
        do(one)

    @task
    def b() -> None:
        do(two)

    @task(after=[a, b], run_if=run_if)
    async def last() -> None: ...

    async def main():
        return await chain(last).run()

    assert states(engine.play(main))["last"] == ends


def test_any_failed_counts_what_was_skipped_because_of_a_failure(engine: Kit):
    """An alert after the last task of a branch hears of a failure anywhere in it, and may take what happened."""
    seen = Log()

    @task
    async def first() -> int:
        raise ValueError

    @task(after=[first])
    async def second(first: int) -> int:
        return first

    @task(after=[second], run_if="any_failed")
    async def alert(second: Outcome[int]) -> None:
        seen(second)

    async def main():
        return await chain(alert).run()

    assert states(engine.play(main))["alert"] == "succeeded"
    assert seen == [Skipped("upstream_failed: first")]


def test_a_value_from_further_up_is_needed_too(engine: Kit):
    """A task that takes a value from far up does not run without it, even if all that is right before it has run."""

    @task
    async def far() -> int:
        raise ValueError

    @task(after=[far])
    async def between(far: Outcome[int]) -> int:
        return 1

    @task(after=[between])
    async def takes(far: int, between: int) -> None: ...

    @task(after=[between])
    async def with_default(between: int, far: int = 3) -> int:
        return far

    async def main():
        return await chain(takes, with_default).run()

    assert states(engine.play(main)) == {
        "far": "failed",
        "between": "succeeded",
        "takes": "skipped upstream_failed: far",
        "with_default": "skipped upstream_failed: far",
    }


def test_a_task_may_raise_what_looks_like_a_cancellation(engine: Kit):
    """`CancelledError` out of nothing fails the task; asking for its value raises something that can be caught."""

    @task(retries=2, backoff=0)
    async def at_once() -> None:
        raise asyncio.CancelledError

    @task(retries=2, backoff=0)
    async def later() -> None:
        await asyncio.sleep(0)
        raise asyncio.CancelledError("mine")

    @task
    def thread() -> None:
        raise asyncio.CancelledError

    @task(retries=2, backoff=0)
    async def second(ctx: TaskContext) -> None:
        if ctx.attempt == 1:
            raise ConnectionError
        raise asyncio.CancelledError

    @task
    async def other() -> int:
        await asyncio.sleep(1)
        return 1

    async def main():
        run = await chain(at_once, later, thread, second, other).run()
        with pytest.raises(TaskFailed) as caught:
            run[later]
        assert isinstance(caught.value.__cause__, asyncio.CancelledError)
        return run

    run = engine.play(main)
    assert (run.state, states(run)) == (
        "failed",
        {"at_once": "failed", "later": "failed", "thread": "failed", "second": "failed", "other": "succeeded"},
    )
    assert [len(record.attempts) for record in run.tasks.values()] == [1, 1, 1, 2, 1]
    with pytest.raises(ExceptionGroup):
        run.raise_for_error()


def test_a_thread_may_try_to_end_the_process(engine: Kit):
    """`SystemExit` in a `def` task is a failure of that task, as it ends only its thread elsewhere."""

    @task
    def leaves() -> None:
        raise SystemExit(3)

    @task(limit=2)
    def leaves_too() -> None:
        raise KeyboardInterrupt

    async def main():
        return await chain(leaves, leaves_too).run()

    run = engine.play(main)
    assert states(run) == {"leaves": "failed", "leaves_too": "failed"}
    assert [type(error) for error in run.errors.values()] == [SystemExit, KeyboardInterrupt]


def test_a_thread_may_raise_stop_iteration(engine: Kit):
    """An exception that futures refuse is a failure like any other."""

    @task
    def one() -> None:
        raise StopIteration(1)

    @task(limit=1)
    def two() -> None:
        raise StopIteration(2)

    async def main():
        return await chain(one, two).run()

    assert states(engine.play(main)) == {"one": "failed", "two": "failed"}
