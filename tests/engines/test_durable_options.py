"""Keys, sessions, delays, times, limits and queues: what only a database can give."""

import asyncio
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import Session

from fastapi_chain import QueueFull, Registry, Run, chain
from fastapi_chain.engines.base import RunRequest
from fastapi_chain.engines.durable.cron import Crons
from fastapi_chain.engines.durable.database import Database, keys, workflows
from fastapi_chain.engines.durable.engine import DurableEngine
from fastapi_chain.engines.durable.looking import Looking
from fastapi_chain.engines.durable.names import RUN, RUNS
from fastapi_chain.errors import EngineError
from fastapi_chain.testing.clock import ChainClock
from tests.engines.kit import Log
from tests.engines.opened import opened, until


def plain(seen: Log, **options: Any) -> Any:
    """Return a chain of one task."""
    registry = Registry("r")

    @registry.task
    async def only(n: int = 0) -> int:
        seen(n)
        return n

    return chain(registry, name="ours", **options)


def asked(engine: DurableEngine, ours: Any, key: str | None = None) -> Run:
    request = RunRequest(ours.plan, {})
    request.key = key
    return engine.take(request)


def rows(engine: DurableEngine) -> list[tuple[str, str]]:
    with engine.link.engine.connect() as connection:
        query = sa.select(workflows.c.status, workflows.c.queue_name).order_by(workflows.c.created_at)
        return [(status, (queue or "").partition("/")[0]) for status, queue in connection.execute(query)]


def test_one_run_per_key(url: str):
    """Requests with one key share a run, in all processes.

    It is dropped only when all of them have failed, and starts with the first that has not.
    """
    seen = Log()
    ours = plain(seen)

    async def main() -> None:
        async with opened(url, ours) as one, opened(url, ours, here=False, worker=False) as two:
            first, second = asked(one, ours, "k"), asked(two, ours, "k")
            await one.hold_soon(first, sure=False)
            await two.hold_soon(second, sure=False)
            assert first.id == second.id
            one.drop(first)
            await one.idle()
            assert rows(two) == [("ENQUEUED", "fastapi_chain.held")]
            two.start(second)
            await second.wait(20)
            third = asked(two, ours, "k")
            await two.hold_soon(third, sure=True)
            assert (third.id, third.state) == (second.id, "succeeded")
            two.drop(third)
            await two.idle()
            again = asked(one, ours, "k")
            await one.start(again)
            assert again.id == second.id
            dropped = asked(one, ours, "other")
            await one.hold_soon(dropped, sure=False)
            one.drop(dropped)
            unheld = asked(one, ours, "unheld")
            one.drop(unheld)
            await one.idle()
            with one.link.engine.connect() as connection:
                assert list(connection.execute(sa.select(keys.c.key)).scalars()) == ["k"]
            assert seen == [0]

    asyncio.run(main())


def test_a_run_is_stored_in_the_transaction_of_a_session(url: str):
    """It begins if that is committed, and never existed if it is rolled back.

    For sessions and connections, sync and async.
    """
    seen = Log()
    ours = plain(seen)
    driver = "sqlite+aiosqlite" if url.startswith("sqlite") else "postgresql+psycopg"

    async def main() -> None:
        sync = Database(url).connect(patient=True, size=2)
        apart = create_async_engine(url.replace(url.partition(":")[0], driver, 1))
        async with opened(url, ours):
            with Session(sync) as session:
                lost = await ours.start(session=session, n=1)
                session.rollback()
                kept = await ours.start(session=session, n=2)
                assert kept.state == "queued"
                session.commit()
            await kept.wait(20)
            with sync.begin() as connection:
                second = await ours.start(session=connection, n=3)
            await second.wait(20)
            async with AsyncSession(apart) as session:
                third = await ours.start(session=session, n=4)
                await session.commit()
                await ours.start(session=session, n=5)
                await session.rollback()
            await third.wait(20)
            assert (sorted(seen), lost.state) == ([2, 3, 4], "queued")
        sync.dispose()
        await apart.dispose()

    asyncio.run(main())


def test_without_a_database_there_is_no_transaction_to_share():
    """The memory engine says so."""
    ours = plain(Log())

    async def main() -> None:
        with pytest.raises(EngineError, match="cannot store a run in a session's transaction"):
            await ours.start(session=object())

    asyncio.run(main())


def test_a_delayed_run_waits(url: str):
    """`delay=` counts from the end of the request."""
    seen = Log()
    ours = plain(seen, delay=1.0)

    async def main() -> None:
        async with opened(url, ours) as engine:
            began = datetime.now(UTC)
            run = await ours.start()
            held = engine.take(ours._blueprint.asked(engine.name, {}))
            await engine.hold_soon(held, sure=True)
            await engine.start(held)
            assert (run.state, held.state) == ("queued", "queued")
            for one in (run, held):
                await one.wait(20)
                assert one.started_at is not None
                assert one.started_at - began >= timedelta(seconds=0.9)

    asyncio.run(main())


