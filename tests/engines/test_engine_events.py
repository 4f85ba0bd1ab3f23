"""The stream of events of a run: whole, in order and without gaps, whenever somebody begins to follow it."""

import asyncio
import threading
from collections.abc import Sequence

import pytest

from fastapi_chain import Progress, Run, Skip, TaskContext, chain, task
from fastapi_chain.engines.memory import live_of
from fastapi_chain.engines.stream import KEPT
from fastapi_chain.events import Event
from tests.engines.kit import Kit, Log, MemoryKit, settle


def told(events: Sequence[Event]) -> list[str]:
    """Return each event in words."""
    words = ("task", "attempt", "max_attempts", "reason", "state", "delay")
    return [
        " ".join([event.kind, *(str(getattr(event, word)) for word in words if getattr(event, word, None) is not None)])
        for event in events
    ]


async def all_of(run: Run, after: int = 0) -> list[Event]:
    return [event async for event in run.events(after)]


def everything():
    """Return a chain in which everything happens that can, one after the other."""

    @task
    async def one() -> list[int]:
        return [5]

    @task(after=[one], retries=1, backoff=2)
    async def two(ctx: TaskContext) -> None:
        if ctx.attempt == 1:
            raise ConnectionError

    @task(each=one, after=[two])
    async def three(number: int) -> None: ...

    @task(after=[three])
    def four() -> None:
        raise Skip("enough")

    def take_back() -> None: ...

    @task(after=[four], run_if="all_done", undo=take_back)
    async def five() -> None: ...

    @task(after=[five])
    def six() -> None:
        raise ValueError

    @task(after=[six])
    async def seven() -> None: ...

    return chain(seven, name="everything")


EVERYTHING = [
    "run.started",
    "task.started one 1 1",
    "task.succeeded one 1",
    "task.started two 1 2",
    "task.retrying two 1 2 2.0",
    "task.started two 2 2",
    "task.succeeded two 2",
    "task.started three 1 1",
    "task.started three[0] 1 1",
    "task.succeeded three[0] 1",
    "task.succeeded three 1",
    "task.started four 1 1",
    "task.skipped four skip: enough",
    "task.started five 1 1",
    "task.succeeded five 1",
    "task.started six 1 1",
    "task.failed six 1",
    "task.skipped seven upstream_failed: six",
    "task.undone five",
    "run.finished failed",
]


@pytest.mark.parametrize("begin", ["before", "during", "after"])
def test_everything_is_told_in_order(memory: MemoryKit, begin: str):
    """The same events, whether somebody follows from the start, comes while it runs, or asks when all is over."""

    async def main():
        run = await everything().start()
        if begin == "during":
            await asyncio.sleep(1)
        elif begin == "after":
            await run.wait()
        return await all_of(run)

    events = memory.play(main)
    assert told(events) == EVERYTHING
    assert [event.seq for event in events] == list(range(1, len(events) + 1))
    assert [event.at for event in events] == sorted(event.at for event in events)
    assert {(event.run_id, event.chain) for event in events} == {(events[0].run_id, "everything")}


def test_every_engine_tells_everything(engine: Kit):
    """Whoever follows misses nothing, whatever the engine."""

    async def main():
        run = await everything().start()
        return await all_of(run)

    assert [line.replace(" 2.0", "") for line in told(engine.play(main))] == [
        line.replace(" 2.0", "") for line in EVERYTHING
    ]


def test_one_may_begin_anywhere(memory: MemoryKit):
    """`after` leaves out what is known; behind the end there is nothing."""

    async def main():
        run = await everything().run()
        whole = await all_of(run)
        return whole, [await all_of(run, after) for after in (0, 5, 19, 20, 100)]

    whole, parts = memory.play(main)
    assert parts == [whole, whole[5:], whole[19:], [], []]


def test_sinks_are_told_everything_and_numbers_stay_the_same(memory: MemoryKit):
    """A run with sinks is told from its beginning; whoever comes later is given the very same events."""
    heard: list[Event] = []

    async def main():
        run = await everything().run()
        return await all_of(run)

    assert memory.play(main, sinks=(heard.append,)) == heard
    assert told(heard) == EVERYTHING


