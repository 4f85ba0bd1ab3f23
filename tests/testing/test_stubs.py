"""stub: values and fakes in the place of tasks."""

import asyncio
from collections.abc import Iterator
from typing import Annotated

import pytest
from fastapi import Depends, FastAPI

from fastapi_chain import (
    Chain,
    ChainError,
    DeclarationError,
    OutputValidationError,
    Progress,
    Run,
    TaskContext,
    chain,
    task,
)
from fastapi_chain.testing import chain_client, flaky, run_inline, stub

opened: list[str] = []


def gateway() -> Iterator[str]:
    """A connection that no test should open."""
    opened.append("gateway")
    yield "gateway"


def checkout() -> Chain:
    """Return a chain of tasks that cannot run in a test."""

    @task(retries=2, backoff=0)
    def charge(
        order: str, /, gateway: Annotated[str, Depends(gateway)], ctx: TaskContext, *, progress: Progress
    ) -> int:
        raise ConnectionError

    @task(after=[charge], undo=refund)
    async def book(charge: int) -> str:
        return f"booked {charge}"

    @task(after=[book])
    async def receipt(book: str) -> str:
        return f"receipt for {book}"

    return chain(receipt, name="checkout")


async def refund(book: str) -> None:
    """Undo what cannot be undone in a test."""
    raise ConnectionError


def failure(fn: object) -> str:
    """Return the text of the error that *fn* raises."""
    with pytest.raises(DeclarationError) as caught:
        fn()  # type: ignore[operator]
    return str(caught.value)


def test_a_value_stands_in_for_a_task() -> None:
    """The stubbed task returns the value; neither its function nor its dependencies are called; its calls are kept."""
    shop = checkout()
    opened.clear()
    with stub(shop, charge=20) as calls:
        run = asyncio.run(run_inline(shop, order="pen"))
    assert run.outputs == {"charge": 20, "book": "booked 20", "receipt": "receipt for booked 20"}
    assert (calls.charge.count, calls.charge.inputs, calls["charge"].calls) == (1, {"order": "pen"}, [{"order": "pen"}])
    assert repr(calls.charge) == "<StubbedTask 'charge', 1 calls>"
    assert opened == []
    with pytest.raises(ConnectionError):
        asyncio.run(run_inline(shop, order="pen"))


@pytest.mark.parametrize(
    "fake",
    [
        lambda: 20,  # what it is not asked for it is not given
        lambda order: 20 if order == "pen" else 0,  # by name
        lambda **given: 20 if set(given) == {"order", "ctx", "progress"} else 0,  # all there is
        lambda order, discount=2: 18 + discount,  # its own defaults
        flaky(ConnectionError, times=2, then=20),  # retries are those of the task
        flaky(ConnectionError("once"), then=20),  # an error that is at hand
    ],
)
def test_a_fake_stands_in_for_a_task(fake: object) -> None:
    """A function is called with those of the task's values that it takes."""
    shop = checkout()
    with stub(shop, charge=fake):
        run = asyncio.run(run_inline(shop, order="pen"))
    assert run["charge"] == 20


def test_a_fake_may_be_async() -> None:
    """An async function is awaited; what runs in it is inside the task."""

    async def fake(ctx: TaskContext) -> int:
        await asyncio.sleep(0)
        return len(ctx.task)

    shop = checkout()
    with stub(shop, charge=fake):
        assert asyncio.run(run_inline(shop, order="pen"))["charge"] == len("charge")


@pytest.mark.parametrize("error", [PermissionError, PermissionError("declined")])
def test_an_exception_is_raised(error: object) -> None:
    """An exception, or its class, is what the task raises: each attempt."""
    shop = checkout()
    with stub(shop, charge=error) as calls:
        run = asyncio.run(run_inline(shop, raise_errors=False, order="pen"))
    assert (run.state, calls.charge.count) == ("failed", 3)
    assert isinstance(run.errors["charge"], PermissionError)


def test_an_undo_can_be_stubbed() -> None:
    """What takes an effect back is stubbed by its name, like a task."""
    shop = checkout()
    with stub(shop, charge=20, receipt=OSError, refund=None) as calls:
        run = asyncio.run(run_inline(shop, raise_errors=False, order="pen"))
    assert run.tasks["book"].undone
    assert calls.refund.inputs == {"book": "booked 20"}


