"""Flow control behind an endpoint: outcomes as values, defaults, conditions, fan-outs and undo, as a client sees them."""

import asyncio
from typing import Annotated, Any

import pytest
from fastapi import FastAPI

from fastapi_chain import (
    Failed,
    From,
    Outcome,
    Progress,
    Registry,
    Skip,
    Skipped,
    Succeeded,
    TaskContext,
    chain,
    install,
    task,
)
from fastapi_chain.testing import ChainClock


def shop(**options: Any) -> FastAPI:
    """Return an app with a runtime whose router is at /chains."""
    app = FastAPI()
    app.include_router(install(app, **options).router(), prefix="/chains")
    return app


def became(run: dict[str, Any]) -> dict[str, str]:
    """Return the state of every task and item of a run, with the reason where there is one."""
    rows = [row for one in run["tasks"] for row in (one, *(one["items"] or ()))]
    return {
        row["name"]: " ".join(filter(None, (row["state"], row["skip_reason"], row["cancel_reason"]))) for row in rows
    }


def test_parameters_say_which_outcomes_they_take(serving):
    """`Outcome`, `Succeeded`, `Failed`, `Skipped` and `Failed | None`: a task runs, or is skipped with the reason."""
    app = shop()
    registry = Registry("outcomes")
    seen: dict[str, object] = {}

    @registry.task
    async def good(order: int) -> int:
        return order

    @registry.task(retries=1, backoff=0)
    def bad(order: int) -> int:
        raise ValueError("broken")

    @registry.task
    async def empty() -> int:
        raise Skip("nothing")

    @registry.task(after=[good, bad, empty])
    async def audit(good: Outcome[int], bad: Outcome[int], empty: Outcome[int]) -> None:
        seen["audit"] = [type(outcome).__name__ for outcome in (good, bad, empty)]

    @registry.task(after=[good, bad, empty])
    def each_its_own(good: Succeeded[int], bad: Failed, empty: Skipped) -> None:
        seen["each"] = (good.value, bad.task, str(bad.error), bad.attempts, empty.reason)
        seen["exception"] = bad.exception()

    @registry.task(after=[good, bad])
    async def perhaps(good: Failed | None, bad: Failed | None) -> None:
        seen["perhaps"] = (good, bad is not None)

    @registry.task(after=[good])
    async def alarm(good: Failed) -> None: ...

    @registry.task(after=[bad])
    async def thank(bad: Succeeded[int]) -> None: ...

    @app.post("/orders/{order}", status_code=202)
    @chain(registry)
    async def place(order: int) -> None: ...

    async def main() -> None:
        async with serving(app) as client:
            run = await client.finished((await client.post("/orders/7")).headers["location"])
            assert run["state"] == "failed"
            assert became(run) == {
                "good": "succeeded",
                "bad": "failed",
                "empty": "skipped skip: nothing",
                "audit": "succeeded",
                "each_its_own": "succeeded",
                "perhaps": "succeeded",
                "alarm": "skipped condition",
                "thank": "skipped upstream_failed: bad",
            }

    asyncio.run(main())
    assert isinstance(seen.pop("exception"), ValueError)
    assert seen == {
        "audit": ["Succeeded", "Failed", "Skipped"],
        "each": (7, "bad", "ValueError: broken", 2, "skip: nothing"),
        "perhaps": (None, True),
    }


