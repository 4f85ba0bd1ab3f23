"""A run as processes see it that do not run it: how it stands, what happens in it, and what they may do with it."""

import asyncio
import logging
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa

from fastapi_chain import (
    EngineUnavailable,
    NothingToRetry,
    Progress,
    Registry,
    Run,
    RunCancelled,
    RunFinished,
    RunNotFinished,
    Skip,
    TaskContext,
    chain,
)
from fastapi_chain.engines.base import Answer, RunFilter
from fastapi_chain.engines.durable import courier as courier_module
from fastapi_chain.engines.durable.courier import Courier, Post
from fastapi_chain.engines.durable.database import events
from fastapi_chain.engines.durable.engine import DurableEngine
from fastapi_chain.engines.durable.keys import AGE
from fastapi_chain.engines.durable.looking import Looking
from fastapi_chain.events import Event, TaskLogged, TaskProgressed
from fastapi_chain.observe.tasklog import TaskLogs, lines_of
from fastapi_chain.outcome import ProgressInfo
from tests.engines.kit import Log, states
from tests.engines.opened import opened, until


def test_another_process_sees_how_a_run_stands(url: str):
    """Outputs, running tasks, attempts, progress and events of a run are seen in a process that does not run it."""
    registry, go_on = Registry("r"), asyncio.Event()

    @registry.task
    async def numbers() -> list[int]:
        return [1, 2]

    @registry.task(each=numbers)
    async def item(n: int) -> int:
        if n == 2:
            await go_on.wait()
        return n

    @registry.task(retries=9, backoff=0.7)
    async def shaky(progress: Progress) -> int:
        progress(1, 2, "half")
        if not go_on.is_set():
            raise ConnectionError("no answer")
        return 1

    @registry.task(after=[item, shaky])
    async def last() -> None: ...

    ours = chain(registry, name="ours", tags={"kind": "test"})

    async def main() -> None:
        async with opened(url, ours) as engine, opened(url, ours, here=False, worker=False) as other:
            run = await ours.start()
            assert await other.find("0" * 32) is None
            await asyncio.sleep(1.0)
            found = await other.find(run.id)
            assert found is not None
            seen = Run(found)
            assert (seen.state, seen.tags, seen.done) == ("running", {"kind": "test"}, False)
            assert seen.started_at is not None
            assert seen.outputs == {"numbers": [1, 2]}
            assert states(seen) | {"shaky": ""} == {
                "numbers": "succeeded",
                "item": "running",
                "shaky": "",
                "last": "pending",
            }
            assert (seen.tasks["item[0]"].state, seen.tasks["item[1]"].state) == ("succeeded", "pending")
            assert seen.tasks["shaky"].progress is not None
            assert str(seen.tasks["shaky"].attempts[0].error) == "ConnectionError: no answer"
            with pytest.raises(RunNotFinished):
                seen.raise_for_error()
            with pytest.raises(RunNotFinished):
                await seen.retry()
            with pytest.raises(TimeoutError):
                await seen.wait(0.2)
            assert found.seq == 0 or found.seq > 1
            assert (found.started_by, found.trace_id, found.url) == (None, None, None)
            other.kept.base = "/chains"
            assert found.url == f"/chains/runs/{run.id}"
            go_on.set()
            told = [event async for event in seen.events()]
            await seen.wait(20)
            assert seen.state == "succeeded"
            assert [event.seq for event in told] == list(range(1, len(told) + 1))
            assert any(isinstance(event, TaskProgressed) for event in told)
            here = [event.kind async for event in run.events()]
            assert here == [event.kind for event in told]
            assert engine.name == other.name

    asyncio.run(main())


def test_events_of_a_run_that_is_over_in_a_moment(url: str):
    """Nobody tells them while it runs.

    They are told from what is kept, the same everywhere; a retry goes on counting.
    """
    registry, seen = Registry("r"), Log()

    @registry.task
    async def first() -> int:
        return 1

    @registry.task(after=[first])
    async def second() -> int:
        seen("second")
        if len(seen) == 1:
            raise ValueError("bad")
        return 2

    ours = chain(registry, name="ours")

    async def main() -> None:
        async with opened(url, ours), opened(url, ours, here=False, worker=False) as other:
            run = await ours.run()
            found = await other.find(run.id)
            assert found is not None
            told = [event async for event in Run(found).events()]
            assert [event.kind for event in told] == [
                "run.started",
                "task.started",
                "task.succeeded",
                "task.started",
                "task.failed",
                "run.finished",
            ]
            assert found.seq == 6
            await Run(found).retry()
            await Run(found).wait(20)
            assert (seen, found.state) == (["second", "second"], "succeeded")
            more = [event async for event in Run(found).events(after=6)]
            assert more[0].seq == 7
            assert [event.kind for event in more][-3:] == ["task.started", "task.succeeded", "run.finished"]

    asyncio.run(main())


