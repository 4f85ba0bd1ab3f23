"""What an undo is given: what its task took and returned, or an error that says what did not come."""

import asyncio
import threading
from typing import Any, Final

import pytest

from fastapi_chain import Failed, Outcome, Skip, Skipped, Succeeded, chain, task
from fastapi_chain.outcome import ErrorInfo
from tests.engines.kit import Kit, Log, MemoryKit

NO_FAILURE: Final = Failed("near", ErrorInfo("ValueError", "none"), 0)
NO_ITEMS: Final[list[Outcome[int]]] = []


def undone_with(run: Any) -> Any:
    """Return how each undo of a run has ended, by the name of its task."""

    async def told() -> dict[str, str | None]:
        events = [event async for event in run.events() if event.kind == "task.undone"]
        return {event.task: event.error and str(event.error.message).partition("\n")[0] for event in events}

    return told()


@pytest.mark.parametrize("outcome", [True, False], ids=["outcome", "value"])
def test_what_a_thread_returned_too_late_is_given_to_its_undo(memory: MemoryKit, *, outcome: bool):
    """As a value or as an outcome: that the run had turned away from the thread makes no difference."""
    held, inside, seen = threading.Event(), threading.Event(), Log()

    def as_outcome(charge: Outcome[int]) -> None:
        seen(charge)

    def as_value(charge: int) -> None:
        seen(charge)

    @task(undo=as_outcome if outcome else as_value)
    def charge() -> int:
        inside.set()
        held.wait(10)
        return 5

    async def main():
        run = await chain(charge).start()
        await asyncio.to_thread(inside.wait)
        await run.cancel()
        held.set()
        await run.wait()
        return run

    run = memory.play_for_real(main)
    assert (run.tasks["charge"].undone, seen) == (True, [Succeeded(5) if outcome else 5])


def test_an_undo_may_ask_what_became_of_a_task(engine: Kit):
    """`Outcome[T]` takes whatever ended before its task; `Failed` and `list[Outcome[T]]` only what there is."""
    seen = Log()

    async def take_any(far: Outcome[list[int]], near: Outcome[int]) -> None:
        seen((type(far), type(near)))

    async def take_failed(near: Failed) -> None:
        seen("never")

    async def take_failed_if(near: Failed = NO_FAILURE) -> None:
        seen(near)

    async def take_items(ship: list[Outcome[int]]) -> None:
        seen("never")

    async def take_items_if(ship: list[Outcome[int]] = NO_ITEMS) -> None:
        seen(ship)

    @task
    async def far() -> list[int]:
        raise Skip("nothing")

    @task(each=far)
    async def ship(item: int) -> int:
        return item

    @task
    async def near() -> int:
        return 1

    done: dict[str, Any] = {"after": [far, near, ship], "run_if": "all_done"}

    @task(**done, undo=take_any)
    async def one() -> None: ...

    @task(**done, undo=take_failed)
    async def two() -> None: ...

    @task(**done, undo=take_items)
    async def three() -> None: ...

    @task(**done, undo=take_failed_if)
    async def four() -> None: ...

    @task(**done, undo=take_items_if)
    async def five() -> None: ...

    @task(after=[one, two, three, four, five])
    async def fails() -> None:
        raise ValueError

    async def main():
        run = await chain(fails).run()
        return run, await undone_with(run)

    run, told = engine.play(main)
    assert sorted(seen, key=repr) == sorted([(Skipped, Succeeded), NO_FAILURE, NO_ITEMS], key=repr)
    assert told == {
        "one": None,
        "two": "Undo 'take_failed' takes 'near', but task 'near' succeeded.",
        "four": None,
        "five": None,
        "three": "Undo 'take_items' takes 'ship', but task 'ship' was skipped.",
    }
    assert [run.tasks[name].undone for name in ("one", "two", "three", "four", "five")] == [
        True,
        False,
        False,
        True,
        True,
    ]
