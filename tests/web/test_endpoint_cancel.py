"""Servers that wait no longer, clients that go away, runs that are called off."""

import asyncio
from collections.abc import Coroutine
from typing import Any

import pytest
from fastapi import BackgroundTasks, Depends, FastAPI
from fastapi.responses import StreamingResponse
from fastapi.testclient import TestClient

from fastapi_chain import Registry, Run, chain, install

Log = list[str]


class Story(Log):
    """A log whose first line can be waited for."""

    def __init__(self) -> None:
        super().__init__()
        self.begun = asyncio.Event()

    def append(self, line: str) -> None:
        super().append(line)
        self.begun.set()


async def cancelled(log: Story, sending: Coroutine[Any, Any, Any]) -> None:
    """Send a request, and cancel it as soon as something has happened."""
    request = asyncio.create_task(sending)
    await log.begun.wait()
    request.cancel()
    with pytest.raises(asyncio.CancelledError):
        await request


def waiting(log: Log, **options: Any) -> Any:
    """Return a chain that waits until it is cancelled."""
    registry = Registry("waiting")

    @registry.task
    async def wait(run: Run) -> None:
        log.append("begins")
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            log.append("cancelled")
            raise

    return chain(wait, **options)


@pytest.mark.parametrize("start", ["commit", "response"])
def test_without_install_a_run_ends_with_its_request_if_the_server_waits_no_longer(server, start):
    """`--timeout-graceful-shutdown` cancels requests."""
    log = Story()
    held: list[Run] = []
    app = FastAPI()

    @app.post("/")
    @waiting(log, start=start)
    async def endpoint(run: Run) -> None:
        held.append(run)

    asyncio.run(cancelled(log, server(app).post("/")))
    assert log == ["begins", "cancelled"]
    assert held[0].state == "cancelled"


def test_a_request_that_is_cancelled_in_a_background_task_takes_its_run_along(server):
    """A run that starts with the response may be under way by then."""
    log = Story()
    app = FastAPI()

    @app.post("/")
    @waiting(log, start="response")
    async def endpoint(background: BackgroundTasks) -> None:
        background.add_task(asyncio.sleep, 60)

    asyncio.run(cancelled(log, server(app).post("/")))
    assert log == ["begins", "cancelled"]


def test_a_request_that_is_cancelled_before_its_endpoint_has_returned_starts_nothing(server):
    """Its dependencies roll back, too."""
    log = Story()
    app = FastAPI()

    async def session():
        try:
            yield
        except asyncio.CancelledError:
            log.append("rolls back")
            raise

    @app.post("/", dependencies=[Depends(session)])
    @waiting(log)
    async def endpoint() -> None:
        log.append("endpoint")
        await asyncio.sleep(60)

    asyncio.run(cancelled(log, server(app).post("/")))
    assert log == ["endpoint", "rolls back"]


@pytest.mark.parametrize("start", ["commit", "response"])
@pytest.mark.parametrize("installed", [False, True])
def test_a_run_that_is_cancelled_does_not_disturb_its_request(start, installed):
    """Without `install` they share an asyncio task."""
    log: Log = []
    registry = Registry("cancelling")

    @registry.task
    async def cancel(run: Run) -> None:
        await run.cancel()
        await asyncio.sleep(60)

    app = FastAPI()

    @app.post("/")
    @chain(cancel, start=start)
    async def endpoint(run: Run, background: BackgroundTasks) -> None:
        log.append("endpoint")

    if installed:
        install(app)
    with TestClient(app) as client:
        assert [client.post("/").status_code for _ in range(2)] == [200, 200]
    assert log == ["endpoint"] * 2


@pytest.mark.parametrize("installed", [False, True])
def test_a_client_that_goes_away_does_not_stop_what_it_has_asked_for(installed):
    """The stream ends early, but its request ends well, and so the run starts; as background tasks do."""
    log: Log = []
    registry = Registry("telling")

    @registry.task
    async def tell() -> None:
        log.append("run")

    app = FastAPI()

    async def session():
        yield
        log.append("commit")

    @app.post("/", dependencies=[Depends(session)])
    @chain(tell)
    async def endpoint() -> StreamingResponse:
        async def pieces():
            yield "a"
            await asyncio.sleep(60)

        return StreamingResponse(pieces())

    if installed:
        install(app)

    asyncio.run(leave_early(app))
    assert sorted(log) == ["commit", "run"]


async def leave_early(app: FastAPI) -> None:
    """Send a request, and go away as soon as the first piece of its answer is there."""
    gone = asyncio.Event()
    asked = iter([{"type": "http.request", "body": b"", "more_body": False}])

    async def receive() -> Any:
        for message in asked:
            return message
        await gone.wait()
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        if message.get("body") == b"a":
            gone.set()

    scope = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": "POST",
        "path": "/",
        "query_string": b"",
        "headers": [],
    }
    await app(scope, receive, send)