def logged_by(events: Sequence[Event]) -> list[tuple[str, str]]:
    return [(event.task, event.text) for event in events if isinstance(event, TaskLogged)]


def test_what_tasks_log_and_report_is_seen_everywhere(url: str):
    """Logs, progress and retries of a run, those of calls on queues too, are seen by a process that runs nothing of it.

    They are there after its end, be it over in a moment, and where it was carried on.
    """
    registry, log, logs = Registry("r"), logging.getLogger("user"), TaskLogs()
    reached, go_on = asyncio.Event(), asyncio.Event()

    @registry.task
    async def first(progress: Progress) -> int:
        progress(1, 1, "all")
        log.warning("first says %s", "hello")
        return 1

    @registry.task(after=[first], limit=2, retries=1, backoff=0.01)
    async def second(first: int, ctx: TaskContext, progress: Progress) -> int:
        progress(1, 2, "half")
        log.warning("second, attempt %d", ctx.attempt)
        if ctx.attempt == 1:
            raise ConnectionError("no answer")
        await asyncio.sleep(0.5)
        return 2

    @registry.task(after=[second])
    async def third(second: int) -> int:
        reached.set()
        await go_on.wait()
        log.warning("third")
        return 3

    long, short = chain(third, name="long"), chain(first, name="short")
    wanted = [("first", "first says hello"), ("second", "second, attempt 1"), ("second", "second, attempt 2")]

    async def seen_from(other: DurableEngine, run: Run) -> tuple[list[Event], Run]:
        found = await other.find(run.id)
        assert found is not None
        return [event async for event in Run(found).events()], Run(found)

    async def main() -> None:
        async with opened(url, long, short, here=False, worker=False) as other:
            async with opened(url, long, short):
                quick = await short.run()
                told, _ = await seen_from(other, quick)
                assert logged_by(told) == wanted[:1]
                assert any(isinstance(event, TaskProgressed) for event in told)
                looked = await other._desk.look_soon(quick.id)
                assert looked is not None
                assert [line.text for line in lines_of(looked)] == ["first says hello"]
                assert looked.progress["first"].text == "all"
                run = await long.start()
                await reached.wait()
            go_on.set()
            async with opened(url, long, short) as engine:
                found = await engine.find(run.id)
                assert found is not None
                await found.wait(20)
                assert [line.text for line in lines_of(found.inner)] == [*[text for _, text in wanted], "third"]
            told, seen = await seen_from(other, run)
            assert logged_by(told) == [*wanted, ("third", "third")]
            about = [event.kind for event in told if getattr(event, "task", "") == "second"]
            assert [kind for kind in about if kind not in {"task.log", "task.progress"}] == [
                "task.started",
                "task.retrying",
                "task.started",
                "task.succeeded",
            ]
            assert about.count("task.progress") >= 1
            assert seen.tasks["second"].progress == ProgressInfo(done=1, total=2, text="half")
            with other.link.reading() as connection:
                assert set(connection.execute(sa.select(events.c.run)).scalars()) == {quick.id, run.id}

    logs.begin()
    try:
        asyncio.run(main())
    finally:
        logs.end()


