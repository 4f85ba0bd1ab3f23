"""What an endpoint gives to its chain, and what a chain refuses."""

import asyncio
import functools
import inspect
from contextvars import ContextVar
from textwrap import indent
from typing import Annotated, Any

import pytest
from fastapi import APIRouter, Cookie, Depends, FastAPI, Form, Header, Request, Response, WebSocket
from fastapi.responses import JSONResponse
from fastapi.testclient import TestClient
from pydantic import BaseModel

from fastapi_chain import (
    DeclarationError,
    InvalidChain,
    MissingInput,
    Registry,
    Run,
    RunNotFinished,
    StreamingEndpoint,
    chain,
    task,
)
from fastapi_chain.declare import source_of


class Order(BaseModel):
    """What comes in."""

    sku: str


def line_of(fn: Any) -> str:
    """Return where *fn* is written, as errors say it."""
    return source_of(fn).at


@pytest.fixture
def seen() -> list[Any]:
    """Return what tasks have seen."""
    return []


@pytest.fixture
def app() -> FastAPI:
    """Return an empty app."""
    return FastAPI()


# --- what comes in


@pytest.mark.parametrize("is_async", [True, False])
def test_tasks_take_the_endpoints_parameters_by_name(app, seen, is_async):
    """Values of the path, query, headers, cookies and body, validated, and of dependencies; aliases do not matter."""

    @task
    async def note(*, shop: str, limit: int, tag: str, session: str, order: Order, user: str) -> None:
        seen.append((shop, limit, tag, session, order, user))

    async def user(x_user: Annotated[str, Header()]) -> str:
        return x_user

    def endpoint(
        *,
        shop: str,
        limit: int,
        tag: Annotated[str, Header(alias="x-tag")],
        session: Annotated[str, Cookie()],
        order: Order,
        user: Annotated[str, Depends(user)],
    ) -> None: ...

    @functools.wraps(endpoint)
    async def async_endpoint(**given: Any) -> None: ...

    app.post("/{shop}")(chain(note)(async_endpoint if is_async else endpoint))
    client = TestClient(app, cookies={"session": "s"})
    sent = {"json": {"sku": "a"}, "headers": {"x-tag": "t", "x-user": "bob"}}
    assert client.post("/eu?limit=3", **sent).status_code == 200
    assert seen == [("eu", 3, "t", "s", Order(sku="a"), "bob")]


def test_tasks_take_the_fields_of_a_form(app, seen):
    """They are parameters like others."""

    @task
    def note(name: str) -> None:
        seen.append(name)

    @app.post("/")
    @chain(note)
    def endpoint(name: Annotated[str, Form()]) -> None: ...

    TestClient(app).post("/", data={"name": "x"})
    assert seen == ["x"]


def test_tasks_do_not_see_what_they_do_not_ask_for(app, seen):
    """A run keeps no more of a request than its chain takes."""

    @task
    async def note(run: Run, x: int, y: int = 5) -> None:
        seen.append((x, y, dict(run._backend.request.values)))

    @app.post("/")
    @chain(note)
    async def endpoint(request: Request, x: int, unused: int = 3) -> None: ...

    TestClient(app).post("/?x=1")
    assert seen == [(1, 5, {"x": 1})]


def test_the_return_value_is_an_input_if_the_chain_says_so(app, seen):
    """It is the very object that the endpoint has returned, not what FastAPI makes of it."""
    placed = Order(sku="placed")

    @task
    async def note(order: Order) -> None:
        seen.append(order)

    @app.post("/", response_model=Any)
    @chain(note, returns="order")
    async def endpoint() -> Order:
        return placed

    TestClient(app).post("/")
    assert seen[0] is placed


def test_a_return_value_goes_before_a_parameter_of_that_name(app, seen):
    """`returns=` is the more explicit of the two."""

    @task
    async def note(order: Order) -> None:
        seen.append(order)

    @app.post("/")
    @chain(note, returns="order")
    async def endpoint(order: Order) -> Order:
        return Order(sku=order.sku * 2)

    TestClient(app).post("/", json={"sku": "a"})
    assert seen == [Order(sku="aa")]


