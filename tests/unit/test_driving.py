"""Driving a run by hand: its first step, its context, what is thrown in and what comes back."""

import asyncio
import types
from collections.abc import Awaitable, Callable, Coroutine
from contextvars import ContextVar, copy_context
from typing import Any

import pytest

from fastapi_chain.engines.driving import begin

who: ContextVar[str] = ContextVar("who", default="nobody")


class Body:
    """A run whose one task is *work*; it counts how often the others were to be started, and for whom."""

    def __init__(self, work: Callable[[], Coroutine[Any, Any, None]], pos: int = -1) -> None:
        self.perform = work
        self.inner: Any = types.SimpleNamespace(pos=pos, left_behind=0)
        self.spread_for: list[str] = []

    def spread(self) -> None:
        self.spread_for.append(who.get())
        self.inner.pos = -1


@types.coroutine
def pause(value):
    """Suspend with *value*."""
    return (yield value)


async def rest_of(body: Body, *given: Any) -> None:
    """Drive *body* to its end."""
    rest = begin(body, *given)
    if rest is not None:
        await rest


def test_what_does_not_wait_is_over_at_once():
    """There is nothing left to await, and nobody else to start."""
    seen: list[str] = []

    async def work() -> None:
        seen.append(who.get())
        who.set("changed")

    body = Body(work, pos=0)
    assert begin(body) is None
    assert (seen, who.get(), body.spread_for) == (["nobody"], "nobody", [])


@pytest.mark.parametrize("error", [GeneratorExit(), KeyError("x")])
def test_what_is_thrown_in_is_for_the_body(error):
    """Whatever is thrown in, be it that the run is closed, lets the body clean up, and counts as nothing left behind."""
    seen = []

    async def work():
        try:
            await pause("first")
        except BaseException as caught:
            seen.append(caught)
            raise

    body = Body(work)
    rest: Any = begin(body)
    assert rest.send(None) == "first"
    with pytest.raises(type(error)):
        rest.throw(error)
    assert (seen, body.inner.left_behind) == ([error], 0)


def test_what_comes_back_is_for_the_body():
    """Values go in, and what is waited for comes out."""
    seen = []

    async def work():
        seen.append([await pause(1), await pause(2)])

    rest: Any = begin(Body(work))
    assert [rest.send(None), rest.send("a")] == [1, 2]
    with pytest.raises(StopIteration):
        rest.send("b")
    assert seen == [["a", "b"]]


@pytest.mark.parametrize("given", [True, False], ids=["given", "here"])
def test_it_has_a_context_of_its_own(given: bool):
    """Before and after it waits; what it sets is seen neither here nor by those who start when it waits."""
    seen: list[str] = []

    async def work() -> None:
        seen.append(who.get())
        who.set("changed")
        await asyncio.sleep(0)
        await asyncio.get_running_loop().run_in_executor(None, int)
        seen.append(who.get())

    async def main() -> None:
        who.set("other")
        context = copy_context()
        who.set("here")
        body = Body(work, pos=0)
        await rest_of(body, *([context] if given else []))
        seen.extend((who.get(), context[who], *body.spread_for))

    asyncio.run(main())
    first = "other" if given else "here"
    assert seen == [first, "changed", "here", "other", first]


def test_it_runs_in_the_task_that_awaits_it():
    """No task is made for it."""
    tasks: list[object] = []

    async def work() -> None:
        tasks.append(asyncio.current_task())

    async def main() -> None:
        tasks.append(asyncio.current_task())
        await rest_of(Body(work))

    asyncio.run(main())
    assert tasks[0] is tasks[1]


@pytest.mark.parametrize("turns", range(3))
def test_its_exceptions_come_out(turns: int):
    """Raised at once or later."""

    async def work() -> None:
        for _ in range(turns):
            await asyncio.sleep(0)
        raise ConnectionError

    with pytest.raises(ConnectionError):
        asyncio.run(rest_of(Body(work)))


def test_exceptions_go_in():
    """A cancellation ends it, or it goes on if it likes; a future's exception is raised where it is awaited.

    And none of them is the context of what is raised next.
    """
    seen: list[str] = []

    async def work(future: "asyncio.Future[None]") -> None:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            seen.append(f"cancelled for {who.get()}")
        try:
            await future
        except ConnectionError as error:
            seen.append(f"failed for {who.get()}, {error.__context__}")
        await asyncio.sleep(60)

    async def main() -> None:
        who.set("other")
        context = copy_context()
        who.set("here")
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        task = asyncio.ensure_future(rest_of(Body(lambda: work(future)), context))
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.sleep(0)
        future.set_exception(ConnectionError())
        for _ in range(3):
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    assert seen == ["cancelled for other", "failed for other, None"]


def test_it_is_closed_with_whoever_awaits_it():
    """In its own context as well."""
    seen: list[str] = []

    async def work() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            seen.append(who.get())

    def awaiting() -> Awaitable[None]:
        who.set("other")
        return rest_of(Body(work), copy_context())

    async def main() -> None:
        outer: Any = awaiting()
        who.set("here")
        outer.send(None)
        outer.close()

    asyncio.run(main())
    assert seen == ["other"]
