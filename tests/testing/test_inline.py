"""run_inline: chains without HTTP."""

import asyncio
import re

import pytest
from pydantic import BaseModel

from fastapi_chain import (
    InvalidChain,
    OutputValidationError,
    Run,
    RunCancelled,
    UnserializableOutput,
    chain,
    current_task,
    task,
)
from fastapi_chain.testing import run_inline


class Order(BaseModel):
    """An order."""

    id: int


class BigOrder(Order):
    """An order with more to it than `Order` says."""

    note: str = "fragile"


def test_it_returns_the_finished_run() -> None:
    """The run that comes back has finished, with all outputs."""

    @task
    async def double(x: int) -> int:
        return 2 * x

    @task(after=[double])
    def show(double: int) -> str:
        return str(double)

    run = asyncio.run(run_inline(chain(show), x=4))
    assert (run.state, run.outputs) == ("succeeded", {"double": 8, "show": "8"})


def test_it_raises_what_failed() -> None:
    """One failure is raised as the task has raised it."""
    broken = OSError("disk full")

    @task
    async def save() -> None:
        raise broken

    with pytest.raises(OSError, match="disk full") as caught:
        asyncio.run(run_inline(chain(save)))
    assert caught.value is broken


def test_it_raises_a_group_of_several() -> None:
    """Several failures are raised together."""

    @task
    async def save() -> None:
        raise OSError("disk full")

    @task
    async def notify() -> None:
        raise ValueError("no address")

    with pytest.raises(ExceptionGroup) as caught:
        asyncio.run(run_inline(chain(save, notify)))
    assert [str(error) for error in caught.value.exceptions] == ["disk full", "no address"]


def test_it_raises_that_the_run_was_cancelled() -> None:
    """A run that was cancelled is no result either."""

    @task
    async def wait(run: Run) -> None:
        await run.cancel()
        await asyncio.sleep(0)

    with pytest.raises(RunCancelled):
        asyncio.run(run_inline(chain(wait)))


def test_it_keeps_failures_in_the_run_if_asked_to() -> None:
    """With raise_errors=False the run is returned, whatever has become of it."""

    @task
    async def save() -> None:
        raise OSError("disk full")

    run = asyncio.run(run_inline(chain(save), raise_errors=False))
    assert run.state == "failed"
    assert str(run.errors["save"]) == "disk full"


def test_round_trip_hands_on_what_comes_back() -> None:
    """With round_trip=True tasks get what a database would give back: an equal value, not the very object."""

    @task
    async def clean(order: Order) -> Order:
        return order

    @task(after=[clean])
    def ids(clean: Order) -> list[int]:
        return [clean.id, 2]

    @task(each=ids)
    async def twice(number: int) -> int:
        return 2 * number

    made = Order(id=1)
    run = asyncio.run(run_inline(chain(twice), round_trip=True, order=made))
    assert run[clean] == made
    assert run[clean] is not made
    assert run[twice] == [2, 4]
    again = asyncio.run(run_inline(chain(clean, name="plain"), order=made))
    assert again[clean] is made


def test_round_trip_refuses_what_does_not_come_back_equal() -> None:
    """A subclass with more to it than its annotation loses that in a database: that is an error; it is not retried."""
    tries: list[int] = []

    @task(retries=2, backoff=0)
    async def clean() -> Order:
        tries.append(current_task().attempt)
        return BigOrder(id=1)

    with pytest.raises(UnserializableOutput) as caught:
        asyncio.run(run_inline(chain(clean), round_trip=True))
    assert str(caught.value).startswith(
        "Task 'clean' returned a value that engine 'round trip' cannot store.\n"
        "    value         result is BigOrder\n"
        "    reason        it does not come back equal from JSON\n"
    )
    assert tries == [1]


def test_round_trip_checks_the_type_first() -> None:
    """A value of a wrong type is wrong for that reason, as it is without a round trip."""

    @task
    async def clean() -> int:
        return "1"  # type: ignore[return-value]

    with pytest.raises(
        OutputValidationError, match=re.escape("Task 'clean' returned str, but its annotation says int.")
    ):
        asyncio.run(run_inline(chain(clean), round_trip=True))


def test_round_trip_refuses_what_no_database_can_store() -> None:
    """A type without a text is a problem of the chain, before anything runs."""

    class Handle:
        pass

    @task
    async def open_it() -> Handle:
        return Handle()

    with pytest.raises(InvalidChain) as caught:
        asyncio.run(run_inline(chain(open_it), round_trip=True))
    assert [problem.code for problem in caught.value.problems] == ["unserializable-output"]


def test_an_unknown_input_is_named() -> None:
    """Keywords that are no inputs are refused like those of `start()`, with a round trip too."""

    @task
    async def double(x: int) -> int:
        return 2 * x

    for round_trip in (False, True):
        with pytest.raises(TypeError, match="has no input 'y'"):
            asyncio.run(run_inline(chain(double), round_trip=round_trip, y=1, x=2))