def test_a_response_where_a_value_is_needed_is_an_error_of_the_request(app, seen):
    """Nobody could make an order of it; the response is not sent."""

    @task
    async def note(order: Order) -> None:
        seen.append(order)

    async def endpoint(known: bool) -> Any:
        return Order(sku="a") if known else Response()

    app.post("/orders")(chain(note, returns="order")(endpoint))
    client = TestClient(app)
    assert client.post("/orders?known=1").status_code == 200
    with pytest.raises(MissingInput) as caught:
        client.post("/orders?known=0")
    assert str(caught.value) == (
        "POST /orders starts a chain that needs 'order', but endpoint 'endpoint' does not give it.\n"
        f"    order: Order     needed by 'note'   {line_of(note)}\n"
        f"    endpoint gives   known              {line_of(endpoint)}\n"
        "Fix, one of:\n"
        "  - add a parameter to the endpoint: order: Order\n"
        '  - return it, and say so: @chain(..., returns="order")\n'
        "See errors#missing-input"
    )
    assert TestClient(app, raise_server_exceptions=False).post("/orders?known=0").status_code == 500
    assert seen == [Order(sku="a")]


def test_a_response_where_a_value_is_optional_leaves_the_default(app, seen):
    """A task may do without."""

    @task
    async def note(order: Order | None = None) -> None:
        seen.append(order)

    @app.post("/")
    @chain(note, returns="order")
    async def endpoint() -> Any:
        return Response()

    TestClient(app).post("/")
    assert seen == [None]


# --- one chain, many endpoints


def test_one_chain_may_stand_on_several_endpoints(app, seen):
    """It bears the name of the first, and each gives its own values."""

    @task
    async def note(x: int) -> None:
        seen.append(x)

    tell = chain(note)

    @app.post("/a")
    @tell
    async def first(x: int) -> None: ...

    @app.post("/b")
    @tell
    def second(y: int) -> int:
        return y

    with pytest.raises(InvalidChain):
        tell.check()
    again = FastAPI()
    once_more = chain(note)

    @again.post("/a")
    @once_more
    async def third(x: int) -> None: ...

    @again.put("/b")
    @once_more
    def fourth(x: int, y: int) -> int:
        return y

    client = TestClient(again)
    client.post("/a?x=1")
    client.put("/b?x=2&y=3")
    assert once_more.name == "third"
    assert [endpoint.source.name for endpoint in once_more.endpoints] == ["third", "fourth"]
    assert seen == [1, 2]


def test_a_decorator_may_call_its_endpoint_again(app, seen):
    """A call that failed starts nothing; the one that returned does."""

    @task
    async def note(x: int) -> None:
        seen.append(x)

    tries: list[int] = []

    def retried(fn: Any) -> Any:
        @functools.wraps(fn)
        async def again(**given: Any) -> Any:
            try:
                return await fn(**given)
            except ConnectionError:
                return await fn(**given)

        return again

    @app.post("/")
    @retried
    @chain(note)
    async def endpoint(x: int) -> int:
        tries.append(x)
        if len(tries) == 1:
            raise ConnectionError
        return x

    assert TestClient(app).post("/?x=1").json() == 1
    assert tries == [1, 1]
    assert seen == [1]


def test_a_plain_function_that_returns_a_coroutine_is_awaited(app, seen):
    """A decorator below the chain may be one: the run starts when the endpoint has ended, not when it was called."""

    @task
    async def note() -> None:
        seen.append("run")

    def passed(fn: Any) -> Any:
        @functools.wraps(fn)
        def pass_on(*args: Any, **kwargs: Any) -> Any:
            return fn(*args, **kwargs)

        return pass_on

    @app.post("/")
    @chain(note)
    @passed
    async def endpoint(fail: bool = False) -> str:
        await asyncio.sleep(0)
        seen.append("endpoint")
        if fail:
            raise ConnectionError
        return "done"

    assert TestClient(app).post("/").json() == "done"
    TestClient(app, raise_server_exceptions=False).post("/?fail=1")
    assert seen == ["endpoint", "run", "endpoint"]


# --- called by hand