def test_a_lower_number_goes_first(url: str):
    """`priority=` orders the queue of runs."""
    seen = Log()
    late, soon = plain(seen, priority=5), plain(seen, priority=1)

    async def main() -> None:
        async with opened(url, late, worker=False):
            runs = [await late.start(n=5), await late.start(n=6), await soon.start(n=1)]
        async with opened(url, late, max_running=1) as engine:
            for run in runs:
                found = await engine.find(run.id)
                assert found is not None
                await Run(found).wait(20)
        assert (seen[0], sorted(seen)) == (1, [1, 5, 6])

    asyncio.run(main())


def test_so_many_runs_may_wait(url: str):
    """`max_pending` counts what all processes have taken; runs beyond `max_running` wait in the database."""
    ours = plain(Log(), max_pending=2)

    async def main() -> None:
        async with opened(url, ours, worker=False) as engine:
            await ours.start()
            await ours.start()
            with pytest.raises(QueueFull):
                await ours.start()
            assert (engine.pending("ours"), engine.pending("other"), engine.pending(None)) == (2, 0, 2)

    asyncio.run(main())


def test_beyond_what_may_run_at_once_runs_wait(url: str):
    """`max_running=` counts all runs of a process, whatever DBOS hands it; what waits there is left to others at its end."""
    registry, now, most, go_on = Registry("r"), [0], [0], asyncio.Event()

    @registry.task
    async def only() -> None:
        now[0] += 1
        most[0] = max(most[0], now[0])
        await asyncio.sleep(0.05)
        now[0] -= 1
        await go_on.wait()

    ours = chain(registry, name="ours")

    async def main() -> None:
        async with opened(url, ours, max_running=2) as engine:
            # As another worker would that has room for more.
            await engine.link(engine._intake.register, RUNS, at_once=5)
            runs = [await ours.start() for _ in range(6)]
            await until(lambda: len(engine.runner._active) == 2 and len(engine.runner._coming) == 3)
        now[0] = 0
        go_on.set()
        async with opened(url, ours, max_running=2) as engine:
            for run in runs:
                found = await engine.find(run.id)
                assert found is not None
                await Run(found).wait(20)
        assert most[0] == 2

    asyncio.run(main())


def test_a_chain_starts_by_itself(url: str):
    """Of several workers one starts it, once for each time."""
    seen = Log()
    ours = plain(seen)

    async def main() -> None:
        times = [(ours.plan, "* * * * * *")]
        async with (
            opened(url, ours, crons=lambda: times) as one,
            opened(url, ours, here=False, worker=False) as two,
        ):
            other = Crons(lambda: times, two._due)
            for _ in range(12):
                await asyncio.sleep(0.1)
                await asyncio.to_thread(other)
            await until(lambda: len(seen) >= 1)
            times.clear()
            await asyncio.sleep(0.3)
            with one.link.engine.connect() as connection:
                made = list(connection.execute(sa.select(keys.c.key, keys.c.takers)))
        assert len(made) == len({key for key, _ in made})
        assert all(key.startswith("cron ") for key, _ in made)

    asyncio.run(main())


def test_a_schedule_comes_due_by_virtual_time(chain_clock: ChainClock):
    """A chain that starts at three in the morning does so on a test's clock: once a day, and once for days missed."""
    ours, keys_of = plain(Log()), []
    crons = Crons(lambda: [(ours.plan, "0 3 * * *")], lambda _, key: keys_of.append(key))
    crons()
    assert keys_of == []
    asyncio.run(chain_clock.advance(86_400))
    crons()
    crons()
    assert len(keys_of) == 1
    asyncio.run(chain_clock.advance(3 * 86_400))
    crons()
    first, last = (datetime.fromisoformat(key.removeprefix("cron ")) for key in keys_of)
    assert (first.hour, last - first) == (3, timedelta(days=3))


def test_what_a_dead_process_held(url: str):
    """What was sure begins; what was not ends as `unconfirmed` without having begun.

    `retry` starts it; a holder that comes back is heard.
    """
    seen = Log()
    ours = plain(seen)

    async def main() -> None:
        async with opened(url, ours, here=False, worker=False) as web:
            sure, unsure, late, alone = (asked(web, ours) for _ in range(4))
            await web.hold_soon(sure, sure=True)
            await web.hold_soon(unsure, sure=False)
            await web.hold_soon(late, sure=False)
            assert {run.state for run in (sure, unsure, late, alone)} == {"queued"}
            assert await web.find(alone.id) is not None
            # It looks dead to the others: it says so itself, as a clean end does.
            web.keeper.let_go([web.process])
            seen_so = await web._desk.look_soon(unsure.id)
            assert seen_so is not None
            assert (seen_so.state, seen_so.reason) == ("failed", "unconfirmed")
            await web.start(late)
            async with opened(url, ours) as worker:
                for run in (sure, late):
                    found = await worker.find(run.id)
                    assert found is not None
                    await Run(found).wait(20)
                    assert found.state == "succeeded"
                assert seen == [0, 0]
                found = await worker.find(unsure.id)
                assert found is not None
                await Run(found).retry("start")
                await Run(found).wait(20)
                assert (found.state, seen) == ("succeeded", [0, 0, 0])

    asyncio.run(main())


