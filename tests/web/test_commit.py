"""A run starts when its request is over and committed, and not at all for a request that failed."""

import asyncio
import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import fastapi
import pytest
from fastapi import APIRouter, BackgroundTasks, Depends, FastAPI, HTTPException, Request, Response
from fastapi.exceptions import ResponseValidationError
from fastapi.responses import JSONResponse, StreamingResponse
from fastapi.routing import APIRoute
from fastapi.testclient import TestClient
from starlette.background import BackgroundTask
from starlette.middleware.base import BaseHTTPMiddleware

from fastapi_chain import Chain, Registry, Run, chain, install

VERSION = tuple(int(number) for number in fastapi.__version__.split(".")[:2])

CLOSES_LAST = VERSION >= (0, 118)
"""Whether FastAPI closes dependencies after the response."""

with_scopes = pytest.mark.skipif(VERSION < (0, 121), reason="Depends(scope=...) came with FastAPI 0.121")

Log = list[str]
Build = Callable[[FastAPI, Chain, Log], None]


class Boom(Exception):
    """What goes wrong."""


class Saying:
    """The outermost of a user's middlewares; it says when the response begins and when it has been sent."""

    def __init__(self, app: Any, log: Log) -> None:
        self.app = app
        self.log = log

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        async def saying(message: Any) -> None:
            await send(message)
            if message["type"] == "http.response.start":
                self.log.append(str(message["status"]))
            if message["type"] == "http.response.body" and not message.get("more_body", False):
                self.log.append("sent")

        await self.app(scope, receive, saying)


def telling(log: Log, **options: Any) -> Chain:
    """Return a chain that says when it runs."""
    registry = Registry("telling")

    @registry.task
    async def tell() -> None:
        log.append("run")

    return chain(tell, **options)


def closing(log: Log, name: str = "close", **options: Any) -> Any:
    async def dependency():
        yield name
        log.append(name)

    return Depends(dependency, **options)


def failing(error: Exception, **options: Any) -> Any:
    async def dependency():
        yield
        raise error

    return Depends(dependency, **options)


@contextmanager
def serving(app: FastAPI, mode: str) -> Iterator[TestClient]:
    """Serve *app* without `install`, with it, or with it but without a lifespan; every run has ended at the end."""
    if mode != "alone":
        install(app)
    client = TestClient(app, raise_server_exceptions=False)
    if mode == "installed":
        with client:
            yield client
    else:
        yield client


in_every_mode = pytest.mark.parametrize("mode", ["alone", "installed", "without lifespan"])


def post(mode: str, build: Build, **options: Any) -> Log:
    """Return what happens when one request is sent to the app that *build* makes."""
    log: Log = []
    app = FastAPI()
    app.add_middleware(Saying, log=log)
    build(app, telling(log, **options), log)
    with serving(app, mode) as client:
        client.post("/")
    return log


# --- when


@in_every_mode
@pytest.mark.parametrize("is_async", [True, False])
def test_a_run_starts_when_everything_of_its_request_is_over(mode, is_async):
    """The response is out, background tasks have run, the dependencies of endpoint, route and routers are closed."""

    def build(app: FastAPI, tell: Chain, log: Log) -> None:
        router = APIRouter(dependencies=[closing(log, "router")])

        def endpoint(background: BackgroundTasks, own: str = closing(log, "own")) -> None:
            background.add_task(log.append, "background")

        async def async_endpoint(background: BackgroundTasks, own: str = closing(log, "own")) -> None:
            background.add_task(log.append, "background")

        router.post("/", dependencies=[closing(log, "route")])(tell(async_endpoint if is_async else endpoint))
        app.include_router(router, dependencies=[closing(log, "include")])

    log = post(mode, build)
    assert log[-1] == "run"
    assert sorted(log) == ["200", "background", "include", "own", "route", "router", "run", "sent"]


@in_every_mode
def test_a_run_can_start_with_the_response(mode):
    """`start="response"` waits for nothing else: here a background task and a dependency wait for the run."""
    log: Log = []
    registry = Registry("early")
    ran: dict[str, asyncio.Event] = {}

    @registry.task
    async def tell() -> None:
        log.append("run")
        ran["event"].set()

    async def session():
        ran["event"] = asyncio.Event()
        yield
        log.append("close")

    app = FastAPI()
    app.add_middleware(Saying, log=log)

    @app.post("/", dependencies=[Depends(session)])
    @chain(tell, start="response")
    async def endpoint(background: BackgroundTasks) -> None:
        async def wait() -> None:
            await ran["event"].wait()
            log.append("background")

        background.add_task(wait)

    with serving(app, mode) as client:
        client.post("/")
    if CLOSES_LAST:
        assert log == ["200", "sent", "run", "background", "close"]
    else:
        assert log == ["close", "200", "sent", "run", "background"]


