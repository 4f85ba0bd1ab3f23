"""A client written from the contract alone (`docs/reference/http.md`) drives a real uvicorn."""

import http.client
import json
import re
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import quote

import pytest

UVICORN = ("uvicorn", "contract:app", "--port", "{port}", "--root-path", "/shop")
"""Behind a proxy that serves the app at /shop, and cuts that off."""

CHAINS = "/api/chains"
TYPE = "urn:fastapi-chain:problem:"


class Answer:
    """A response."""

    def __init__(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.status = status
        self.headers = headers
        self.body = body

    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def problem(self) -> str:
        """What kind of problem it is."""
        assert self.headers["content-type"] == "application/problem+json"
        said = self.json()
        assert (said["status"], sorted(said)) == (self.status, ["detail", "status", "title", "type"])
        return str(said["type"].removeprefix(TYPE))

    @property
    def links(self) -> dict[str, str]:
        """Its links, by relation."""
        return {rel: url for url, rel in re.findall(r'<([^>]*)>; rel="(\w+)"', self.headers["link"])}


class Client:
    """What somebody would write who has read the page."""

    def __init__(self, port: int, user: str = "ann") -> None:
        self.port = port
        self.user = user

    def _send(self, method: str, url: str, body: object, headers: dict[str, str]) -> http.client.HTTPConnection:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=40)
        sent = None if body is None else json.dumps(body)
        given = {
            "authorization": self.user,
            **({} if body is None else {"content-type": "application/json"}),
            **headers,
        }
        # This is what the proxy does.
        connection.request(method, url.removeprefix("/shop"), sent, {k.replace("_", "-"): v for k, v in given.items()})
        return connection

    def ask(self, method: str, url: str, body: object = None, **headers: str) -> Answer:
        connection = self._send(method, url, body, headers)
        try:
            answer = connection.getresponse()
            return Answer(answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read())
        finally:
            connection.close()

    def get(self, url: str, **headers: str) -> Answer:
        return self.ask("GET", url, **headers)

    def post(self, url: str, body: object = None, **headers: str) -> Answer:
        return self.ask("POST", url, body, **headers)

    def events(self, url: str, **headers: str) -> Iterator[tuple[str, int, Any]]:
        """Yield name, number and data of each event, to the end of the stream."""
        connection = self._send("GET", url, None, headers)
        try:
            answer = connection.getresponse()
            assert (answer.status, answer.getheader("content-type", "").partition(";")[0]) == (200, "text/event-stream")
            fields: dict[str, str] = {}
            for line in iter(answer.readline, b""):
                name, _, value = line.decode().rstrip("\n").partition(": ")
                if name:
                    fields[name] = value
                elif "data" in fields:
                    yield fields["event"], int(fields["id"]), json.loads(fields["data"])
                    fields = {}
        finally:
            connection.close()

    def finished(self, url: str) -> Any:
        """Return the run when it is done."""
        while True:
            run = self.get(url, prefer="wait=20").json()
            if run["done"]:
                return run


@pytest.fixture
def ann(serve: Callable[..., Any]) -> Client:
    """A client of a server of its own."""
    return Client(serve(*UVICORN).port)


