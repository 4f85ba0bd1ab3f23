"""What is drawn as text: runs on a time axis, graphs as trees, durations in words."""

import asyncio
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any

import pytest
from fastapi import Depends

from fastapi_chain import Chain, Progress, Run, Skip, TaskContext, chain, task
from fastapi_chain._terminal import RunView, ago, boxes, dot, draw_run, figures, lasted, plain, tree, view_of
from fastapi_chain._terminal.words import why_skipped
from fastapi_chain.outcome import Attempt, ErrorInfo, ProgressInfo, RunState, TaskRecord

NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)


def at(seconds: float) -> datetime:
    """Return a moment after noon."""
    return NOON + timedelta(seconds=seconds)


def attempt(n: int, state: Any, begin: float, end: float | None = None, error: ErrorInfo | None = None) -> Attempt:
    """Return an attempt that began and ended so many seconds after noon."""
    return Attempt(n=n, state=state, started_at=at(begin), finished_at=None if end is None else at(end), error=error)


def drawing(*records: TaskRecord, state: RunState = "running", now: float = 10, **about: Any) -> list[str]:
    """Return the drawing of a run with these tasks."""
    run = RunView(
        id="0123456789abcdef",
        chain="shop",
        state=state,
        started_at=NOON,
        finished_at=None if state == "running" else at(now),
        tasks={record.name: record for record in records},
        **about,
    )
    return plain(draw_run(run, now=at(now))).splitlines()


def rows(*records: TaskRecord, **about: Any) -> list[str]:
    """Return the rows of the tasks, with runs of blanks as one."""
    return [" ".join(line.split()) for line in drawing(*records, **about)[2:]]


def test_a_run_that_goes_on() -> None:
    """Each state has its sign, its bar and its words."""
    lines = drawing(
        TaskRecord(name="done", state="succeeded", attempts=(attempt(1, "succeeded", 0, 5),)),
        TaskRecord(
            name="retried",
            state="succeeded",
            max_attempts=4,
            attempts=(attempt(1, "failed", 0, 2), attempt(2, "succeeded", 5, 10)),
        ),
        TaskRecord(
            name="again",
            state="retrying",
            max_attempts=3,
            attempts=(attempt(1, "timed_out", 0, 4),),
            next_attempt_at=at(12),
        ),
        TaskRecord(name="busy", state="running", attempts=(attempt(1, "running", 9.99),)),
        TaskRecord(name="later", state="pending"),
        TaskRecord(name="gone", state="cancelled", cancel_reason="deadline"),
        started_by="POST /orders",
        reason="deadline",
    )
    assert lines == [
        "shop 0123456789ab  ● running  POST /orders · deadline · 10.0 s",
        "",
        "✓  done     ━━━━━━━━━━━━━━━━━━━━━━━                         5.0 s",
        "✓  retried  ━━━━━━━━━╌╌╌╌╌╌╌╌╌╌╌╌╌╌━━━━━━━━━━━━━━━━━━━━━━━  10.0 s · attempt 2/4",
        "↻  again    ━━━━━━━━━━━━━━━━━━                              attempt 2/3 in 2.0 s",
        "●  busy                                                  ━  10 ms",
        "·  later                                                    waiting",
        "⊘  gone                                                     deadline",
    ]


@pytest.mark.parametrize(
    ("record", "row"),
    [
        # Progress: with and without a total, with and without a text.
        (
            TaskRecord(name="a", state="running", progress=ProgressInfo(done=513, total=1250, text="list 1 of 2")),
            "● a 41 % · 513 of 1250 · list 1 of 2",
        ),
        (TaskRecord(name="a", state="running", progress=ProgressInfo(done=2.5)), "● a 2.5"),
        (TaskRecord(name="a", state="retrying", attempts=(), max_attempts=2), "↻ a attempt 1/2 in <1 ms"),
        (TaskRecord(name="a", state="failed", max_attempts=3), "✗ a 0 of 3 attempts"),
        (TaskRecord(name="a", state="failed"), "✗ a"),
        (TaskRecord(name="a", state="cancelled"), "⊘ a cancelled"),
        (TaskRecord(name="a", state="skipped", skip_reason="upstream_failed: b"), "» a needs b"),
        (TaskRecord(name="a", state="skipped"), "» a its condition did not hold"),
        # What has become of its effect.
        (TaskRecord(name="a", state="cancelled", undone=True), "⊘ a cancelled · undone"),
    ],
)
def test_words_of_a_task(record: TaskRecord, row: str) -> None:
    """The end of a row says what a reader wants to know of that state."""
    assert rows(record)[0] == row


