"""What surrounds each attempt of a task: its dependencies, and the thread it runs in."""

import asyncio
import threading
from collections.abc import Iterator
from typing import Annotated

import pytest
from fastapi import Depends

from fastapi_chain import RetryAfter, Skip, TaskContext, chain, task
from fastapi_chain._threads import ThreadPool
from fastapi_chain.engines.here import set_engine
from fastapi_chain.engines.memory import MemoryEngine
from tests.engines.kit import Kit, Log, states


@pytest.mark.parametrize("sync", [False, True], ids=["async", "def"])
def test_whatever_a_task_raises_passes_through_its_dependencies(engine: Kit, *, sync: bool):
    """A session rolls back for an error, for `Skip` and for `RetryAfter`; each attempt has one of its own."""
    log, sessions = Log(), Log()

    def transact() -> Iterator[object]:
        session = object()
        sessions(session)
        try:
            yield session
        except BaseException as error:
            log(f"rolls back: {type(error).__name__}")
            raise
        log("commits")

    def act(attempt: int, session: object) -> None:
        assert session is sessions[-1]
        if attempt == 1:
            raise ConnectionError
        if attempt == 2:
            raise RetryAfter(3)

    @task(retries=2, backoff=0)
    def saves(ctx: TaskContext, session: Annotated[object, Depends(transact)]) -> None:
        act(ctx.attempt, session)

    @task(retries=2, backoff=0)
    async def saves_async(ctx: TaskContext, session: Annotated[object, Depends(transact)]) -> None:
        act(ctx.attempt, session)

    first = saves if sync else saves_async

    @task(after=[first])
    def skips(session: Annotated[object, Depends(transact)]) -> None:
        raise Skip("nothing to do")

    @task(after=[first])
    async def skips_async(session: Annotated[object, Depends(transact)]) -> None:
        raise Skip("nothing to do")

    last = skips if sync else skips_async

    async def main():
        return await chain(last).run()

    run = engine.play(main)
    assert (run.state, states(run)) == (
        "succeeded",
        {first.name: "succeeded", last.name: "skipped skip: nothing to do"},
    )
    assert log == ["rolls back: ConnectionError", "rolls back: RetryAfter", "commits", "rolls back: Skip"]
    assert len(set(map(id, sessions))) == 4


class CountingPool(ThreadPool):
    """A pool that counts what it is given to do."""

    hops = 0

    def submit(self, work, owner=None) -> None:
        self.hops += 1
        super().submit(work, owner)


def test_a_row_of_def_tasks_takes_one_hop():
    """The thread goes on with what it has made ready; none of it runs in the threads that serve requests."""
    pool, threads = CountingPool(4), Log()

    def number(before: int = 0) -> int:
        threads(threading.current_thread().name)
        return before + 1

    tasks = [task(name="t0")(number)]
    for i in range(1, 20):
        names: dict[str, object] = {"number": number}
        exec(f"def t{i}(t{i - 1}: int) -> int: return number(t{i - 1})", names)
        tasks.append(task(after=tasks[-1:])(names[f"t{i}"]))

    async def main() -> int:
        set_engine(asyncio.get_running_loop(), MemoryEngine(pool=pool))
        run = await chain(tasks[-1]).run()
        return run[tasks[-1]]

    assert asyncio.run(main()) == 20
    assert (pool.hops, set(threads)) == (1, {"fastapi-chain"})
