"""An endpoint with a chain is, for FastAPI and its clients, the endpoint without."""

import functools
import inspect
from collections.abc import Callable
from typing import Annotated, Any

import fastapi
import pytest
from fastapi import (
    APIRouter,
    BackgroundTasks,
    Body,
    Cookie,
    Depends,
    FastAPI,
    Form,
    Header,
    HTTPException,
    Request,
    Response,
    Security,
    UploadFile,
)
from fastapi.requests import HTTPConnection
from fastapi.responses import JSONResponse, PlainTextResponse, RedirectResponse, StreamingResponse
from fastapi.routing import APIRoute
from fastapi.security import SecurityScopes
from fastapi.testclient import TestClient
from pydantic import BaseModel

from fastapi_chain import Chain, Registry, chain

VERSION = tuple(int(number) for number in fastapi.__version__.split(".")[:2])

with_async_objects = pytest.mark.skipif(VERSION < (0, 123), reason="FastAPI awaits async callable objects since 0.123")

Decorate = Callable[[Any], Any]
Sent = dict[str, Any]


class Order(BaseModel):
    """What comes in."""

    sku: str
    n: int = 1


class Placed(BaseModel):
    """What goes out."""

    id: int
    sku: str
    note: str | None = None


def user(x_user: Annotated[str, Header()] = "anon") -> str:
    return x_user


def session():
    yield "session"


def everything(app: FastAPI, decorate: Decorate) -> None:
    @app.post("/{shop}", status_code=202)
    @decorate
    async def create(
        *,
        shop: str,
        order: Order,
        x_tag: Annotated[str, Header()],
        user: Annotated[str, Depends(user)],
        db: Annotated[str, Depends(session)],
        limit: int = 3,
        seen: Annotated[str, Cookie()] = "",
    ) -> Placed:
        r"""Create an order.

        At once.\f Not for the docs.
        """
        return Placed(id=limit, sku=f"{order.sku} {shop} {x_tag} {user} {db} {seen}")


def in_a_thread(app: FastAPI, decorate: Decorate) -> None:
    @app.post("/{shop}")
    @decorate
    def create(shop: str, order: Order, user: Annotated[str, Depends(user)], limit: int = 3) -> Placed:
        return Placed(id=limit, sku=f"{order.sku} {shop} {user}")


def several_bodies(app: FastAPI, decorate: Decorate) -> None:
    @app.post("/x")
    @decorate
    async def create(order: Order, n: Annotated[int, Body()]) -> int:
        return order.n + n


def form_and_file(app: FastAPI, decorate: Decorate) -> None:
    @app.post("/x")
    @decorate
    async def create(name: Annotated[str, Form()], file: UploadFile) -> str:
        return f"{name} {await file.read()!r}"


def objects_of_the_request(app: FastAPI, decorate: Decorate) -> None:
    @app.post("/x")
    @decorate
    async def create(request: Request, response: Response, background: BackgroundTasks) -> str:
        response.headers["x-mine"] = request.url.path
        background.add_task(str)
        return request.headers["x-tag"]


def connection(app: FastAPI, decorate: Decorate) -> None:
    @app.post("/x")
    @decorate
    async def create(connection: HTTPConnection) -> str:
        return connection.headers["x-tag"]


def connection_and_request(app: FastAPI, decorate: Decorate) -> None:
    @app.post("/x")
    @decorate
    async def create(connection: HTTPConnection, request: Request, response: Response) -> str:
        response.set_cookie("a", "b")
        return f"{connection.url.path} {request.headers['x-tag']}"


def security(app: FastAPI, decorate: Decorate) -> None:
    def scopes(wanted: SecurityScopes) -> str:
        return wanted.scope_str

    @app.post("/x")
    @decorate
    async def create(scopes: Annotated[str, Security(scopes, scopes=["write"])]) -> str:
        return scopes


def old_style(app: FastAPI, decorate: Decorate) -> None:
    @app.post("/x")
    @decorate
    async def create(order: Order = Body(), tag: str = Header("", alias="x-tag"), user: str = Depends(user)) -> str:
        return f"{order.sku} {tag} {user}"


def without_annotations(app: FastAPI, decorate: Decorate) -> None:
    @app.post("/{shop}")
    @decorate
    async def create(shop, limit=3):
        return [shop, limit]


def any_keywords(app: FastAPI, decorate: Decorate) -> None:
    @app.post("/x")
    @decorate
    async def create(shop: str = "here", **rest: str) -> list[str]:
        return [shop, *rest]


def response_model(app: FastAPI, decorate: Decorate) -> None:
    @app.post("/x", response_model=Placed, response_model_exclude_none=True, summary="Place", tags=["orders"])
    @decorate
    async def create(order: Order) -> Any:
        return {"id": 1, "sku": order.sku, "secret": 2}


