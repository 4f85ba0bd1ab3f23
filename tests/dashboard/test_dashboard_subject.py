"""What the page of a run says about it: headline, graph, timeline, log, panel, items."""

import asyncio
import logging
import sys
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from tenacity import AsyncRetrying, retry_if_exception_type, stop_after_attempt

from fastapi_chain import Chain, Progress, Registry, RetryAfter, Skip, chain
from fastapi_chain.dashboard.catalogue import chain_line, seen
from fastapi_chain.dashboard.graph import of_run
from fastapi_chain.dashboard.headline import headline
from fastapi_chain.dashboard.items import items
from fastapi_chain.dashboard.live import Ticks
from fastapi_chain.dashboard.log import entries
from fastapi_chain.dashboard.panel import Query, panel
from fastapi_chain.dashboard.run_page import can_retry, chosen
from fastapi_chain.dashboard.runs import strip
from fastapi_chain.dashboard.stats import Stats, of_task
from fastapi_chain.dashboard.subject import Part, Subject
from fastapi_chain.dashboard.task_words import about, share, taken
from fastapi_chain.dashboard.timeline import timeline
from fastapi_chain.dashboard.words import duration
from fastapi_chain.engines.base import RunRequest
from fastapi_chain.engines.memory import MemoryEngine
from fastapi_chain.events import RunFinished, RunStarted
from fastapi_chain.observe.tasklog import TaskLogs


def href(task: str, **_: object) -> str:
    return f"?task={task}"


def finished(made: Chain, **inputs: object) -> Subject:
    """Return a run of *made* that has finished."""
    return Subject(asyncio.run(made.run(**inputs))._backend)


def said(subject: Subject) -> dict[str, str]:
    """Return what is said in one line about each task."""
    return {subject.title(part): about(subject, part, subject.record(part)) for part in subject.parts()}


def while_running(made: Chain, look: Callable[[Subject], None], gate: asyncio.Event, **inputs: object) -> None:
    """Start a run, look at it when nothing moves any more, then open the gate and wait for its end."""

    async def main() -> None:
        run = await made.start(**inputs)
        for _ in range(50):
            await asyncio.sleep(0)
        look(Subject(run._backend))
        gate.set()
        await run.wait(10)

    asyncio.run(main())


def failing_shop(**options: Any) -> Chain:
    tasks = Registry("shop")

    @tasks.task
    async def check(order: int) -> int:
        return order

    @tasks.task(after=[check], **options)
    async def charge(check: int) -> str:
        raise ConnectionError("no answer")

    @tasks.task(after=[charge])
    async def mail(charge: str) -> None: ...

    return chain(mail, name="shop")


def test_a_failed_run() -> None:
    """The headline names task, cause and consequence; what was skipped says what it needs."""
    subject = finished(failing_shop(retries=2, backoff=0.0), order=1)
    line = headline(subject)
    assert line is not None
    assert line._asdict() == {
        "kind": "failed",
        "who": "charge",
        "cause": "gave up after 3 attempts:",
        "error": "ConnectionError: no answer",
        "consequence": "1 task skipped because of it",
    }
    words = said(subject)
    assert (words["charge"], words["mail"]) == ("3 of 3 attempts", "needs charge")
    assert chosen(subject, "") == Part(1)
    assert chosen(subject, "mail") == Part(2)
    assert can_retry(subject)
    retried = [attempt.backoff for attempt in subject.record(Part(1)).attempts[1:]]
    assert [(entry.level, entry.task, entry.text) for entry in entries(subject)] == [
        *(("warning", "charge", f"ConnectionError, next attempt after {duration(pause)}") for pause in retried),
        ("error", "charge", "ConnectionError: no answer, gave up after 3 attempts"),
        ("info", "mail", "skipped: needs charge"),
    ]


def test_a_run_that_succeeded() -> None:
    """There is no headline, nothing to retry, and the first task is shown."""
    tasks = Registry("shop")

    @tasks.task
    async def check() -> int:
        return 1

    subject = finished(chain(check))
    assert headline(subject) is None
    assert not can_retry(subject)
    assert chosen(subject, "nothing of that name") == Part(0)
    assert entries(subject) == []


