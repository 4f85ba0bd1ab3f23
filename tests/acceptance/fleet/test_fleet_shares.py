"""What holds for all processes together: limits, rates, keys, and times at which chains start."""

import threading
from collections import Counter

import sqlalchemy as sa

from fastapi_chain.engines.durable.database import Database, keys, workflows
from fastapi_chain.engines.durable.names import RUN, TASK
from tests.acceptance.fleet.stage import Answer, Fleet, Member


def rows(url: str, query: sa.Select[tuple[object, ...]]) -> list[tuple[object, ...]]:
    """Ask the database."""
    engine = Database(url).connect(patient=True, size=1)
    with engine.connect() as connection:
        found = [tuple(row) for row in connection.execute(query)]
    engine.dispose()
    return found


def test_a_limit_holds_for_two_workers(fleet: Fleet):
    """At most two calls run at any moment, by the times that they wrote down; and both workers take part."""
    web, workers = fleet.server(WORKER="no"), [fleet.worker() for _ in range(2)]
    for one in (web, *workers):
        one.up()
    runs = [web.start("limited") for _ in range(16)]
    for run in runs:
        assert web.finished(run)["state"] == "succeeded"
    begins, ends = fleet.told("begin"), fleet.told("end")
    assert len(begins) == len(ends) == 16
    changes = sorted([*((line[0], 1) for line in begins), *((line[0], -1) for line in ends)])
    now = most = 0
    for _, change in changes:
        now += change
        most = max(most, now)
    assert most == 2
    assert {line[1] for line in begins} == {worker.pid for worker in workers}


def test_a_rate_holds_for_two_workers(fleet: Fleet):
    """Five calls in a second, by the times at which the database says that they began."""
    web, workers = fleet.server(WORKER="no"), [fleet.worker() for _ in range(2)]
    for one in (web, *workers):
        one.up()
    runs = [web.start("rated") for _ in range(16)]
    for run in runs:
        assert web.finished(run)["state"] == "succeeded"
    query = sa.select(workflows.c.started_at_epoch_ms).where(workflows.c.name == TASK)
    begun = sorted(int(str(moment)) / 1000 for (moment,) in rows(fleet.url, query))
    assert len(begun) == 16
    assert all(later - earlier > 0.9 for earlier, later in zip(begun, begun[5:], strict=False))


def at_once(servers: list[Member], path: str, **headers: str) -> list[Answer]:
    """Send the same request eight times at once, to each server in turn."""
    barrier = threading.Barrier(8)
    answers: list[Answer] = []

    def send(server: Member) -> None:
        barrier.wait()
        answers.append(server.post(path, **headers))

    threads = [threading.Thread(target=send, args=(servers[i % 2],)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return answers


def test_one_run_for_each_key_of_two_servers(fleet: Fleet):
    """Sent to both at once: `key=` gives all the same run; of one `Idempotency-Key`, all but the first wait or replay."""
    servers = [fleet.server(), fleet.server()]
    for server in servers:
        server.up()
    for n in range(5):
        answers = at_once(servers, f"/keyed?n={n}")
        assert {answer.status for answer in answers} == {202}
        (run,) = {answer.headers["x-chain-run"] for answer in answers}
        assert servers[0].finished(run)["state"] == "succeeded"
        assert len(fleet.told("begin", run)) == 1
    for n in range(5):
        answers = at_once(servers, "/asked_once?n=1", idempotency_key=f"key {n}")
        counts = Counter(answer.status for answer in answers)
        assert set(counts) <= {202, 409}
        assert counts[202] >= 1
        (run,) = {answer.headers["x-chain-run"] for answer in answers if answer.status == 202}
        assert len([answer for answer in answers if "idempotent-replay" not in answer.headers]) == 1 + counts[409]
        again = servers[1].post("/asked_once?n=1", idempotency_key=f"key {n}")
        while again.status in {409, 503}:
            # The first answer is on its way into the database.
            again = servers[1].post("/asked_once?n=1", idempotency_key=f"key {n}")
        assert (again.status, again.headers["x-chain-run"]) == (202, run)
        assert servers[1].finished(run)["state"] == "succeeded"
        assert len(fleet.told("begin", run)) == 1
    assert len(fleet.told("begin")) == 10


def test_one_of_many_starts_a_chain_at_its_times(fleet: Fleet):
    """Each time has exactly one run, though two workers and two servers look at the clock."""
    members = [fleet.server(CRON="* * * * * *").up() for _ in range(2)]
    members += [fleet.worker(CRON="* * * * * *").up() for _ in range(2)]
    begun = Counter(line[3] for line in fleet.until("begin", count=5))
    for member in members:
        member.stop()
    made = rows(fleet.url, sa.select(keys.c.key, keys.c.run))
    times = [key for key, _ in made]
    assert all(str(time).startswith("cron ") for time in times)
    assert len(set(times)) == len(times) >= 5
    # None begins twice, and none is there that has no time of its own.
    assert set(begun.values()) == {1}
    runs = {run for (run,) in rows(fleet.url, sa.select(workflows.c.workflow_uuid).where(workflows.c.name == RUN))}
    assert set(begun) <= runs == {run for _, run in made}
