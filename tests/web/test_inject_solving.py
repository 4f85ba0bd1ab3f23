"""Dependencies that read the request, or have rules of their own: FastAPI's solver on a snapshot of the request."""

import asyncio
import contextlib
import threading
from types import SimpleNamespace
from typing import Annotated, Any

import fastapi
import pytest
from fastapi import (
    BackgroundTasks,
    Body,
    Cookie,
    Depends,
    FastAPI,
    Header,
    HTTPException,
    Path,
    Query,
    Request,
    Response,
    Security,
    WebSocket,
)
from fastapi.exceptions import RequestValidationError
from fastapi.security import OAuth2PasswordBearer, SecurityScopes
from fastapi.testclient import TestClient
from starlette.requests import HTTPConnection

from fastapi_chain._fastapi import snapshot_scope, synthetic_scope
from fastapi_chain._threads import Hopper, ThreadPool
from fastapi_chain.declare.signature import read
from fastapi_chain.errors import RunError
from fastapi_chain.execute.inject import Injection, compile_injection
from fastapi_chain.spec import Source

HERE = Source(name="save", file="shop/tasks.py", line=7)
VERSION = tuple(int(number) for number in fastapi.__version__.split(".")[:2])

has_function_scope = pytest.mark.skipif(VERSION < (0, 121), reason="Depends(scope=...) came with FastAPI 0.121")
has_max_concurrency = pytest.mark.skipif(VERSION < (0, 163), reason="max_concurrency came with FastAPI 0.163")


class Boom(Exception):
    """What a task raises."""


def injection_of(task: Any, overrides: Any = None) -> Injection:
    injection = compile_injection(read(task).params, task=HERE, overrides=overrides or {})
    assert injection is not None
    return injection


def attempts(task: Any, overrides: Any = None) -> Any:
    """Return what makes one attempt of *task* in an environment."""
    attempt = injection_of(task, overrides).wrap_async(lambda _slots, injected: task(**injected), Hopper(ThreadPool(2)))
    return lambda environment: attempt([environment])


def run(task: Any, *, app: Any = None, scope: Any = None, overrides: Any = None) -> Any:
    return asyncio.run(attempts(task, overrides)(SimpleNamespace(app=app, request_scope=scope)))


def snapshot_of(app: FastAPI, path: str, **request: Any) -> Any:
    """Return the snapshot that an endpoint of *app* takes of its request."""
    taken = []

    @app.post(path)
    async def endpoint(request: Request) -> None:
        request.state.tenant = "blue"
        taken.append(snapshot_scope(request.scope))

    assert TestClient(app).post(path.replace("{id}", "3") + "?q=1", **request).status_code == 200
    return taken[0]


oauth2_scheme = OAuth2PasswordBearer(tokenUrl="token")


async def current_user(scopes: SecurityScopes, token: Annotated[str, Depends(oauth2_scheme)]):
    return f"{token} may {scopes.scopes}"


def described(request: Request, q: int, id: Annotated[str, Path()], x_tenant: Annotated[str, Header()]):
    return [request.app.title, request.state.tenant, request.url.path, q, id, x_tenant]


def test_what_reads_the_request_sees_it_as_it_was():
    """Security, headers, query, path, state and app are there when the request itself is long over."""
    app = FastAPI(title="Shop")
    headers = {"authorization": "Bearer key", "x-tenant": "red"}
    scope = snapshot_of(app, "/orders/{id}", headers=headers)

    async def task(
        user: Annotated[str, Security(current_user, scopes=["write"])],
        description: Annotated[list[object], Depends(described)],
        x_tenant: Annotated[str, Header()],
    ):
        return [user, *description, x_tenant]

    result = run(task, app=app, scope=scope)
    assert result == ["key may ['write']", "Shop", "blue", "/orders/3", 1, "3", "red", "red"]


def test_the_state_of_a_snapshot_is_each_attempts_own():
    """What a dependency puts into `request.state` is not seen by the next attempt."""
    app = FastAPI()
    scope = snapshot_of(app, "/")

    def counted(request: Request):
        request.state.count = getattr(request.state, "count", 0) + 1
        return request.state.count

    async def task(count=Depends(counted)):
        return count

    assert [run(task, app=app, scope=scope) for _ in range(2)] == [1, 1]
    assert scope["state"] == {"tenant": "blue"}


def test_a_snapshot_leaves_out_what_belongs_to_the_time_of_the_request():
    """Stacks and marks of FastAPI do not live on with the run."""
    scope = snapshot_of(FastAPI(), "/")
    assert [key for key in scope if key.startswith("fastapi")] == []
    assert snapshot_scope({"type": "http", "fastapi_inner_astack": 1}) == {
        "type": "http",
        "state": {},
        "path_params": {},
    }


