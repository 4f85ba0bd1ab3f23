"""The layer of `install`: it sees the app begin and end, and every request really end."""

import asyncio
import functools
from collections.abc import Callable
from contextlib import asynccontextmanager
from typing import Annotated, Any

import pytest
from fastapi import APIRouter, Depends, FastAPI, Request, Response, WebSocket
from fastapi.testclient import TestClient
from starlette.middleware.base import BaseHTTPMiddleware

from fastapi_chain import (
    Chain,
    DeclarationError,
    DecoratorOrder,
    DuplicateChain,
    EngineUnavailable,
    InvalidChain,
    MissingInput,
    Registry,
    Run,
    chain,
    install,
    task,
)
from fastapi_chain.declare import source_of
from fastapi_chain.engines.here import engine_here

Log = list[str]


def slow(log: Log, name: str = "run") -> Chain:
    """Return a chain that takes a few turns of the loop."""
    registry = Registry(name)

    @registry.task
    async def work() -> None:
        log.append(f"{name} begins")
        await asyncio.sleep(0.01)
        log.append(f"{name} ends")

    return chain(work, name=name)


async def nothing() -> None:
    """Be an endpoint."""


def test_an_engine_that_does_not_answer_an_endpoint_is_an_error_of_that_endpoint():
    """What the endpoint itself asks of an engine, it answers for: the app's own 500, and the server is told."""
    app = FastAPI()

    @app.post("/x")
    async def endpoint() -> None:
        raise EngineUnavailable(engine="postgresql", reason="connection refused")

    install(app)
    with TestClient(app, raise_server_exceptions=False) as client:
        assert (client.post("/x").status_code, client.post("/x").text) == (500, "Internal Server Error")
    with TestClient(app) as client, pytest.raises(EngineUnavailable):
        client.post("/x")


# --- from start-up to shutdown


def test_runs_begin_after_all_start_up_code_and_end_before_all_shutdown_code():
    """Whatever the order in which routers with a lifespan of their own are included."""
    log: Log = []

    def saying(name: str) -> Callable[[Any], Any]:
        @asynccontextmanager
        async def lifespan(app: Any):
            log.append(f"{name} opens")
            await engine_here().idle()  # it is not that of the runtime yet
            yield
            log.append(f"{name} closes")

        return lifespan

    app = FastAPI(lifespan=saying("pool"))
    early = APIRouter(lifespan=saying("early"))
    app.include_router(early)
    install(app)
    late = APIRouter(lifespan=saying("late"))
    late.post("/")(slow(log)(nothing))
    app.include_router(late)
    with TestClient(app) as client:
        assert client.post("/").status_code == 200
        log.append("leave")
    opened, used, closed = log[:3], log[3:-3], log[-3:]
    assert sorted(opened) == ["early opens", "late opens", "pool opens"]
    assert sorted(used) == ["leave", "run begins", "run ends"]
    assert sorted(closed) == ["early closes", "late closes", "pool closes"]


def test_a_request_returns_before_its_run_ends():
    """A run outlives its request."""
    log: Log = []
    app = FastAPI()
    install(app)
    app.post("/")(slow(log)(nothing))
    with TestClient(app) as client:
        client.post("/")
        assert "run ends" not in log
    assert log == ["run begins", "run ends"]


def test_a_response_that_starts_a_run_names_it():
    """Responses without a run do not."""
    ids: list[str] = []
    app = FastAPI()
    install(app)

    @task
    async def note(run: Run) -> None:
        ids.append(run.id)

    @app.post("/")
    @chain(note)
    async def endpoint(response: Response, status: int = 200) -> None:
        response.status_code = status
        response.headers["x-mine"] = "kept"

    with TestClient(app) as client:
        answers = [client.post("/"), client.post("/?status=404"), client.post("/?status=many"), client.get("/docs")]
    assert [answer.headers.get("x-chain-run") for answer in answers] == [ids[0], None, None, None]
    assert answers[0].headers["x-mine"] == "kept"
    assert len(ids) == 1


def test_clients_may_come_and_go():
    """Each brings a loop of its own."""
    log: Log = []
    app = FastAPI()
    install(app)
    app.post("/")(slow(log)(nothing))
    for _ in range(3):
        with TestClient(app) as client:
            client.post("/")
            client.post("/")
        log.append("left")
        # Between two lives, a run ends with its request.
        assert TestClient(app).post("/").status_code == 200
        log.append("alone")
    assert log.count("run ends") == 9
    assert [i for i, line in enumerate(log) if line == "left"] == [4, 12, 20]
    assert log[5:8] == ["run begins", "run ends", "alone"]


def test_a_run_of_a_request_that_ends_when_the_app_has_shut_down_ends_with_it(server):
    """Nobody else would wait for it."""
    log: Log = []
    app = FastAPI()
    install(app)
    going: dict[str, asyncio.Event] = {}

    @app.post("/")
    @slow(log)
    async def endpoint() -> None:
        going["in"].set()
        await going["on"].wait()

    async def main() -> None:
        going.update({"in": asyncio.Event(), "on": asyncio.Event()})
        async with server(app).lifespan() as client:
            request = asyncio.create_task(client.post("/"))
            await going["in"].wait()
        log.append("shut down")
        going["on"].set()
        assert (await request).status == 200
        log.append("answered")

    asyncio.run(main())
    assert log == ["shut down", "run begins", "run ends", "answered"]