def test_defaults_and_conditions(serving):
    """A default stands in for what was skipped or may fail; `run_if` speaks about what a task takes nothing from."""
    app = shop()
    registry = Registry("conditions")
    seen: list[object] = []

    @registry.task
    async def thumb(size: int) -> bytes:
        raise Skip("too small")

    @registry.task(optional=True)
    async def scan(size: int) -> bytes:
        raise OSError

    @registry.task
    def charge(size: int) -> int:
        if size > 1:
            raise PermissionError
        return size

    @registry.task(after=[thumb, scan])
    async def label(thumb: bytes = b"none", scan: bytes | None = None) -> None:
        seen.append((thumb, scan))

    @registry.task(after=[charge])
    async def receipt(charge: int = 5) -> None: ...

    @registry.task(after=[charge, scan], run_if="any_failed")
    def alarm() -> None: ...

    @registry.task(after=[charge], run_if="any_failed")
    async def refuse() -> None: ...

    @registry.task(after=[charge, thumb], run_if="any_succeeded")
    async def thank() -> None: ...

    @registry.task(after=[charge, thumb], run_if="all_done")
    async def close() -> None: ...

    @registry.task(after=[charge, thumb])
    async def archive() -> None: ...

    @app.post("/files", status_code=202)
    @chain(registry)
    async def upload(size: int) -> None: ...

    async def main() -> tuple[dict[str, str], dict[str, str]]:
        async with serving(app) as client:
            runs = [await client.finished((await client.post(f"/files?size={n}")).headers["location"]) for n in (1, 2)]
            assert [run["state"] for run in runs] == ["succeeded", "failed"]
            return became(runs[0]), became(runs[1])

    small, large = asyncio.run(main())
    assert seen == [(b"none", None)] * 2
    assert small == {
        "thumb": "skipped skip: too small",
        "scan": "failed",
        "charge": "succeeded",
        "label": "succeeded",
        "receipt": "succeeded",
        "alarm": "succeeded",
        "refuse": "skipped condition",
        "thank": "succeeded",
        "close": "succeeded",
        "archive": "skipped upstream_skipped: thumb",
    }
    assert {name: state for name, state in large.items() if state != small[name]} == {
        "charge": "failed",
        "receipt": "skipped upstream_failed: charge",
        "refuse": "succeeded",
        "thank": "skipped condition",
        "archive": "skipped upstream_failed: charge",
    }


def test_a_fan_out_over_a_fan_out(serving):
    """At most `limit` calls at once; results come in the order of the items, failures are collected, none is no harm."""
    app = shop(expose_errors=True)
    now = most = 0
    told: list[object] = []

    @task
    async def lines(order: list[int]) -> list[int]:
        return order

    @task(each=lines, limit=2)
    async def pack(line: int) -> int:
        nonlocal now, most
        now += 1
        most = max(most, now)
        for _ in range(10 - line):
            await asyncio.sleep(0)
        now -= 1
        return 10 * line

    @task(each={"parcel": pack})
    async def ship(parcel: int) -> str:
        if parcel == 20:
            raise ConnectionError("no truck")
        return f"shipped {parcel}"

    @task(after=[pack, ship])
    async def summary(pack: list[int], ship: list[Outcome[str]], lost: Annotated[list[Failed], From(ship)]) -> None:
        told.append((pack, [one.value for one in ship if isinstance(one, Succeeded)], [str(one.error) for one in lost]))

    @task(after=[ship])
    async def invoice(ship: list[str]) -> None: ...

    @app.post("/orders", status_code=202)
    @chain(summary, invoice)
    async def place(order: list[int]) -> None: ...

    async def main() -> None:
        async with serving(app) as client:
            at = (await client.post("/orders", [1, 2, 3])).headers["location"]
            run = await client.finished(at)
            assert run["state"] == "failed"
            assert became(run) == {
                "lines": "succeeded",
                **dict.fromkeys(["pack", "pack[0]", "pack[1]", "pack[2]"], "succeeded"),
                "ship": "failed",
                "ship[0]": "succeeded",
                "ship[1]": "failed",
                "ship[2]": "succeeded",
                "summary": "succeeded",
                "invoice": "skipped upstream_failed: ship",
            }
            failed = (await client.get(f"{at}/tasks/ship[1]")).json()["error"]
            assert (failed["title"], failed["detail"], failed["task"]) == ("ConnectionError", "no truck", "ship[1]")
            none = await client.finished((await client.post("/orders", [])).headers["location"])
            assert (none["state"], [one["items"] for one in none["tasks"][1:3]]) == ("succeeded", [[], []])

    asyncio.run(main())
    assert most == 2
    assert told == [
        ([10, 20, 30], ["shipped 10", "shipped 30"], ["ConnectionError: no truck"]),
        ([], [], []),
    ]


