"""The OpenAPI document: valid, and it tells what operations start."""

import asyncio
from typing import Any

import pytest
from fastapi import APIRouter, FastAPI
from fastapi.responses import JSONResponse
from fastapi.testclient import TestClient
from hypothesis import HealthCheck, given, settings
from starlette.applications import Starlette

from fastapi_chain import Registry, chain, install

# The oldest jobs have neither.
schemathesis = pytest.importorskip("schemathesis")
checks = pytest.importorskip("schemathesis.specs.openapi.checks")
validator = pytest.importorskip("openapi_spec_validator")


shared = Registry("shared")


@shared.task
async def clean(raw: int) -> int:
    return raw


@shared.task(after=[clean])
async def save(clean: int) -> None: ...


def shop(**options: Any) -> FastAPI:
    """Return an app with a chain on `POST /data/{raw}`, and a router at /chains."""
    app = FastAPI(**options)
    app.include_router(install(app, expose_values=True).router(), prefix="/chains")

    @app.post("/data/{raw:int}", status_code=202, responses={404: {"description": "None"}})
    @chain(save, name="ingest", idempotent=True)
    async def ingest(raw: int) -> None: ...

    @app.get("/data")
    async def plain() -> None: ...

    return app


def test_the_document_is_valid():
    """A validator finds nothing, and the document is the same each time."""
    app = shop()
    document = app.openapi()
    validator.validate(document)
    assert app.openapi() == document


def test_an_operation_tells_what_it_starts():
    """Its graph, the headers of the response, and a link to the operation that shows the run."""
    operation = shop().openapi()["paths"]["/data/{raw}"]["post"]
    assert operation["x-fastapi-chain"] == {
        "chain": "ingest",
        "tasks": ["clean", "save"],
        "edges": [{"from": "clean", "to": "save", "kind": "data"}],
    }
    accepted = operation["responses"]["202"]
    assert sorted(accepted["headers"]) == ["Link", "Location", "Retry-After", "X-Chain-Run"]
    assert accepted["links"] == {
        "run": {
            "operationId": "get_run_chains_runs__run_id__get",
            "parameters": {"run_id": "$response.header.X-Chain-Run"},
        }
    }
    assert "headers" not in operation["responses"]["404"]
    assert [one["name"] for one in operation["parameters"]] == ["raw", "Idempotency-Key"]
    assert "x-fastapi-chain" not in shop().openapi()["paths"]["/data"]["get"]


def test_without_the_router_there_is_nowhere_to_go():
    """The graph and the id are there, links and places are not; what is not 202 has no place either."""
    app = FastAPI()
    install(app)

    @app.post("/data", response_class=JSONResponse)
    @chain(save)
    async def ingest(raw: int) -> None: ...

    @app.post("/hidden", include_in_schema=False)
    @chain(save, name="hidden")
    async def hidden(raw: int) -> None: ...

    operation = app.openapi()["paths"]["/data"]["post"]
    assert list(operation["responses"]["200"]["headers"]) == ["X-Chain-Run"]
    assert "links" not in operation["responses"]["200"]


def test_the_router_may_stay_out_of_the_document():
    """Then there is nothing to link to; places are told all the same."""
    app = FastAPI()
    app.include_router(install(app).router(), include_in_schema=False)

    @app.post("/data", status_code=202)
    @chain(save)
    async def ingest(raw: int) -> None: ...

    accepted = app.openapi()["paths"]["/data"]["post"]["responses"]["202"]
    assert "Location" in accepted["headers"]
    assert "links" not in accepted


def test_a_chain_that_cannot_run_does_not_spoil_the_document():
    """Start-up tells what is wrong with it."""
    app = FastAPI()
    install(app)

    @app.post("/data")
    @chain(save)
    async def ingest() -> None: ...

    assert "x-fastapi-chain" not in app.openapi()["paths"]["/data"]["post"]


def test_an_app_without_a_document_has_none_afterwards():
    """A plain Starlette app can have a runtime, too."""
    app = Starlette()
    install(app)
    assert not hasattr(app, "openapi")


def test_routes_that_come_later_are_annotated(serving):
    """Up to the moment when the document is asked for."""
    app = shop()
    router = APIRouter()

    @router.post("/more", status_code=202)
    @chain(save, name="more")
    async def more(raw: int) -> None: ...

    app.include_router(router, prefix="/later")
    assert app.openapi()["paths"]["/later/more"]["post"]["x-fastapi-chain"]["chain"] == "more"


@pytest.mark.parametrize("known", [False, True])
def test_no_request_makes_a_server_error(known):
    """Schemathesis finds no 5xx and no answer that the document does not know, for runs that exist and for others."""
    app = shop()
    run = TestClient(app).post("/data/1").headers["x-chain-run"]
    schema = schemathesis.openapi.from_asgi("/openapi.json", app)
    wanted = [
        schemathesis.checks.not_a_server_error,
        checks.response_schema_conformance,
        checks.status_code_conformance,
    ]
    few = settings(max_examples=5, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    for result in schema.get_all_operations():
        operation = result.ok()

        def drive(case: Any) -> None:
            for name, value in (("run_id", run), ("name", "ingest"), ("task", "save")):
                if known and name in case.path_parameters:
                    case.path_parameters[name] = value
            case.call_and_validate(checks=wanted)

        few(given(case=operation.as_strategy())(drive))()


def test_the_document_is_served(serving):
    """Under its own path, as always."""

    async def main() -> None:
        async with serving(shop()) as client:
            document = (await client.get("/openapi.json")).json()
            assert "/chains/runs/{run_id}" in document["paths"]

    asyncio.run(main())
