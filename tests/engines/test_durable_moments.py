"""What happens to runs at awkward moments, and what a durable engine keeps of what tasks return."""

import asyncio
import threading
from collections.abc import AsyncIterator
from typing import Any, cast

import pytest
import sqlalchemy as sa
from dbos._error import DBOSException
from pydantic import BaseModel
from sqlalchemy.exc import IntegrityError

from fastapi_chain import Progress, Registry, UnserializableOutput, chain
from fastapi_chain.engines.base import RunRequest
from fastapi_chain.engines.durable import courier
from fastapi_chain.engines.durable.database import processes, workflows
from fastapi_chain.engines.durable.engine import DurableEngine
from fastapi_chain.events import Event, RunFinished
from fastapi_chain.outcome import ProgressInfo
from tests.engines.kit import Log, states
from tests.engines.opened import opened, until
from tests.engines.test_durable_recovery import carried_on


class Part(BaseModel):
    n: int


class Whole(Part):
    more: int


def test_a_start_that_comes_to_nothing(url: str):
    """Whoever waits for it hears why, and the engine waits for nothing."""
    registry = Registry("r")

    @registry.task
    async def only() -> int:
        return 1

    ours = chain(registry, name="ours")

    async def main() -> None:
        async with opened(url, ours) as engine:
            request = RunRequest(ours.plan, {})
            called_off = engine.start(engine.take(request))
            called_off.cancel()
            await asyncio.wait([called_off])
            request.started_by = cast("str", object())
            with pytest.raises(DBOSException, match="Invalid workflow attributes"):
                await engine.start(engine.take(request))
            await engine.idle()
            assert (called_off.cancelled(), engine.runner.running) == (True, 0)
            left = engine.start(engine.take(RunRequest(ours.plan, {})))
        assert left.cancelled()

    asyncio.run(main())


@pytest.mark.parametrize("moment", ["while it runs", "when it has ended"])
def test_a_run_is_faster_than_the_word_that_it_is_stored(url: str, moment: str):
    """Queued, it may begin here before whoever queued it hears of it: it is shown as it is here, with what was raised."""
    registry, go_on, bad = Registry("r"), asyncio.Event(), ValueError("bad")

    @registry.task
    async def only() -> None:
        await go_on.wait()
        raise bad

    ours = chain(registry, name="ours")

    async def main() -> None:
        async with opened(url, ours, max_running=1) as engine:
            stored, hear = threading.Event(), threading.Event()

            def hold_up(*_: object) -> None:
                if threading.current_thread().name.startswith("fastapi-chain-store") and not stored.is_set():
                    stored.set()
                    hear.wait(20)

            sa.event.listen(engine.link.engine, "checkin", hold_up)
            run = engine.take(RunRequest(ours.plan, {}))
            starting = engine.start(run)
            await until(lambda: run.tasks["only"].state == "running")
            if moment == "when it has ended":
                go_on.set()
                await engine.runner.idle()
            assert (stored.is_set(), starting.done()) == (True, False)
            hear.set()
            await starting
            assert run.tasks["only"].state == ("running" if moment == "while it runs" else "failed")
            go_on.set()
            await run.wait(20)
            assert run.errors["only"] is bad

    asyncio.run(main())


def test_what_is_handed_over_to_a_process_that_has_left_its_runs(url: str):
    """It does not begin there: whoever comes next runs it."""
    registry, seen = Registry("r"), Log()

    @registry.task
    async def only() -> None:
        seen("only")

    ours = chain(registry, name="ours")

    async def main() -> None:
        async with opened(url, ours) as engine:
            engine.runner.leave()
            run = engine.take(RunRequest(ours.plan, {}))
            await engine.start(run)
        assert seen == []
        async with opened(url, ours) as engine:
            assert (await carried_on(engine, run)).state == "succeeded"
        assert seen == ["only"]

    asyncio.run(main())


