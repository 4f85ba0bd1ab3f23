"""What we use of DBOS that is less than public: each test says what it must do, so that a new version of DBOS cannot surprise us."""

import asyncio
import json
import sqlite3
import time
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from dbos import DBOS

from fastapi_chain import Registry, chain
from fastapi_chain.engines.durable import database as database_module
from fastapi_chain.engines.durable.adapter import Checkpoints, JsonSerializer, Worker, workflow_id
from fastapi_chain.engines.durable.database import inputs, outputs, steps, workflows
from fastapi_chain.engines.durable.names import RUN, VERSION
from fastapi_chain.errors import EngineError
from tests.engines.kit import Log
from tests.engines.opened import opened, until

seen = Log()


@DBOS.workflow(name="test_contract")
async def contract(parts: list[int]) -> list[Any]:
    """Draw numbers of our own, in whatever order."""
    keep = Checkpoints()

    async def part(number: int) -> str:
        async def body() -> str:
            seen(number)
            return f"outcome {number}"

        result: str = await keep(number, f"part {number}", body)
        return result

    return [workflow_id(), *await asyncio.gather(*[part(number) for number in parts])]


def test_outcomes_are_kept_under_numbers_of_our_own(url: str):
    """A step reservation takes the number that we give it; what is kept under it comes back, in whatever order it is asked for."""

    async def main() -> None:
        seen.clear()
        async with opened(url) as engine:
            handle = await DBOS.start_workflow_async(contract, [70000, 5, 2**31 - 1])
            first = await handle.get_result()
            assert first == [handle.workflow_id, "outcome 70000", "outcome 5", f"outcome {2**31 - 1}"]
            with engine.link.reading() as connection:
                rows = connection.execute(sa.select(steps.c.function_id, steps.c.function_name, steps.c.output)).all()
            assert sorted((row[0], row[1], json.loads(row[2])) for row in rows) == [
                (number, f"part {number}", f"outcome {number}") for number in (5, 70000, 2**31 - 1)
            ]
            again = await DBOS.rewind_workflow_async(handle.workflow_id, start_step=2**31 - 1)
            assert await again.get_result(polling_interval_sec=0.05) == first
            assert sorted(seen) == sorted([70000, 5, 2**31 - 1, 2**31 - 1])

    asyncio.run(main())


@DBOS.workflow(name="test_contract_known")
async def known(kept: list[int]) -> list[Any]:
    """Do the same where it is known what is kept."""
    keep = Checkpoints(kept)

    async def part(number: int) -> list[Any]:
        async def body() -> list[Any]:
            seen(number)
            return [number, DBOS.step_id]

        result: list[Any] = await keep(number, f"part {number}", body)
        return result

    return await asyncio.gather(part(7), part(3))


def test_where_nothing_is_kept_nobody_asks(url: str):
    """What DBOS need not ask is kept as DBOS would keep it, a step to whoever looks; what is kept is not done again."""

    async def main() -> None:
        seen.clear()
        async with opened(url) as engine:
            asked = Log()
            worker = Worker._taken
            assert worker is not None
            sa.event.listen(worker._engine, "before_cursor_execute", lambda *given: asked(given[2]))
            handle = await DBOS.start_workflow_async(known, [])
            assert await handle.get_result() == [[7, 7], [3, 3]]
            assert sum("operation_outputs" in statement for statement in asked) == 2
            with engine.link.reading() as connection:
                rows = connection.execute(sa.select(steps).order_by(steps.c.function_id)).all()
            assert [(row.function_name, row.output) for row in rows] == [("part 3", "[3, 3]"), ("part 7", "[7, 7]")]
            theirs = await DBOS.list_workflow_steps_async(handle.workflow_id)
            assert [(step["function_id"], step["function_name"], step["output"]) for step in theirs] == [
                (3, "part 3", [3, 3]),
                (7, "part 7", [7, 7]),
            ]
            with engine.link.writing() as connection:
                values = {"inputs": json.dumps({"args": [[3, 7]], "kwargs": {}})}
                connection.execute(sa.update(inputs).values(values))
                connection.execute(sa.update(workflows).values(status="PENDING"))
                connection.execute(sa.delete(outputs))
            again = await DBOS.resume_workflow_async(handle.workflow_id)
            assert await again.get_result(polling_interval_sec=0.05) == [[7, 7], [3, 3]]
            assert sorted(seen) == [3, 7]

    asyncio.run(main())


def test_the_tables_are_as_we_know_them(url: str):
    """A run has a row in three tables, with the columns that we look at, and the format that we have pinned."""
    registry, go_on = Registry("r"), asyncio.Event()

    @registry.task
    async def only() -> int:
        await go_on.wait()
        return 1

    ours = chain(registry, name="ours", tags={"a": "b"})

    async def main() -> None:
        async with opened(url, ours) as engine:
            run = await ours.start()
            with engine.link.reading() as connection:
                row = connection.execute(sa.select(workflows).where(workflows.c.workflow_uuid == run.id)).one()
                given = connection.execute(sa.select(inputs.c.inputs)).scalar_one()
            assert (row.status, row.name, row.executor_id, row.recovery_attempts) == ("PENDING", RUN, engine.process, 1)
            assert row.owner_xid is not None
            attributes = row.attributes if isinstance(row.attributes, dict) else json.loads(row.attributes)
            assert attributes == {"chain": "ours", "tags": {"a": "b"}, "started_by": None}
            assert json.loads(given)["args"][0]["names"] == ["only"]
            go_on.set()
            await run.wait()
            with engine.link.reading() as connection:
                row = connection.execute(sa.select(workflows).where(workflows.c.workflow_uuid == run.id)).one()
                output = connection.execute(sa.select(outputs.c.output)).scalar_one()
            assert (row.status, row.completed_at is not None) == ("SUCCESS", True)
            assert json.loads(output)["state"] == "succeeded"
            assert VERSION == "fastapi-chain/1"

    asyncio.run(main())