def test_a_run_from_its_start_to_its_result(ann):
    """Headers of the start, ETag, long poll, events with resume, one task, one item, the result; links all the way."""
    started = ann.post("/orders?n=3")
    assert (started.status, started.json(), started.headers["retry-after"]) == (202, {"n": 3}, "1")
    at = started.headers["location"]
    run_id = started.headers["x-chain-run"]
    assert at == f"/shop{CHAINS}/runs/{run_id}"
    assert started.links == {"status": at, "monitor": f"{at}/events"}

    # The events, in a thread, until the run ends.
    told: list[tuple[str, int, Any]] = []
    begun = threading.Event()

    def follow() -> None:
        for event in ann.events(started.links["monitor"]):
            told.append(event)
            begun.set()

    thread = threading.Thread(target=follow)
    thread.start()
    begun.wait(20)

    known = ann.get(at)
    assert (known.status, known.headers["retry-after"]) == (200, "1")
    while known.json()["counts"].get("running") != 1 or known.json()["tasks"][2]["state"] != "running":
        known = ann.get(at, prefer="wait=20", if_none_match=known.headers["etag"])
    same = ann.get(at, if_none_match=known.headers["etag"])
    assert (same.status, same.body) == (304, b"")
    waited = ann.get(at, if_none_match=known.headers["etag"], prefer="wait=1")
    assert (waited.status, waited.headers["preference-applied"]) == (304, "wait=1")
    early = ann.get(f"{at}/result")
    assert (early.status, early.headers["retry-after"], early.json()["id"]) == (202, "1", run_id)
    assert ann.post(f"{at}/retry").problem == "run-active"

    with ThreadPoolExecutor(1) as pool:
        woken = pool.submit(ann.get, at, if_none_match=known.headers["etag"], prefer="respond-async, wait=30")
        ann.post("/open")
        assert woken.result(20).status == 200
    run = ann.finished(at)
    assert (run["state"], run["progress"], run["counts"]) == ("succeeded", 1.0, {"succeeded": 3})
    assert {key: run[key] for key in ("chain", "tags", "started_by", "error")} == {
        "chain": "order",
        "tags": {"n": "3", "owner": "ann"},
        "started_by": "POST /orders",
        "error": None,
    }
    assert run["links"] == {
        "self": at,
        "events": f"{at}/events",
        "result": f"{at}/result",
        "cancel": None,
        "retry": f"{at}/retry",
    }
    thread.join(20)
    names = [name for name, _, _ in told]
    assert (names[0], names[-1]) == ("run.snapshot", "run.finished")
    assert set(names[1:-1]) <= {"task.changed", "task.progress", "task.log"}
    numbers = [number for _, number, _ in told]
    assert numbers == sorted(set(numbers))
    assert numbers[-1] == run["seq"]
    assert told[-1][2] == {"state": "succeeded", "reason": None, "counts": {"succeeded": 3}}

    # Over: the end again for who has not seen it, nothing for who has.
    assert [name for name, _, _ in ann.events(f"{at}/events")] == ["run.snapshot", "run.finished"]
    assert ann.get(f"{at}/events", last_event_id=str(run["seq"])).status == 204
    assert ann.get(f"{at}/events?after={run['seq']}").status == 204

    task = ann.get(f"{at}/tasks/ship").json()
    assert [item["name"] for item in task["items"]] == ["ship[0]", "ship[1]", "ship[2]"]
    item = ann.get(f"{at}/tasks/{quote('ship[1]')}").json()
    assert (item["attempt"], item["max_attempts"], item["progress"]["text"]) == (2, 2, "line 1")
    failed, succeeded = item["attempts"]
    assert (failed["n"], failed["state"], succeeded["n"], succeeded["state"]) == (1, "failed", 2, "succeeded")
    assert succeeded["backoff_ms"] >= 0
    result = ann.get(f"{at}/result")
    assert result.json() == {"card": {"owner": "30", "number": "**********"}}
    assert "secret words" not in json.dumps(run) + json.dumps(item)


def test_runs_of_others_are_not_there(ann):
    """Hidden runs are not found, whatever is asked of them; without a name nothing is answered at all."""
    at = ann.post("/orders?n=1").headers["location"]
    bob = Client(ann.port, "bob")
    for method, tail in (("GET", ""), ("GET", "/events"), ("GET", "/tasks/card"), ("GET", "/result")):
        assert bob.ask(method, f"{at}{tail}").problem == "run-not-found"
    for tail in ("/cancel", "/retry"):
        assert bob.post(f"{at}{tail}").problem == "run-not-found"
    assert bob.get(f"{CHAINS}/runs").json() == {"items": [], "next_cursor": None}
    assert ann.get(f"{CHAINS}/runs/nope").problem == "run-not-found"
    assert Client(ann.port, "").get(at).status == 401
    for site in ("cross-site", "same-site"):
        assert ann.post(f"{at}/cancel", sec_fetch_site=site).problem == "cross-site"
    assert ann.post(f"{at}/cancel", sec_fetch_site="same-origin").status == 202


def test_a_failure_is_mended_in_place(ann):
    """Skipped tasks name the root cause; retry runs what failed and what came after; a key is one run."""
    started = ann.post("/payments?n=1")
    # Somebody has set one already.
    assert started.headers["location"] == "/mine"
    at = started.links["status"]
    run = ann.finished(at)
    assert (run["state"], run["counts"]) == ("failed", {"succeeded": 1, "failed": 1, "skipped": 2})
    assert run["error"]["task"] == "charge"
    by_name = {task["name"]: task for task in run["tasks"]}
    assert by_name["receipt"]["skip_reason"] == "upstream_failed: charge"
    assert by_name["nothing"]["skip_reason"] == "skip: nothing to do"
    assert (by_name["reserve"]["undone"], by_name["reserve"]["undo_error"]["task"]) == (False, "reserve")
    assert "secret words" not in json.dumps(run)
    assert ann.get(f"{at}/result").problem == "values-not-exposed"
    assert ann.post(f"{at}/cancel").problem == "run-finished"
    assert ann.post(f"{at}/retry", {"from": "nope"}).problem == "task-not-found"

    # The same key: the same run, and a failed one keeps it.
    assert ann.post("/payments?n=1").headers["x-chain-run"] == run["id"]
    ann.post("/mend")
    again = ann.post(run["links"]["retry"], {"from": "failed"})
    assert (again.status, again.headers["location"]) == (202, at)
    run = ann.finished(at)
    assert (run["state"], run["counts"]) == ("succeeded", {"succeeded": 3, "skipped": 1})
    assert [len(task["attempts"]) for task in run["tasks"] if task["name"] == "charge"] == [2]
    assert ann.get("/calls").json() == ["reserve", "charge", "take_back", "charge", "receipt"]
    assert ann.post(f"{at}/retry").problem == "nothing-to-retry"
    assert ann.post(f"{at}/retry", {"from": "charge"}).status == 202
    ann.finished(at)
    assert ann.post(f"{at}/retry", {"from": "start"}).status == 202
    ann.finished(at)
    assert ann.get("/calls").json()[5:] == ["charge", "receipt", "reserve", "charge", "receipt"]