@pytest.mark.parametrize("moment", ["while it runs", "when it has ended"])
def test_a_run_is_followed_though_it_is_taken_away(url: str, moment: str):
    """Whoever follows it hears of all that happens once, and of its end only when that is stored."""
    registry, begun, go_on = Registry("r"), asyncio.Event(), asyncio.Event()

    @registry.task
    async def only() -> int:
        begun.set()
        await go_on.wait()
        return 1

    ours = chain(registry, name="ours")

    async def main() -> None:
        taken = Log()

        def take_away(event: Event | None = None) -> None:
            if isinstance(event, RunFinished | None) and not taken:
                taken("away")
                for execution in engine.runner._active:
                    execution.leave()

        sinks = (take_away,) if moment == "when it has ended" else ()
        async with opened(url, ours, sinks=sinks) as engine:
            run = await ours.start()
            following = run.events()
            heard = [await anext(following)]
            await begun.wait()
            reader = asyncio.ensure_future(_rest(following))
            # What has happened so far is told.
            await until(lambda: bool(engine._desk._looking.events(run.id, 0)))
            if moment == "while it runs":
                take_away()
            else:
                go_on.set()
            await until(lambda: bool(taken) and not engine.runner._active)
            engine.keeper.let_go([engine.process])
            go_on.set()
            heard += await asyncio.wait_for(reader, 30)
            state = await engine._desk.look_soon(run.id)
            assert state is not None
            assert state.state == "succeeded"
            assert [event.seq for event in heard] == list(range(1, len(heard) + 1))
            assert [event.kind for event in heard].count("run.finished") == 1
            assert isinstance(heard[-1], RunFinished)

    asyncio.run(main())


def test_a_run_is_taken_away_between_its_end_and_the_word_of_it(url: str):
    """Taken up again here, it is shown as it is there: nothing runs twice, and its end is told once."""
    registry, seen, go_on = Registry("r"), Log(), asyncio.Event()

    @registry.task
    async def only() -> int:
        seen("only")
        await go_on.wait()
        return 1

    ours = chain(registry, name="ours")

    async def main() -> None:
        async with opened(url, ours) as engine:
            held, free = threading.Event(), threading.Event()

            def hold_up(*given: object) -> None:
                if "INTO fastapi_chain_events" in str(given[2]):
                    held.set()
                    free.wait(20)

            sa.event.listen(engine.link.engine, "before_cursor_execute", hold_up)
            run = await ours.start()
            await until(lambda: bool(seen))
            following = run.events()
            heard = [await anext(following)]
            reader = asyncio.create_task(_rest(following))
            go_on.set()
            await until(lambda: held.is_set() and len(engine.runner._carrying.kept(run.id)) == 1)
            engine.keeper.let_go([engine.process])
            # What carries it on finds all of it done.
            await until(lambda: _status(engine, run.id) == "SUCCESS")
            assert (reader.done(), len(engine.runner._active)) == (False, 1)
            free.set()
            heard += await asyncio.wait_for(reader, 30)
            assert (run.state, run[only], seen) == ("succeeded", 1, ["only"])
            assert [event.seq for event in heard] == list(range(1, len(heard) + 1))
            assert [event.kind for event in heard].count("run.finished") == 1

    asyncio.run(main())


def _status(engine: DurableEngine, run: str) -> str:
    with engine.link.reading() as connection:
        query = sa.select(workflows.c.status).where(workflows.c.workflow_uuid == run)
        return str(connection.execute(query).scalar_one())


async def _rest(following: AsyncIterator[Event]) -> list[Event]:
    return [event async for event in following]


def test_what_a_call_elsewhere_reports_in_a_moment(url: str, monkeypatch: pytest.MonkeyPatch):
    """It is known everywhere, even if the run was over before anybody could follow it."""
    monkeypatch.setattr(courier, "_MOMENT", 1000.0)
    registry = Registry("r")

    @registry.task(limit=1)
    async def only(progress: Progress) -> int:
        progress(1, 2, "half")
        return 1

    ours = chain(registry, name="ours")

    async def main() -> None:
        async with opened(url, ours, here=False, worker=False) as other, opened(url, ours):
            run = await ours.run()
            found = await other.find(run.id)
            assert found is not None
            assert found.tasks["only"].progress == ProgressInfo(done=1, total=2, text="half")

    asyncio.run(main())