def test_a_sink_that_fails_disturbs_nobody(memory: MemoryKit, caplog: pytest.LogCaptureFixture):
    """The run goes on, the other sinks hear everything, and the log says what happened."""
    heard: list[Event] = []

    def broken(event: Event) -> None:
        raise OSError("disk full")

    @task
    async def one() -> None: ...

    async def main():
        return await chain(one).run()

    assert memory.play(main, sinks=(broken, heard.append)).state == "succeeded"
    assert [event.kind for event in heard] == ["run.started", "task.started", "task.succeeded", "run.finished"]
    assert caplog.messages == ["a sink failed; the run goes on"] * 4


def test_a_task_may_begin_to_follow_its_own_run(memory: MemoryKit):
    """From the line, without a wait: what comes after it is told as well."""
    readers: list[asyncio.Task[list[Event]]] = []

    @task
    async def one() -> None: ...

    @task(after=[one])
    async def two(run: Run) -> None:
        live_of(run).follow()
        readers.append(asyncio.create_task(all_of(run)))

    @task(after=[two])
    async def three() -> None: ...

    @task(after=[two])
    def four() -> None: ...

    async def main():
        await chain(three, four).run()
        return await readers[0]

    events = told(memory.play(main))
    assert events[:5] == [
        "run.started",
        "task.started one 1 1",
        "task.succeeded one 1",
        "task.started two 1 1",
        "task.succeeded two 1",
    ]
    assert sorted(events[5:]) == [
        "run.finished succeeded",
        "task.started four 1 1",
        "task.started three 1 1",
        "task.succeeded four 1",
        "task.succeeded three 1",
    ]


def test_one_may_begin_between_two_stretches_of_the_line(memory: MemoryKit):
    """After 128 tasks everybody else gets a turn: whoever follows from then on misses nothing."""
    tasks = []
    for i in range(200):

        @task(name=f"t{i}", after=tasks[-1:])
        async def link() -> None: ...

        tasks.append(link)

    async def main():
        run = await chain(tasks[-1]).start()
        await asyncio.sleep(0)
        seen = len([record for record in run.tasks.values() if record.state == "succeeded"])
        return seen, await all_of(run)

    seen, events = memory.play(main)
    assert (seen, len(events)) == (128 if memory.fast else seen, 402)
    assert [event.seq for event in events] == list(range(1, 403))


def test_one_may_begin_while_threads_are_at_work(memory: MemoryKit):
    """No step of a thread is told twice, and none is missed."""
    held, inside = threading.Event(), threading.Event()

    @task
    def one() -> None: ...

    @task(after=[one])
    def two() -> None:
        inside.set()
        held.wait(10)

    @task(after=[two])
    def three() -> None: ...

    async def main():
        run = await chain(three).start()
        await asyncio.to_thread(inside.wait)
        reader = asyncio.create_task(all_of(run))
        await settle()
        held.set()
        return await reader

    assert told(memory.play_for_real(main)) == [
        "run.started",
        "task.started one 1 1",
        "task.succeeded one 1",
        "task.started two 1 1",
        "task.succeeded two 1",
        "task.started three 1 1",
        "task.succeeded three 1",
        "run.finished succeeded",
    ]


def test_a_slow_reader_holds_nobody(memory: MemoryKit):
    """The run does not wait for it. It reads at its own pace, and sees by the numbers what it has missed."""

    @task
    async def numbers() -> list[int]:
        return list(range(5000))

    @task(each=numbers)
    async def item(number: int) -> None: ...

    async def main():
        run = await chain(item).start()
        reader = run.events()
        first = [await anext(reader)]
        await run.wait()
        rest = [event async for event in reader]
        return first, rest

    first, rest = memory.play(main)
    assert (first[0].seq, rest[-1].kind, rest[-1].seq) == (1, "run.finished", 10_006)
    read = first + rest
    missed = [b.seq - a.seq - 1 for a, b in zip(read, rest, strict=False) if b.seq != a.seq + 1]
    # Once: what it had not asked for in time is gone, all that came later is there.
    assert len(missed) == 1
    assert len(rest) >= KEPT


def test_many_readers_hear_the_same(memory: MemoryKit):
    """Each from its own moment on, all to the end."""
    release = asyncio.Event()

    @task
    async def one() -> None:
        await release.wait()

    async def main():
        run = await chain(one).start()
        readers = []
        for _ in range(50):
            readers.append(asyncio.create_task(all_of(run)))
            await asyncio.sleep(0)
        release.set()
        return [told(await reader) for reader in readers]

    streams = memory.play(main)
    assert streams == [["run.started", "task.started one 1 1", "task.succeeded one 1", "run.finished succeeded"]] * 50