def test_a_retry_runs_the_failed_items_only(serving):
    """Items have progress and attempts of their own, in the run and in its events; those that succeeded are kept."""
    app = shop()
    calls: list[str] = []
    summed: list[int] = []
    watched: list[asyncio.Event] = []

    @task
    async def lines() -> list[int]:
        return [0, 1, 2, 3]

    @task(each=lines)
    async def ship(line: int, ctx: TaskContext, progress: Progress) -> int:
        calls.append(ctx.task)
        if ctx.attempt == 2:
            await watched[0].wait()
        progress(line, 3, f"attempt {ctx.attempt}")
        if line > 1 and ctx.attempt == 1:
            raise ConnectionError
        return line

    @task(after=[ship])
    async def summary(ship: list[Outcome[int]]) -> None:
        summed.append(sum(isinstance(one, Succeeded) for one in ship))

    @app.post("/orders", status_code=202)
    @chain(summary)
    async def place() -> None: ...

    async def main() -> None:
        watched.append(asyncio.Event())
        async with serving(app) as client:
            at = (await client.post("/orders")).headers["location"]
            first = await client.finished(at)
            assert (first["state"], summed) == ("failed", [2])
            calls.clear()
            await client.post(f"{at}/retry")
            stream = client.start("GET", f"{at}/events")
            await stream.event("run.snapshot")
            watched[0].set()
            await stream.end()
            run = await client.finished(at)
            assert (run["state"], summed) == ("succeeded", [2, 4])
            items = run["tasks"][1]["items"]
            assert [(item["attempt"], item["progress"]["done"], item["progress"]["text"]) for item in items] == [
                (1, 0, "attempt 1"),
                (1, 1, "attempt 1"),
                (2, 2, "attempt 2"),
                (2, 3, "attempt 2"),
            ]
            told = [(name, data["task"], data["text"]) for name, _, data in stream.events() if name == "task.progress"]
            assert ("task.progress", "ship[3]", "attempt 2") in told

    asyncio.run(main())
    assert sorted(calls) == ["ship[2]", "ship[3]"]


@pytest.mark.parametrize("ends", ["failure", "deadline", "cancel"])
def test_what_was_done_is_undone(serving, ends: str, chain_clock: ChainClock):
    """The last effect first, items one by one, with retries; after a failure, a deadline and a cancellation over HTTP."""
    app = shop()
    undone: list[object] = []
    begun: list[asyncio.Event] = []

    async def refund(charge: int) -> None:
        undone.append(charge)

    @task(retries=1, backoff=1)
    def put_back(take: str, ctx: TaskContext) -> None:
        if ctx.attempt == 1:
            raise ConnectionError
        undone.append(take)

    @task(undo=refund)
    async def charge(cents: int) -> int:
        return cents

    @task(after=[charge])
    async def shelves() -> list[str]:
        return ["a", "b"]

    @task(each=shelves, undo=put_back, limit=1)
    async def take(shelf: str) -> str:
        return shelf

    @task(after=[take])
    async def ship() -> None:
        begun[0].set()
        if ends == "failure":
            raise OSError
        await asyncio.Event().wait()

    @app.post("/orders", status_code=202)
    @chain(ship, deadline=30.0)
    async def place(cents: int) -> None: ...

    async def main() -> dict[str, Any]:
        begun.append(asyncio.Event())
        async with serving(app) as client:
            at = (await client.post("/orders?cents=300")).headers["location"]
            await begun[0].wait()
            if ends == "deadline":
                await chain_clock.advance(30.0)
            if ends == "cancel":
                assert (await client.post(f"{at}/cancel")).status == 202
            return await client.finished(at)

    run = asyncio.run(main())
    assert undone == ["b", "a", 300]
    assert (run["state"], run["reason"]) == {
        "failure": ("failed", None),
        "deadline": ("failed", "deadline"),
        "cancel": ("cancelled", "run_cancelled"),
    }[ends]
    assert [(one["name"], one["undone"]) for one in run["tasks"]] == [
        ("charge", True),
        ("shelves", False),
        ("take", True),
        ("ship", False),
    ]
    assert [item["undone"] for item in run["tasks"][2]["items"]] == [True, True]
