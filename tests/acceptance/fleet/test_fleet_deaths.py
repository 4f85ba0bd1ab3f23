"""Workers that are frozen, and tasks that kill whoever runs them."""

import signal
import sqlite3
import time

import sqlalchemy as sa

from fastapi_chain.engines.durable.database import Database, workflows
from tests.acceptance.fleet.stage import Fleet, Member
from tests.engines.zygote import alive, wait_for


def freeze(fleet: Fleet, member: Member) -> None:
    """Stop *member* where it stands; but not in the middle of writing to SQLite, where nobody else can write then."""
    member.signal(signal.SIGSTOP)
    while is_locked(fleet.url):
        member.signal(signal.SIGCONT)
        time.sleep(0.01)
        member.signal(signal.SIGSTOP)


def is_locked(url: str) -> bool:
    """Whether a SQLite file has been locked for longer than those who run need."""
    kind, _, path = url.partition(":///")
    if kind != "sqlite":
        return False
    connection = sqlite3.connect(path, timeout=1, isolation_level=None)
    try:
        connection.execute("BEGIN IMMEDIATE")
    except sqlite3.OperationalError:
        return True
    finally:
        connection.close()
    return False


def test_a_frozen_worker_cannot_write_when_it_goes_on(fleet: Fleet):
    """Another one has taken its run over and ended it; the frozen one does no harm, and then works as before."""
    web = fleet.server(WORKER="no", TIME_TO_LIVE="2").up()
    frozen = fleet.worker(TIME_TO_LIVE="2").up()
    run = web.start("frozen")
    fleet.until("begin", run)
    other = fleet.worker(TIME_TO_LIVE="2").up()
    freeze(fleet, frozen)
    begun = fleet.until("begin", run, 2)
    assert [line[1] for line in begun] == [frozen.pid, other.pid]
    fleet.tell("go on")
    assert web.finished(run)["state"] == "succeeded"
    frozen.signal(signal.SIGCONT)
    wait_for(lambda: frozen.pid in {line[1] for line in fleet.told("woke", run)}, "the frozen worker")
    # It is one of the two that work again, and by then it has tried to write.
    other.stop()
    after = web.start("quick")
    assert web.finished(after)["state"] == "succeeded"
    assert [line[1] for line in fleet.told("begin", after)] == [frozen.pid]
    assert [line[1:] for line in fleet.told("write", run)] == [[other.pid, "write", run, other.pid]]
    assert web.get(f"/chains/runs/{run}/result").body == {"write": other.pid}
    assert len(fleet.told("begin", run)) == 2
    frozen.stop()


def test_a_worker_that_is_told_to_stop_hands_over(fleet: Fleet):
    """What does not end in time is begun by another one at once: nobody waits for the stopped one to look dead."""
    web, first = fleet.server(WORKER="no").up(), fleet.worker(DRAIN="0.2").up()
    run = web.start("frozen")
    fleet.until("begin", run)
    other = fleet.worker().up()
    first.stop()
    ended = time.time()
    assert first.says("lifespan ends")
    begun = fleet.until("begin", run, 2)
    assert [line[1] for line in begun] == [first.pid, other.pid]
    assert begun[1][0] - ended < 10
    fleet.tell("go on")
    assert web.finished(run)["state"] == "succeeded"
    assert [line[1:] for line in fleet.told("write", run)] == [[other.pid, "write", run, other.pid]]


def test_a_task_that_kills_its_process_ends(fleet: Fleet):
    """It is tried so often, each time in a process that dies; then the run is `failed`, and the next process lives."""
    web = fleet.server(WORKER="no").up()
    run = web.start("poison")
    first = fleet.worker()
    wait_for(lambda: not alive(first.pid), "the death of the first worker")
    _pretend(fleet.url, run, 18)
    deaths = 1
    while not web.run(run)["done"]:
        worker = fleet.worker()
        wait_for(lambda pid=worker.pid: not alive(pid) or web.run(run)["done"], "a death, or the end of the run")
        deaths += not alive(worker.pid)
    found = web.run(run)
    assert (found["state"], found["reason"]) == ("failed", "recovery_limit")
    assert deaths == len(fleet.told("begin", run)) > 2
    assert alive(worker.pid)
    assert web.finished(web.start("quick"))["state"] == "succeeded"


def _pretend(url: str, run: str, recoveries: int) -> None:
    """Let a run have been carried on so often already."""
    engine = Database(url).connect(patient=True, size=1)
    with engine.begin() as connection:
        query = sa.update(workflows).where(workflows.c.workflow_uuid == run)
        connection.execute(query.values(recovery_attempts=recoveries))
    engine.dispose()