def test_called_by_hand_an_endpoint_is_the_plain_function(seen):
    """It takes what it takes, gives what it gives, and starts nothing."""

    @task
    async def note() -> None:
        seen.append("run")

    tell = chain(note)

    @tell
    def sync(x: int, /, y: int = 2, *more: int, z: int = 3) -> tuple[Any, ...]:
        return x, y, more, z

    @tell
    async def asynchronous(request: Request, run: Run) -> tuple[Any, ...]:
        """Say what it was given."""
        return request, run

    assert sync(1, 4, 5, z=6) == (1, 4, (5,), 6)
    request, run = Request({"type": "http"}), object()
    coroutine = asynchronous(request, run=run)
    assert inspect.iscoroutine(coroutine)
    assert asyncio.run(coroutine) == (request, run)
    assert seen == []


def test_called_by_hand_an_endpoint_says_what_is_missing_in_its_own_name():
    """The error is Python's."""

    @task
    async def note() -> None: ...

    @chain(note)
    def endpoint(x: int) -> int:
        return x

    with pytest.raises(TypeError, match=r"endpoint\(\) missing 1 required positional argument: 'x'"):
        endpoint()


def test_an_endpoint_keeps_its_name_its_docstring_and_what_hangs_on_it():
    """Decorators below may have left notes on the function for somebody who reads the routes."""

    @task
    async def note() -> None: ...

    def endpoint(x: int) -> int:
        """Give it back."""
        return x

    endpoint.version = 2
    wrapped: Any = chain(note)(endpoint)
    names = ("__name__", "__qualname__", "__module__", "__doc__", "version")
    assert [getattr(wrapped, name) for name in names] == [getattr(endpoint, name) for name in names]
    assert wrapped.__wrapped__ is endpoint


# --- the run that will be


@pytest.mark.parametrize("is_async", [True, False])
def test_an_endpoint_may_take_the_run_that_it_will_start(app, seen, is_async):
    """Its id is the one that the tasks see, and afterwards it is that run."""
    held: list[Run] = []

    @task
    async def note(run: Run) -> str:
        seen.append(run.id)
        return "done"

    def endpoint(x: int, run: Run) -> str:
        held.append(run)
        assert (run.state, run.chain, run.done, run.tags, run.tasks, run.outputs, run.errors) == (
            "queued",
            "endpoint",
            False,
            {},
            {},
            {},
            {},
        )
        return run.id

    async def async_endpoint(x: int, run: Run) -> str:
        return endpoint(x, run)

    async_endpoint.__name__ = "endpoint"
    app.post("/")(chain(note, name="endpoint")(async_endpoint if is_async else endpoint))
    assert [TestClient(app).post("/?x=1").json()] == seen == [held[0].id]
    assert held[0].state == "succeeded"
    assert held[0][note] == "done"


def test_the_run_of_a_request_cannot_be_waited_for_within_it(app):
    """It begins when the request is over."""

    @task
    async def note() -> None: ...

    @app.post("/")
    @chain(note)
    async def endpoint(run: Run) -> list[str]:
        async def events() -> None:
            async for _ in run.events():
                pass

        texts = []
        for ask in (run.wait, run.retry, events):
            with pytest.raises(RunNotFinished) as caught:
                await ask()
            texts.append(caught.value.problem())
        for ask in (run.raise_for_error, lambda: run[note]):
            with pytest.raises(RunNotFinished) as caught:
                ask()
            texts.append(caught.value.problem())
        assert len(set(texts)) == 1
        return [run.id, *set(texts)]

    id_, text = TestClient(app).post("/").json()
    assert text == f"Run {id_!r} is still queued."


# --- where tasks find themselves


tenant: ContextVar[str] = ContextVar("tenant", default="nobody")


@pytest.mark.parametrize("is_async", [True, False])
def test_tasks_see_the_context_variables_as_the_endpoint_left_them(app, seen, is_async):
    """Even if a dependency takes its own back when the request is over."""
    outer: ContextVar[str] = ContextVar("outer", default="nobody")

    async def scoped():
        token = outer.set("dependency")
        yield
        outer.reset(token)

    @task
    async def note() -> None:
        seen.append((outer.get(), tenant.get()))

    @task
    def note_in_a_thread() -> None:
        seen.append((outer.get(), tenant.get()))

    def endpoint() -> None:
        tenant.set("endpoint")

    async def async_endpoint() -> None:
        tenant.set("endpoint")

    app.post("/", dependencies=[Depends(scoped)])(
        chain(note, note_in_a_thread)(async_endpoint if is_async else endpoint)
    )
    TestClient(app).post("/")
    assert seen == [("dependency", "endpoint")] * 2


