"""The programs that "Migrating" begins with do what the page says of them.

What FastAPI does is run in every environment. The other libraries are in an environment of their own, which
tools/jobs.py makes for the job `peers`: they ask for dozens of packages that nothing else here needs.
"""

import asyncio

import pytest
from fastapi.testclient import TestClient

from tests.docs.pages import load


def test_background_tasks(capsys: pytest.CaptureFixture[str]) -> None:
    """Tasks run before the commit; the first exception drops what comes after it, and the commit."""
    app = load("before/background").app
    with TestClient(app) as client:
        assert client.post("/orders", json={"id": 1, "address": "ann@example.com"}).json() == {"ok": True}
    printed = ["order 1 is stored", "charging order 1", "receipt for order 1", "commit"]
    assert capsys.readouterr().out.splitlines() == printed
    with TestClient(app, raise_server_exceptions=False) as client:
        assert client.post("/orders", json={"id": 2, "address": ""}).json() == {"ok": True}
    assert capsys.readouterr().out.splitlines() == ["order 2 is stored", "charging order 2"]


def test_taskflow(capsys: pytest.CaptureFixture[str]) -> None:
    """The endpoint answers with the id of a task, and the task runs."""
    pytest.importorskip("fastapi_taskflow", reason="is run by the job `peers`")
    with TestClient(load("before/taskflow").app) as client:
        assert client.post("/signup?address=ann").json()["task_id"]
    assert capsys.readouterr().out == "welcome, ann\n"


def test_canvas(capsys: pytest.CaptureFixture[str]) -> None:
    """The body of the chord runs with the results of its group."""
    pytest.importorskip("celery", reason="is run by the job `peers`")
    load("before/canvas").receive(["https://a.example", "https://b.example"])
    assert capsys.readouterr().out == "2 deliveries\n"


def test_pipeline() -> None:
    """The pipeline gives the list that the chain prints."""
    pytest.importorskip("taskiq_pipelines", reason="is run by the job `peers`")
    assert asyncio.run(load("before/pipeline").number()) == [3, 3, 3, 3]
