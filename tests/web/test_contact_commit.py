"""When a request is over: the two ways to begin after the commit, on the versions where each is right."""

import asyncio
import contextlib
import inspect
from contextlib import AsyncExitStack, ExitStack
from types import ModuleType
from typing import Any

import fastapi
import pytest
from fastapi import APIRouter, BackgroundTasks, Depends, FastAPI, HTTPException, Request
from fastapi.exceptions import ResponseValidationError
from fastapi.responses import JSONResponse
from fastapi.testclient import TestClient
from starlette.middleware.base import BaseHTTPMiddleware

from fastapi_chain._fastapi import Follower, commit, commits_before_response, fastapi_version, follow
from fastapi_chain.errors import ChainError

VERSION = tuple(int(number) for number in fastapi.__version__.split(".")[:2])

with_stacks = pytest.mark.skipif(VERSION < (0, 118), reason="the stacks came with FastAPI 0.118")
without_stacks = pytest.mark.skipif(VERSION >= (0, 118), reason="the stacks came with FastAPI 0.118")

with_scopes = pytest.mark.skipif(VERSION < (0, 121), reason="Depends(scope=...) came with FastAPI 0.121")

Log = list[str]


class Boom(Exception):
    """What goes wrong."""


class Saying:
    """A middleware that says when the response begins."""

    def __init__(self, app: Any, log: Log) -> None:
        self.app = app
        self.log = log

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        async def saying(message: Any) -> None:
            if message["type"] == "http.response.start":
                self.log.append(f"response {message['status']}")
            await send(message)

        await self.app(scope, receive, saying)


class Watch(Follower):
    """Says what it hears."""

    def __init__(self, log: Log) -> None:
        self.log = log

    def fail(self, error: BaseException) -> None:
        self.log.append(f"failure: {type(error).__name__}")

    async def end(self, error: BaseException | None) -> None:
        self.log.append(f"end: {type(error).__name__}")


def watch(request: Request, log: Log) -> None:
    """Follow the request, as an endpoint with a chain does."""
    follow(request.scope, Watch(log))


def closing(log: Log, name: str) -> Any:
    async def dependency():
        yield
        log.append(f"{name} closes")

    return Depends(dependency)


def nothing() -> None:
    """Be a dependency that has nothing to close."""


def something() -> Any:
    """Be a dependency that has something to close."""
    yield


WAYS = [
    # With nothing to close, the end is where FastAPI would close it.
    (nothing, ["end: {0}", "response {1}"]),
    (something, ["failure: {0}", "response {1}", "end: NoneType"]),
]
"""A dependency, and how the exception of an endpoint shows."""


def post(app: FastAPI, path: str = "/") -> int:
    return TestClient(app, raise_server_exceptions=False).post(path).status_code


def test_this_version_says_when_it_commits():
    """Before FastAPI 0.118 dependencies were closed first; since then the response comes first."""
    log: Log = []
    app = FastAPI()
    app.add_middleware(Saying, log=log)

    @app.post("/", dependencies=[closing(log, "dependency")])
    async def endpoint(background: BackgroundTasks) -> None:
        background.add_task(log.append, "background")

    assert post(app) == 200
    assert commits_before_response() is (VERSION < (0, 118))
    if commits_before_response():
        assert log == ["dependency closes", "response 200", "background"]
    else:
        assert log == ["response 200", "background", "dependency closes"]


