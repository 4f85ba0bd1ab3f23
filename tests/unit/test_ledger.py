"""What has become of tasks: flat arrays, read as records."""

import pytest

from fastapi_chain._state.ledger import (
    CANCELLED,
    FAILED,
    RETRYING,
    RUNNING,
    SKIPPED,
    SUCCEEDED,
    Ledger,
    error_info,
    traceback_of,
    words_of,
)
from fastapi_chain.errors import TaskFailed
from fastapi_chain.outcome import ErrorInfo

EPOCH = 1_000_000.0


def ledger(**at: float) -> Ledger:
    """Return a ledger of one task."""
    made = Ledger([at.get("ended", 0.0)], EPOCH)
    made.began[0] = at.get("began", 0.0)
    return made


def stamp(record_time: object) -> float:
    return record_time.timestamp() - EPOCH  # type: ignore[attr-defined]


def test_nothing_has_happened():
    """A pending task has no attempts and no reasons."""
    record = ledger().record(0, "t", after=("a",), max_attempts=3, optional=True)
    assert (record.name, record.state, record.after, record.max_attempts, record.optional) == (
        "t",
        "pending",
        ("a",),
        3,
        True,
    )
    assert (record.attempts, record.error, record.started_at, record.finished_at, record.skip_reason) == (
        (),
        *[None] * 4,
    )


@pytest.mark.parametrize(("state", "name", "ended"), [(RUNNING, "running", None), (SUCCEEDED, "succeeded", 7.0)])
def test_the_last_attempt_is_told_from_the_state(state: int, name: str, ended: float | None):
    """A task that runs, or has succeeded at once, keeps two numbers."""
    made = ledger(began=5.0, ended=7.0)
    made.states[0] = state
    (attempt,) = made.attempts(0)
    assert (attempt.n, attempt.state, stamp(attempt.started_at)) == (1, name, 5.0)
    assert (None if attempt.finished_at is None else stamp(attempt.finished_at)) == ended


def test_failed_attempts_are_kept():
    """With their errors, and how long each wait was."""
    made = ledger(began=5.0)
    made.states[0] = RUNNING
    made.close(0, "failed", 6.0, words_of(ValueError("no")))
    made.states[0], made.next_at[0] = RETRYING, 8.0
    record = made.record(0, "t")
    assert (record.state, stamp(record.next_attempt_at), str(record.error)) == ("retrying", 8.0, "ValueError: no")
    made.began[0], made.states[0], made.ended[0] = 8.0, SUCCEEDED, 9.0
    first, second = made.attempts(0)
    assert (first.backoff, second.n, second.backoff, made.attempt(0), made.first(0)) == (None, 2, 2.0, 2, 5.0)


@pytest.mark.parametrize(("state", "field"), [(SKIPPED, "skip_reason"), (CANCELLED, "cancel_reason")])
def test_reasons_stand_where_they_belong(state: int, field: str):
    """One reason, shown as that of the state."""
    made = ledger()
    made.states[0], made.reasons[0] = state, "because"
    assert getattr(made.record(0, "t"), field) == "because"


def test_a_reset_task_goes_on_counting():
    """Its attempts are kept, and do not count against what is allowed; all else begins anew."""
    made = ledger(began=5.0)
    made.close(0, "failed", 6.0, words_of(ValueError()))
    made.states[0], made.errors[0], made.reasons[0], made.roots[0], made.next_at[0] = FAILED, ValueError(), "r", 0, 1.0
    made.undone.add(0)
    made.undos[0] = 7.0, None
    assert (made.failed, made.before(0)) == (True, 0)
    made.reset(0)
    assert (made.errors, made.reasons, made.roots, made.next_at, made.undone, made.undos) == ({}, {}, {}, {}, set(), {})
    assert (made.before(0), made.attempt(0)) == (1, 2)
    assert made.record(0, "t", max_attempts=2).max_attempts == 3
    made.began[0] = 10.0
    assert made.first(0) == 10.0


def test_a_task_that_never_ran_is_reset_to_nothing():
    """There is nothing to go on counting from."""
    made = ledger()
    made.reset(0)
    assert (made.attempts(0), made.before(0)) == ((), 0)


class Mute(Exception):
    def __str__(self) -> str:
        raise ValueError


def test_an_error_in_words():
    """Also one that has none."""
    assert error_info(ValueError("no")) == ErrorInfo("ValueError", "no")
    assert error_info(Mute()) == ErrorInfo("Mute", "(its text cannot be made)")


def caught(cause, *, explicit):
    """Return an error that was raised while *cause* was handled, or because of it."""
    try:
        try:
            raise cause
        except type(cause) as first:
            if explicit:
                raise OSError("down") from first
            raise OSError("down")  # noqa: B904 - it is what is tested
    except OSError as error:
        return error


@pytest.mark.parametrize("explicit", [True, False])
def test_a_traceback_has_what_caused_the_error(explicit):
    """It begins with the first error of all, and ends with the line that raised, without the text of the error."""
    text = traceback_of(caught(ValueError("first"), explicit=explicit))
    assert text.startswith("Traceback (most recent call last):\n")
    assert 0 < text.find("\nValueError: first\n") < text.find('    raise OSError("down")')
    assert "OSError: down" not in text


def test_an_earlier_attempt_is_no_part_of_a_traceback():
    """What its retry was an answer to bears the note of that attempt, and is left out."""
    earlier = ValueError("first")
    earlier.add_note("raised by task 't', attempt 1 of 2, run 7f3a")
    assert "ValueError" not in traceback_of(caught(earlier, explicit=False))


def test_a_traceback_is_cut_at_its_beginning():
    """Of a long one 8,000 characters are kept: its end, where the error was raised."""
    text = traceback_of(caught(ValueError("x" * 9000), explicit=True))
    assert len(text) == 8000
    assert text.splitlines()[-1].strip().startswith('raise OSError("down")')


def test_the_traceback_that_was_kept():
    """What another process has met has the traceback that was stored with it, if there is one."""
    error = TaskFailed(task="t", error=ErrorInfo("OSError", ""), attempts=1, run="7f3a", traceback="where\n")
    assert traceback_of(error) == "where\n"
    assert traceback_of(TaskFailed(task="t", error=ErrorInfo("OSError", ""), attempts=1, run="7f3a")) is None