@pytest.mark.parametrize("first", [0, 1])
def test_whoever_has_lost_a_run_cannot_write(url: str, first: int):
    """Once a run is taken from its process, no outcome of that process is kept: the task runs again, and only that counts.

    The same process may have taken it up again; it does not matter which of the two is done first.
    """
    registry, go_on = Registry("r"), [asyncio.Event(), asyncio.Event()]
    calls = Log()

    @registry.task
    async def only() -> int:
        number = len(calls)
        calls(number)
        await go_on[number].wait()
        return number

    ours = chain(registry, name="ours")

    async def main() -> None:
        async with opened(url, ours) as engine:
            run = await ours.start()
            await until(lambda: len(calls) == 1)
            engine.keeper.let_go([engine.process])
            await until(lambda: len(calls) == 2)
            assert len(engine.runner._active) == 2
            go_on[first].set()
            await until(lambda: len(engine.runner._active) == 1)
            go_on[1 - first].set()
            await until(lambda: not engine.runner._active)
            await run.wait(20)
            found = await engine._desk.look_soon(run.id)
            assert found is not None
            assert (found.state, found.slots[0]) == ("succeeded", 1)
            assert run[only] == 1

    asyncio.run(main())


def test_a_run_that_kills_its_process_ends(url: str, monkeypatch: pytest.MonkeyPatch):
    """After so many recoveries a run is `failed`, with the reason."""
    registry = Registry("r")

    @registry.task
    async def only() -> int:
        return 1

    ours = chain(registry, name="ours")

    async def main() -> None:
        async with opened(url, ours, worker=False) as engine:
            run = await ours.start()
            with engine.link.writing() as connection:
                connection.execute(sa.update(workflows).values(recovery_attempts=100))
        async with opened(url, ours) as engine:
            found = await engine.find(run.id)
            assert found is not None
            await found.wait(20)
            assert (found.state, found.reason) == ("failed", "recovery_limit")
            await found.retry("start")
            await found.wait(20)
            assert found.state == "succeeded"

    asyncio.run(main())


def test_json_and_nothing_else():
    """Errors come back as words, and nothing in the database makes anybody run code."""
    serializer = JsonSerializer()
    assert serializer.name() == "fastapi_chain_json"
    assert serializer.deserialize(serializer.serialize({"a": [1, None, "é"]})) == {"a": [1, None, "é"]}
    error = serializer.deserialize(serializer.serialize(ValueError("bad")))
    assert isinstance(error, EngineError)
    assert error.problem() == "ValueError: bad"
    with pytest.raises(TypeError, match="object is no JSON"):
        serializer.serialize(object())


def test_a_new_sqlite_has_a_clock_of_its_own(url: str, monkeypatch: pytest.MonkeyPatch):
    """DBOS asks SQLite for `unixepoch('subsec')`, which an older one does not know; ours stands in for it, and only there."""
    if not url.startswith("sqlite"):
        assert database_module.Database(url).name == "postgresql"
        return
    monkeypatch.setattr(sqlite3, "sqlite_version_info", (3, 42, 0))

    async def main() -> None:
        async with opened(url, worker=False) as engine:
            with engine.link.reading() as connection:
                assert connection.exec_driver_sql("SELECT 1").scalar_one() == 1

    asyncio.run(main())


def test_sqlite_tells_parts_of_seconds(tmp_path: Path):
    """DBOS counts the starts of a second by `strftime('%s', 'now')`, which knows whole seconds; all else is as it was."""
    engine = database_module.Database(f"sqlite:///{tmp_path}/clock.db").connect(patient=True, size=1)
    with engine.connect() as connection:
        before = time.time()
        now = connection.exec_driver_sql("SELECT strftime('%s', 'now')").scalar_one()
        assert before <= now <= time.time()
        text = connection.exec_driver_sql("SELECT strftime('%Y-%m', '2026-11-24', '+1 month')").scalar_one()
        assert text == "2026-12"
    engine.dispose()


def test_whoever_counts_a_queue_on_sqlite_is_alone(tmp_path: Path):
    """DBOS counts what runs before it takes more: nobody else may do so in between, or a limit would not hold for all."""
    engine = database_module.Database(f"sqlite:///{tmp_path}/counted.db").connect(patient=True, size=1)
    with engine.connect() as connection:
        connection.exec_driver_sql("CREATE TABLE workflow_status (queue_name TEXT)")
        connection.commit()
        connection.exec_driver_sql("SELECT queue_name FROM workflow_status")
        driver: Any = connection.connection.driver_connection
        assert not driver.in_transaction
        connection.exec_driver_sql("SELECT count(*) FROM workflow_status WHERE queue_name = 'x'")
        assert driver.in_transaction
        connection.exec_driver_sql("SELECT count(*) FROM workflow_status WHERE queue_name = 'y'")
    engine.dispose()