def test_a_task_that_fails_at_once() -> None:
    """A task without retries has failed, not given up."""
    subject = finished(failing_shop(), order=1)
    line = headline(subject)
    assert line is not None
    assert line.cause == "failed:"
    assert said(subject)["charge"] == "failed"
    tries = panel(subject, Part(1), Query(), href, values=False).tries
    assert [(t.n, t.state, t.note) for t in tries] == [(1, "failed", "no retries")]


def test_a_run_out_of_time() -> None:
    """The deadline is the headline; tasks say that they were cancelled because of it."""
    tasks = Registry("slow")

    @tasks.task
    async def wait() -> None:
        await asyncio.sleep(60)

    subject = finished(chain(wait, deadline=0.01, name="slow"))
    line = headline(subject)
    assert line is not None
    assert (line.kind, line.who, line.cause) == ("failed", "", "Out of time:")
    assert line.error == "A run of chain 'slow' took longer than its deadline of 0.01 s."
    assert line.consequence == "1 task cancelled"
    assert said(subject)["wait"] == "deadline passed"
    assert [(entry.level, entry.text) for entry in entries(subject)] == [("warning", "cancelled: deadline passed")]
    assert can_retry(subject)


def test_a_run_without_a_failed_task_may_have_failed() -> None:
    """A run that ended for a reason of its own says that reason."""
    subject = finished(failing_shop(optional=True), order=1)
    assert headline(subject) is None
    subject.state.state, subject.state.reason = "failed", "unconfirmed"
    line = headline(subject)
    assert line is not None
    assert (line.cause, line.error) == ("Failed: unconfirmed.", "")


def test_a_cancelled_run() -> None:
    """The headline says that it was cancelled, and how many tasks were."""

    async def main() -> Subject:
        gate = asyncio.Event()
        tasks = Registry("shop")

        @tasks.task
        async def wait() -> None:
            await gate.wait()

        @tasks.task(after=[wait])
        async def later() -> None: ...

        run = await chain(later).start()
        await asyncio.sleep(0)
        await run.cancel()
        await run.wait(5)
        return Subject(run._backend)

    line = headline(asyncio.run(main()))
    assert line is not None
    assert (line.kind, line.cause, line.consequence) == ("cancelled", "Cancelled: run cancelled.", "2 tasks cancelled")


def test_other_failures_and_undone_tasks_are_consequences() -> None:
    """The second failed task and what was taken back are told after the first."""
    tasks = Registry("shop")

    def refund() -> None: ...

    @tasks.task(undo=refund)
    async def charge() -> int:
        return 1

    @tasks.task(after=[charge])
    async def first() -> None:
        raise ValueError("1")

    @tasks.task(after=[charge])
    async def second() -> None:
        raise ValueError("2")

    subject = finished(chain(first, second))
    line = headline(subject)
    assert line is not None
    assert line.consequence == "1 other task failed · 1 task undone"
    assert said(subject)["charge"].endswith(" · undone")


def test_an_undo_that_failed_is_told() -> None:
    """In the headline, where the task stands, and in its panel; a fan-out tells it for its items."""
    tasks = Registry("shop")

    def refund() -> None:
        raise ConnectionError("no refund")

    @tasks.task(undo=refund)
    async def charge() -> list[int]:
        return [1, 2]

    @tasks.task(each=charge, undo=refund)
    async def ship(n: int) -> int:
        return n

    @tasks.task(after=[ship])
    async def fails() -> None:
        raise ValueError("1")

    subject = finished(chain(fails))
    line = headline(subject)
    assert line is not None
    assert line.consequence == "3 undos failed"
    assert said(subject)["charge"].endswith(" · undo failed")
    assert said(subject)["ship"].endswith(" · undo failed")
    for part in (Part(subject.plan.index["charge"]), Part(subject.plan.index["ship"], 1)):
        shown = panel(subject, part, Query(), lambda *_, **__: "", values=False)
        assert shown.undo_error == "ConnectionError: no refund"
        assert shown.about.endswith(" · undo failed")


