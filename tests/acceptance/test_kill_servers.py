"""Servers that are killed while requests come in.

What was answered with 202 is run, and polling tells the truth about the rest.
"""

import http.client
import json
import os
import random
import socket
import threading
from collections import Counter
from typing import Any

import pytest

from tests.engines.crash import Trace
from tests.engines.postgres_server import free_port
from tests.engines.zygote import Zygote, wait_for

KILLS = int(os.environ.get("FASTAPI_CHAIN_SERVER_KILLS", "6"))
"""How many servers are killed for each database."""


def ask(port: int, method: str, path: str) -> tuple[int, Any] | None:
    """Return status and body; None if the server has died meanwhile."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    try:
        connection.request(method, path)
        response = connection.getresponse()
        return response.status, json.loads(response.read() or b"null")
    except (OSError, http.client.HTTPException, json.JSONDecodeError):
        return None
    finally:
        connection.close()


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


class Server:
    """A server that a test starts and kills."""

    def __init__(self, zygote: Zygote, url: str, path: str, *, worker: bool = True) -> None:
        self.port = free_port()
        self._zygote = zygote
        self.pid = zygote.start("tests.acceptance.durable_app:serve", url, path, self.port, worker)
        wait_for(lambda: listens(self.port), "a server to listen")

    def kill(self) -> None:
        self._zygote.kill(self.pid)


@pytest.mark.timeout(120 + 10 * KILLS)
def test_what_was_accepted_is_run_though_servers_are_killed(url: str, tmp_path, zygote: Zygote):
    """No run of a 202 is lost.

    Only one whose request was not over may end as `failed`, reason `unconfirmed`, and then it has not begun.
    """
    path = str(tmp_path / "trace")
    random_ = random.Random(url)
    accepted: dict[str, str] = {}
    for _ in range(KILLS):
        server = Server(zygote, url, path)
        stopped = threading.Event()

        def post(port: int, stopped: threading.Event) -> None:
            while not stopped.is_set():
                kind = random_.choice(["plain", "committing"])
                answer = ask(port, "POST", f"/{kind}?number=1")
                if answer is not None and answer[0] == 202:
                    accepted[answer[1]["run"]] = kind

        clients = [threading.Thread(target=post, args=(server.port, stopped)) for _ in range(4)]
        for client in clients:
            client.start()
        before = len(accepted)
        wait_for(lambda: len(accepted) > before + 20 * random_.random(), "some requests to be accepted")
        server.kill()
        stopped.set()
        for client in clients:
            client.join()
    server = Server(zygote, url, path)
    found: dict[str, Any] = {}
    wait_for(lambda: not _unfinished(server.port, accepted, found), "all runs to end")
    server.kill()
    ends = Counter((kind, found[run]["state"], found[run]["reason"]) for run, kind in accepted.items())
    assert set(ends) <= {
        ("plain", "succeeded", None),
        ("committing", "succeeded", None),
        ("committing", "failed", "unconfirmed"),
    }
    assert ends["plain", "succeeded", None] > KILLS
    assert all(found[run]["outputs"] in ({"first": 2, "second": 4}, {}) for run in accepted)
    begun = {line[3] for line in Trace(path).lines()}
    assert not any(found[run]["state"] == "failed" and run in begun for run in accepted)


def _unfinished(port: int, accepted: dict[str, str], found: dict[str, Any]) -> bool:
    for run in accepted:
        if run not in found:
            answer = ask(port, "GET", f"/find/{run}")
            assert answer is not None
            assert answer[0] == 200, f"run {run} of a 202 is lost"
            if answer[1]["state"] in {"queued", "running"}:
                return True
            found[run] = answer[1]
    return False


def test_two_servers_and_two_workers_share_the_work(url: str, tmp_path, zygote: Zygote):
    """Two servers that run nothing take 200 runs.

    Two workers share them, and when one is killed the other one carries on.
    """
    path = str(tmp_path / "trace")
    servers = [Server(zygote, url, path, worker=False) for _ in range(2)]
    workers = [Server(zygote, url, path) for _ in range(2)]
    runs = []
    for i in range(200):
        answer = ask(servers[i % 2].port, "POST", f"/{'plain' if i % 3 else 'committing'}?number={i}")
        assert answer is not None
        assert answer[0] == 202
        runs.append(answer[1]["run"])
        if i == 150:
            workers[0].kill()
    found: dict[str, Any] = {}
    wait_for(lambda: not _unfinished(servers[0].port, dict.fromkeys(runs, ""), found), "all runs to end")
    for one in (*servers, workers[1]):
        one.kill()
    assert [found[run] for run in runs] == [
        {"state": "succeeded", "reason": None, "outputs": {"first": i + 1, "second": 2 * (i + 1)}} for i in range(200)
    ]
    shares = Counter(line[1] for line in Trace(path).lines())
    assert set(shares) == {worker.pid for worker in workers}
    assert min(shares.values()) > 20