def test_what_one_run_sets_another_does_not_see(app, seen):
    """Each runs in a copy of its own."""

    @task
    async def note() -> None:
        seen.append(tenant.get())
        tenant.set("run")

    @app.post("/")
    @chain(note)
    async def endpoint() -> None: ...

    async def twice() -> None:
        for _ in range(2):
            await raw_post(app)

    asyncio.run(twice())
    assert seen == ["nobody", "nobody"]


async def raw_post(app: Any) -> None:
    """Send a request within this task, as some servers do."""

    async def receive() -> Any:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None: ...

    scope = {
        "type": "http",
        "asgi": {},
        "http_version": "1.1",
        "method": "POST",
        "path": "/",
        "query_string": b"",
        "headers": [],
    }
    await app(scope, receive, send)


def test_dependencies_of_tasks_are_overridden_as_those_of_endpoints(app, seen):
    """`app.dependency_overrides` is looked at when the run starts."""

    def session() -> str:
        return "real"

    @task
    async def note(db: Annotated[str, Depends(session)]) -> None:
        seen.append(db)

    @app.post("/")
    @chain(note)
    async def endpoint() -> None: ...

    client = TestClient(app)
    client.post("/")
    app.dependency_overrides[session] = lambda: "fake"
    client.post("/")
    app.dependency_overrides.clear()
    client.post("/")
    assert seen == ["real", "fake", "real"]


def test_dependencies_of_tasks_see_the_request_as_it_was(app, seen):
    """Path, headers, state and app are still there when the response is out."""

    def about(request: Request, x_user: Annotated[str, Header()], shop: str) -> list[Any]:
        return [request.url.path, request.path_params, request.state.user, request.app is sub, x_user, shop]

    @task
    async def note(about: Annotated[list[Any], Depends(about)], request: Request) -> None:
        seen.append((*about, request.query_params["q"]))

    def sign_in(request: Request) -> None:
        request.state.user = "bob"

    sub = FastAPI()
    router = APIRouter(prefix="/{shop}", dependencies=[Depends(sign_in)])

    @router.post("/orders")
    @chain(note)
    async def endpoint(shop: str) -> None: ...

    sub.include_router(router)
    app.mount("/sub", sub)
    assert TestClient(app).post("/sub/eu/orders?q=1", headers={"x-user": "u"}).status_code == 200
    assert seen == [("/sub/eu/orders", {"shop": "eu"}, "bob", True, "u", "eu", "1")]


# --- what is refused


def async_generator() -> Any:
    @chain("note")
    async def endpoint():
        yield "a"


def generator() -> Any:
    @chain("note")
    def endpoint():
        yield "a"


def decorated_generator() -> Any:
    def passed(fn: Any) -> Any:
        @functools.wraps(fn)
        def pass_on(*args: Any) -> Any:
            return fn(*args)

        return pass_on

    @chain("note")
    @passed
    async def endpoint():
        yield "a"


@pytest.mark.parametrize("declare", [async_generator, generator, decorated_generator])
def test_an_endpoint_that_streams_its_answer_is_refused(declare):
    """A chain starts when the answer is complete."""
    with pytest.raises(StreamingEndpoint) as caught:
        declare()
    endpoint = caught.value.endpoint
    assert str(caught.value) == (
        "Endpoint 'endpoint' yields its answer piece by piece, and a chain cannot start from that.\n"
        f"    declared at   {endpoint.at}\n"
        "Fix, one of:\n"
        "  - return the stream as a response: return StreamingResponse(...)\n"
        "  - start the chain yourself when the work is done: await chain(...).start(...)\n"
        "See errors#streaming-endpoint"
    )


@pytest.mark.parametrize(
    "between",
    [
        lambda fn: fn,
        functools.partial,
        lambda fn: functools.wraps(fn)(lambda *args: fn(*args)),  # noqa: PLW0108 - another function is the point
    ],
)
def test_a_second_chain_on_one_endpoint_is_refused(between):
    """Even if another decorator stands between the two."""

    async def endpoint() -> None: ...

    with pytest.raises(DeclarationError) as caught:
        chain("save")(between(chain("note")(endpoint)))
    assert str(caught.value) == (
        "Endpoint 'endpoint' has two @chain decorators; it can start one chain.\n"
        f"    declared at   {line_of(endpoint)}\n"
        "Fix: name all targets in one: @chain(save, notify)\n"
        "See errors#declaration"
    )