def test_an_app_without_a_lifespan_runs_its_chains_within_the_request():
    """A bare TestClient starts no lifespan; neither does `--lifespan off`."""
    log: Log = []
    app = FastAPI()
    install(app)
    app.post("/")(slow(log)(nothing))
    client = TestClient(app)
    assert client.post("/").headers["x-chain-run"]
    assert log == ["run begins", "run ends"]


def test_two_apps_on_one_loop_keep_their_runs_apart(server):
    """One with `install`, one without: the requests of the other do not go to the runtime of the one."""
    log: Log = []
    first, second = FastAPI(), FastAPI()
    runtime = install(first)
    first.post("/")(slow(log, "first")(nothing))
    second.post("/")(slow(log, "second")(nothing))

    async def main() -> None:
        async with server(first).lifespan() as client:
            await server(second).post("/")
            assert log == ["second begins", "second ends"]
            await client.post("/")
            assert len(runtime.engine._active) == 1

    asyncio.run(main())
    assert log == ["second begins", "second ends", "first begins", "first ends"]


def test_websockets_pass():
    """They start nothing by themselves; a chain may be started by hand."""
    log: Log = []
    app = FastAPI()
    install(app)
    tell = slow(log)

    @app.websocket("/ws")
    async def endpoint(socket: WebSocket) -> None:
        await socket.accept()
        run = await tell.start()
        await socket.send_text(run.chain)
        await socket.close()

    with TestClient(app) as client, client.websocket_connect("/ws") as socket:
        assert socket.receive_text() == "run"
    assert log == ["run begins", "run ends"]


# --- mounted apps


@pytest.mark.parametrize("inner_too", [False, True])
def test_a_mounted_app_uses_the_runtime_around_it(inner_too):
    """Its own lifespan never runs, and so neither does its own runtime."""
    log: Log = []
    app, sub = FastAPI(), FastAPI()
    sub.post("/")(slow(log)(nothing))
    app.mount("/sub", sub)
    runtime = install(app)
    if inner_too:
        install(sub)
    with TestClient(app) as client:
        answer = client.post("/sub/")
        assert len(runtime.engine._active) == 1
    assert len(answer.headers.get_list("x-chain-run")) == 1
    assert log == ["run begins", "run ends"]


def test_an_app_with_a_runtime_may_be_mounted_in_one_without():
    """Nothing begins it, so its runs end with their requests."""
    log: Log = []
    app, sub = FastAPI(), FastAPI()
    sub.post("/")(slow(log)(nothing))
    install(sub)
    app.mount("/sub", sub)
    with TestClient(app) as client:
        assert client.post("/sub/").status_code == 200
        assert log == ["run begins", "run ends"]


def test_dependencies_of_a_mounted_apps_tasks_are_its_own():
    """Overrides of the app around it do not count."""
    seen: Log = []

    def session() -> str:
        return "real"

    @task
    async def note(db: Annotated[str, Depends(session)]) -> None:
        seen.append(db)

    app, sub = FastAPI(), FastAPI()
    sub.post("/")(chain(note)(nothing))
    app.mount("/sub", sub)
    install(app)
    app.dependency_overrides[session] = lambda: "of the app"
    with TestClient(app) as client:
        client.post("/sub/")
    sub.dependency_overrides[session] = lambda: "of the mounted app"
    with TestClient(app) as client:
        client.post("/sub/")
    assert seen == ["real", "of the mounted app"]


# --- where it stands


def test_it_stands_outside_of_all_middlewares_whenever_they_are_added():
    """So that what they commit is there when the run begins."""
    log: Log = []
    app = FastAPI()

    def committing(name: str) -> Callable[..., Any]:
        async def dispatch(request: Request, call_next: Any) -> Any:
            response = await call_next(request)
            log.append(f"{name} commits")
            return response

        return dispatch

    app.add_middleware(BaseHTTPMiddleware, dispatch=committing("early"))
    install(app)
    app.add_middleware(BaseHTTPMiddleware, dispatch=committing("late"))
    app.post("/")(slow(log)(nothing))
    with TestClient(app) as client:
        client.post("/")
    assert log == ["early commits", "late commits", "run begins", "run ends"]


def test_install_wants_an_app():
    """A router is none."""
    router = APIRouter()
    with pytest.raises(DeclarationError) as caught:
        install(router)
    assert str(caught.value) == (
        f"install() got {router!r}, which is no app.\nFix: install(app)\nSee errors#declaration"
    )


def test_install_comes_before_the_first_request():
    """Afterwards the app is closed for layers."""
    app = FastAPI()
    TestClient(app).get("/")
    with pytest.raises(DeclarationError) as caught:
        install(app)
    assert str(caught.value) == (
        "install() comes too late: the app has started already.\n"
        "Fix: call install(app) where the app is made\n"
        "See errors#declaration"
    )