def test_the_body_of_the_request_is_gone():
    """A dependency that reads the body gets an error that says why there is none."""

    async def raw(request: Request):
        return await request.body()

    async def task(raw=Depends(raw)):
        return raw

    app = FastAPI()
    with pytest.raises(RuntimeError, match=r"^the body of the request is gone when its tasks run$"):
        run(task, app=app, scope=snapshot_of(app, "/", json={"a": 1}))


def test_a_dependency_cannot_answer_the_request():
    """The response has been sent: sending more is an error."""

    async def push(request: Request):
        await request.send_push_promise("/style.css")

    async def task(a=Depends(push)):
        return a

    app = FastAPI()
    scope = {**snapshot_of(app, "/"), "extensions": {"http.response.push": {}}}
    with pytest.raises(RuntimeError, match=r"^the response of the request has been sent when its tasks run$"):
        run(task, app=app, scope=scope)


def test_a_body_parameter_is_refused_with_the_reason():
    """FastAPI's own error says what is missing, a note says why."""

    def size(size: Annotated[int, Body()]):
        return size

    async def task(size=Depends(size)):
        return size

    app = FastAPI()
    with pytest.raises(RequestValidationError) as caught:
        run(task, app=app, scope=snapshot_of(app, "/", json=3))
    assert [error["loc"][0] for error in caught.value.errors()] == ["body"]
    assert caught.value.__notes__ == ["the body of the request is gone when its tasks run"]


def test_without_a_request_there_is_an_empty_one():
    """What has a default, or only wants some request, can be injected into a run that was started without one."""
    app = FastAPI(title="Shop")

    def page(request: Request, limit: int = 10, x_tenant: Annotated[str, Header()] = "none"):
        return [request.app.title, request.url.path, request.client, limit, x_tenant]

    async def task(page=Depends(page)):
        return page

    assert run(task, app=app) == ["Shop", "/", None, 10, "none"]


def test_an_empty_request_may_bring_the_state_of_the_lifespan():
    """`request.state` holds what the engine puts into the scope."""

    def pool(request: Request):
        return request.state.pool

    async def task(pool=Depends(pool)):
        return pool

    assert run(task, scope=synthetic_scope(None, {"pool": "pool"})) == "pool"


def test_what_an_empty_request_cannot_give_is_refused_with_the_reason():
    """The error is the dependency's own, or FastAPI's; a note says that the run has no request."""

    async def secured(user=Depends(oauth2_scheme)):
        return user

    async def wants_header(x_tenant: Annotated[str, Header()]):
        return x_tenant

    note = "raised for a run without a request: its tasks see an empty one"
    with pytest.raises(HTTPException) as refused:
        run(secured)
    assert refused.value.status_code == 401
    assert refused.value.__notes__ == [note]
    with pytest.raises(RequestValidationError) as missing:
        run(wants_header)
    assert [error["loc"] for error in missing.value.errors()] == [("header", "x-tenant")]
    assert missing.value.__notes__ == [note]


def test_an_error_of_the_task_itself_has_no_note():
    """Notes are for what goes wrong while dependencies are resolved."""

    async def task(request: Request):
        raise Boom

    with pytest.raises(Boom) as caught:
        run(task)
    assert not hasattr(caught.value, "__notes__")


def plain():
    return "plain"


def tenant(x_tenant: Annotated[str, Header()]):
    return x_tenant


class Scheme:
    async def __call__(self, request: Request): ...


async def user(scheme: Annotated[None, Depends(Scheme())]): ...


class Filters:
    def __init__(self, q: str = "", tenant: str = Depends(tenant)) -> None:
        self.q = q


class Limits:
    def __init__(self, plain=Depends(plain), tenant=Depends(tenant)) -> None: ...


@pytest.mark.parametrize(
    ("annotation", "path"),
    [
        (Annotated[str, Depends(plain)], ()),
        (Annotated[str, Security(plain, scopes=["a"])], ()),  # a rule, but nothing of the request
        (BackgroundTasks, ()),  # FastAPI makes one
        (Response, ()),
        (SecurityScopes, ()),
        (Request, ("it", "Request")),
        (HTTPConnection, ("it", "HTTPConnection")),
        (WebSocket, ("it", "WebSocket")),
        (Annotated[str, Header()], ("it", "Header it")),
        (Annotated[str, Query()], ("it", "Query it")),
        (Annotated[str, Cookie()], ("it", "Cookie it")),
        (Annotated[str, Path()], ("it", "Path it")),
        (Annotated[str, Body()], ("it", "Body it")),
        (Annotated[str, Depends(tenant)], ("it", "tenant", "Header x_tenant")),
        (Annotated[Limits, Depends()], ("it", "Limits", "tenant", "Header x_tenant")),
        (Annotated[Filters, Depends()], ("it", "Filters", "Query q")),  # the nearest one
        (Annotated[str, Depends(user)], ("it", "user", "Scheme", "Request")),
    ],
)
def test_the_request_path_says_why_a_task_is_bound_to_a_request(annotation, path):
    """It leads from the parameter through its dependencies to what is read; it is empty if nothing is."""

    async def task(it):
        return it

    task.__annotations__["it"] = annotation
    assert injection_of(task).request_path == path