@in_every_mode
def test_a_run_that_starts_with_the_response_is_waited_for_when_the_request_is_over(mode):
    """Its request is not over before it, or its app does not shut down."""
    log: Log = []
    registry = Registry("slow")

    @registry.task
    async def tell() -> None:
        await asyncio.sleep(0.01)
        log.append("run")

    app = FastAPI()

    @app.post("/")
    @chain(tell, start="response")
    async def endpoint() -> None: ...

    with serving(app, mode) as client:
        assert client.post("/").status_code == 200
    assert log == ["run"]


@in_every_mode
@pytest.mark.parametrize("start", ["commit", "response"])
def test_a_run_starts_after_a_stream_has_been_sent(mode, start):
    """A response may take its time."""

    def build(app: FastAPI, tell: Chain, log: Log) -> None:
        @app.post("/")
        @tell
        async def endpoint() -> StreamingResponse:
            def pieces() -> Iterator[str]:
                yield "a"
                log.append("piece")
                yield "b"

            return StreamingResponse(pieces())

    assert post(mode, build, start=start) == ["200", "piece", "sent", "run"]


@in_every_mode
@pytest.mark.parametrize("start", ["commit", "response"])
@pytest.mark.parametrize("own", [True, False])
def test_background_tasks_are_those_of_plain_fastapi(mode, start, own):
    """FastAPI drops all other background tasks for a response that brings one of its own; a chain leaves it at that."""

    def build(app: FastAPI, decorate: Callable[[Any], Any], log: Log) -> None:
        @app.post("/")
        @decorate
        async def endpoint(background: BackgroundTasks) -> Response:
            background.add_task(log.append, "injected")
            return Response(background=BackgroundTask(log.append, "own") if own else None)

    plain: Log = []
    app = FastAPI()
    build(app, lambda fn: fn, plain)
    TestClient(app).post("/")
    log = post(mode, build, start=start)
    assert "run" in log
    assert [line for line in log if line not in {"200", "sent", "run"}] == plain


@in_every_mode
@pytest.mark.parametrize("layers", [1, 3])
def test_middlewares_of_the_user_change_nothing(mode, layers):
    """`BaseHTTPMiddleware` runs the app in a task of its own."""

    async def pass_on(request: Request, call_next: Any) -> Any:
        return await call_next(request)

    def build(app: FastAPI, tell: Chain, log: Log) -> None:
        for _ in range(layers):
            app.add_middleware(BaseHTTPMiddleware, dispatch=pass_on)

        @app.post("/")
        @tell
        async def endpoint(own: str = closing(log)) -> None: ...

    log = post(mode, build)
    assert log.index("run") > log.index("close")
    assert log.count("run") == 1


# --- not at all


def raises(app: FastAPI, tell: Chain, log: Log) -> None:
    @app.post("/")
    @tell
    async def endpoint() -> None:
        raise Boom


def raises_in_a_thread(app: FastAPI, tell: Chain, log: Log) -> None:
    @app.post("/")
    @tell
    def endpoint() -> None:
        raise HTTPException(409)


def answers_an_error(app: FastAPI, tell: Chain, log: Log) -> None:
    @app.post("/")
    @tell
    async def endpoint() -> Response:
        return JSONResponse({}, 409)


def answers_badly(app: FastAPI, tell: Chain, log: Log) -> None:
    @app.post("/", response_model=int)
    @tell
    async def endpoint() -> Any:
        return "no number"


def answers_badly_and_is_handled(app: FastAPI, tell: Chain, log: Log) -> None:
    @app.exception_handler(ResponseValidationError)
    async def handle(request: Request, error: Exception) -> Response:
        return Response(status_code=500)

    answers_badly(app, tell, log)


def answers_badly_and_is_forgiven(app: FastAPI, tell: Chain, log: Log) -> None:
    @app.exception_handler(ResponseValidationError)
    async def handle(request: Request, error: Exception) -> Response:
        return Response(status_code=200)

    answers_badly(app, tell, log)


knows_handled_errors = pytest.mark.skipif(not CLOSES_LAST, reason="before 0.118 nobody sees an error that is handled")


def wants_no_run(app: FastAPI, tell: Chain, log: Log) -> None:
    @app.post("/")
    @tell
    async def endpoint(run: Run) -> None:
        run.discard()


def cancels_its_run(app: FastAPI, tell: Chain, log: Log) -> None:
    @app.post("/")
    @tell
    async def endpoint(run: Run) -> None:
        await run.cancel()


