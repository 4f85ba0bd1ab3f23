"""One callable out of where all parameters come from."""

import asyncio
import functools
from typing import Any

from fastapi_chain import Failed, Outcome, Progress, Registry, Run, Skip, Skipped, Succeeded, TaskContext, chain
from fastapi_chain.engines.memory import live_of
from fastapi_chain.plan.nodes import MISSING


def result(fn: Any, *, before: Any = None, **inputs: object) -> object:
    """Run *fn* as a task, after the tasks of *before*, and return what it returned."""
    registry = Registry("call")
    names = [registry.task(optional=True)(task) for task in before or ()]
    made = registry.task(after=names, run_if="all_done" if names else "all_succeeded")(fn)
    run = asyncio.run(chain(made, name="c").run(**inputs))
    return run[made]


def test_any_number_of_positional_values():
    """Up to three are taken one by one, more at once."""

    async def none() -> str:
        return "none"

    async def one(a: int) -> tuple[int, ...]:
        return (a,)

    async def two(a: int, b: int) -> tuple[int, ...]:
        return a, b

    async def three(a: int, b: int, c: int) -> tuple[int, ...]:
        return a, b, c

    async def four(a: int, b: int, c: int, d: int) -> tuple[int, ...]:
        return a, b, c, d

    given = {"a": 1, "b": 2, "c": 3, "d": 4}
    assert result(none) == "none"
    for n, fn in enumerate((one, two, three, four), start=1):
        wanted = dict(list(given.items())[:n])
        assert result(fn, **wanted) == tuple(wanted.values())


def test_keywords_and_positions():
    """What can only be given by name is; what a partial has bound is left alone."""

    async def mixed(a: int, /, b: int, *, c: int, d: int = 4) -> tuple[int, ...]:
        return a, b, c, d

    async def bound(a: int, b: int, c: int) -> tuple[int, ...]:
        return a, b, c

    assert result(mixed, a=1, b=2, c=3) == (1, 2, 3, 4)
    partial = functools.partial(bound, b=7)
    partial.__name__ = "bound"  # type: ignore[attr-defined]
    assert result(partial, a=1, c=3) == (1, 7, 3)


def test_special_parameters():
    """The run, the context, the progress, each from where it is."""

    async def special(run: Run, x: int, ctx: TaskContext, progress: Progress) -> tuple[object, ...]:
        progress(1)
        return run.chain, x, ctx.task

    assert result(special, x=5) == ("c", 5, "special")


async def good() -> int:
    return 1


async def bad() -> int:
    raise ValueError("no")


async def empty() -> int:
    raise Skip("x")


def test_outcomes_and_defaults():
    """As the parameter asks for them."""

    async def takes(good: Outcome[int], bad: Failed, empty: Skipped) -> bool:
        return good == Succeeded(1) and bad.task == "bad" and empty == Skipped("skip: x")

    async def defaults(good: int = 5, bad: int = 6, empty: int = 7) -> tuple[int, ...]:
        return good, bad, empty

    assert result(takes, before=(good, bad, empty)) is True
    assert result(defaults, before=(good, bad, empty)) == (1, 6, 7)


OTHER = Failed("other", None, 0)  # type: ignore[arg-type]


def test_a_default_in_place_of_an_outcome():
    """It stands in where the outcome is not one that the parameter takes."""

    async def takes(bad: Failed = OTHER, empty: Failed = OTHER) -> tuple[str, str]:
        return bad.task, empty.task

    assert result(takes, before=(bad, empty)) == ("bad", "other")


def test_a_finished_run_holds_nothing_of_its_surroundings():
    """Its last slot is empty, so that it is freed without the garbage collector."""

    async def main() -> None:
        made = Registry("r").task(good)
        run = await chain(made, name="c").run()
        assert live_of(run).inner.slots == [1, MISSING, None]

    asyncio.run(main())