@with_stacks
@pytest.mark.parametrize("mounted", [False, True])
@pytest.mark.parametrize("layers", [0, 2])
def test_the_end_of_a_request_comes_after_every_dependency(mounted, layers):
    """Those of app, router, route and endpoint are closed before; middlewares and mounts change nothing."""
    log: Log = []

    async def pass_on(request: Request, call_next: Any) -> Any:
        return await call_next(request)

    app = FastAPI(dependencies=[closing(log, "app")])
    app.add_middleware(Saying, log=log)
    for _ in range(layers):
        app.add_middleware(BaseHTTPMiddleware, dispatch=pass_on)
    inner, outer = APIRouter(dependencies=[closing(log, "inner")]), APIRouter(dependencies=[closing(log, "outer")])

    @inner.post("/", dependencies=[closing(log, "route")])
    async def endpoint(request: Request, background: BackgroundTasks, own: None = closing(log, "own")) -> None:
        background.add_task(log.append, "background")
        watch(request, log)

    outer.include_router(inner, prefix="/b")
    app.include_router(outer, prefix="/a")
    main = FastAPI()
    main.mount("/sub", app)
    assert (post(main, "/sub/a/b/") if mounted else post(app, "/a/b/")) == 200
    assert log[:2] == ["response 200", "background"]
    assert sorted(log[2:7]) == ["app closes", "inner closes", "outer closes", "own closes", "route closes"]
    assert log[7:] == ["end: NoneType"]


@with_stacks
@pytest.mark.parametrize(("closes", "seen"), WAYS)
def test_an_exception_of_the_endpoint_is_seen_before_a_handler_makes_a_response_of_it(closes, seen):
    """Outside, nobody knows of it any more."""
    log: Log = []
    app = FastAPI()
    app.add_middleware(Saying, log=log)

    @app.post("/", dependencies=[Depends(closes)])
    async def endpoint(request: Request) -> None:
        watch(request, log)
        raise HTTPException(409)

    assert post(app) == 409
    assert log == [line.format("HTTPException", 409) for line in seen]


@with_stacks
@pytest.mark.parametrize(("closes", "seen"), WAYS)
def test_a_response_that_fails_its_validation_is_seen_even_if_it_is_handled(closes, seen):
    """An app may have a handler for `ResponseValidationError`."""
    log: Log = []
    app = FastAPI()
    app.add_middleware(Saying, log=log)

    @app.exception_handler(ResponseValidationError)
    async def handle(request: Request, error: Exception) -> JSONResponse:
        return JSONResponse({}, 500)

    @app.post("/", response_model=int, dependencies=[Depends(closes)])
    async def endpoint(request: Request) -> Any:
        watch(request, log)
        return "no number"

    assert post(app) == 500
    assert log == [line.format("ResponseValidationError", 500) for line in seen]


def renamed_stack() -> Any:
    """Return an `AsyncExitStack` as a later Python might have it: its callbacks have another name."""
    module = ModuleType("later_contextlib")
    source = inspect.getsource(contextlib).replace("_exit_callbacks", "_later_callbacks")
    exec(compile(source, contextlib.__file__, "exec"), module.__dict__)
    stack = module.AsyncExitStack
    AsyncExitStack.register(stack)
    return stack()


def test_without_the_private_part_of_a_stack_the_end_is_seen_all_the_same(caplog):
    """Requests go on, failures and the end are told; what cannot be seen any more is said in the log, once."""
    commit._warn.cache_clear()

    async def main(log: Log, error: Exception | None) -> None:
        outer = AsyncExitStack()
        inner = renamed_stack()
        scope = {"fastapi_inner_astack": inner, "fastapi_middleware_astack": outer}
        with contextlib.suppress(Boom):
            async with outer, inner:
                assert follow(scope, Watch(log)) is False
                if error is not None:
                    raise error

    good: Log = []
    bad: Log = []
    asyncio.run(main(good, None))
    asyncio.run(main(bad, Boom()))
    assert good == ["end: NoneType"]
    assert bad == ["failure: Boom", "end: Boom"]
    text = (
        "this Python keeps the callbacks of an AsyncExitStack where fastapi_chain does not find them: "
        "where a dependency swallows the failed commit of another one, the run begins all the same"
    )
    assert [record.getMessage() for record in caplog.records] == [text]