def is_not_called(app: FastAPI, tell: Chain, log: Log) -> None:
    """A cache above the chain answers in its place."""

    def cached(fn: Any) -> Any:
        @functools.wraps(fn)
        async def answer(*args: Any, **kwargs: Any) -> str:
            return "cached"

        return answer

    @app.post("/")
    @cached
    @tell
    async def endpoint() -> str:
        return "fresh"


@in_every_mode
@pytest.mark.parametrize("start", ["commit", "response"])
@pytest.mark.parametrize(
    "build",
    [
        raises,
        raises_in_a_thread,
        answers_an_error,
        answers_badly,
        answers_badly_and_is_handled,
        pytest.param(answers_badly_and_is_forgiven, marks=knows_handled_errors),
        wants_no_run,
        cancels_its_run,
        is_not_called,
    ],
)
def test_an_endpoint_that_fails_or_wants_none_starts_no_run(mode, build, start):
    """Not even with the response."""
    assert "run" not in post(mode, build, start=start)


def commit_fails(app: FastAPI, tell: Chain, log: Log) -> None:
    @app.post("/")
    @tell
    async def endpoint(db: None = failing(Boom())) -> None: ...


def commit_fails_politely(app: FastAPI, tell: Chain, log: Log) -> None:
    @app.post("/")
    @tell
    def endpoint(db: None = failing(HTTPException(409))) -> None: ...


def commit_fails_in_a_thread(app: FastAPI, tell: Chain, log: Log) -> None:
    def session():
        yield
        raise Boom

    @app.post("/")
    @tell
    async def endpoint(db: None = Depends(session)) -> None: ...


def commit_of_the_route_fails(app: FastAPI, tell: Chain, log: Log) -> None:
    @app.post("/", dependencies=[failing(Boom())])
    @tell
    async def endpoint() -> None: ...


def commit_of_the_router_fails(app: FastAPI, tell: Chain, log: Log) -> None:
    router = APIRouter(dependencies=[failing(Boom())])

    @router.post("/")
    @tell
    async def endpoint() -> None: ...

    app.include_router(router)


def commit_of_the_include_fails(app: FastAPI, tell: Chain, log: Log) -> None:
    router = APIRouter()

    @router.post("/")
    @tell
    async def endpoint() -> None: ...

    app.include_router(router, dependencies=[failing(Boom())])


def commit_of_a_mounted_app_fails(app: FastAPI, tell: Chain, log: Log) -> None:
    sub = FastAPI(dependencies=[failing(Boom())])

    @sub.post("/")
    @tell
    async def endpoint() -> None: ...

    app.mount("/", sub)


def commit_fails_before_the_response(app: FastAPI, tell: Chain, log: Log) -> None:
    @app.post("/")
    @tell
    async def endpoint(db: None = failing(HTTPException(409), scope="function")) -> None: ...


def commit_fails_and_is_swallowed(app: FastAPI, tell: Chain, log: Log) -> None:
    async def swallow():
        try:
            yield
        except Boom:
            log.append("swallowed")

    async def session(outer: None = Depends(swallow)):
        yield
        raise Boom

    @app.post("/")
    @tell
    async def endpoint(db: None = Depends(session)) -> None: ...


def error_is_swallowed(app: FastAPI, tell: Chain, log: Log) -> None:
    """FastAPI then finds that there is no response."""

    async def swallow():
        try:
            yield
        except Exception:  # noqa: BLE001 - the mistake that this is about
            log.append("swallowed")

    @app.post("/", dependencies=[Depends(swallow)], response_model=int)
    @tell
    async def endpoint() -> Any:
        return "no number"


def background_task_fails(app: FastAPI, tell: Chain, log: Log) -> None:
    """A dependency with `yield` sees its exception, so a session rolls back."""

    def fail() -> None:
        raise Boom

    @app.post("/")
    @tell
    async def endpoint(background: BackgroundTasks) -> None:
        background.add_task(fail)


def own_background_task_fails(app: FastAPI, tell: Chain, log: Log) -> None:
    def fail() -> None:
        raise Boom

    @app.post("/")
    @tell
    async def endpoint() -> Response:
        return Response(background=BackgroundTask(fail))


def stream_breaks(app: FastAPI, tell: Chain, log: Log) -> None:
    def pieces() -> Iterator[str]:
        yield "a"
        raise Boom

    @app.post("/")
    @tell
    async def endpoint() -> StreamingResponse:
        return StreamingResponse(pieces())


needs_stacks = pytest.mark.skipif(
    not CLOSES_LAST, reason="before 0.118 nobody outside can see what a dependency swallows"
)


