"""chain_client: test clients that wait for the runs that they start."""

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from typing import Annotated, Any

import pytest
from fastapi import BackgroundTasks, Depends, FastAPI, HTTPException, WebSocket

from fastapi_chain import EngineError, chain, install, task
from fastapi_chain.testing import chain_client

life: list[str] = []


def make_app(*, installed: bool) -> FastAPI:
    """Return an app with a chain, with or without `install`."""
    life.clear()

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        life.append("up")
        yield
        life.append("down")

    app = FastAPI(lifespan=lifespan)
    if installed:
        install(app)

    @task
    async def save(order: str) -> str:
        await asyncio.sleep(0.01)
        return f"saved {order}"

    @task(after=[save])
    def notify(save: str) -> str:
        return f"told of {save}"

    @app.post("/orders/{order}", status_code=202)
    @chain(notify)
    async def place(order: str, background: BackgroundTasks) -> dict[str, str]:
        background.add_task(life.append, "background")
        if order == "bad":
            raise HTTPException(422)
        return {"order": order}

    @app.get("/")
    async def home() -> str:
        return "home"

    @app.websocket("/ws")
    async def socket(websocket: WebSocket) -> None:
        await websocket.accept()
        await websocket.send_text("hello")
        await websocket.close()

    return app


@pytest.mark.parametrize("installed", [False, True])
def test_a_request_returns_when_its_run_is_over(installed: bool) -> None:
    """The run of a response has finished, with `install` and without; the app has started up and shut down."""
    with chain_client(make_app(installed=installed)) as client:
        response = client.post("/orders/pen")
        assert (response.status_code, response.json()) == (202, {"order": "pen"})
        run = client.run_of(response)
        assert run.outputs == {"save": "saved pen", "notify": "told of saved pen"}
        assert client.post("/orders/bad").status_code == 422
        second = client.run_of(client.post("/orders/ink"))
        assert client.runs == [run, second]
        if installed:
            assert response.headers["x-chain-run"] == run.id
    assert life == ["up", "background", "background", "down"]


@pytest.mark.parametrize("installed", [False, True])
def test_the_same_async(installed: bool) -> None:
    """`async with` gives a client to await."""

    async def main() -> None:
        async with chain_client(make_app(installed=installed)) as client:
            response = await client.post("/orders/pen")
            run = client.run_of(response)
            assert run["notify"] == "told of saved pen"
            assert client.runs == [run]

    asyncio.run(main())
    assert life == ["up", "background", "down"]


def test_a_request_that_started_nothing() -> None:
    """To ask for a run that there is not fails the test with the request and its status."""
    with chain_client(make_app(installed=True), raise_server_exceptions=False) as client:
        with pytest.raises(AssertionError) as caught:
            client.run_of(client.post("/orders/bad"))
        assert str(caught.value) == "the request started no run: POST /orders/bad -> 422"
        response = client.get("/")
        del response.headers["x-chain-test"]
        with pytest.raises(AssertionError, match="GET / -> 200"):
            client.run_of(response)


@pytest.mark.parametrize("calm", [False, True])
def test_a_run_that_came_to_nothing(calm: bool) -> None:
    """A response may have told of a run that is dropped because a dependency then fails to commit: there is none."""

    def session() -> Iterator[str]:
        yield "session"
        raise OSError("no commit")

    class Calm:
        """Lets no error of a request out, as some middleware does."""

        def __init__(self, app: Any) -> None:
            self.app = app

        async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
            with suppress(OSError):
                await self.app(scope, receive, send)

    app = FastAPI()
    install(app)
    if calm:
        app.add_middleware(Calm)

    @task
    async def save() -> None:
        pass

    @app.post("/orders", status_code=202)
    @chain(save)
    async def endpoint(session: Annotated[str, Depends(session)]) -> None:
        pass

    with chain_client(app, raise_server_exceptions=False) as client:
        response = client.post("/orders")
        with pytest.raises(AssertionError, match="the request started no run"):
            client.run_of(response)
        assert client.runs == []


def test_other_connections_pass_through() -> None:
    """WebSockets work as without it."""
    with chain_client(make_app(installed=True)) as client, client.websocket_connect("/ws") as socket:
        assert socket.receive_text() == "hello"


def test_runs_may_go_on_meanwhile() -> None:
    """With wait=False requests do not wait for their runs, but leaving the client does."""
    app = FastAPI()
    install(app)
    go = threading.Event()

    @task
    def wait() -> str:
        assert go.wait(10)
        return "done"

    @app.post("/wait", status_code=202)
    @chain(wait)
    async def endpoint() -> None:
        pass

    with chain_client(app, wait=False) as client:
        run = client.run_of(client.post("/wait"))
        assert run.state in {"queued", "running"}
        go.set()
    assert run.state == "succeeded"


def test_a_mounted_app_has_its_client_once() -> None:
    """An app inside of another one is seen by the outer client only."""
    inner = make_app(installed=True)
    outer = FastAPI()
    outer.mount("/inner", inner)
    install(outer)
    with chain_client(outer) as client:
        assert client.run_of(client.post("/inner/orders/pen")).state == "succeeded"


@pytest.mark.parametrize(
    ("app", "text"),
    [
        ("silent", "the app has no lifespan"),  # it returns without an answer
        ("failed", "no database"),  # it says why
        ("raising", "boom"),  # it raises
    ],
)
def test_an_app_that_does_not_start_up(app: str, text: str) -> None:
    """An async client says why its app does not start."""

    async def silent(scope: Any, receive: Any, send: Any) -> None:
        pass

    async def failed(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "lifespan.startup.failed", "message": "no database"})

    async def raising(scope: Any, receive: Any, send: Any) -> None:
        raise ValueError("boom")

    async def main() -> None:
        chosen = {"silent": silent, "failed": failed, "raising": raising}[app]
        with pytest.raises((RuntimeError, ValueError), match=text):
            async with chain_client(chosen):
                pass

    asyncio.run(main())


@pytest.mark.parametrize("options", [{"key": "{order}"}, {"idempotent": True}])
def test_what_needs_install_fails_as_it_does_when_the_app_is_served(options: dict[str, Any]) -> None:
    """A test client is no more lenient than a server."""
    alone, installed = FastAPI(), FastAPI()
    install(installed)

    @task
    async def save(order: str) -> None: ...

    for app in (alone, installed):

        @app.post("/orders/{order}", status_code=202)
        @chain(save, **options)
        async def place(order: str) -> None: ...

    with chain_client(alone) as client, pytest.raises(EngineError, match=r"which needs install\(\)"):
        client.post("/orders/1")
    with chain_client(installed) as client:
        assert client.run_of(client.post("/orders/1")).state == "succeeded"
