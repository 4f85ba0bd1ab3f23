"""Standard logging inside tasks: the fields of records, and what is kept with the run."""

import asyncio
import io
import logging
from collections.abc import Iterator

import pytest

from fastapi_chain import Run, chain, current_task, task
from fastapi_chain.events import TaskLogged
from fastapi_chain.observe.tasklog import CHARACTERS, LINES, LINES_OF_RUN, TaskFields, TaskLogs, lines_of

log = logging.getLogger("shop")


@pytest.fixture(autouse=True)
def kept() -> Iterator[None]:
    """Keep what tasks log, from INFO on."""
    logs = TaskLogs()
    root = logging.getLogger()
    before = root.level
    root.setLevel(logging.INFO)
    logs.begin()
    yield
    logs.end()
    root.setLevel(before)


def kept_of(run: Run) -> list[tuple[str, int, str, str]]:
    """Return what is kept of *run*."""
    return [(line.task, line.attempt, line.level, line.text) for line in lines_of(run._backend.inner)]


async def logged(run: Run) -> list[tuple[str, int, str, str]]:
    """Return what the events of *run* say about logs."""
    events = [event async for event in run.events()]
    assert [event.seq for event in events] == list(range(1, len(events) + 1))
    return [(e.task, e.attempt, e.level, e.text) for e in events if isinstance(e, TaskLogged)]


def test_records_know_their_task() -> None:
    """A handler with the filter can print run, chain, task and attempt of what is logged in a task; None outside."""
    out = io.StringIO()
    handler = logging.StreamHandler(out)
    handler.addFilter(TaskFields())
    handler.setFormatter(logging.Formatter("%(message)s %(chain)s %(task)s %(attempt)s %(run_id)s"))
    log.addHandler(handler)

    @task(retries=1, backoff=0)
    async def save() -> None:
        log.info("saving")
        if current_task().attempt == 1:
            raise OSError

    @task
    def notify() -> None:
        log.info("notifying", extra={"task": "my own"})

    log.info("before")
    try:
        run = asyncio.run(chain(save, notify, name="shop").run())
    finally:
        log.removeHandler(handler)
    lines = sorted(out.getvalue().splitlines())
    assert lines == [
        "before None None None None",
        f"notifying shop my own 1 {run.id}",
        f"saving shop save 1 {run.id}",
        f"saving shop save 2 {run.id}",
    ]


def test_lines_are_kept_with_the_run() -> None:
    """What tasks log, in a thread too, is kept with the run, and told to those who follow later."""

    @task
    async def save() -> None:
        log.info("saved %d", 3)

    @task(after=[save])
    def notify() -> None:
        try:
            raise ValueError("no address")
        except ValueError:
            log.exception("not notified")

    async def main() -> None:
        run = await chain(notify).run()
        kept = await logged(run)
        assert kept == kept_of(run)
        (first, second) = kept
        assert first == ("save", 1, "INFO", "saved 3")
        assert second[:3] == ("notify", 1, "ERROR")
        assert second[3].startswith("not notified\nTraceback")
        assert second[3].endswith("ValueError: no address")

    asyncio.run(main())


def test_lines_are_told_to_those_who_follow() -> None:
    """Somebody who follows the run hears each line once, as it is written."""

    @task
    async def save() -> None:
        log.info("one")
        await asyncio.sleep(0)
        log.warning("two")

    @task(after=[save])
    def notify() -> None:
        log.info("three")

    async def main() -> None:
        run = await chain(notify).start()
        assert await logged(run) == [
            ("save", 1, "INFO", "one"),
            ("save", 1, "WARNING", "two"),
            ("notify", 1, "INFO", "three"),
        ]

    asyncio.run(main())


def test_our_own_log_is_not_kept() -> None:
    """That a task has failed is in the run already; what it logs through its context is its own."""

    @task
    async def save() -> None:
        logging.getLogger("fastapi_chain.task.save").info("mine")
        raise OSError("disk full")

    async def main() -> None:
        assert kept_of(await chain(save).run()) == [("save", 1, "INFO", "mine")]

    asyncio.run(main())


def test_what_is_kept_is_bounded() -> None:
    """Of one attempt, so many lines and characters are kept and no more; of one run, so many lines."""

    @task
    async def lines() -> list[int]:
        for i in range(LINES + 10):
            log.info("%d", i)
        return list(range(LINES_OF_RUN))

    @task(each=lines)
    async def characters(number: int) -> None:
        log.info("x" * (CHARACTERS - 1))
        log.info("yy")
        log.info("z")

    async def main() -> None:
        kept = kept_of(await chain(characters).run())
        assert len(kept) == LINES_OF_RUN
        assert [text for _, _, _, text in kept[:LINES]] == [str(i) for i in range(LINES)]
        assert [text for _, _, _, text in kept[LINES : LINES + 2]] == ["x" * (CHARACTERS - 1), "y …"]
        assert kept[LINES + 2][0] == "characters[1]"

    asyncio.run(main())


def test_a_record_that_cannot_be_formatted_is_reported_by_logging(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A mistake in a log call breaks neither the task nor the run."""
    # pytest's own handlers would raise it.
    monkeypatch.setattr(logging.getLogger(), "handlers", [TaskLogs._keeper])

    @task
    async def save() -> None:
        log.info("%d", "three")

    run = asyncio.run(chain(save).run())
    assert run.state == "succeeded"
    assert kept_of(run) == []
    assert "Message: '%d'\nArguments: ('three',)" in capsys.readouterr().err


def test_what_comes_after_the_run_is_kept_and_not_told() -> None:
    """A background task that outlives its run still logs for it, but the stream of its events has ended."""

    async def main() -> None:
        later: list[asyncio.Task[None]] = []
        go = asyncio.Event()

        async def linger() -> None:
            await go.wait()
            log.info("late")

        @task
        async def save() -> None:
            later.append(asyncio.create_task(linger()))

        run = await chain(save).start()
        assert await logged(run) == []
        go.set()
        await later[0]
        assert kept_of(run) == [("save", 1, "INFO", "late")]

    asyncio.run(main())


def test_two_apps_share_it() -> None:
    """Each line is kept once however many apps there are, and the last one to end leaves logging as it was."""
    root = logging.getLogger()
    before = list(root.handlers)
    another = TaskLogs()
    another.begin()
    assert root.handlers == before
    another.end()
    assert root.handlers == before

    @task
    async def save() -> None:
        log.info("once")

    assert kept_of(asyncio.run(chain(save).run())) == [("save", 1, "INFO", "once")]


def test_warnings_are_still_printed_where_nobody_listens(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Python prints the warnings of an app that has set up no logging, and goes on to do so."""
    monkeypatch.setattr(logging.getLogger(), "handlers", [TaskLogs._keeper])
    log.info("too quiet")
    log.warning("nobody listens")
    listener = logging.StreamHandler(io.StringIO())
    log.addHandler(listener)
    try:
        log.warning("somebody listens")
    finally:
        log.removeHandler(listener)
    assert capsys.readouterr().err == "nobody listens\n"
