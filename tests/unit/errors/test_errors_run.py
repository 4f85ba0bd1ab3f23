"""What errors say about runs."""

import textwrap

import pytest

from fastapi_chain import errors
from fastapi_chain.outcome import ErrorInfo
from fastapi_chain.spec import Source


@pytest.mark.parametrize(
    ("cls", "text"),
    [
        pytest.param(
            errors.UnknownInput,
            """\
            Chain 'checkout' has no input 'oder_id'.
                it takes   order_id, user
            Fix: write order_id=...
            See errors#unknown-input""",
            id="unknown-input",
        ),
        pytest.param(
            errors.DeadlineExceeded,
            """\
            A run of chain 'checkout' took longer than its deadline of 300 s.
                run   7f3a09c1d2e84b55a6f70811c29d3e4f
            Fix, one of:
              - give it more time: chain(..., deadline=600)
              - end a slow attempt early: @task(timeout=...)
            See errors#deadline-exceeded""",
            id="deadline-exceeded",
        ),
        pytest.param(
            errors.RunNotFinished,
            """\
            Run '7f3a09c1d2e84b55a6f70811c29d3e4f' is still running.
            Fix: await run.wait()
            See errors#run-not-finished""",
            id="run-not-finished",
        ),
        pytest.param(
            errors.NothingToRetry,
            """\
            Nothing failed in run '7f3a09c1d2e84b55a6f70811c29d3e4f', so there is nothing to retry.
            Fix, one of:
              - run everything again: await run.retry("start")
              - run one task and all after it again: await run.retry(task)
            See errors#nothing-to-retry""",
            id="nothing-to-retry",
        ),
        pytest.param(
            errors.TaskFailed,
            """\
            Task 'charge_card' failed, tried 4 times: CardDeclined: insufficient funds
                run   7f3a09c1d2e84b55a6f70811c29d3e4f
            Fix: remove the cause, then: await run.retry()
            See errors#task-failed""",
            id="task-failed",
        ),
        pytest.param(
            errors.TaskSkipped,
            """\
            Task 'send_receipt' was skipped, so it has no output.
                reason   upstream_failed: charge_card
                run      7f3a09c1d2e84b55a6f70811c29d3e4f
            Fix: ask without an error: run.outputs.get("send_receipt")
            See errors#task-skipped""",
            id="task-skipped",
        ),
        pytest.param(
            errors.TaskCancelled,
            """\
            Task 'send_receipt' was cancelled, so it has no output.
                reason   deadline
                run      7f3a09c1d2e84b55a6f70811c29d3e4f
            Fix, one of:
              - ask without an error: run.outputs.get("send_receipt")
              - run it again: await run.retry(task)
            See errors#task-cancelled""",
            id="task-cancelled",
        ),
        pytest.param(
            errors.TaskTimeout,
            """\
            Task 'charge_card' took longer than its timeout of 30 s (attempt 1 of 4).
            Fix: give it more time: @task(timeout=60)
            See errors#task-timeout""",
            id="task-timeout",
        ),
        pytest.param(
            errors.OutputValidationError,
            """\
            Task 'count_rows' returned str, but its annotation says int.
                returned      '12'
                wrong         Input should be a valid integer
                declared at   shop/tasks.py:66
            Fix, one of:
              - return what the annotation says: int
              - correct the annotation: def count_rows(...) -> str
            See errors#output-validation""",
            id="output-validation",
        ),
        pytest.param(
            errors.RunNotFound,
            """\
            There is no run '7f3a09c1d2e84b55a6f70811c29d3e4f'.
                engine 'memory' knows   the last finished runs of this one process
            Fix: keep runs for all processes and restarts: install(app, engine="sqlite:///chains.db")
            See errors#run-not-found""",
            id="run-not-found",
        ),
        pytest.param(
            errors.RunFinished,
            """\
            Run '7f3a09c1d2e84b55a6f70811c29d3e4f' has already succeeded, so it cannot be cancelled.
            See errors#run-finished""",
            id="run-finished",
        ),
        pytest.param(
            errors.RunCancelled,
            """\
            Run '7f3a09c1d2e84b55a6f70811c29d3e4f' was cancelled.
                reason   run_cancelled
            Fix: run it again: await run.retry("start")
            See errors#run-cancelled""",
            id="run-cancelled",
        ),
        pytest.param(
            errors.QueueFull,
            """\
            Chain 'checkout' has 1000 runs queued or running, as many as it may have.
            Fix, one of:
              - try again in 2 s
              - allow more: chain(..., max_pending=2000)
            See errors#queue-full""",
            id="queue-full",
        ),
    ],
)
def test_run_errors_say(samples, cls, text):
    """An error of a run names the run and what can be done."""
    assert str(samples[cls]) == textwrap.dedent(text)


