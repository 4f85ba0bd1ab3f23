"""Every route of an app, and what the parameters of an endpoint are, on every version of FastAPI."""

import functools
import types
from typing import Annotated, Any

import pytest
from fastapi import (
    APIRouter,
    BackgroundTasks,
    Cookie,
    Depends,
    FastAPI,
    File,
    Form,
    Header,
    Request,
    Response,
    Security,
    UploadFile,
    WebSocket,
)
from fastapi.security import SecurityScopes
from fastapi.staticfiles import StaticFiles
from pydantic import BaseModel
from starlette.applications import Starlette
from starlette.requests import HTTPConnection

from fastapi_chain._fastapi import api_routes, endpoint_ids, input_kinds, overrides_of


def test_every_route_is_found_with_its_whole_path(tmp_path):
    """Included routers may be nested, apps may be mounted, and what is no API route is left out."""
    main, sub = FastAPI(), FastAPI()
    inner, outer = APIRouter(prefix="/inner"), APIRouter()

    def endpoint() -> None: ...

    async def socket(websocket: WebSocket) -> None: ...

    main.get("/")(endpoint)
    main.api_route("/both", methods=["PUT", "POST"])(endpoint)
    main.websocket("/socket")(socket)
    inner.post("/deep/{id}")(endpoint)
    outer.include_router(inner, prefix="/b")
    main.include_router(outer, prefix="/a")
    main.include_router(inner, prefix="/again")
    sub.post("/below")(endpoint)
    sub.mount("/none", StaticFiles(directory=tmp_path))
    main.mount("/sub", Starlette(routes=[]))
    main.mount("/apps/one", sub)
    routes = [(route.path, route.methods) for route in api_routes(main)]
    assert routes == [
        ("/", ("GET",)),
        ("/both", ("POST", "PUT")),
        ("/a/b/inner/deep/{id}", ("POST",)),
        ("/again/inner/deep/{id}", ("POST",)),
        ("/apps/one/below", ("POST",)),
    ]
    assert {route.endpoint for route in api_routes(main)} == {endpoint}


def test_a_route_knows_its_parameters_through_its_routers():
    """The dependencies of routers come with the description of an included route, and fill no parameter."""

    async def guard(): ...

    def size(q: int = 1): ...

    app, router = FastAPI(), APIRouter(dependencies=[Depends(guard)])

    @router.post("/{id}", dependencies=[Depends(guard)])
    def endpoint(id: int, size: Annotated[int, Depends(size)]) -> None: ...

    app.include_router(router)
    (route,) = api_routes(app)
    assert input_kinds(route.dependant) == {"id": "data", "size": "dependency"}


class Order(BaseModel):
    sku: str


class Upload(BaseModel):
    title: str
    file: UploadFile


class Filters(BaseModel):
    limit: int = 10


def user():
    return "user"


async def session():
    yield "session"


def sync_session():
    yield "session"


def repository(session: Annotated[str, Depends(session)]):
    return session


def service(user: Annotated[str, Depends(user)], repository: Annotated[str, Depends(repository)]):
    return repository


class Opener:
    async def __call__(self):
        yield


def of_kinds(endpoint: Any) -> dict[str, str]:
    app = FastAPI()
    app.post("/{id}")(endpoint)
    (route,) = api_routes(app)
    return input_kinds(route.dependant)


def test_validated_values_are_data():
    """Path, query, header, cookie, body, and models of them are handed on as they are."""

    def endpoint(
        *,
        id: int,
        order: Order,
        q: str,
        filters: Annotated[Filters, Depends()],
        note: str = Header(),
        track: str = Cookie(),
    ) -> None: ...

    assert of_kinds(endpoint) == {
        "id": "data",
        "order": "data",
        "q": "data",
        "filters": "dependency",
        "note": "data",
        "track": "data",
    }


def test_forms_are_data_but_files_are_closed():
    """A file is closed when the request is over, in a list, a union or a form model as well; its bytes are not."""

    def endpoint(
        title: Annotated[str, Form()],
        content: Annotated[bytes, File()],
        one: UploadFile,
        more: list[UploadFile],
        perhaps: UploadFile | None = None,
    ) -> None: ...

    def with_model(upload: Annotated[Upload, Form()]) -> None: ...

    assert of_kinds(endpoint) == {
        "title": "data",
        "content": "data",
        "one": "UploadFile",
        "more": "UploadFile",
        "perhaps": "UploadFile",
    }
    assert of_kinds(with_model) == {"upload": "UploadFile"}


def test_dependencies_are_plain_or_closed():
    """What yields is closed at the end of the request, and so is what is built over it, however deep."""

    def endpoint(
        *,
        user: Annotated[str, Depends(user)],
        caller: Annotated[str, Security(user, scopes=["a"])],
        session: Annotated[str, Depends(session)],
        old: Annotated[str, Depends(sync_session)],
        opener: Annotated[None, Depends(Opener())],
        bound: Annotated[None, Depends(functools.partial(session))],
        repository: Annotated[str, Depends(repository)],
        service: str = Depends(service),
    ) -> None: ...

    assert of_kinds(endpoint) == {
        "user": "dependency",
        "caller": "dependency",
        "session": "yield-dependency",
        "old": "yield-dependency",
        "opener": "yield-dependency",
        "bound": "yield-dependency",
        "repository": "yield-dependency",
        "service": "yield-dependency",
    }


@pytest.mark.parametrize("annotation", [Request, HTTPConnection, Response, BackgroundTasks, SecurityScopes])
def test_objects_of_the_request_are_no_data(annotation):
    """They belong to the request alone."""

    def endpoint(it) -> None: ...

    endpoint.__annotations__["it"] = annotation
    assert of_kinds(endpoint) == {"it": "request"}


def test_endpoint_ids_lead_through_decorators_partials_and_methods():
    """Each layer has its id, from the outside; a circle ends."""

    def fn() -> None: ...

    @functools.wraps(fn)
    def wrapper() -> None: ...

    partial = functools.partial(wrapper)
    assert list(endpoint_ids(partial)) == [id(partial), id(wrapper), id(fn)]
    method = types.MethodType(wrapper, object())
    assert list(endpoint_ids(method)) == [id(method), id(wrapper), id(fn)]
    fn.__wrapped__ = wrapper
    assert list(endpoint_ids(partial)) == [id(partial), id(wrapper), id(fn)]


def test_overrides_are_looked_up_at_the_moment():
    """They are the app's own mapping; without an app, or for one that knows no such thing, there are none."""
    app = FastAPI()
    assert overrides_of(app) == {}
    app.dependency_overrides[user] = session
    assert overrides_of(app) == {user: session}
    assert overrides_of(None) == {}
    assert overrides_of(Starlette()) == {}