def test_items_of_a_fan_out() -> None:
    """A fan-out says how many items it has; those that are not simply done are shown below it, a few of them."""
    items = {f"ship[{i}]": TaskRecord(name=f"ship[{i}]", state="failed") for i in range(10)}
    items |= {"ship[10]": TaskRecord(name="ship[10]", state="succeeded")}
    found = rows(TaskRecord(name="ship", state="running", attempts=(attempt(1, "running", 0),), items=items), now=1)
    assert found[0] == "● ship ━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━ 11 items · 1.0 s"
    assert found[1:] == [f"✗ ship[{i}]" for i in range(8)]


def test_what_went_wrong() -> None:
    """Below the rows stands what each failure says, on as many lines as it has, and what was skipped because of it."""
    found = rows(
        TaskRecord(name="a", state="failed", attempts=(attempt(1, "failed", 0, 1, ErrorInfo("OSError", "one\ntwo")),)),
        TaskRecord(name="b", state="failed", attempts=(attempt(1, "failed", 0, 1, ErrorInfo("OSError", "")),)),
        TaskRecord(name="c", state="failed"),
        TaskRecord(name="d", state="skipped", skip_reason="upstream_failed: a"),
        TaskRecord(name="e", state="succeeded", undo_error=ErrorInfo("OSError", "no refund")),
        state="failed",
    )
    assert found[4] == "✓ e · undo failed"
    assert found[5:] == [
        "",
        "a failed after 1 attempt",
        "OSError: one",
        "two",
        "skipped because of it: d",
        "",
        "b failed after 1 attempt",
        "OSError",
        "",
        "c failed after 0 attempts",
        "",
        "e could not be undone",
        "OSError: no refund",
    ]


def test_tracebacks() -> None:
    """The lines of the user's own code are shown, or on demand all of the traceback; nothing where there is none."""

    @task
    async def charge() -> None:
        raise PermissionError("declined")

    run = asyncio.run(chain(charge).run())
    short = plain(draw_run(run, now=NOON))
    assert 'raise PermissionError("declined")' in short
    assert "execute.py" not in short
    full = plain(draw_run(run, now=NOON, full=True))
    assert "line.py" in full
    stored = {"id": "a", "chain": "b", "state": "failed", "tasks": []}
    failed = {
        "name": "c",
        "state": "failed",
        "error": {"title": "OSError", "detail": "x", "traceback": "line 1\nline 2\n"},
    }
    view = view_of({**stored, "tasks": [failed]})
    assert "line 2" in plain(draw_run(view, now=NOON, full=True))
    assert "line 2" not in plain(draw_run(view, now=NOON))
    assert "line" not in plain(
        draw_run(view_of({**stored, "tasks": [{"name": "c", "state": "failed"}]}), now=NOON, full=True)
    )


def test_the_traceback_of_another_process() -> None:
    """Of a traceback that came as text, the user's own lines of the exception itself are shown: no libraries, no cause."""
    text = (
        "Traceback (most recent call last):\n"
        '  File "/srv/shop/cause.py", line 3, in ask\n'
        "    raise OSError\n"
        "OSError\n"
        "\nThe above exception was the direct cause of the following exception:\n\n"
        "Traceback (most recent call last):\n"
        '  File "/venv/lib/python3.11/site-packages/fastapi_chain/execute/call.py", line 30, in call\n'
        "    return await self.fn(**values)\n"
        '  File "C:\\Python\\Lib\\site-packages\\httpx\\_client.py", line 9, in post\n'
        f'  File "{Path.cwd() / "shop" / "tasks.py"}", line 52, in render\n'
        "    html = await renderer.render(invoice)\n"
        "                 ^^^^^^^^^^^^^^^^^^^^^^^^\n"
        '  File "/srv/shop/renderer.py", line 1031, in render\n'
        '  File "<string>", line 1, in <module>\n'
    )
    failed = {"name": "c", "state": "failed", "error": {"title": "OSError", "detail": "x", "traceback": text}}
    view = view_of({"id": "a", "chain": "b", "state": "failed", "tasks": [failed]})
    assert plain(draw_run(view, now=NOON)).splitlines()[4:] == [
        "c failed after 0 attempts",
        "  shop/tasks.py:52             html = await renderer.render(invoice)",
        "  /srv/shop/renderer.py:1031",
        "  <string>:1",
    ]