@in_every_mode
@pytest.mark.parametrize(
    "build",
    [
        commit_fails,
        commit_fails_politely,
        commit_fails_in_a_thread,
        commit_of_the_route_fails,
        commit_of_the_router_fails,
        commit_of_the_include_fails,
        commit_of_a_mounted_app_fails,
        pytest.param(commit_fails_before_the_response, marks=with_scopes),
        pytest.param(commit_fails_and_is_swallowed, marks=needs_stacks),
        error_is_swallowed,
        background_task_fails,
        own_background_task_fails,
        stream_breaks,
    ],
)
def test_a_request_that_is_not_committed_starts_no_run(mode, build):
    """Whatever fails after the endpoint: a dependency's exit, a background task, the sending."""
    assert "run" not in post(mode, build)


def test_a_background_task_that_fails_does_not_hold_a_run_that_starts_with_the_response():
    """The run comes first."""
    assert post("alone", background_task_fails, start="response").count("run") == 1
    assert post("installed", background_task_fails, start="response").count("run") == 1


@with_scopes
@in_every_mode
def test_a_commit_that_fails_before_the_response_starts_no_run_with_it(mode):
    """Even if another dependency swallows the exception, so that there is a response."""

    def build(app: FastAPI, tell: Chain, log: Log) -> None:
        async def swallow():
            try:
                yield
            except Boom:
                log.append("swallowed")

        async def session(outer: None = Depends(swallow, scope="function")):
            yield
            raise Boom

        @app.post("/")
        @tell
        async def endpoint(db: None = Depends(session, scope="function")) -> None: ...

    assert post(mode, build, start="response") == ["swallowed", "200", "sent"]
    if mode != "alone":  # a key needs a runtime
        assert post(mode, build, start="response", key="one") == ["swallowed", "200", "sent"]


# --- what only a runtime sees


def test_with_install_a_run_waits_for_the_commit_of_a_middleware():
    """A middleware may keep the session, and commit when the endpoint has answered."""

    def build(app: FastAPI, tell: Chain, log: Log) -> None:
        async def commit(request: Request, call_next: Any) -> Any:
            response = await call_next(request)
            log.append("commit")
            return response

        app.add_middleware(BaseHTTPMiddleware, dispatch=commit)

        @app.post("/")
        @tell
        async def endpoint() -> None: ...

    log = post("installed", build)
    assert log.index("commit") < log.index("run")


def test_with_install_a_middleware_that_fails_or_answers_an_error_starts_no_run():
    """Its exception, or its status, is the request's."""

    class Failing(Saying):
        async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
            await self.app(scope, receive, send)
            if scope["type"] == "http":
                raise Boom

    class Refusing(Saying):
        async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
            async def hold(message: Any) -> None:
                self.log.append("held")

            await self.app(scope, receive, hold if scope["type"] == "http" else send)
            if scope["type"] == "http":
                await Response(status_code=503)(scope, receive, send)

    async def nothing() -> None: ...

    for middleware in (Failing, Refusing):

        def build(app: FastAPI, tell: Chain, log: Log, middleware: Any = middleware) -> None:
            app.add_middleware(middleware, log=log)
            app.post("/")(tell(nothing))

        assert "run" not in post("installed", build)


def test_with_install_an_error_that_a_route_class_makes_a_response_of_starts_no_run():
    """The status tells."""

    class Careful(APIRoute):
        def get_route_handler(self) -> Any:
            handler = super().get_route_handler()

            async def handle(request: Request) -> Response:
                try:
                    return await handler(request)
                except ResponseValidationError:
                    return Response(status_code=500)

            return handle

    def build(app: FastAPI, tell: Chain, log: Log) -> None:
        router = APIRouter(route_class=Careful)

        @router.post("/", response_model=int)
        @tell
        async def endpoint() -> Any:
            return "no number"

        app.include_router(router)

    assert post("installed", build) == ["500", "sent"]


# --- sharing a response object


@in_every_mode
@pytest.mark.parametrize("start", ["commit", "response"])
def test_one_response_object_for_all_requests_starts_a_run_for_each(mode, start):
    """Nothing of one request is left on it for the next one."""
    answer = Response(status_code=202, background=BackgroundTask(str))
    own = answer.background
    log: Log = []
    app = FastAPI()

    @app.post("/")
    @telling(log, start=start)
    async def endpoint() -> Response:
        return answer

    with serving(app, mode) as client:
        assert [client.post("/").status_code for _ in range(3)] == [202] * 3
    assert log == ["run"] * 3
    assert answer.background is own