def test_tasks_that_did_not_run() -> None:
    """Each says why, in its place on the time axis."""
    tasks = Registry("shop")

    @tasks.task
    async def check() -> int:
        raise Skip("nothing to do")

    @tasks.task(after=[check])
    async def mail(check: int) -> None: ...

    @tasks.task(after=[check], run_if="any_failed")
    async def alert() -> None: ...

    subject = finished(chain(mail, alert))
    words = said(subject)
    assert words == {
        "check": "nothing to do",
        "mail": "needs check",
        "alert": "its condition did not hold",
    }
    assert all(row.label_place in {"right", "left"} for row in timeline(subject, None, href).rows)


def test_a_running_run() -> None:
    """Progress in its own units, attempts so far, time until the next one; the timeline has a line for now."""
    gate, tasks = asyncio.Event(), Registry("shop")

    @tasks.task
    async def plain() -> None:
        await gate.wait()

    @tasks.task
    async def counting(progress: Progress) -> None:
        progress(513, 1250)
        await gate.wait()

    @tasks.task
    async def endless(progress: Progress) -> None:
        progress(12)
        await gate.wait()

    @tasks.task(retries=3, backoff=30.0)
    async def flaky() -> None:
        if not gate.is_set():
            raise RetryAfter(0.3)

    @tasks.task(after=[plain])
    async def later() -> None: ...

    def look(subject: Subject) -> None:
        words = said(subject)
        assert words["counting"] == "41 % · 513 of 1,250"
        assert words["endless"] == "12 done"
        assert words["flaky"].startswith("retry 2/4 in ")
        assert words["later"] == "waiting"
        assert words["plain"].endswith(" ms")
        shares = [share(subject, part, subject.record(part)) for part in subject.parts()]
        assert [s for s in shares if s is not None] == [pytest.approx(0.4104)]
        assert headline(subject) is None
        assert subject.plan.names[chosen(subject, "").index] == "flaky"
        drawn = timeline(subject, Part(0), href)
        assert drawn.now is not None
        rows = {row.name: row for row in drawn.rows}
        assert rows["flaky"].waits[-1].title == "backs off"
        assert rows["plain"].bars[0].kind == "running"
        assert rows["later"].bars == ()
        assert rows["later"].label == "waiting"
        assert any(entry.text.endswith("another attempt follows") for entry in entries(subject))
        index = subject.plan.index["flaky"]
        tries = panel(subject, Part(index), Query(), href, values=False).tries
        assert [t.note for t in tries] == ["another attempt follows"]
        running = panel(subject, Part(subject.plan.index["plain"]), Query(), href, values=True)
        assert [t.note for t in running.tries] == ["running"]
        late = Subject(subject.run, subject.now + timedelta(seconds=60))
        assert said(late)["flaky"] == "retry 2/4 now"
        subject.ledger.next_at.clear()
        assert said(subject)["flaky"] == "retry 2/4"

    while_running(chain(plain, counting, endless, flaky, later), look, gate)


def test_a_task_is_about_to_begin() -> None:
    """A task that runs but has no attempt yet, as a fan-out may have for a moment, has taken no time."""
    gate, tasks = asyncio.Event(), Registry("shop")

    @tasks.task
    async def wait() -> None:
        await gate.wait()

    def look(subject: Subject) -> None:
        record = subject.record(Part(0))
        bare = type(record)(name="wait", state="running")
        assert about(subject, Part(0), bare) == "< 1 ms"
        assert taken(subject, Part(0), bare) == 0.0

    while_running(chain(wait), look, gate)


def rows_of(
    count: int, fails: tuple[int, ...] = (), *, optional: bool = False, gate: asyncio.Event | None = None
) -> Chain:
    tasks = Registry("rows")

    @tasks.task
    async def rows() -> list[int]:
        return list(range(count))

    @tasks.task(each=rows, optional=optional)
    async def store(row: int) -> int:
        if row in fails:
            raise ValueError(f"row {row}")
        if gate is not None and row % 2:
            await gate.wait()
        return row

    return chain(store)