def test_old_runs_are_deleted(url: str):
    """`history=` finished runs are kept, the last ones; of the others nothing is left, calls on queues included."""
    registry = Registry("r")

    @registry.task(limit=3)
    async def only(n: int) -> int:
        return n

    ours = chain(registry, name="ours")

    async def main() -> None:
        async with opened(url, ours, history=2) as engine:
            runs = [await ours.run(n=i) for i in range(4)]
            await runs[0].retry("start")
            await runs[0].wait(20)
            engine.keeper._tidy()
            engine.keeper._tidy()
            kept = [run for run in runs if (await asyncio.to_thread(Looking(engine.link).row, run.id)) is not None]
            assert len(kept) == 2
            assert runs[0] in kept
            with engine.link.reading() as connection:
                calls = list(
                    connection.execute(sa.select(workflows.c.workflow_uuid).where(workflows.c.name != RUN)).scalars()
                )
            assert {call.partition(":")[0] for call in calls} == {run.id for run in kept}

    asyncio.run(main())


def test_a_limit_holds_for_all_workers(url: str):
    """At most so many calls of a task run at once, whoever runs them.

    A `rate` holds as well; each call has its attempts.
    """
    registry, now, most, tried = Registry("r"), [0], [0], Counter[int]()

    @registry.task
    async def numbers() -> list[int]:
        return list(range(6))

    @registry.task(each=numbers, limit=2, retries=1, backoff=0)
    async def limited(n: int, factor: int = 10) -> int:
        now[0] += 1
        most[0] = max(most[0], now[0])
        await asyncio.sleep(0.03)
        now[0] -= 1
        tried[n] += 1
        if n == 4 and tried[n] == 1:
            raise ConnectionError("try again")
        return factor * n

    @registry.task(after=[limited], rate="100/s")
    def rated(limited: list[int]) -> int:
        return sum(limited)

    @registry.task(after=[rated], queue="gpu")
    async def special(rated: int) -> int:
        raise ValueError(f"no {rated}")

    ours = chain(registry, name="ours")

    async def main() -> None:
        async with opened(url, ours, queues=["gpu"]):
            run = await ours.run()
            assert run[rated] == 150
            assert most[0] <= 2
            assert [len(run.tasks[f"limited[{k}]"].attempts) for k in range(6)] == [1, 1, 1, 1, 2, 1]
            assert str(run.tasks["special"].error) == "ValueError: no 150"
            await run.retry()
            await run.wait(20)
            assert len(run.tasks["special"].attempts) == 2

    asyncio.run(main())


def test_a_queue_waits_for_its_workers(url: str):
    """A task with `queue=` runs only where somebody works on it; cancelled before, or while it runs, it ends."""
    registry, seen = Registry("r"), Log()

    @registry.task(queue="gpu")
    async def special(n: int) -> int:
        seen(n)
        if n:
            await asyncio.Event().wait()
        return n

    ours = chain(registry, name="ours")

    async def main() -> None:
        async with opened(url, ours) as engine:
            first, second = await ours.start(n=0), await ours.start(n=2)
            await until(lambda: len(engine.runner._active) == 2)
            await asyncio.sleep(0.3)
            assert seen == []
            await second.cancel()
            await second.wait(20)
            assert (second.state, second.tasks["special"].state) == ("cancelled", "cancelled")
        async with opened(url, ours, queues=["gpu"]) as engine:
            found = await engine.find(first.id)
            assert found is not None
            await Run(found).wait(20)
            assert (found.value("special"), seen) == (0, [0])
            third = await ours.start(n=3)
            await until(lambda: 3 in seen)
            await third.cancel()
            await third.wait(20)
            await until(lambda: not engine.runner._calls)
            fourth = await ours.start(n=4)
            await until(lambda: 4 in seen)
        async with opened(url, ours, queues=["gpu"]) as engine:
            await until(lambda: seen.count(4) == 2)
            found = await engine.find(fourth.id)
            assert found is not None
            await found.cancel()
            await Run(found).wait(20)

    asyncio.run(main())


def test_a_queue_whose_workers_lack_the_code(url: str):
    """A call that can never be made fails its task, with the reason."""
    registry = Registry("r")

    @registry.task(queue="gpu")
    async def special() -> int:
        return 1

    ours = chain(registry, name="ours")

    async def main() -> None:
        async with opened(url, ours, queues=["gpu"]) as engine:
            known = engine.plans.of
            engine.plans.of = lambda name: None if engine.runner._active else known(name)  # type: ignore[method-assign]
            run = await ours.run()
            assert run.state == "failed"
            assert str(run.errors["special"]).startswith("Task 'special' did not come to its end: error.")

    asyncio.run(main())
