"""Awaiting something in another context, in the task that is here already."""

import asyncio
from contextvars import ContextVar, copy_context

import pytest

from fastapi_chain.endpoint.carried import Carried

who: ContextVar[str] = ContextVar("who", default="nobody")


def test_what_is_awaited_sees_the_other_context_before_and_after_it_waits():
    """And nothing that it sets is seen here."""
    seen: list[str] = []

    async def work() -> None:
        seen.append(who.get())
        await asyncio.sleep(0)
        who.set("changed")
        await asyncio.get_running_loop().run_in_executor(None, int)
        seen.append(who.get())

    async def main() -> None:
        who.set("other")
        context = copy_context()
        who.set("here")
        await Carried(work(), context)
        seen.append(who.get())
        seen.append(context[who])

    asyncio.run(main())
    assert seen == ["other", "changed", "here", "changed"]


def test_it_runs_in_the_task_that_awaits_it():
    """No task is made for it."""
    tasks: list[object] = []

    async def work() -> None:
        tasks.append(asyncio.current_task())

    async def main() -> None:
        tasks.append(asyncio.current_task())
        await Carried(work(), copy_context())

    asyncio.run(main())
    assert tasks[0] is tasks[1]


def test_its_exceptions_come_out():
    """Raised at once or later."""

    async def work(turns: int) -> None:
        for _ in range(turns):
            await asyncio.sleep(0)
        raise ConnectionError

    async def main() -> None:
        for turns in range(3):
            with pytest.raises(ConnectionError):
                await Carried(work(turns), copy_context())

    asyncio.run(main())


def test_exceptions_go_in():
    """A cancellation ends it, or it goes on if it likes; a future's exception is raised where it is awaited."""
    seen: list[str] = []

    async def work(future: "asyncio.Future[None]") -> None:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            seen.append(f"cancelled for {who.get()}")
        try:
            await future
        except ConnectionError:
            seen.append(f"failed for {who.get()}")
        await asyncio.sleep(60)

    async def main() -> None:
        who.set("other")
        context = copy_context()
        who.set("here")
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        task = asyncio.ensure_future(carry(Carried(work(future), context)))
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
    assert seen == ["cancelled for other", "failed for other"]


async def carry(carried: Carried) -> None:
    await carried


def test_it_is_closed_with_whoever_awaits_it():
    """In its own context as well."""
    seen: list[str] = []

    async def work() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            seen.append(who.get())

    async def main() -> None:
        who.set("other")
        context = copy_context()
        who.set("here")
        outer = carry(Carried(work(), context))
        outer.send(None)
        outer.close()

    asyncio.run(main())
    assert seen == ["other"]