def test_what_a_call_elsewhere_comes_to_is_told_once(url: str):
    """The sinks of an app are told of a task with a limit where it runs, and only there; who follows the run hears it, too."""
    registry, told, go_on = Registry("r"), Log(), asyncio.Event()

    @registry.task(limit=1)
    async def works() -> int:
        return 1

    @registry.task(limit=1, optional=True)
    async def fails() -> None:
        raise ValueError("bad")

    @registry.task(limit=1)
    async def skips() -> None:
        raise Skip("nothing to do")

    @registry.task(limit=1)
    async def waits() -> None:
        await go_on.wait()

    ours = chain(registry, name="ours")

    async def main() -> None:
        async with opened(url, ours, sinks=(lambda event: told((event.kind, getattr(event, "task", ""))),)):
            run = await ours.start()
            following = run.events()
            seen = [await anext(following)]
            go_on.set()
            seen += [event async for event in following]
            assert run.state == "succeeded"
        ends = {
            ("task.succeeded", "works"),
            ("task.failed", "fails"),
            ("task.skipped", "skips"),
            ("task.succeeded", "waits"),
        }
        wanted = sorted([*ends, *[("task.started", name) for name in ("works", "fails", "skips", "waits")]])
        for heard in (told, [(event.kind, getattr(event, "task", "")) for event in seen]):
            assert sorted(one for one in heard if one[1]) == wanted

    asyncio.run(main())


def test_word_is_carried_after_an_error(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture):
    """Whatever goes wrong when word is carried, it is carried the next time."""
    monkeypatch.setattr(courier_module, "SECONDS", 0.01)
    failures: list[Exception] = [ValueError("a bug"), EngineUnavailable(engine="x", reason="away")]
    carried = asyncio.Event()

    class Away(Post):
        """A database that answers after two errors."""

        async def cancelled(self, runs: list[str]) -> dict[str, str]:
            if failures:
                raise failures.pop(0)
            carried.set()
            return {}

    async def main() -> None:
        courier = Courier(Away(), tuple, tuple)
        courier.start()
        async with asyncio.timeout(20):
            await carried.wait()
        await courier.stop()

    asyncio.run(main())
    assert [record.message for record in caplog.records] == ["word of runs could not be carried"]


def test_a_run_is_followed_where_it_runs(url: str):
    """In the process that runs it, events are there at once, before and after the database knows them."""
    registry, go_on = Registry("r"), asyncio.Event()

    @registry.task
    async def only() -> int:
        await go_on.wait()
        return 1

    ours = chain(registry, name="ours")

    async def main() -> None:
        async with opened(url, ours) as engine:
            run = await ours.start()
            await until(lambda: bool(engine.runner._active))
            told = Log()

            async def follow() -> None:
                async for event in run.events():
                    told(event.kind)

            followers = [asyncio.create_task(follow()) for _ in range(2)]
            await until(lambda: len(told) == 4)
            assert run.started_at is not None
            go_on.set()
            await asyncio.gather(*followers)
            assert sorted(told) == sorted(["run.started", "task.started", "task.succeeded", "run.finished"] * 2)

    asyncio.run(main())


def test_what_one_may_do_with_a_run(url: str):
    """Cancel and retry work from any process, and say what is in the way."""
    registry, go_on = Registry("r"), asyncio.Event()

    @registry.task
    async def only() -> int:
        await go_on.wait()
        return 1

    ours = chain(registry, name="ours")

    async def main() -> None:
        async with opened(url, ours, here=False, worker=False) as other, opened(url, ours):
            run = await ours.start()
            await until(lambda: run.state == "running")
            found = await other.find(run.id)
            assert found is not None
            await found.cancel()
            await Run(found).wait(20)
            assert (found.state, found.reason, run.state) == ("cancelled", "run_cancelled", "cancelled")
            with pytest.raises(RunCancelled):
                found.raise_for_error()
            with pytest.raises(RunFinished):
                await found.cancel()
            go_on.set()
            await found.retry("failed")
            await Run(found).wait(20)
            assert found.value("only") == 1
            with pytest.raises(NothingToRetry):
                await found.retry("failed")
            await Run(found).retry(only)
            await Run(found).wait(20)
            found.discard()
            assert found.discarded
            with pytest.raises(RunFinished):
                await run.cancel()
            held = await ours.start()
            await held.wait()
            Looking(other.link).forget([held.id])
            with pytest.raises(RunFinished):
                await held.cancel()
            with pytest.raises(RunNotFinished):
                await held.retry()

    asyncio.run(main())


def test_a_run_that_has_not_begun_is_cancelled_at_once(url: str):
    """Nobody has to run it for that."""
    registry = Registry("r")

    @registry.task
    async def only() -> int:
        return 1

    ours = chain(registry, name="ours")

    async def main() -> None:
        async with opened(url, ours, worker=False):
            run = await ours.start()
            assert (run.state, run.done) == ("queued", False)
            await run.cancel()
            await run.wait(20)
            assert (run.state, run.reason, run.finished_at is not None) == ("cancelled", "run_cancelled", True)

    asyncio.run(main())


