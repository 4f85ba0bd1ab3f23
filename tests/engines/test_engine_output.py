"""Output is checked once, where it is made."""

import asyncio
import functools
from collections.abc import Callable, Iterator
from typing import Annotated, Any

import pytest
from fastapi import Depends
from pydantic import BaseModel, Field

from fastapi_chain import OutputValidationError, TaskFailed, chain, task
from tests.engines.kit import Kit, Log, MemoryKit, states


@pytest.mark.parametrize("sync", [False, True])
def test_a_wrong_value_fails_its_producer_and_is_not_retried(engine: Kit, *, sync: bool):
    """The error names what was returned; whatever `retries` says, there is one attempt."""
    calls = Log()

    @task(retries=3, backoff=0)
    async def a() -> int:
        calls("a")
        return "1"

    @task(retries=3, backoff=0)
    def b() -> int:
        calls("b")
        return "1"

    async def main():
        return await chain(b if sync else a).run()

    run = engine.play(main)
    (error,) = run.errors.values()
    assert isinstance(error, OutputValidationError)
    assert str(error).startswith(f"Task '{'b' if sync else 'a'}' returned str, but its annotation says int.")
    assert len(calls) == 1


def test_the_value_handed_on_is_the_very_object(engine: Kit):
    """Never pydantic's copy: not of a model, not of a container, not of a subclass."""

    class Order(BaseModel):
        lines: list[int]

    class Special(Order):
        discount: int = 5

    order, lines, special = Order(lines=[1]), [1, 2], Special(lines=[3])

    @task
    async def a() -> Order:
        return order

    @task
    def b() -> list[int]:
        return lines

    @task
    async def c() -> Order:
        return special

    @task(after=[a, b, c])
    async def same(a: Order, b: list[int], c: Order) -> bool:
        return a is order and b is lines and c is special

    async def main():
        return (await chain(same).run())[same]

    assert engine.play(main)


def test_each_item_of_a_fan_out_is_checked(engine: Kit):
    """The annotation is that of one call."""

    @task
    async def numbers() -> list[int]:
        return [1, -1]

    @task(each=numbers)
    async def positive(number: int) -> Annotated[int, Field(gt=0)]:
        return number

    async def main():
        return await chain(positive).run()

    run = engine.play(main)
    assert [item.state for item in run.tasks["positive"].items.values()] == ["succeeded", "failed"]
    with pytest.raises(OutputValidationError):
        run[positive]


def test_iterators_are_not_consumed(engine: Kit):
    """What a look inside would use up is checked by its class."""

    @task
    async def rows() -> Iterator[int]:
        return iter([1, 2])

    @task(after=[rows])
    def total(rows: Iterator[int]) -> int:
        return sum(rows)

    async def main():
        return (await chain(total).run())[total]

    assert engine.play(main) == 3


def test_a_validation_error_of_the_users_own_is_retried(engine: Kit):
    """It comes from his code, not from our check."""
    calls = Log()

    class Order(BaseModel):
        lines: int

    @task(retries=1, backoff=0)
    async def parse() -> int:
        calls("call")
        return Order.model_validate({"lines": "x" if len(calls) == 1 else 1}).lines

    async def main():
        return (await chain(parse).run())[parse]

    assert engine.play(main) == 1


def test_no_annotation_no_check(engine: Kit):
    """Whatever is returned is handed on."""

    @task
    async def anything():
        return object

    async def main():
        return (await chain(anything).run())["anything"]

    assert engine.play(main) is object


def test_values_are_asked_for_by_task_or_name(engine: Kit):
    """A task that the chain does not have is a KeyError; `TaskFailed` is only for errors that cannot be raised."""

    @task
    async def a() -> int:
        return 1

    @task
    async def elsewhere() -> int:
        return 1

    async def main():
        run = await chain(a).run()
        assert run[a] == run["a"] == 1
        with pytest.raises(KeyError, match="chain 'a' has no task 'elsewhere'"):
            run[elsewhere]

    engine.play(main)
    assert issubclass(TaskFailed, RuntimeError)


def through(fn: Callable[..., Any]) -> Callable[..., Any]:
    """Decorate *fn*, which may be `async`, with a `def` that hands on what it gives."""

    @functools.wraps(fn)
    def inner(*args: Any, **kwargs: Any) -> Any:
        return fn(*args, **kwargs)

    return inner


@pytest.mark.parametrize("injected", [False, True])
def test_a_def_decorator_around_an_async_task(engine: Kit, *, injected: bool):
    """Its coroutine is awaited on the loop, as FastAPI awaits that of an endpoint; an undo may be decorated, too."""
    seen = Log()

    async def dep() -> int:
        return 1

    async def take_back(charge: int) -> None:
        await asyncio.sleep(1)
        seen(f"undo {charge}")

    if injected:

        @task(undo=through(take_back))
        @through
        async def charge(one: Annotated[int, Depends(dep)]) -> int:
            await asyncio.sleep(1)
            return one

    else:

        @task(undo=through(take_back))
        @through
        async def charge() -> int:
            await asyncio.sleep(1)
            return 1

    @task(after=[charge])
    @through
    async def receipt(charge: int) -> None:
        seen(charge)
        raise ValueError

    async def main():
        return await chain(receipt).run()

    run = engine.play(main)
    assert (run[charge], seen) == (1, [1, "undo 1"])


def test_a_decorator_that_has_the_value_at_hand(memory: MemoryKit):
    """What a `def` decorator gives may be no coroutine at all."""

    async def call() -> int:
        return 1

    @functools.wraps(call)
    def cached() -> int:
        return 2

    async def main():
        return await chain(task(cached)).run()

    assert memory.play(main).outputs == {"call": 2}


@pytest.mark.parametrize("annotated", [False, True])
def test_a_coroutine_is_never_handed_on(memory: MemoryKit, *, annotated: bool):
    """Where nothing says that there is an `async def` behind, the task fails, and the coroutine is closed."""

    async def call() -> int:
        return 1

    if annotated:

        @task
        def hidden() -> int:
            return call()  # type: ignore[return-value]

    else:

        @task
        def hidden():  # type: ignore[no-untyped-def]
            return call()

    @task(after=[hidden])
    async def after(hidden: int) -> None: ...

    async def main():
        return await chain(after).run()

    run = memory.play(main)
    assert states(run) == {"hidden": "failed", "after": "skipped upstream_failed: hidden"}
    returned, *rest = str(run.errors["hidden"]).splitlines()[1:]
    assert str(run.errors["hidden"]).startswith("Task 'hidden' returned a coroutine that nobody has awaited.\n")
    assert returned.startswith("    returned      <coroutine object")
    assert rest == [
        f"    declared at   {hidden.spec.source.at}",
        "Fix, one of:",
        "  - await it: async def hidden(...)",
        "  - if a decorator hides that it is `async def`: put @functools.wraps(fn) on what the decorator returns",
        "See errors#output-validation",
    ]