def test_a_websocket_endpoint_is_refused():
    """It has no response to wait for."""

    async def endpoint(socket: WebSocket) -> None: ...

    with pytest.raises(DeclarationError) as caught:
        chain("note")(endpoint)
    assert str(caught.value) == (
        "Endpoint 'endpoint' is for WebSockets, which have no end that a chain could wait for.\n"
        f"    declared at   {line_of(endpoint)}\n"
        "Fix: start a run where it is due: await chain(...).start(...)\n"
        "See errors#declaration"
    )


def test_an_annotation_that_nobody_knows_is_refused():
    """FastAPI would take the parameter for one of the query."""

    async def endpoint(order: "Ordre") -> None: ...  # noqa: F821 - that is the point

    with pytest.raises(DeclarationError) as caught:
        chain("note")(endpoint)
    assert str(caught.value) == (
        "Endpoint 'endpoint' annotates 'order' as 'Ordre', a name that is not known here.\n"
        f"    declared at   {line_of(endpoint)}\n"
        "Fix: define or import it above the endpoint\n"
        "See errors#declaration"
    )


# --- an invalid chain


def test_without_install_an_invalid_chain_answers_its_first_request_before_the_endpoint_runs(app, seen):
    """The error goes through to the server whole, again with each request; it names the route as clients know it."""

    @task
    async def note(order_id: int) -> None: ...

    async def endpoint(n: int) -> None:
        seen.append(n)

    router = APIRouter(prefix="/orders")
    router.post("/new")(chain(note)(endpoint))
    app.include_router(router, prefix="/v1")
    client = TestClient(app)
    for _ in range(2):
        with pytest.raises(InvalidChain) as caught:
            client.post("/v1/orders/new?n=1")
        (problem,) = caught.value.problems
        assert str(problem) == (
            "POST /v1/orders/new starts a chain that needs 'order_id', but endpoint 'endpoint' does not give it.\n"
            f"    order_id: int    needed by 'note'   {line_of(note)}\n"
            f"    endpoint gives   n                  {line_of(endpoint)}\n"
            "Fix, one of:\n"
            "  - add a parameter to the endpoint: order_id: int\n"
            '  - return it, and say so: @chain(..., returns="order_id")\n'
            "See errors#missing-input"
        )
        assert (
            str(caught.value) == f"Chain 'endpoint' cannot run: 1 problem.\n\n1. {indent(str(problem), '   ').lstrip()}"
        )
    assert TestClient(app, raise_server_exceptions=False).post("/v1/orders/new?n=1").status_code == 500
    assert seen == []


def test_an_endpoint_that_says_it_returns_a_response_gives_no_return_value(app):
    """That is known before the first request."""

    @task
    async def note(order: Order) -> None: ...

    @app.post("/")
    @chain(note, returns="order")
    async def endpoint() -> JSONResponse:
        return JSONResponse({})

    with pytest.raises(InvalidChain) as caught:
        TestClient(app).post("/")
    assert [type(problem) for problem in caught.value.problems] == [MissingInput]


def test_an_endpoint_without_a_route_is_checked_by_its_signature(seen):
    """`chain.check()` may come before the route's decorator."""
    registry = Registry("early")

    @registry.task
    async def note(x: int) -> None: ...

    tell = chain(note)

    @tell
    async def endpoint(y: int) -> None: ...

    with pytest.raises(InvalidChain) as caught:
        tell.check()
    assert (
        caught.value.problems[0].problem() == "Endpoint 'endpoint' starts a chain that needs 'x', but does not give it."
    )


def test_an_endpoint_that_no_route_leads_to_is_called_by_its_name(app):
    """A route may hide it behind a function of its own."""

    @task
    async def note(x: int) -> None: ...

    @chain(note)
    async def endpoint(**given: Any) -> None: ...

    @app.post("/")
    async def hiding(request: Request, response: Response) -> None:
        await endpoint(fastapi_chain_request=request, fastapi_chain_response=response)

    with pytest.raises(InvalidChain) as caught:
        TestClient(app).post("/")
    assert (
        caught.value.problems[0].problem() == "Endpoint 'endpoint' starts a chain that needs 'x', but does not give it."
    )