def test_a_run_from_its_document() -> None:
    """What a JSON document says of a run is drawn as the run itself is."""
    document = {
        "id": "0123456789abcdef",
        "chain": "shop",
        "state": "failed",
        "reason": None,
        "started_at": "2026-11-24T12:00:00Z",
        "finished_at": "2026-11-24T12:00:10Z",
        "started_by": "POST /orders",
        "tasks": [
            {
                "name": "charge",
                "state": "failed",
                "after": ["clean"],
                "max_attempts": 2,
                "attempts": [
                    {
                        "n": 1,
                        "state": "failed",
                        "started_at": "2026-11-24T12:00:00Z",
                        "finished_at": "2026-11-24T12:00:05Z",
                        "error": {"type": "about:blank", "title": "OSError", "detail": "no answer"},
                    }
                ],
                "progress": {"done": 1, "total": None, "text": None},
                "items": None,
            },
            {"name": "ship", "state": "pending", "items": [{"name": "ship[0]", "state": "running"}]},
            {"name": "hold", "state": "cancelled", "undone": True},
            {"name": "pack", "state": "cancelled", "undo_error": {"title": "OSError", "detail": "no shelf"}},
        ],
    }
    view = view_of(document)
    assert view.tasks["charge"].after == ("clean",)
    assert plain(draw_run(view, now=NOON)).splitlines() == [
        "shop 0123456789ab  ✗ failed  POST /orders · 10.0 s",
        "",
        "✗  charge     ━━━━━━━━━━━━━━━━━━━━━━━                         1 of 2 attempts",
        "·  ship                                                       waiting",
        "●    ship[0]",
        "⊘  hold                                                       cancelled · undone",
        "⊘  pack                                                       cancelled · undo failed",
        "",
        "charge failed after 1 attempt",
        "  OSError: no answer",
        "",
        "pack could not be undone",
        "  OSError: no shelf",
    ]


def test_a_run_that_waits() -> None:
    """A run that has not begun has no duration yet, and one without tasks has no rows."""
    assert plain(draw_run(RunView(id="a", chain="b", state="queued"), now=NOON)) == "b a  · queued\n\n"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0001, "<1 ms"),
        (0.9994, "999 ms"),
        (0.9996, "1.0 s"),
        (59.94, "59.9 s"),
        (59.96, "1 min 0 s"),
        (3599, "59 min 59 s"),
        (3600, "1 h 0 min"),
    ],
)
def test_durations(seconds: float, text: str) -> None:
    """A duration is said in the two largest units that matter."""
    assert lasted(seconds) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-5, "0 s ago"),
        (59, "59 s ago"),
        (60, "1 min ago"),
        (3600, "1 h ago"),
        (86400, "1 day ago"),
        (200000, "2 days ago"),
    ],
)
def test_ages(seconds: float, text: str) -> None:
    """How long ago something was is said in one unit."""
    assert ago(NOON, at(seconds)) == text


@pytest.mark.parametrize(
    ("reason", "text"),
    [
        ("upstream_failed: charge", "needs charge"),
        ("upstream_skipped: charge", "needs charge, which was skipped"),
        ("skip: nothing to do", "nothing to do"),
        ("condition", "its condition did not hold"),
    ],
)
def test_reasons(reason: str, text: str) -> None:
    """Why a task was skipped is said in words."""
    assert why_skipped(reason) == text