def test_a_reader_that_goes_away_is_forgotten(memory: MemoryKit):
    """A cancelled one, and one that breaks off."""
    release = asyncio.Event()

    @task
    async def one() -> None:
        await release.wait()

    async def main():
        run = await chain(one).start()
        reader = asyncio.create_task(all_of(run))
        async for _ in run.events():
            break
        await settle()
        reader.cancel()
        release.set()
        await run.wait()
        return told(await all_of(run))

    assert memory.play(main)[-1] == "run.finished succeeded"


def test_a_retried_run_goes_on_with_its_numbers(memory: MemoryKit):
    """Whoever follows the second round is not sent away by the end of the first."""

    @task(retries=1, backoff=0)
    async def one(ctx: TaskContext) -> None:
        if ctx.attempt < 4:
            raise ConnectionError

    async def main():
        run = await chain(one).start()
        first = await all_of(run)
        await run.retry()
        second = await all_of(run, after=first[-1].seq)
        late = await all_of(run)
        return first, second, late

    first, second, late = memory.play(main)
    assert told(first) == [
        "run.started",
        "task.started one 1 2",
        "task.retrying one 1 2 0.0",
        "task.started one 2 2",
        "task.failed one 2",
        "run.finished failed",
    ]
    assert told(second) == [
        "run.started",
        "task.started one 3 4",
        "task.retrying one 3 4 0.0",
        "task.started one 4 4",
        "task.succeeded one 4",
        "run.finished succeeded",
    ]
    assert late == first + second


def test_a_retried_run_that_nobody_followed(memory: MemoryKit):
    """Its attempts tell of both rounds."""

    @task(retries=1, backoff=0)
    async def one(ctx: TaskContext) -> None:
        if ctx.attempt < 4:
            raise ConnectionError

    async def main():
        run = await chain(one).run()
        await run.retry()
        await run.wait()
        return await all_of(run)

    assert told(memory.play(main)) == [
        "run.started",
        "task.started one 1 4",
        "task.retrying one 1 4 0.0",
        "task.started one 2 4",
        "task.failed one 2",
        "task.started one 3 4",
        "task.retrying one 3 4 0.0",
        "task.started one 4 4",
        "task.succeeded one 4",
        "run.finished succeeded",
    ]


def test_cancelled_tasks_and_failed_undos_are_told(memory: MemoryKit):
    """As they happen, and afterwards."""

    def broken() -> None:
        raise ValueError("no way back")

    def fine() -> None: ...

    def make(name: str):
        @task(name=f"{name}-list", undo=broken)
        async def numbers() -> list[int]:
            return [1, 2]

        @task(name=f"{name}-item", each=numbers, limit=1, undo=fine)
        async def item(number: int, progress: Progress) -> None:
            progress(number, 2)
            await asyncio.sleep(1 if number == 1 else 100)

        @task(name=f"{name}-last", after=[item])
        async def last() -> None: ...

        return chain(last, name=name, deadline=10)

    async def main():
        followed = await make("x").start()
        live = await all_of(followed)
        unfollowed = await make("x2").run()
        return live, await all_of(unfollowed)

    live, replayed = memory.play(main)
    assert told(live) == [
        "run.started",
        "task.started x-list 1 1",
        "task.succeeded x-list 1",
        "task.started x-item 1 1",
        "task.started x-item[0] 1 1",
        "task.progress x-item[0]",
        "task.succeeded x-item[0] 1",
        "task.started x-item[1] 1 1",
        "task.progress x-item[1]",
        "task.cancelled x-item[1] deadline",
        "task.cancelled x-item deadline",
        "task.cancelled x-last deadline",
        "task.undone x-item[0]",
        "task.undone x-list",
        "run.finished deadline failed",
    ]
    assert [line.replace("x2", "x") for line in sorted(told(replayed))] == sorted(told(live))
    assert sorted(str(event.error) for event in (*live, *replayed) if event.kind == "task.undone") == [
        "None",
        "None",
        "ValueError: no way back",
        "ValueError: no way back",
    ]


def test_a_run_that_never_began_tells_why(memory: MemoryKit):
    """It was cancelled while it was queued."""
    seen = Log()

    @task
    async def one() -> None:
        seen("never")

    async def main():
        run = await chain(one).start()
        await run.cancel()
        return await all_of(run)

    assert told(memory.play(main)) == ["task.cancelled one run_cancelled", "run.finished run_cancelled cancelled"]