def response_class(app: FastAPI, decorate: Decorate) -> None:
    @app.post("/x", response_class=PlainTextResponse)
    @decorate
    async def create() -> str:
        return "plain"


def own_response(app: FastAPI, decorate: Decorate) -> None:
    @app.post("/x")
    @decorate
    async def create() -> RedirectResponse:
        return RedirectResponse("/elsewhere", 303)


def stream(app: FastAPI, decorate: Decorate) -> None:
    @app.post("/x")
    @decorate
    async def create() -> StreamingResponse:
        return StreamingResponse(iter(["a", "b"]), media_type="text/plain")


def no_content(app: FastAPI, decorate: Decorate) -> None:
    @app.post("/x", status_code=204)
    @decorate
    async def create() -> None:
        return None


def status_set_by_hand(app: FastAPI, decorate: Decorate) -> None:
    @app.post("/x", status_code=404)
    @decorate
    async def create(response: Response) -> str:
        response.status_code = 201
        return "created"


def partial(app: FastAPI, decorate: Decorate) -> None:
    async def create(order: Order, k: int, fixed: int) -> int:
        return order.n + k + fixed

    app.post("/x")(decorate(functools.partial(create, k=7, fixed=1)))


def callable_object(app: FastAPI, decorate: Decorate) -> None:
    class Create:
        """Create an order."""

        async def __call__(self, order: Order) -> Placed:
            return Placed(id=9, sku=order.sku)

    app.post("/x")(decorate(Create()))


def bound_method(app: FastAPI, decorate: Decorate) -> None:
    class Shop:
        def __init__(self, name: str) -> None:
            self.name = name

        async def create(self, order: Order) -> Placed:
            """Create an order."""
            return Placed(id=10, sku=f"{order.sku} {self.name}")

    app.post("/x")(decorate(Shop("here").create))


def class_based_view(app: FastAPI, decorate: Decorate) -> None:
    """As in fastapi-utils: the class gives its methods a signature in which `self` is a dependency."""

    class View:
        def __init__(self, user: Annotated[str, Depends(user)]) -> None:
            self.user = user

        @decorate
        async def create(self, order: Order) -> str:
            return f"{self.user} {order.sku}"

    endpoint: Any = View.create
    first, *others = inspect.signature(endpoint).parameters.values()
    first = first.replace(annotation=Annotated[View, Depends()])
    others = [other.replace(kind=inspect.Parameter.KEYWORD_ONLY) for other in others]
    endpoint.__signature__ = inspect.Signature([first, *others], return_annotation=str)
    app.post("/x")(endpoint)


def twice(fn: Any) -> Any:
    @functools.wraps(fn)
    async def doubled(*args: Any, **kwargs: Any) -> Any:
        return 2 * await fn(*args, **kwargs)

    return doubled


def decorated_above(app: FastAPI, decorate: Decorate) -> None:
    @app.post("/x")
    @twice
    @decorate
    async def create(order: Order, request: Request) -> int:
        return order.n


def decorated_below(app: FastAPI, decorate: Decorate) -> None:
    @app.post("/x")
    @decorate
    @twice
    async def create(order: Order, request: Request) -> int:
        return order.n


def nested_routers(app: FastAPI, decorate: Decorate) -> None:
    inner = APIRouter(prefix="/b", dependencies=[Depends(session)])
    outer = APIRouter(tags=["outer"])

    @inner.post("/{shop}")
    @decorate
    async def create(shop: str) -> str:
        return shop

    outer.include_router(inner)
    app.include_router(outer, prefix="/a")


def included_twice(app: FastAPI, decorate: Decorate) -> None:
    router = APIRouter()

    @router.post("/{shop}")
    @decorate
    async def create(shop: str) -> str:
        return shop

    app.include_router(router, prefix="/v1")
    app.include_router(router, prefix="/v2")


def mounted(app: FastAPI, decorate: Decorate) -> None:
    sub = FastAPI()

    @sub.post("/{shop}")
    @decorate
    async def create(shop: str, request: Request) -> list[str]:
        return [shop, request.url.path]

    app.mount("/sub", sub)


def route_class(app: FastAPI, decorate: Decorate) -> None:
    class Shouting(APIRoute):
        def get_route_handler(self) -> Any:
            handler = super().get_route_handler()

            async def shout(request: Request) -> Response:
                response = await handler(request)
                response.headers["x-loud"] = "yes"
                return response

            return shout

    router = APIRouter(route_class=Shouting)

    @router.post("/{shop}")
    @decorate
    async def create(shop: str) -> str:
        return shop

    app.include_router(router)


def by_hand(app: FastAPI, decorate: Decorate) -> None:
    async def create(order: Order) -> int:
        return order.n

    app.add_api_route("/x", decorate(create), methods=["POST"], operation_id="place", name="placing")