@with_stacks
@with_scopes
def test_a_dependency_of_function_scope_that_fails_to_close_is_seen():
    """It closes before the response is sent, so that its exception may become a response."""
    log: Log = []
    app = FastAPI()
    app.add_middleware(Saying, log=log)

    async def transaction():
        yield
        raise HTTPException(409)

    @app.post("/")
    async def endpoint(request: Request, own: None = Depends(transaction, scope="function")) -> None:
        watch(request, log)

    assert post(app) == 409
    assert log[0] in {"failure: HTTPException", "end: HTTPException"}


@with_stacks
@pytest.mark.parametrize("raised", [Boom(), HTTPException(409)])
def test_a_commit_that_fails_is_seen_at_the_end(raised):
    """The response is out by then; whatever kind the exception is of, the end of the request knows of it."""
    log: Log = []
    app = FastAPI()
    app.add_middleware(Saying, log=log)

    async def session():
        yield
        raise raised

    @app.post("/")
    async def endpoint(request: Request, own: None = Depends(session)) -> None:
        watch(request, log)

    post(app)
    assert log[0] == "response 200"
    assert log[-1] in {"end: Boom", "end: RuntimeError"}


@with_stacks
@pytest.mark.parametrize(
    "scopes",
    [
        ({}, {}),  # both close after the response
        pytest.param(({"scope": "function"}, {"scope": "function"}), marks=with_scopes),  # both close before it
        pytest.param(({}, {"scope": "function"}), marks=with_scopes),  # one each
    ],
)
def test_a_commit_that_fails_is_seen_even_if_another_dependency_swallows_the_exception(scopes):
    """An outer dependency may log and forget what an inner one raises."""
    log: Log = []
    outside, inside = scopes
    app = FastAPI()

    async def swallows():
        try:
            yield
        except Boom:
            log.append("swallowed")

    async def session(outer: None = Depends(swallows, **outside)):
        yield
        raise Boom

    @app.post("/")
    async def endpoint(request: Request, own: None = Depends(session, **inside)) -> None:
        watch(request, log)

    post(app)
    assert log[:2] == ["failure: Boom", "swallowed"]


@with_stacks
@pytest.mark.parametrize(
    ("closes", "seen"),
    [
        (nothing, ["end: Boom"]),
        (something, ["failure: Boom", "end: Boom"]),
    ],
)
def test_a_background_task_that_fails_is_seen(closes, seen):
    """It runs before the dependencies are closed."""
    log: Log = []
    app = FastAPI()

    def fails() -> None:
        raise Boom

    @app.post("/", dependencies=[Depends(closes)])
    async def endpoint(request: Request, background: BackgroundTasks) -> None:
        background.add_task(fails)
        watch(request, log)

    post(app)
    assert log == seen


@without_stacks
def test_older_versions_have_no_stacks():
    """Before 0.118 there is nothing to push a callback on: a background task is right there, and the error says so."""
    app = FastAPI()

    @app.post("/")
    async def endpoint(request: Request) -> None:
        watch(request, [])

    with pytest.raises(ChainError, match="the scope of a request has no 'fastapi_inner_astack'"):
        TestClient(app).post("/")


@pytest.mark.parametrize("key", ["fastapi_inner_astack", "fastapi_middleware_astack"])
def test_a_fastapi_that_keeps_its_stacks_elsewhere_is_an_error(key):
    """It says what is missing, which version is there and which are known."""
    with ExitStack() as closing:
        scope = {
            name: AsyncExitStack() for name in ("fastapi_inner_astack", "fastapi_middleware_astack") if name != key
        }
        for stack in scope.values():
            stack.push(closing)
        with pytest.raises(ChainError) as caught:
            follow(scope, Watch([]))
    assert str(caught.value) == (
        f"This FastAPI is unknown to fastapi_chain: the scope of a request has no '{key}'.\n"
        f"    installed   fastapi=={fastapi_version()}\n"
        "    supported   fastapi>=0.115,!=0.137.0,!=0.137.1\n"
        "Fix, one of:\n"
        "  - pip install --upgrade fastapi-chain\n"
        "  - pip install 'fastapi==0.165.0'\n"
        "See errors#chain-error"
    )
