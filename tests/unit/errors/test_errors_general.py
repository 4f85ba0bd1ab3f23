"""What errors say that have no class of their own, and how every text is made."""

import textwrap

import pytest

from fastapi_chain import errors


@pytest.mark.parametrize(
    ("cls", "text"),
    [
        pytest.param(
            errors.ChainError,
            """\
            Two routers of this runtime have the same prefix '/chains'.
                first    shop/api.py:5
                second   shop/api.py:6
            Fix: app.include_router(runtime.router(), prefix="/runs")
            See errors#chain-error""",
            id="chain-error",
        ),
        pytest.param(
            errors.DeclarationError,
            """\
            Endpoint 'checkout' has two chains, but can start only one.
                declared at   shop/api.py:9
            Fix: @chain(send_receipt, write_invoice)
            See errors#declaration""",
            id="declaration",
        ),
        pytest.param(
            errors.PlanError,
            """\
            Task 'ship' runs for each item, but two of its parameters could take the item.
                declared at   shop/tasks.py:51
                could be      line: Line
                could be      spare: Line
            Fix, one of:
              - @task(each={"line": lines})
              - @task(each={"spare": lines})
            See errors#plan""",
            id="plan",
        ),
        pytest.param(
            errors.EngineError,
            """\
            Engine 'dbos' has been closed, so it takes no more runs.
            See errors#engine""",
            id="engine",
        ),
        pytest.param(
            errors.RunError,
            """\
            Run '7f3a' is not the run of this request.
            Fix: take it as a parameter: run: Run
            See errors#run""",
            id="run",
        ),
    ],
)
def test_general_errors_say(samples, cls, text):
    """An error without a class of its own says what it is told, in the form of all others."""
    assert str(samples[cls]) == textwrap.dedent(text)


@pytest.mark.parametrize(
    ("rows", "fixes", "text"),
    [
        ([], [], "No.\nSee errors#chain-error"),  # the least
        ([("a", "b")], [], "No.\n    a   b\nSee errors#chain-error"),  # evidence without a cure
        ([], ["do it"], "No.\nFix: do it\nSee errors#chain-error"),  # one cure
        ([], ["do it", "or that"], "No.\nFix, one of:\n  - do it\n  - or that\nSee errors#chain-error"),  # several
    ],
)
def test_parts_that_are_missing_leave_no_trace(rows, fixes, text):
    """A text has as many parts as there is something to say."""
    assert str(errors.ChainError(what="No.", rows=rows, fixes=fixes)) == text


@pytest.mark.parametrize(
    ("family", "builtin"),
    [
        (errors.DeclarationError, TypeError),
        (errors.PlanError, ValueError),
        (errors.RunError, RuntimeError),
        (errors.UnknownInput, TypeError),
        (errors.TaskTimeout, TimeoutError),
    ],
)
def test_errors_are_caught_by_their_builtin_name(samples, family, builtin):
    """`except TypeError` and the like catch the errors that one would expect."""
    with pytest.raises(builtin) as caught:
        raise samples[family]

    assert caught.value is samples[family]
