"""A server that only takes runs, and a worker that runs them: `fastapi-chain worker`."""

from tests.acceptance.fleet.stage import Fleet


def test_a_run_is_followed_from_a_server_that_does_not_run_it(fleet: Fleet):
    """Changes, progress and log lines come while it runs; whoever comes back misses nothing and hears nothing twice."""
    web, worker = fleet.server(WORKER="no"), fleet.worker(NAME="stand-in")
    web.up(), worker.up()
    run = web.start("watched")
    fleet.until("begin", run)
    follower = web.follow(run)
    assert follower.until("run.snapshot")["state"] in {"queued", "running"}
    assert follower.until("task.log")["text"] == "first of 1"
    assert follower.until("task.progress")["text"] == "half"
    last = follower.events[-1][0]
    follower.close()
    fleet.tell("go on")
    again = web.follow(run, last_event_id=str(last))
    assert again.until("run.finished")["state"] == "succeeded"
    assert again.rest() == []
    numbers = [number for number, _, _ in again.events]
    assert numbers == list(range(last + 1, last + 1 + len(numbers)))
    assert [name for _, name, _ in again.events if name == "run.snapshot"] == []
    assert web.follow(run, last_event_id=str(numbers[-1])).status == 204
    # The lifespan has opened the pool of the worker, and what is overridden there holds there.
    assert web.get(f"/chains/runs/{run}/result").body == {"second": "2 open stand-in"}
    assert {line[1] for line in fleet.told("begin", run)} == {worker.pid}
    worker.stop()
    assert worker.says("lifespan ends")


def test_a_run_elsewhere_is_cancelled_and_retried(fleet: Fleet):
    """From the server that took it; the retry runs only what had failed."""
    web, worker = fleet.server(WORKER="no"), fleet.worker()
    web.up(), worker.up()
    run = web.start("endless")
    fleet.until("begin", run)
    assert web.post(f"/chains/runs/{run}/cancel").status == 202
    assert web.finished(run)["state"] == "cancelled"
    assert [line[1] for line in fleet.told("cancelled", run)] == [worker.pid]
    assert web.post(f"/chains/runs/{run}/cancel").status == 409
    failed = web.start("broken", 5)
    assert web.finished(failed)["state"] == "failed"
    # The server has not seen the exception; the pages say where it was raised all the same.
    assert "raise ConnectionError(&#34;no answer&#34;)" in web.get(f"/ui/runs/{failed}?task=broken&tab=error").body
    fleet.tell("mended")
    assert web.post(f"/chains/runs/{failed}/retry", {"from": "failed"}).status == 202
    assert web.finished(failed)["state"] == "succeeded"
    assert web.get(f"/chains/runs/{failed}/result").body == {"broken": 6}
    assert [line[4] for line in fleet.told("begin", failed)] == ["kept", "broken", "broken"]
    assert web.post(f"/chains/runs/{failed}/retry", {"from": "start"}).status == 202
    fleet.until("begin", failed, 5)
    assert web.finished(failed)["state"] == "succeeded"


def test_a_task_with_a_queue_goes_to_its_workers(fleet: Fleet):
    """`--queues gpu`: no other worker calls it, and its run goes on where it was."""
    web, plain = fleet.server(WORKER="no"), fleet.worker()
    web.up(), plain.up()
    run = web.start("special", 4)
    other = web.start("quick")
    assert web.finished(other)["state"] == "succeeded"
    assert web.run(run)["done"] is False
    gpu = fleet.worker("--queues", "gpu").up()
    assert web.finished(run)["state"] == "succeeded"
    assert web.get(f"/chains/runs/{run}/result").body == {"special": 40}
    assert [line[1] for line in fleet.told("begin", run)] == [gpu.pid]
