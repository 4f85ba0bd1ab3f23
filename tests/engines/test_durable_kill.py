"""Processes that are killed at any moment lose no run, repeat no finished task, and spoil no result."""

import asyncio
import os
import random
import time
from collections.abc import Iterator

import pytest
import sqlalchemy as sa

from fastapi_chain.engines.durable.database import Database, steps, workflows
from fastapi_chain.engines.durable.names import RUN
from tests.engines.crash import Trace, expected, results
from tests.engines.zygote import Zygote, wait_for

KILLS = int(os.environ.get("FASTAPI_CHAIN_KILLS", "30"))
"""How many processes are killed for each database."""

SEEDS = list(range(8))


@pytest.fixture(scope="module")
def zygote() -> Iterator[Zygote]:
    made = Zygote()
    yield made
    made.close()


def unfinished(url: str) -> int:
    database = Database(url)
    engine = database.connect(patient=True, size=1)
    with engine.connect() as connection:
        query = sa.select(sa.func.count()).select_from(workflows)
        active = workflows.c.status.in_(("ENQUEUED", "PENDING", "DELAYED"))
        count = connection.execute(query.where(workflows.c.name == RUN, active)).scalar_one()
    engine.dispose()
    return count


def repeated(url: str, trace: Trace) -> list[tuple[str, str]]:
    """Return the tasks that began again although their outcome was kept already."""
    database = Database(url)
    engine = database.connect(patient=True, size=1)
    with engine.connect() as connection:
        completed = sa.literal_column("completed_at_epoch_ms")
        rows = connection.execute(sa.select(steps.c.workflow_uuid, steps.c.function_name, completed)).all()
    engine.dispose()
    kept = {(row[0], row[1]): row[2] / 1000 for row in rows}
    begun = [
        (moment, (run, task))
        for moment, _, what, *words in trace.lines()
        if what == "begin"
        for run, task, _ in [words]
    ]
    return [call for moment, call in begun if moment > kept.get(call, moment) + 0.005]


@pytest.mark.timeout(60 + 8 * KILLS)
def test_random_graphs_under_random_kills(url: str, tmp_path, zygote: Zygote):
    """No accepted run is lost, no task runs again whose outcome is kept, and all results are right.

    Each call has one idempotency key of its own, however often it begins.
    """
    path = str(tmp_path / "trace")
    trace = Trace(path)
    random_ = random.Random(url)
    killed = 0
    workers: list[int] = []
    try:
        while killed < KILLS or unfinished(url):
            if killed < KILLS and unfinished(url) < 10:
                pid = zygote.start("tests.engines.crash:enqueue", url, SEEDS, path, 24)
                wait_for(lambda: not _alive(pid), "all runs to be stored")
            while len(workers) < 2:
                workers.append(zygote.start("tests.engines.crash:work", url, SEEDS, path, 4))
            pid = random_.choice(workers)
            wait_for(lambda: any(line[1] == pid for line in trace.lines()), "a worker to be up")
            if killed < KILLS:
                time.sleep(random_.random() * 0.6)
                zygote.kill(pid)
                workers.remove(pid)
                killed += 1
            else:
                time.sleep(0.05)
    finally:
        for pid in workers:
            zygote.kill(pid)
    accepted = [(line[3], line[4]) for line in trace.lines() if line[2] == "accepted"]
    ended = asyncio.run(results(url, SEEDS, path, [run for run, _ in accepted]))
    wanted = [expected(SEEDS[i]) | {"spread": [0, 1, 2], "item": [1, 2, 3]} for _, i in accepted]
    assert ended == [("succeeded", outputs) for outputs in wanted]
    assert repeated(url, trace) == []
    calls = [tuple(line[3:]) for line in trace.lines() if line[2] == "begin"]
    assert len(set(calls)) == len({call[:2] for call in calls}) == len({call[2] for call in calls}) < len(calls)
    assert killed == KILLS
    assert len(accepted) >= 24


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
