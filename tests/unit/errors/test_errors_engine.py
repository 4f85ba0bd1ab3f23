"""What errors say about engines."""

import textwrap

import pytest

from fastapi_chain import errors
from fastapi_chain.spec import Source


@pytest.mark.parametrize(
    ("cls", "text"),
    [
        pytest.param(
            errors.EngineNotInstalled,
            """\
            Engine 'sqlite:///chains.db' needs the package 'dbos', which is not installed.
            Fix: pip install 'fastapi-chain[durable]'
            See errors#engine-not-installed""",
            id="engine-not-installed",
        ),
        pytest.param(
            errors.EngineUnavailable,
            """\
            Engine 'postgresql://db.example.com/chains' does not answer.
                reason   connection refused
            Fix, one of:
              - start its database, or wait until it is back
              - name the right one: install(app, engine="postgresql://...")
            See errors#engine-unavailable""",
            id="engine-unavailable",
        ),
        pytest.param(
            errors.UnserializableOutput,
            """\
            Task 'open_report' returned a value that engine 'dbos' cannot store.
                value         result['file'] is TextIOWrapper
                reason        it is no JSON value
                declared at   shop/tasks.py:70
            Fix, one of:
              - give plain data or a pydantic model, an id rather than an open handle
              - obtain the handle where it is used: Annotated[..., Depends(...)]
            See errors#unserializable-output""",
            id="unserializable-output",
        ),
    ],
)
def test_engine_errors_say(samples, cls, text):
    """An engine that cannot do its work says why and what to do."""
    assert str(samples[cls]) == textwrap.dedent(text)


def test_an_input_that_cannot_be_stored():
    """A value that the endpoint gave is told from one that a task returned."""
    error = errors.UnserializableOutput(
        task=Source(name="resize", file="shop/tasks.py", line=70),
        input="photo",
        engine="dbos",
        type=bytearray,
        where="photo",
        reason="it is no JSON value",
    )

    assert str(error) == textwrap.dedent("""\
        Task 'resize' takes the input 'photo', which engine 'dbos' cannot store.
            value         photo is bytearray
            reason        it is no JSON value
            declared at   shop/tasks.py:70
        Fix, one of:
          - give plain data or a pydantic model, an id rather than an open handle
          - obtain the handle where it is used: Annotated[..., Depends(...)]
        See errors#unserializable-output""")