@pytest.mark.parametrize(
    ("made", "text"),
    [
        # All went well; one; none.
        (rows_of(3), "3 items · "),
        (rows_of(1), "1 item · "),
        (rows_of(0), "0 items · "),
        # Some failed, whether that counts or not.
        (rows_of(3, (1,)), "1 of 3 failed"),
        (rows_of(3, (0, 2), optional=True), "2 of 3 failed"),
    ],
)
def test_what_is_said_about_a_fan_out(made: Chain, text: str) -> None:
    """How many items there were, and how many failed."""
    assert said(finished(made))["store"].startswith(text)


def test_a_fan_out_that_runs() -> None:
    """How many items have ended is its progress."""
    gate = asyncio.Event()

    def look(subject: Subject) -> None:
        assert said(subject)["store"] == "5 of 10 · 1 failed"
        assert share(subject, Part(1), subject.record(Part(1))) == 0.5

    while_running(rows_of(10, (4,), gate=gate), look, gate)

    def calm(subject: Subject) -> None:
        assert said(subject)["store"] == "5 of 10"

    gate = asyncio.Event()
    while_running(rows_of(10, gate=gate), calm, gate)


def test_a_fan_out_that_was_cancelled() -> None:
    """It says why, and how many items it has."""

    async def main() -> Subject:
        gate = asyncio.Event()
        run = await rows_of(4, gate=gate).start()
        for _ in range(30):
            await asyncio.sleep(0)
        await run.cancel()
        await run.wait(5)
        return Subject(run._backend)

    assert said(asyncio.run(main()))["store"] == "run cancelled · 4 items"


def test_the_items_of_a_fan_out_are_listed_in_pages() -> None:
    """Those that failed come first; the strip shows where they are; a place outside the list is mended."""
    subject = finished(rows_of(1000, (17, 900)))
    line = headline(subject)
    assert line is not None
    assert line.cause == "failed for 2 of 1,000 items:"
    found = items(subject, 1, "", 0, href)
    assert found is not None
    assert [(item.name, item.state, item.error) for item in found.listed] == [
        ("store[17]", "failed", "ValueError: row 17"),
        ("store[900]", "failed", "ValueError: row 900"),
    ]
    assert found.counts == [("failed", 2), ("succeeded", 998)]
    assert (found.each, len(found.strip), found.strip.count("failed")) == (9, 112, 2)
    everything = items(subject, 1, "all", 99_999, href)
    assert everything is not None
    assert (everything.state, everything.first, len(everything.listed), everything.found) == (None, 975, 25, 1000)
    assert items(subject, 0, "", 0, href) is None
    none = items(finished(rows_of(0)), 1, "", 0, href)
    assert none is not None
    assert (none.total, none.strip, none.listed) == (0, [], [])


def test_an_item_is_a_part_of_its_own() -> None:
    """It is found by its name, has a panel with its own error, and its fan-out links to it."""
    subject = finished(rows_of(9, (7,)))
    part = subject.find("store[7]")
    assert part == Part(1, 7)
    assert subject.find("store[9]") is None
    assert subject.find("rows[0]") is None
    assert subject.find("nobody[0]") is None
    shown = panel(subject, part, Query(), href, values=True)
    assert (shown.name, shown.whole, shown.tab) == ("store[7]", "store", "error")
    assert [tab.key for tab in shown.tabs] == ["error", "values", "log", "code"]
    assert (shown.error_type, shown.error) == ("ValueError", "row 7")
    values = panel(subject, Part(1, 3), Query(tab="values"), href, values=True)
    assert [(value.param.name, value.text) for value in values.inputs] == [("row", "3")]
    assert values.output == "3"
    assert panel(subject, part, Query(tab="values"), href, values=True).output is None
    whole = panel(subject, Part(1), Query(tab="values"), href, values=True)
    assert [value.text for value in whole.inputs] == [None]
    assert panel(subject, Part(1), Query(), href, values=False).tab == "items"
    assert [entry.text for entry in panel(subject, part, Query(tab="log"), href, values=False).log] == [
        "ValueError: row 7"
    ]