def test_background_tasks_of_dependencies_run_when_everything_is_closed():
    """They belong to an attempt that has succeeded, its commit included."""
    log = []

    async def session():
        yield
        log.append("commit")

    def notify(background: BackgroundTasks, session=Depends(session)):
        background.add_task(log.append, "background")

    async def task(a=Depends(notify)):
        log.append("task")
        return "done"

    assert run(task) == "done"
    assert log == ["task", "commit", "background"]


def test_background_tasks_of_a_failed_attempt_do_not_run():
    """Neither for an exception of the task nor for one of its dependencies."""
    log = []

    def notify(background: BackgroundTasks):
        background.add_task(log.append, "background")

    async def task(a=Depends(notify)):
        raise Boom

    with pytest.raises(Boom):
        run(task)
    assert log == []


def test_def_dependencies_of_the_solver_run_in_our_threads():
    """The threads that serve requests are left alone, and values are cached as ever."""
    names = []

    def function(request: Request):
        names.append(threading.current_thread().name)
        return "function"

    def generator(function=Depends(function)):
        names.append(threading.current_thread().name)
        yield f"generator over {function}"
        names.append(threading.current_thread().name)

    async def task(a=Depends(generator), b=Depends(function), c=Depends(generator)):
        return [a, b, c]

    assert run(task) == ["generator over function", "function", "generator over function"]
    assert names == ["fastapi-chain"] * 3


def test_an_override_may_read_the_request():
    """What a recipe can call may be replaced by what needs FastAPI's solver, and the other way round."""

    def word():
        return "word"

    def from_request(request: Request):
        return request.url.path

    async def plain_task(a=Depends(word)):
        return a

    async def bound_task(a=Depends(from_request)):
        return a

    assert run(plain_task, overrides={word: from_request}) == "/"
    assert run(bound_task, overrides={from_request: word}) == "word"


@has_function_scope
def test_dependencies_of_function_scope_close_before_the_others():
    """`Depends(scope="function")` closes as soon as the task has returned."""
    log = []

    async def function_scoped():
        yield
        log.append("function scope closes")

    async def session():
        yield
        log.append("request scope closes")

    async def task(a=Depends(function_scoped, scope="function"), b=Depends(session)):
        log.append("task")
        return "done"

    assert run(task) == "done"
    assert log == ["task", "function scope closes", "request scope closes"]


@has_function_scope
def test_a_rule_holds_for_what_replaces_its_dependency():
    """An override is closed when the original would have been."""
    log = []

    async def original():
        raise AssertionError
        yield

    async def fake():
        yield "fake"
        log.append("fake closes")

    async def session():
        yield
        log.append("session closes")

    async def task(a=Depends(original, scope="function"), b=Depends(session)):
        return a

    assert run(task, overrides={original: fake}) == "fake"
    assert log == ["fake closes", "session closes"]


@has_function_scope
def test_an_attempt_whose_function_scope_fails_to_close_has_no_result():
    """If an outer dependency swallows that error, the attempt is an error all the same."""

    async def outer():
        with contextlib.suppress(Boom):
            yield

    async def inner():
        yield
        raise Boom

    async def task(a=Depends(outer), b=Depends(inner, scope="function")):
        return "done"

    with pytest.raises(RunError) as caught:
        run(task)
    assert isinstance(caught.value.__cause__, Boom)


@has_function_scope
def test_a_function_scope_that_swallows_is_an_error():
    """The task has no result then."""

    async def swallows():
        with contextlib.suppress(Boom):
            yield

    async def task(a=Depends(swallows, scope="function")):
        raise Boom

    with pytest.raises(RunError) as caught:
        run(task)
    assert isinstance(caught.value.__cause__, Boom)


@has_max_concurrency
def test_max_concurrency_holds_over_all_attempts():
    """A dependency with `max_concurrency=1` serves one attempt after the other."""
    inside = []
    most = []

    async def alone():
        inside.append(1)
        most.append(len(inside))
        await asyncio.sleep(0)
        inside.pop()

    async def task(a=Depends(alone, max_concurrency=1)):
        return None

    async def main():
        attempt = attempts(task)
        environment = SimpleNamespace(app=None, request_scope=None)
        await asyncio.gather(*[attempt(environment) for _ in range(5)])

    asyncio.run(main())
    assert most == [1] * 5