# --- what is wrong at start-up


def start(app: FastAPI) -> InvalidChain:
    """Return the error with which *app* does not start."""
    said: Log = []

    async def receive() -> Any:
        return {"type": "lifespan.startup"}

    async def send(message: Any) -> None:
        said.append(message["type"])

    install(app)
    with pytest.raises(InvalidChain) as caught:
        asyncio.run(app({"type": "lifespan", "asgi": {}, "state": {}}, receive, send))
    assert said == ["lifespan.startup.failed"]
    return caught.value


def test_all_problems_of_all_chains_are_told_at_start_up():
    """With the routes as clients know them; the server does not start, and the user's lifespan ends in good order."""
    log: Log = []

    @asynccontextmanager
    async def lifespan(app: Any):
        log.append("opens")
        try:
            yield
        finally:
            log.append("closes")

    app = FastAPI(lifespan=lifespan)
    router = APIRouter(prefix="/v1")

    @task
    async def note(order_id: int) -> None: ...

    @task
    async def tell(user: str) -> None: ...

    @router.put("/orders")
    @chain(note)
    async def first(n: int) -> None: ...

    @app.get("/orders")
    @chain(tell)
    def second(m: int) -> None: ...

    @app.delete("/orders")
    @chain(note, name="second")
    async def third(order_id: int) -> None: ...

    app.include_router(router)
    problems = start(app).problems
    assert sorted(problem.problem() for problem in problems) == [
        "GET /orders starts a chain that needs 'user', but endpoint 'second' does not give it.",
        "PUT /v1/orders starts a chain that needs 'order_id', but endpoint 'first' does not give it.",
        "Two chains of this app are both called 'second'.",
    ]
    assert {type(problem) for problem in problems} == {MissingInput, DuplicateChain}
    assert log == ["opens", "closes"]


@pytest.mark.parametrize("is_async", [True, False])
def test_a_chain_above_its_route_is_found_at_start_up(is_async):
    """FastAPI has registered the bare function, so nothing would ever tell."""

    @task
    async def note() -> None: ...

    app, sub = FastAPI(), FastAPI()
    router = APIRouter(prefix="/orders")

    def endpoint() -> None: ...

    async def async_endpoint() -> None: ...

    fn = async_endpoint if is_async else endpoint
    chain(note)(router.post("/new")(fn))
    sub.include_router(router, prefix="/v1")
    app.mount("/sub", sub)
    (problem,) = start(app).problems
    assert isinstance(problem, DecoratorOrder)
    word = "async def async_endpoint" if is_async else "def endpoint"
    assert str(problem) == (
        '@chain stands above @app.post("/sub/v1/orders/new"), so FastAPI registered the bare function '
        "and the chain would never start.\n"
        f"    endpoint   {fn.__name__}   {source_of(fn).at}\n"
        f"Fix: put @chain(...) directly above `{word}`, below @app.post\n"
        "See errors#decorator-order"
    )


@pytest.mark.parametrize("included", [True, False], ids=["in another app", "in a router of no app"])
def test_an_endpoint_may_start_its_chain_in_another_app_alone(included):
    """Whoever has put the chain on it somewhere, and not here, wants that; so may two apps share all of a router."""

    @task
    async def note() -> None: ...

    async def endpoint() -> None: ...

    shared, chained, bare = APIRouter(), APIRouter(), APIRouter()
    shared.post("/shared")(chain(note, name="shared")(endpoint))
    chained.post("/x")(chain(note, name="chained")(endpoint))
    bare.post("/x")(endpoint)
    apps = [FastAPI(), FastAPI(), FastAPI()]
    if included:
        apps[0].include_router(chained)
    for app in apps[:2]:
        app.include_router(shared)
    apps[2].include_router(bare)
    # The one without the chain is the first to start.
    for app in reversed(apps):
        install(app)
        with TestClient(app) as client:
            assert client.post("/shared").status_code == (404 if app is apps[2] else 200)


def test_a_chain_that_a_route_leads_to_is_in_order():
    """Through decorators, as a method, as a partial; and a function may be an endpoint with and without its chain."""
    seen: Log = []

    @task
    async def note() -> None:
        seen.append("run")

    app = FastAPI()

    def passed(fn: Any) -> Any:
        @functools.wraps(fn)
        async def pass_on(**given: Any) -> Any:
            return await fn(**given)

        return pass_on

    class View:
        @chain(note, name="view")
        async def create(self) -> None: ...

    async def endpoint() -> None: ...

    app.post("/decorated")(passed(chain(note, name="decorated")(endpoint)))
    app.post("/method")(View().create)
    app.post("/partial")(functools.partial(chain(note, name="partial")(View.create.__wrapped__), View()))
    app.post("/with")(chain(note, name="with")(endpoint))
    app.post("/without")(endpoint)
    install(app)
    with TestClient(app) as client:
        for path in ("decorated", "method", "partial", "with", "without"):
            assert client.post(f"/{path}").status_code == 200
    assert seen == ["run"] * 4