def test_an_item_of_a_fan_out_can_be_stubbed() -> None:
    """The stub of a fan-out stands in for each of its calls."""

    @task
    async def lines() -> list[int]:
        return [1, 2, 3]

    @task(each=lines)
    async def ship(line: int) -> str:
        raise ConnectionError

    shop = chain(ship)
    with stub(shop, lines=[4, 5], ship=lambda line: f"parcel {line}") as calls:
        run = asyncio.run(run_inline(shop))
    assert run[ship] == ["parcel 4", "parcel 5"]
    assert calls.ship.calls == [{"line": 4}, {"line": 5}]
    assert calls.lines.inputs == {}


def test_strict_lets_nothing_else_run() -> None:
    """With strict=True every task without a stub fails, so that nothing real happens by mistake."""
    shop = checkout()
    with stub(shop, {"charge": 20}, strict=True):
        run = asyncio.run(run_inline(shop, raise_errors=False, order="pen"))
    error = run.errors["book"]
    assert isinstance(error, ChainError)
    assert error.problem() == "Task 'book' was called, but it is not stubbed."
    assert list(error.remedies()) == ["stub(..., strict=True, book=...)"]


def test_stubs_hold_over_http_and_within_each_other() -> None:
    """Requests meet the stubs too; a second block adds to the first one."""
    app = FastAPI()
    shop = checkout()

    @app.post("/orders/{order}", status_code=202)
    @shop
    async def place(order: str) -> None:
        pass

    with chain_client(app) as client, stub(shop, charge=20), stub(shop, receipt="sent") as calls:
        run = client.run_of(client.post("/orders/pen"))
        assert run.outputs == {"charge": 20, "book": "booked 20", "receipt": "sent"}
        with pytest.raises(AttributeError, match="task 'charge' is not stubbed; stubbed: receipt"):
            calls.charge
        with pytest.raises(KeyError):
            calls["charge"]


def test_what_a_fake_returns_is_checked() -> None:
    """A fake that returns something else than the task would is found out, as the task itself would be."""
    shop = checkout()
    with stub(shop, charge=lambda: "20"), pytest.raises(OutputValidationError):
        asyncio.run(run_inline(shop, order="pen"))


def test_a_task_that_was_not_called_has_no_inputs() -> None:
    """To ask for the values of a call that was not made fails the test with the task's name."""
    with stub(checkout(), charge=20) as calls, pytest.raises(AssertionError, match="task 'charge' was not called"):
        calls.charge.inputs


def test_an_unknown_task_is_named() -> None:
    """A stub for a task that is not there lists those that are, and proposes the nearest one."""
    shop = checkout()
    assert failure(stub(shop, chrage=20).__enter__) == (
        "Chain 'checkout' has no task 'chrage' that could be stubbed.\n"
        "    tasks   refund, charge, book, receipt\n"
        "Fix: stub(..., charge=...)\n"
        "See errors#declaration"
    )
    assert "Fix" not in failure(stub(shop, xyz=20).__enter__)


@pytest.mark.parametrize("fake", ["20", flaky(OSError, then="20")])
def test_a_value_of_a_wrong_type_is_refused(fake: object) -> None:
    """A stub is checked against the task's return type before anything runs."""
    text = failure(stub(checkout(), charge=fake).__enter__)
    assert text.splitlines()[0] == "The stub of task 'charge' is '20', but the task returns int."
    assert "    wrong         Input should be a valid integer" in text
    assert "Fix: give what the task returns: int" in text


@pytest.mark.parametrize(
    "fake",
    [
        lambda amount: amount,  # a name that the task does not have
        lambda order, /: order,  # everything is given by name
    ],
)
def test_a_fake_with_foreign_parameters_is_refused(fake: object) -> None:
    """A fake that takes what the task is not given is refused before anything runs."""
    text = failure(stub(checkout(), charge=fake).__enter__)
    assert text.splitlines()[0].startswith("The stub of task 'charge' takes '")
    assert "    given by name   order, ctx, progress" in text
    assert "Fix: def fake(order, ctx, progress): ..." in text


def test_the_run_may_be_asked_for() -> None:
    """A fake may take the run, like a task; it is no input worth remembering."""

    @task
    async def save(run: Run) -> str:
        raise OSError

    shop = chain(save)
    with stub(shop, save=lambda run: run.id) as calls:
        run = asyncio.run(run_inline(shop))
    assert run[save] == run.id
    assert calls.save.inputs == {}