COUNT = Source(name="count_rows", file="shop/tasks.py", line=66)


def test_an_unknown_input_without_a_near_name():
    """A keyword that is like no input is to be left out."""
    error = errors.UnknownInput(chain="checkout", name="colour", known=())

    assert str(error) == textwrap.dedent("""\
        Chain 'checkout' has no input 'colour'.
            it takes   nothing
        Fix: leave out colour=...
        See errors#unknown-input""")


def test_a_task_that_has_not_ended():
    """Asked for the output of a task, the error names the task."""
    error = errors.RunNotFinished(run="7f3a", state="pending", task="save")

    assert error.problem() == "Task 'save' of run '7f3a' is still pending."


def test_a_task_that_failed_at_once():
    """One attempt is no number of times."""
    error = errors.TaskFailed(task="save", error=ErrorInfo("OSError", "disk full"), attempts=1, run="7f3a")

    assert error.problem() == "Task 'save' failed, tried once: OSError: disk full"


@pytest.mark.parametrize("cls", [errors.TaskSkipped, errors.TaskCancelled])
def test_a_task_without_output_and_run(cls):
    """An id that is not at hand takes no line."""
    lines = str(cls(task="save", reason="because")).splitlines()

    assert lines[1] == "    reason   because"
    assert lines[2].startswith("Fix")


def test_a_cancelled_run_without_a_reason():
    """A reason that nobody gave takes no line."""
    assert "reason" not in str(errors.RunCancelled(run="7f3a"))


def test_a_run_that_a_durable_engine_does_not_know():
    """The memory engine's limits, and the way out of them, are told only of the memory engine."""
    error = errors.RunNotFound(run="7f3a", engine="dbos")

    assert str(error) == textwrap.dedent("""\
        There is no run '7f3a'.
            engine 'dbos' knows   the runs in its database
        See errors#run-not-found""")


def test_a_run_that_has_never_begun():
    """Where its request has failed after the response, no engine could have kept it; the cure is to send it again."""
    error = errors.RunNotFound(run="7f3a", withdrawn=True)

    assert str(error) == textwrap.dedent("""\
        Run '7f3a' has never begun: the request that was to start it failed after its response.
            what failed   is in the server's log: a commit, most likely
        Fix: send that request again
        See errors#run-not-found""")


def test_a_value_that_is_wrong_in_many_places():
    """The first complaints are shown and the others counted; a list of the wrong things is no case for `-> list`."""
    value = list("abcdefghij") * 20
    complaints = tuple(f"item {index}: Input should be a valid integer" for index in range(200))

    error = errors.OutputValidationError(task=COUNT, value=value, expected=list[int], complaints=complaints)

    assert str(error) == textwrap.dedent("""\
        Task 'count_rows' returned list, but its annotation says list[int].
            returned      ['a', 'b', 'c', 'd', 'e', 'f',…'e', 'f', 'g', 'h', 'i', 'j']
            wrong         item 0: Input should be a valid integer
            wrong         item 1: Input should be a valid integer
            wrong         item 2: Input should be a valid integer
                          and 197 more
            declared at   shop/tasks.py:66
        Fix: return what the annotation says: list[int]
        See errors#output-validation""")


def test_a_value_that_is_none():
    """A task that returns None may mean to."""
    error = errors.OutputValidationError(task=COUNT, value=None, expected=int)

    assert str(error) == textwrap.dedent("""\
        Task 'count_rows' returned None, but its annotation says int.
            returned      None
            declared at   shop/tasks.py:66
        Fix, one of:
          - return what the annotation says: int
          - correct the annotation: def count_rows(...) -> int | None
        See errors#output-validation""")