def test_requests_that_are_repeated_or_too_many(ann):
    """Idempotency keys, a full queue, and a request whose commit fails."""
    first = ann.post("/orders?n=1", idempotency_key="k")
    again = ann.post("/orders?n=1", idempotency_key="k")
    assert (again.status, again.body, again.headers["idempotent-replay"]) == (202, first.body, "true")
    for name in ("x-chain-run", "location", "link"):
        assert again.headers[name] == first.headers[name]
    assert ann.post("/orders?n=2", idempotency_key="k").problem == "idempotency-key-reused"

    # Not 202, so only the id is told; the body has what the endpoint has put there.
    started = ann.post("/waits")
    assert (started.status, "location" in started.headers, "link" in started.headers) == (201, False, False)
    assert started.json()["id"] == started.headers["x-chain-run"]
    full = ann.post("/waits")
    assert (full.status, full.headers["retry-after"], full.problem) == (429, "1", "chain-busy")
    at = started.json()["url"]
    assert ann.post(f"{at}/cancel").status == 202
    run = ann.finished(at)
    assert (run["state"], run["reason"], run["tasks"][0]["cancel_reason"]) == (
        "cancelled",
        "run_cancelled",
        "run_cancelled",
    )
    assert ann.post("/waits").status == 201

    # The response was out when the commit failed.
    promised = ann.post("/fails")
    assert promised.status == 202
    while (gone := ann.get(promised.headers["location"])).status == 200:
        assert gone.json()["state"] == "queued"
    assert gone.problem == "run-not-found"
    assert gone.json()["detail"].startswith(f"Run '{promised.headers['x-chain-run']}' has never begun: ")


def test_lists_and_definitions(ann):
    """Pages by cursor, every filter, the chains and their graphs, and the document that says all of it."""
    ids = [ann.post(f"/orders?n={n}").headers["x-chain-run"] for n in range(7)]
    seen: list[str] = []
    url = f"{CHAINS}/runs?state=&chain=order&tag=&q=&since=&limit=3&cursor="
    sizes = []
    while True:
        page = ann.get(url).json()
        sizes.append(len(page["items"]))
        seen += [run["id"] for run in page["items"]]
        if page["next_cursor"] is None:
            break
        url = f"{CHAINS}/runs?chain=order&limit=3&cursor={page['next_cursor']}"
    assert (seen, sizes) == (ids[::-1], [3, 3, 1])
    (found,) = ann.get(f"{CHAINS}/runs?tag=n:4&state=running&since=2020-01-01T00:00:00Z").json()["items"]
    assert (found["id"], found["tasks"][1]["items"]) == (ids[4], None)
    assert ann.get(f"{CHAINS}/runs?q={ids[2][:12]}").json()["items"][0]["id"] == ids[2]
    assert ann.get(f"{CHAINS}/runs?cursor=x").problem == "cursor"

    chains = ann.get(f"{CHAINS}/chains").json()["items"]
    assert [one["name"] for one in chains] == ["order", "payment", "wait", "fails"]
    one = ann.get(chains[0]["links"]["self"]).json()
    assert one == chains[0]
    assert [task["name"] for task in one["tasks"]] == ["lines", "ship", "card"]
    assert [run["chain"] for run in ann.get(one["links"]["runs"]).json()["items"]] == ["order"] * 7
    graph = ann.get(one["links"]["graph"]).json()
    assert [(edge["source"], edge["target"]) for edge in graph["edges"]] == [("lines", "ship"), ("ship", "card")]
    assert b"lines" in ann.get(f"{CHAINS}/chains/order/graph.mmd").body
    assert ann.get(f"{CHAINS}/chains/nope").problem == "chain-not-found"

    document = ann.get("/openapi.json").json()
    operation = document["paths"]["/orders"]["post"]
    assert operation["x-fastapi-chain"]["chain"] == "order"
    linked = operation["responses"]["202"]["links"]["run"]["operationId"]
    assert document["paths"][f"{CHAINS}/runs/{{run_id}}"]["get"]["operationId"] == linked
