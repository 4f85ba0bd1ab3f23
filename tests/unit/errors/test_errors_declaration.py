"""What errors say that are raised where the decorator stands."""

import textwrap

import pytest

from fastapi_chain import errors
from fastapi_chain.spec import Source


@pytest.mark.parametrize(
    ("cls", "text"),
    [
        pytest.param(
            errors.GeneratorTask,
            """\
            Task 'export_rows' is a generator: calling it would run nothing.
                declared at   shop/tasks.py:60
            Fix, one of:
              - return the value instead of yielding it
              - if the yield is there for clean-up, move it to a dependency: Annotated[..., Depends(...)]
            See errors#generator-task""",
            id="generator-task",
        ),
        pytest.param(
            errors.MethodTask,
            """\
            Task 'send' is a method of class 'Mailer', so a chain has no 'self' to call it with.
                declared at   shop/mail.py:8
            Fix, one of:
              - decorate the method of an instance: send = task(Mailer(...).send)
              - write a function that takes the instance: Annotated[Mailer, Depends(...)]
            See errors#method-task""",
            id="method-task",
        ),
        pytest.param(
            errors.DuplicateTask,
            """\
            Two tasks of registry 'default' are both called 'notify'.
                first    shop/tasks.py:51
                second   shop/admin.py:7
            Fix, one of:
              - rename one: @task(name="notify_2")
              - if this is one file imported under two names, import it under one
            See errors#duplicate-task""",
            id="duplicate-task",
        ),
        pytest.param(
            errors.CalledInsteadOfNamed,
            """\
            after= of task 'send_receipt' got the coroutine that charge_card() returned; it wants the task itself.
                written   @task(after=[charge_card()])   shop/tasks.py:44
            Fix: @task(after=[charge_card])
            See errors#called-instead-of-named""",
            id="called-instead-of-named",
        ),
        pytest.param(
            errors.BadOption,
            """\
            retries=-1 of task 'charge_card' must be a whole number, 0 or more.
                declared at   shop/tasks.py:21
            Fix: @task(retries=3)
            See errors#bad-option""",
            id="bad-option",
        ),
        pytest.param(
            errors.StreamingEndpoint,
            """\
            Endpoint 'export' yields its answer piece by piece, and a chain cannot start from that.
                declared at   shop/api.py:31
            Fix, one of:
              - return the stream as a response: return StreamingResponse(...)
              - start the chain yourself when the work is done: await chain(...).start(...)
            See errors#streaming-endpoint""",
            id="streaming-endpoint",
        ),
    ],
)
def test_declaration_errors_say(samples, cls, text):
    """A wrong decorator is named with its place and the right way to write it."""
    assert str(samples[cls]) == textwrap.dedent(text)


@pytest.mark.parametrize(
    ("option", "problem", "fix"),
    [
        ("each", "each= of task 'ship' got the coroutine that lines() returned", "@task(each=lines)"),
        ("undo", "undo= of task 'ship' got the coroutine that lines() returned", "@task(undo=lines)"),
        ("From", "From() in task 'ship' got the coroutine that lines() returned", "From(lines)"),
        ("chain", "chain() got the coroutine that lines() returned", "chain(lines)"),
    ],
)
def test_a_call_is_shown_where_it_stands(option, problem, fix):
    """Wherever a task can be named, a call in its place is shown beside the right way to write it."""
    place = Source(name="ship", file="shop/tasks.py", line=51)

    error = errors.CalledInsteadOfNamed(task=place, option=option, called="lines")

    assert str(error) == (
        f"{problem}; it wants the task itself.\n"
        f"    written   {fix.replace('lines', 'lines()')}   shop/tasks.py:51\n"
        f"Fix: {fix}\n"
        "See errors#called-instead-of-named"
    )


def test_an_option_of_a_chain_is_called_one():
    """A bad option of a chain names the chain, and an overlong value is shortened."""
    place = Source(name="checkout", file="shop/api.py", line=9)

    error = errors.BadOption(
        task=place, option="start", value="x" * 99, wanted='"commit" or "response"', example="chain()", kind="chain"
    )

    assert error.problem() == (f"start='{'x' * 29}…{'x' * 28}' of chain 'checkout' must be \"commit\" or \"response\".")
