"""Endpoints in a module whose annotations are strings (PEP 563), on every version of FastAPI."""

from __future__ import annotations

import asyncio
import functools
from typing import Annotated, Any, Optional

import pytest
from fastapi import BackgroundTasks, Depends, FastAPI, Header, Request, Response
from fastapi.testclient import TestClient
from pydantic import BaseModel

from fastapi_chain import DeclarationError, Run, chain, task
from fastapi_chain.declare import source_of


class Order(BaseModel):
    """What comes in."""

    sku: str


class Placed(BaseModel):
    """What goes out."""

    id: int


def user(x_user: Annotated[str, Header()] = "anon") -> str:
    return x_user


@pytest.mark.parametrize("is_async", [True, False])
def test_names_are_those_of_the_users_module(is_async):
    """Our own module knows neither `Order` nor `Placed`; the schema has both."""
    seen: list[Any] = []
    app = FastAPI()

    @task
    async def note(order: Order, user: str, run: Run) -> None:
        seen.append((order, user, run.id))

    def endpoint(
        order: Order, request: Request, response: Response, user: Annotated[str, Depends(user)], run: Run
    ) -> Placed:
        response.headers["x-run"] = run.id
        assert isinstance(request, Request)
        return Placed(id=1)

    async def async_endpoint(
        order: Order, background: BackgroundTasks, response: Response, user: Annotated[str, Depends(user)], run: Run
    ) -> Placed:
        response.headers["x-run"] = run.id
        return Placed(id=1)

    app.post("/")(chain(note)(async_endpoint if is_async else endpoint))
    answer = TestClient(app).post("/", json={"sku": "a"}, headers={"x-user": "bob"})
    assert answer.json() == {"id": 1}
    assert seen == [(Order(sku="a"), "bob", answer.headers["x-run"])]
    operation = app.openapi()["paths"]["/"]["post"]
    assert [parameter["name"] for parameter in operation["parameters"]] == ["x-user"]
    assert operation["requestBody"]["content"]["application/json"]["schema"]["$ref"].endswith("/Order")
    assert operation["responses"]["200"]["content"]["application/json"]["schema"]["$ref"].endswith("/Placed")


def test_classes_of_the_function_around_are_known():
    """Plain FastAPI does not see them."""
    seen: list[Any] = []
    app = FastAPI()

    class Local(BaseModel):
        x: int

    @task
    async def note(local: Local) -> None:
        seen.append(local)

    @app.post("/")
    @chain(note)
    async def endpoint(local: Local) -> Local:
        return local

    assert TestClient(app).post("/", json={"x": 1}).json() == {"x": 1}
    assert seen == [Local(x=1)]


def test_quotes_inside_of_annotations_are_read():
    """As plain FastAPI reads them."""
    app = FastAPI()

    @task
    async def note(order: Any) -> None: ...

    @app.post("/")
    @chain(note)
    async def endpoint(
        order: Optional["Order"] = None,  # noqa: UP037, UP045 - quotes inside of a string are what is tested
        user: Annotated["str", Depends(user)] = "",  # noqa: UP037
    ) -> list["Placed"]:  # noqa: UP037
        return [Placed(id=len(order.sku) if order else 0)]

    client = TestClient(app)
    assert client.post("/", json={"sku": "abc"}).json() == [{"id": 3}]
    assert client.post("/").json() == [{"id": 0}]


def test_a_decorator_of_another_module_hides_nothing():
    """`functools.wraps` leaves the strings as they are, with the names of the wrong module around them."""
    seen: list[Any] = []
    app = FastAPI()

    @task
    async def note(order: Order) -> None:
        seen.append(order)

    def passed(fn: Any) -> Any:
        @functools.wraps(fn)
        async def pass_on(*args: Any, **kwargs: Any) -> Any:
            return await fn(*args, **kwargs)

        return pass_on

    @app.post("/")
    @passed
    @chain(note)
    @passed
    async def endpoint(order: Order, request: Request) -> Placed:
        return Placed(id=len(request.url.path))

    assert TestClient(app).post("/", json={"sku": "a"}).json() == {"id": 1}
    assert seen == [Order(sku="a")]


def test_a_method_of_a_class_in_a_function_sees_the_names_of_the_function():
    """A class-based view may be local as well."""
    app = FastAPI()

    class Local(BaseModel):
        x: int

    @task
    async def note() -> None: ...

    class View:
        @chain(note)
        def create(self, local: Local) -> Local:
            return local

    assert View().create(Local(x=1)) == Local(x=1)
    app.post("/")(functools.partial(View.create, View()))
    assert TestClient(app).post("/", json={"x": 2}).json() == {"x": 2}


def test_a_name_that_is_known_to_type_checkers_only_is_refused():
    """It would become a parameter of the query."""

    async def endpoint(order: Unknown) -> None:  # noqa: F821 - that is the point
        """Nothing."""

    with pytest.raises(DeclarationError) as caught:
        chain("note")(endpoint)
    assert str(caught.value) == (
        "Endpoint 'endpoint' annotates 'order' as 'Unknown', a name that is not known here.\n"
        f"    declared at   {source_of(endpoint).at}\n"
        "Fix: define or import it above the endpoint\n"
        "See errors#declaration"
    )


def test_a_return_annotation_that_nobody_knows_is_no_problem_by_itself():
    """Nothing is made of it where the route has a `response_model`."""
    app = FastAPI()

    @task
    async def note() -> None: ...

    @app.post("/", response_model=None)
    @chain(note)
    async def endpoint() -> Unknown:  # noqa: F821 - that is the point
        return {"x": 1}

    assert TestClient(app).post("/").json() == {"x": 1}
    assert asyncio.run(endpoint()) == {"x": 1}
