"""Errors of declarations, provoked by what users write, after a trip through a pickle.

What each of them says is in the tests of what raises it: test_declare.py, test_options.py, test_endpoint.py.
"""

import pickle
from collections.abc import AsyncIterator, Callable, Iterator

import pytest

from fastapi_chain import (
    BadOption,
    CalledInsteadOfNamed,
    DeclarationError,
    DuplicateTask,
    GeneratorTask,
    MethodTask,
    StreamingEndpoint,
    chain,
    task,
)


def generator() -> None:
    @task
    def export() -> Iterator[int]:
        yield 1


def method() -> None:
    class Mailer:
        @task
        def send(self) -> None: ...


def duplicate() -> None:
    @task
    def save() -> None: ...

    task(name="save")(lambda: None)


def called() -> None:
    @task
    async def save() -> None: ...

    chain(save())


def option() -> None:
    @task(retries=-1)
    def save() -> None: ...


def streaming() -> None:
    @chain(task(name="save")(lambda: None))
    async def endpoint() -> AsyncIterator[int]:
        yield 1


def twice() -> None:
    made = chain(task(name="save")(lambda: None))

    @made
    @made
    async def endpoint() -> None: ...


@pytest.mark.parametrize(
    ("provoke", "kind"),
    [
        (generator, GeneratorTask),
        (method, MethodTask),
        (duplicate, DuplicateTask),
        (called, CalledInsteadOfNamed),
        (option, BadOption),
        (streaming, StreamingEndpoint),
        (twice, DeclarationError),
    ],
)
def test_a_declaration_error_survives_pickling(provoke: Callable[[], None], kind: type[DeclarationError]):
    """It raises where the decorator stands, is a `TypeError`, names this file, and comes out of a pickle the same."""
    with pytest.raises(kind) as caught:
        provoke()
    again = pickle.loads(pickle.dumps(caught.value))
    assert (type(again), str(again)) == (kind, str(caught.value))
    assert isinstance(again, TypeError)
    assert "test_errors_provoked.py:" in str(again)
    assert str(again).endswith(f"See errors#{kind.code}")