def test_runs_are_found_by_what_one_knows_of_them(url: str):
    """By state, chain, tag, text and time, the newest first, page by page."""
    registry = Registry("r")

    @registry.task
    async def only(n: int) -> int:
        if n == 3:
            raise ValueError("three")
        return n

    first, second = chain(registry, name="first", tags={"n": "{n}"}), chain(registry, name="second")
    late = chain(registry, name="late", delay=1000)

    async def main() -> None:
        async with opened(url, first, second, late) as engine:
            runs = [await first.run(n=n) for n in range(1, 5)]
            other = await second.run(n=1)

            async def found(limit: int = 10, cursor: str | None = None, **wanted: object) -> list[str]:
                page = await engine.search(RunFilter(**wanted), limit, cursor)
                assert page.cursor is None or len(page.runs) == limit
                return [run.id for run in page.runs]

            newest = [other.id, *(run.id for run in reversed(runs))]
            assert await found() == newest
            assert await found(chain="second") == [other.id]
            assert await found(states=frozenset({"failed"})) == [runs[2].id]
            assert await found(states=frozenset({"succeeded"}), chain="first") == [runs[i].id for i in (3, 1, 0)]
            assert await found(tags={"n": "2"}) == [runs[1].id]
            assert await found(text="SECO") == [other.id]
            assert await found(text=runs[0].id[3:12]) == [runs[0].id]
            assert await found(since=datetime.now(UTC) + timedelta(hours=1)) == []
            page = await engine.search(RunFilter(), 2, None)
            assert [run.id for run in page.runs] == newest[:2]
            more = await engine.search(RunFilter(), 3, page.cursor)
            assert ([run.id for run in more.runs], more.cursor) == (newest[2:], None)
            with pytest.raises(ValueError, match=r".+"):
                await engine.search(RunFilter(), 2, "nonsense")
            waiting = await late.start(n=1)
            assert await found(states=frozenset({"queued", "running"})) == [waiting.id]
            await waiting.cancel()
            assert await found(states=frozenset({"cancelled"})) == [waiting.id]
            lost = engine.take(second._blueprint.asked(engine.name, {"n": 1}))
            await engine.hold_soon(lost, sure=False)
            assert await found(states=frozenset({"queued"})) == [lost.id]
            engine.keeper.let_go([engine.process])
            assert await found(states=frozenset({"cancelled"})) == [waiting.id]
            assert await found(states=frozenset({"failed", "cancelled"})) == [lost.id, waiting.id, runs[2].id]
            page = await engine.search(RunFilter(states=frozenset({"failed"})), 1, None)
            assert ([run.id for run in page.runs], page.cursor is None) == ([lost.id], False)

    asyncio.run(main())


def test_the_answers_to_requests_are_known_to_all_processes(url: str):
    """A key is claimed once.

    Its answer is kept; a claim whose process has died is as good as none, and old answers go.
    """

    async def main() -> None:
        async with opened(url, here=False, worker=False) as one, opened(url, here=False, worker=False) as two:
            assert await one.keys.claim("c", "k", "p") is None
            other = await two.keys.claim("c", "k", "q")
            assert other is not None
            assert (other.payload, other.answer) == ("p", None)
            answer = Answer(status=202, headers=(("location", "/x"),), body=b"\xff")
            await one.keys.keep("c", "k", answer)
            kept = await two.keys.claim("c", "k", "p")
            assert kept is not None
            assert kept.answer == answer
            assert await one.keys.claim("c", "large", "p") is None
            await one.keys.keep("c", "large", Answer(status=200, headers=(), body=None))
            assert await one.keys.claim("c", "free", "p") is None
            await one.keys.free("c", "free")
            assert await two.keys.claim("c", "free", "p") is None
            with one.link.engine.begin() as connection:
                connection.execute(sa.text(f"UPDATE fastapi_chain_answers SET at = at - {2 * AGE} WHERE key = 'k'"))
            await two.keys.keep("c", "free", Answer(status=200, headers=(), body=b""))
            assert await two.keys.claim("c", "k", "again") is None
        async with opened(url, here=False, worker=False) as three:
            assert await three.keys.claim("c", "k", "third") is None

    asyncio.run(main())