def test_a_retried_run_keeps_its_attempts() -> None:
    """Durations count from the last retry, attempts from the beginning; the bars of both rounds are there."""
    tasks, broken = Registry("shop"), [True]

    @tasks.task(retries=1, backoff=0.0)
    async def charge() -> int:
        if broken:
            raise ConnectionError
        return 1

    async def main() -> Subject:
        run = await chain(charge).run()
        broken.clear()
        await run.retry()
        await run.wait(5)
        return Subject(run._backend)

    subject = asyncio.run(main())
    assert said(subject)["charge"].endswith(" · attempt 3/4")
    (row,) = timeline(subject, Part(0), href).rows
    assert [bar.kind for bar in row.bars] == ["tried", "tried", "succeeded"]
    assert row.bars[0].title.endswith("ConnectionError")
    tries = panel(subject, Part(0), Query(), href, values=False).tries
    assert [t.state for t in tries] == ["failed", "failed", "succeeded"]
    assert tries[-1].note == ""


def test_a_retry_after_a_long_time_is_no_back_off() -> None:
    """The pause between two rounds of a run is cut out of the axis, not hatched."""
    subject = finished(failing_shop(retries=1, backoff=0.0), order=1)
    first, second = subject.ledger.over(1)
    hours = timedelta(hours=5)
    moved = type(second)(
        n=2,
        state="failed",
        started_at=second.started_at + hours,
        finished_at=second.finished_at + hours,
        error=second.error,
        backoff=hours.total_seconds(),
    )
    subject.ledger.past[1] = [first, moved]
    subject.state.finished += hours.total_seconds()
    drawn = timeline(subject, None, href)
    assert len(drawn.cuts) == 1
    assert [row.waits for row in drawn.rows] == [(), (), ()]


def test_where_labels_stand() -> None:
    """To the right of a bar; to its left where it ends at the edge; inside where it takes all the room."""
    tasks = Registry("shop")

    @tasks.task
    async def whole() -> None: ...

    @tasks.task
    async def early() -> None: ...

    @tasks.task
    async def late() -> None: ...

    subject = finished(chain(whole, early, late))
    state, ledger = subject.state, subject.ledger
    ledger.began[:] = [state.started, state.started, state.started + 9]
    ledger.ended[:] = [state.started + 10, state.started + 1, state.started + 10]
    state.finished = state.started + 10
    rows = {row.name: row.label_place for row in timeline(subject, None, href).rows}
    assert rows == {"whole": "in", "early": "right", "late": "left"}


def test_a_policy_of_the_users_own_counts_what_it_has_made() -> None:
    """Where the number of attempts is not declared, the number made is the number allowed."""
    policy = AsyncRetrying(stop=stop_after_attempt(3), retry=retry_if_exception_type(), reraise=True)
    subject = finished(failing_shop(retry=policy), order=1)
    assert said(subject)["charge"] == "3 of 3 attempts"


def test_the_panel_of_values() -> None:
    """Inputs of tasks, of the chain and of nobody; without leave nothing is shown."""
    subject = finished(failing_shop(), order=12)
    check = panel(subject, Part(0), Query(tab="values"), href, values=True)
    assert [(value.param.source, value.text) for value in check.inputs] == [("input of the chain", "12")]
    assert check.output == "12"
    mail = panel(subject, Part(2), Query(tab="values"), href, values=True)
    assert [(value.param.task, value.text) for value in mail.inputs] == [("charge", None)]
    hidden = panel(subject, Part(0), Query(tab="values"), href, values=False)
    assert (hidden.inputs, hidden.output) == ([], None)


def test_without_graphlay_the_graph_is_text(monkeypatch: pytest.MonkeyPatch) -> None:
    """The page has the Mermaid text where nothing draws."""
    monkeypatch.setitem(sys.modules, "graphlay", None)
    subject = finished(failing_shop(), order=1)
    drawing = asyncio.run(of_run(subject, None, href))
    assert (drawing.wide, drawing.tall, drawing.big) == (None, None, False)
    assert drawing.text.startswith("flowchart LR")