def every_option() -> Chain:
    """Return a chain whose tasks have every option that is drawn."""

    def dependency() -> str:
        return ""

    @task
    async def lines(order: str) -> list[int]:
        return []

    @task(each=lines, retries=1)
    async def ship(line: int, dep: Annotated[str, Depends(dependency)], untyped=None) -> str:
        return ""

    @task(after=[ship], timeout=30, optional=True)
    async def report(ship: list[str], run: Run, ctx: TaskContext, progress: Progress) -> None:
        raise Skip("nothing")

    @task(after=[ship, report], run_if="all_done")
    async def clean_up():
        pass

    return chain(clean_up, name='the "shop"')


def test_a_tree() -> None:
    """A task stands below the first one that gives it a value; parameters, results and options stand beside it."""
    assert plain(tree(every_option().plan, "POST /orders")) == (
        'the "shop" POST /orders\n'
        "└── lines (order: str) → list[int]\n"
        "    └── ship (line: int, dep: Depends, untyped) → list[str]  retries=1 each item\n"
        "        ├── report (ship: list[str], run: Run, ctx: TaskContext, progress: Progress)  timeout=30 s optional\n"
        "        └── clean_up ()  run_if=all_done  also after report\n"
    )


def test_graphviz() -> None:
    """Names are quoted; an arrow says to which parameter it hands a value on; a dashed one only sets the order."""
    assert dot(every_option().plan) == (
        'digraph "the \\"shop\\"" {\n'
        "    rankdir=LR;\n"
        "    node [shape=box];\n"
        '    t0 [label="lines"];\n'
        '    t1 [label="ship"];\n'
        '    t2 [label="report"];\n'
        '    t3 [label="clean_up"];\n'
        '    t0 -> t1 [label="line"];\n'
        '    t1 -> t2 [label="ship"];\n'
        "    t1 -> t3 [style=dashed];\n"
        "    t2 -> t3 [style=dashed];\n"
        "}\n"
    )


def wide(*, tasks: int, edges: Callable[[int], list[int]]) -> Chain:
    """Return a chain of so many tasks, each after those that *edges* names."""
    made: list[Any] = []
    for i in range(tasks):
        made.append(task(name=f"t{i}", after=[made[k] for k in edges(i)])(lambda: None))
    return chain(*made, name="wide")


@pytest.mark.parametrize(
    ("tasks", "edges", "text"),
    [
        (1, lambda i: [], "1 task, 0 edges · longest path 1 · at most 1 task side by side"),
        # A row.
        (
            4,
            lambda i: [i - 1] if i else [],
            "4 tasks, 3 edges (0 carry a value, 3 order only) · longest path 4 · at most 1 task side by side",
        ),
        # A star.
        (
            5,
            lambda i: [0] if i else [],
            "5 tasks, 4 edges (0 carry a value, 4 order only) · longest path 2 · at most 4 tasks side by side",
        ),
        # Two rows that cross: on each level three could stand, but never do.
        (
            6,
            lambda i: {0: [], 1: [], 2: [0], 3: [0, 1], 4: [2], 5: [3]}[i],
            "6 tasks, 5 edges (0 carry a value, 5 order only) · longest path 3 · at most 2 tasks side by side",
        ),
        # Where one path has to give way to another.
        (
            4,
            lambda i: {0: [], 1: [], 2: [0, 1], 3: [0]}[i],
            "4 tasks, 3 edges (0 carry a value, 3 order only) · longest path 2 · at most 2 tasks side by side",
        ),
    ],
)
def test_figures(tasks: int, edges: Callable[[int], list[int]], text: str) -> None:
    """The size of a plan in a line, with the number of tasks that can really run at once."""
    assert figures(wide(tasks=tasks, edges=edges).plan) == text


def test_figures_of_a_large_plan() -> None:
    """Where it would take long to say how many tasks can run at once, that is left out; a long chain is no problem."""
    plan = wide(tasks=1200, edges=lambda i: [i - 1] if i else []).plan
    assert figures(plan).endswith("longest path 1200")
    assert len(tree(plan, "")) == 1201


def test_boxes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Boxes need termaid; their arrows have no labels, which would not fit."""
    drawn = boxes(every_option().plan)
    assert drawn is not None
    assert "lines" in drawn
    assert "order" not in drawn
    monkeypatch.setitem(sys.modules, "termaid", None)
    assert boxes(every_option().plan) is None