def test_an_engine_that_is_in_a_hurry(url: str):
    """It does not use up its time: what runs is left at once, and carried on."""
    registry, go_on = Registry("r"), asyncio.Event()

    @registry.task
    async def only() -> int:
        await go_on.wait()
        return 1

    ours = chain(registry, name="ours")

    async def main() -> None:
        async with opened(url, ours) as engine:
            run = await ours.start()
            await until(lambda: run.state == "running")
            draining = asyncio.ensure_future(engine.drain(1000))
            await asyncio.sleep(0.05)
            assert not draining.done()
            engine.hurry()
            await draining
            engine.drain = _nothing  # type: ignore[method-assign]  # it is over
        go_on.set()
        async with opened(url, ours) as engine:
            assert (await carried_on(engine, run)).state == "succeeded"

    asyncio.run(main())


async def _nothing(_seconds: float) -> None:
    """Do nothing."""


def test_an_order_to_end_is_heard_once(url: str):
    """While a cancelled run is undone, the order comes again and again, and changes nothing."""
    registry, seen, begun = Registry("r"), Log(), asyncio.Event()

    async def back() -> None:
        await asyncio.sleep(0.8)
        seen("undone")

    @registry.task(undo=back)
    async def first() -> None: ...

    @registry.task(after=[first])
    async def second() -> None:
        begun.set()
        await asyncio.Event().wait()

    ours = chain(registry, name="ours")

    async def main() -> None:
        async with opened(url, ours, here=False, worker=False) as other, opened(url, ours):
            run = await ours.start()
            await begun.wait()
            found = await other.find(run.id)
            assert found is not None
            await found.cancel()
            await run.wait(20)
            assert (run.state, run.reason, seen) == ("cancelled", "run_cancelled", ["undone"])

    asyncio.run(main())


def test_only_what_the_dead_held_is_let_go(url: str):
    """What a process holds that lives is left alone."""
    registry = Registry("r")

    @registry.task
    async def only() -> int:
        return 1

    ours = chain(registry, name="ours")

    async def main() -> None:
        async with (
            opened(url, ours, here=False, worker=False) as one,
            opened(url, ours, here=False, worker=False) as two,
        ):
            runs = [engine.take(RunRequest(ours.plan, {})) for engine in (one, two)]
            await one.hold_soon(runs[0], sure=False)
            await two.hold_soon(runs[1], sure=False)
            with one.link.writing() as connection:
                connection.execute(sa.delete(processes).where(processes.c.id == two.process))
            one.keeper.take_over()
            with one.link.reading() as connection:
                query = sa.select(workflows.c.workflow_uuid, workflows.c.status)
                found = {row.workflow_uuid: row.status for row in connection.execute(query)}
            assert found == {runs[0].id: "ENQUEUED", runs[1].id: "CANCELLED"}

    asyncio.run(main())


def test_of_two_who_retry_one_run_one_is_first(url: str):
    """The other one is told that it has not finished, and the run has one more round, not two."""
    registry, seen = Registry("r"), Log()

    @registry.task
    async def only() -> int:
        seen("only")
        return 1

    ours = chain(registry, name="ours")

    async def main() -> None:
        async with opened(url, ours) as engine:
            run = await ours.run()
        async with opened(url, ours, here=False, worker=False) as one:
            found = await one.find(run.id)
            assert found is not None
            answers = await asyncio.gather(*[found.retry("start") for _ in range(2)], return_exceptions=True)
            assert sorted(type(answer).__name__ for answer in answers) == ["NoneType", "RunNotFinished"]
            state = await one._desk.look_soon(run.id)
            assert state is not None
            assert not await one._desk.reopen(state, [])
        async with opened(url, ours) as engine:
            assert (await carried_on(engine, run)).state == "succeeded"
        assert seen == ["only", "only"]

    asyncio.run(main())


def test_a_chain_may_be_known_before_an_engine_is_open(url: str):
    """Its queues are made when the engine opens, and worked on."""
    registry = Registry("r")

    @registry.task(limit=1)
    async def only() -> int:
        return 1

    ours = chain(registry, name="ours")

    async def main() -> None:
        async with opened(url, ours) as engine:
            # Closed again, it knows the plan, as one does that has checked it at start-up.
            pass
        await engine.open()
        try:
            run = engine.take(RunRequest(ours.plan, {}))
            await engine.start(run)
            await run.wait(20)
            assert run[only] == 1
        finally:
            await engine.drain(0)

    asyncio.run(main())