def test_attempts_of_a_task_that_timed_out_or_was_cancelled() -> None:
    """Each kind of end has a bar of its own."""
    tasks = Registry("slow")

    @tasks.task(timeout=0.01, retries=1, backoff=0.0)
    async def slow() -> None:
        await asyncio.sleep(60)

    subject = finished(chain(slow))
    (row,) = timeline(subject, None, href).rows
    assert [bar.kind for bar in row.bars] == ["tried", "failed"]


def test_a_run_that_has_not_begun() -> None:
    """A queued run has no times; nothing runs in it and nothing is wrong with it."""

    async def main() -> None:
        engine = MemoryEngine()
        run = engine.take(RunRequest(failing_shop().plan, {"order": 1}))
        subject = Subject(run._backend)
        assert subject.seconds == 0.0
        assert set(said(subject).values()) == {"waiting"}
        assert timeline(subject, None, href).rows[0].label == "waiting"
        assert subject.since_start(subject.run.created_at) == 0.0
        assert subject.inputs() == {"order": 1}
        engine.drop(run)

    asyncio.run(main())


def test_what_tasks_write_is_in_the_log() -> None:
    """Lines of all tasks in one order, or of one task and its items; a fan-out that went well says so."""
    tasks, log = Registry("rows"), logging.getLogger("rows")

    @tasks.task
    async def rows() -> list[int]:
        log.warning("two rows")
        return [0, 1]

    @tasks.task(each=rows)
    async def store(row: int) -> None:
        log.warning("row %s", row)

    kept = TaskLogs()
    kept.begin()
    try:
        subject = finished(chain(store))
    finally:
        kept.end()
    assert [(entry.level, entry.task, entry.text) for entry in entries(subject)] == [
        ("warning", "rows", "two rows"),
        ("warning", "store[0]", "row 0"),
        ("warning", "store[1]", "row 1"),
        ("info", "store", "2 items done"),
    ]
    assert [entry.text for entry in entries(subject, Part(1))] == ["row 0", "row 1", "2 items done"]
    assert [entry.text for entry in entries(subject, Part(1, 0))] == ["row 0"]


def test_what_an_open_page_hears() -> None:
    """Two words: that something has changed, or that it is over."""
    subject = finished(failing_shop(), order=1)
    ticks, run = Ticks(), subject.run
    about_run = {"run_id": run.id, "chain": "shop", "at": subject.now}
    assert ticks.snapshot(run, "", 7) == b"event: changed\nid: 7\ndata: \n\n"
    assert ticks.event(RunStarted(seq=1, **about_run), run) == b"event: changed\nid: 1\ndata: \n\n"
    assert ticks.event(RunFinished(seq=9, state="failed", **about_run), run) == b"event: finished\nid: 9\ndata: \n\n"
    assert ticks.finished(run).startswith(b"event: finished\nid: ")


def test_the_strip_of_a_long_chain_is_short() -> None:
    """Of 200 tasks there are at most sixty marks, each of which shows what matters most in its stretch."""
    tasks = Registry("long")

    async def step() -> None: ...

    async def bad() -> None:
        raise ValueError

    made = [tasks.task(name=f"step_{i}")(bad if i == 100 else step) for i in range(200)]
    states = strip(finished(chain(*made)))
    assert len(states) == 50
    assert states.count("failed") == 1
    assert states[25] == "failed"


def test_recent_runs_of_a_chain_that_has_changed() -> None:
    """Runs from before a task was added say nothing about it."""
    runs = [finished(failing_shop(), order=1).run]
    assert of_task(runs, "nobody") == Stats()
    assert list(seen("nobody", runs, "..", Subject(runs[0]).now)) == []
    assert of_task(runs, "charge").rate == "0 %"


def test_the_options_of_a_chain() -> None:
    """Those that are not at their default, in words."""
    tasks = Registry("timed")

    @tasks.task
    async def clean() -> None: ...

    timed = chain(clean, name="timed", cron="* * * * *")
    assert chain_line(timed, [], "..").options == (("Cron", "* * * * *"),)