def http_exception(app: FastAPI, decorate: Decorate) -> None:
    @app.post("/x")
    @decorate
    async def create() -> None:
        raise HTTPException(418, "tea")


def error_as_response(app: FastAPI, decorate: Decorate) -> None:
    @app.post("/x")
    @decorate
    def create() -> JSONResponse:
        return JSONResponse({"a": 1}, 409)


def error_as_status(app: FastAPI, decorate: Decorate) -> None:
    @app.post("/x")
    @decorate
    async def create(response: Response) -> str:
        response.status_code = 404
        return "missing"


def error_status_of_a_dependency(app: FastAPI, decorate: Decorate) -> None:
    def refuse(response: Response) -> None:
        response.status_code = 403

    @app.post("/x", dependencies=[Depends(refuse)])
    @decorate
    async def create() -> str:
        return "refused"


def error_status_of_the_route(app: FastAPI, decorate: Decorate) -> None:
    @app.post("/x", status_code=501)
    @decorate
    async def create() -> str:
        return "not yet"


def bad_request(app: FastAPI, decorate: Decorate) -> None:
    @app.post("/x")
    @decorate
    async def create(order: Order, limit: int) -> int:
        return order.n


JSON: Sent = {"json": {"sku": "a", "n": 4}}
FORM: Sent = {"data": {"name": "x"}, "files": {"file": ("a", b"abc")}}

CASES = [
    # endpoint, path, what is sent, status
    (everything, "/eu?limit=5", JSON | {"headers": {"x-user": "bob"}, "cookies": {"seen": "yes"}}, 202),
    (in_a_thread, "/eu?limit=5", JSON, 200),
    (several_bodies, "/x", {"json": {"order": {"sku": "a"}, "n": 2}}, 200),
    (form_and_file, "/x", FORM, 200),
    (objects_of_the_request, "/x", {}, 200),
    (connection, "/x", {}, 200),
    (connection_and_request, "/x", {}, 200),
    (security, "/x", {}, 200),
    (old_style, "/x", JSON, 200),
    (without_annotations, "/eu", {}, 200),
    (any_keywords, "/x?rest=r", {}, 200),
    (response_model, "/x", JSON, 200),
    (response_class, "/x", {}, 200),
    (own_response, "/x", {}, 303),
    (stream, "/x", {}, 200),
    (no_content, "/x", {}, 204),
    (status_set_by_hand, "/x", {}, 201),
    (partial, "/x", JSON, 200),
    pytest.param(callable_object, "/x", JSON, 200, marks=with_async_objects),
    (bound_method, "/x", JSON, 200),
    (class_based_view, "/x", JSON, 200),
    (decorated_above, "/x", JSON, 200),
    (decorated_below, "/x", JSON, 200),
    (nested_routers, "/a/b/eu", {}, 200),
    (included_twice, "/v2/eu", {}, 200),
    (mounted, "/sub/eu", {}, 200),
    (route_class, "/eu", {}, 200),
    (by_hand, "/x", JSON, 200),
    (http_exception, "/x", {}, 418),
    (error_as_response, "/x", {}, 409),
    (error_as_status, "/x", {}, 404),
    (error_status_of_a_dependency, "/x", {}, 403),
    (error_status_of_the_route, "/x", {}, 501),
    (bad_request, "/x?limit=many", {"json": {"n": "none"}}, 422),
]


def starting(log: list[str], **options: Any) -> Chain:
    """Return a chain that says in *log* that it has run."""
    registry = Registry("told")

    @registry.task
    async def tell() -> None:
        log.append("ran")

    return chain(tell, **options)


def answers(build: Callable[[FastAPI, Decorate], None], decorate: Decorate, path: str, sent: Sent) -> list[Any]:
    """Return what an app answers and how it describes itself."""
    app = FastAPI()
    build(app, decorate)
    sent = dict(sent)
    client = TestClient(app, follow_redirects=False, cookies=sent.pop("cookies", None))
    response = client.post(path, **sent | {"headers": {"x-tag": "t", **sent.get("headers", {})}})
    return [response.status_code, response.text, dict(response.headers), client.get("/openapi.json").json()]


@pytest.mark.parametrize("start", ["commit", "response"])
@pytest.mark.parametrize(("build", "path", "sent", "status"), CASES, ids=lambda part: getattr(part, "__name__", " "))
def test_an_endpoint_with_a_chain_answers_and_looks_as_it_does_without(build, path, sent, status, start):
    """Status, body, headers and schema are the same, whatever the endpoint is made of; an error starts no run."""
    log: list[str] = []
    plain = answers(build, lambda fn: fn, path, sent)
    chained = answers(build, starting(log, start=start), path, sent)
    assert chained == plain
    assert chained[0] == status
    assert log == (["ran"] if status < 400 else [])