def test_a_run_is_read_by_newer_code(url: str):
    """A task that has been added since is shown as skipped: nothing stays pending in a finished run."""

    def app(*, newer: bool) -> Any:
        registry = Registry("r")

        @registry.task
        async def first() -> int:
            return 1

        if newer:

            @registry.task(after=[first])
            async def added() -> int:
                return 2

        return chain(registry, name="ours")

    old, new = app(newer=False), app(newer=True)

    async def main() -> None:
        async with opened(url, old):
            run = await old.run()
        async with opened(url, new, worker=False) as engine:
            found = await carried_on(engine, run)
            assert found.state == "succeeded"
            assert states(found) == {"first": "succeeded", "added": "skipped skip: added after this run"}

    asyncio.run(main())


def test_a_value_that_is_no_longer_understood_fails_its_task(url: str):
    """Whoever carries the run on takes it for a failure of the task that returned it."""
    stop = asyncio.Event()

    def app(kind: type) -> Any:
        registry = Registry("r")

        @registry.task
        async def first() -> kind:  # type: ignore[valid-type]
            return kind(1)

        @registry.task(after=[first])
        async def second(first: kind) -> int:  # type: ignore[valid-type]
            await stop.wait()
            return 2

        return chain(registry, name="ours")

    old, new = app(int), app(list)

    async def main() -> None:
        async with opened(url, old):
            run = await old.start()
            await until(lambda: run.tasks["second"].state == "running")
        stop.set()
        async with opened(url, new) as engine:
            found = await carried_on(engine, run)
            assert states(found) == {"first": "failed", "second": "skipped upstream_failed: first"}
            assert isinstance(found.errors["first"], UnserializableOutput)

    asyncio.run(main())


def test_a_value_that_cannot_be_stored(url: str):
    """Of a subclass fields would be lost: the task fails. An input of that kind is refused before anything runs."""
    registry = Registry("r")

    @registry.task
    async def first(part: Part) -> Part:
        return Whole(n=1, more=2)

    ours = chain(registry, name="ours")

    async def main() -> None:
        async with opened(url, ours):
            run = await ours.run(part=Part(n=1))
            assert isinstance(run.errors["first"], UnserializableOutput)
            with pytest.raises(UnserializableOutput):
                await ours.start(part=Whole(n=1, more=2))

    asyncio.run(main())


def test_items_that_may_happen_once_are_not_begun_again(url: str):
    """Each item keeps for itself that it has begun; the others go on."""
    registry, seen = Registry("r"), Log()

    @registry.task
    async def numbers() -> list[int]:
        return [0, 1]

    @registry.task(each=numbers, effect="once")
    async def pay(n: int) -> int:
        seen(n)
        if n == 1 and seen.count(1) == 1:
            await asyncio.Event().wait()
        return n

    ours = chain(registry, name="ours")

    async def main() -> None:
        async with opened(url, ours) as engine:
            run = await ours.start()
            # The numbers, two notes of a beginning, and one outcome.
            await until(lambda: len(engine.runner._carrying.kept(run.id)) == 4 and sorted(seen) == [0, 1])
        async with opened(url, ours) as engine:
            found = await carried_on(engine, run)
            assert (found.state, found.reason) == ("failed", "interrupted")
            assert (found.tasks["pay[0]"].state, sorted(seen)) == ("succeeded", [0, 1])
            await found.retry()
            await found.wait(20)
            assert (found.outputs["pay"], sorted(seen)) == ([0, 1], [0, 1, 1])

    asyncio.run(main())


def test_a_row_that_is_there_already_is_no_outage(url: str):
    """What the database refuses because of what is in it is not told as if it did not answer."""

    async def main() -> None:
        async with opened(url, worker=False) as engine:
            row = {"id": engine.process, "place": "", "pid": 1, "seen": 0.0}
            with pytest.raises(IntegrityError), engine.link.writing() as connection:
                connection.execute(sa.insert(processes).values(**row))

    asyncio.run(main())
