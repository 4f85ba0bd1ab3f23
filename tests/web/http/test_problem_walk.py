"""Every route, every status with which it refuses: the whole answer."""

import asyncio
import json
from http import HTTPStatus
from typing import Annotated, Any

import pytest
from fastapi import Depends, FastAPI, Header

from fastapi_chain import EngineUnavailable, Registry, chain, install
from fastapi_chain.engines.memory import MemoryEngine

GONE = "0" * 32

NO_RUN = (
    f"There is no run '{GONE}'. Engine 'memory' knows the last finished runs of this one process. "
    'Fix: keep runs for all processes and restarts: install(app, engine="sqlite:///chains.db")'
)
NO_CHAIN = "This app has no chain 'nope'."
CROSS_SITE = "This request comes from a page of another site."
NO_NUMBER = "header.x-number: Input should be a valid integer, unable to parse string as an integer"
AWAY = "Engine 'postgresql://db/chains' does not answer."

RUN = "/chains/runs/{run_id}"
CHAIN = "/chains/chains/{name}"

Row = tuple[str, str, str, Any, int, str, str]

ROWS: list[Row] = [
    # route, url, method, body or headers, status, slug, detail
    (
        "/chains/runs",
        "/chains/runs?limit=0",
        "get",
        {},
        422,
        "request",
        "query.limit: Input should be greater than or equal to 1",
    ),
    (
        "/chains/runs",
        "/chains/runs?limit=201",
        "get",
        {},
        422,
        "request",
        "query.limit: Input should be less than or equal to 200",
    ),
    ("/chains/runs", "/chains/runs?tag=a", "get", {}, 422, "request", "query.tag: a tag is written as name:value"),
    (
        "/chains/runs",
        "/chains/runs?cursor=x",
        "get",
        {},
        422,
        "cursor",
        "This cursor is none that this list has given.",
    ),
    (
        "/chains/runs",
        "/chains/runs?state=lost",
        "get",
        {},
        422,
        "request",
        "query.state.0: Input should be 'queued', 'running', 'succeeded', 'failed' or 'cancelled'",
    ),
    (RUN, f"/chains/runs/{GONE}", "get", {}, 404, "run-not-found", NO_RUN),
    (f"{RUN}/events", f"/chains/runs/{GONE}/events", "get", {}, 404, "run-not-found", NO_RUN),
    (
        f"{RUN}/events",
        "/chains/runs/{done}/events?after=-1",
        "get",
        {},
        422,
        "request",
        "query.after: Input should be greater than or equal to 0",
    ),
    (f"{RUN}/tasks/{{task}}", f"/chains/runs/{GONE}/tasks/save", "get", {}, 404, "run-not-found", NO_RUN),
    (
        f"{RUN}/tasks/{{task}}",
        "/chains/runs/{done}/tasks/nope",
        "get",
        {},
        404,
        "task-not-found",
        "Run '{done}' has no task 'nope'.",
    ),
    (f"{RUN}/result", f"/chains/runs/{GONE}/result", "get", {}, 404, "run-not-found", NO_RUN),
    (
        f"{RUN}/result",
        "/chains/runs/{done}/result",
        "get",
        {},
        403,
        "values-not-exposed",
        "The results of chain 'done' are not shown: chain(..., expose_result=True) would.",
    ),
    (
        f"{RUN}/result",
        "/chains/runs/{failed}/result",
        "get",
        {},
        409,
        "run-failed",
        "Run '{failed}' has failed, so it has no result.",
    ),
    (
        f"{RUN}/result",
        "/chains/runs/{cancelled}/result",
        "get",
        {},
        409,
        "run-failed",
        "Run '{cancelled}' was cancelled, so it has no result.",
    ),
    (f"{RUN}/cancel", f"/chains/runs/{GONE}/cancel", "post", {}, 404, "run-not-found", NO_RUN),
    (
        f"{RUN}/cancel",
        "/chains/runs/{done}/cancel",
        "post",
        {},
        409,
        "run-finished",
        "Run '{done}' has already succeeded, so it cannot be cancelled.",
    ),
    (
        f"{RUN}/cancel",
        "/chains/runs/{active}/cancel",
        "post",
        {"sec-fetch-site": "cross-site"},
        403,
        "cross-site",
        CROSS_SITE,
    ),
    (f"{RUN}/retry", f"/chains/runs/{GONE}/retry", "post", {}, 404, "run-not-found", NO_RUN),
    (
        f"{RUN}/retry",
        "/chains/runs/{active}/retry",
        "post",
        {},
        409,
        "run-active",
        "Run '{active}' is still running.",
    ),
    (
        f"{RUN}/retry",
        "/chains/runs/{done}/retry",
        "post",
        {},
        409,
        "nothing-to-retry",
        "Nothing failed in run '{done}', so there is nothing to retry.",
    ),
    (
        f"{RUN}/retry",
        "/chains/runs/{failed}/retry",
        "post",
        {"from": "nope"},
        422,
        "task-not-found",
        "Run '{failed}' has no task 'nope' to begin with.",
    ),
    (
        f"{RUN}/retry",
        "/chains/runs/{failed}/retry",
        "post",
        {"from": ""},
        422,
        "request",
        "body.from: String should have at least 1 character",
    ),
    (
        f"{RUN}/retry",
        "/chains/runs/{failed}/retry",
        "post",
        {"sec-fetch-site": "cross-site"},
        403,
        "cross-site",
        CROSS_SITE,
    ),
    (CHAIN, "/chains/chains/nope", "get", {}, 404, "chain-not-found", NO_CHAIN),
    (f"{CHAIN}/graph.json", "/chains/chains/nope/graph.json", "get", {}, 404, "chain-not-found", NO_CHAIN),
    (f"{CHAIN}/graph.mmd", "/chains/chains/nope/graph.mmd", "get", {}, 404, "chain-not-found", NO_CHAIN),
    (f"{CHAIN}/graph.svg", "/chains/chains/nope/graph.svg", "get", {}, 404, "chain-not-found", NO_CHAIN),
]

ON_ALL = [
    # What every route refuses with, whatever it is asked for: a user's dependency is not satisfied, the engine is away.
    (422, "request", NO_NUMBER),
    (503, "engine-unavailable", AWAY),
]

walk = Registry("walk")


@walk.task
async def done() -> None: ...


@walk.task
async def failed() -> None:
    raise ValueError


@walk.task
async def active() -> None:
    await asyncio.Event().wait()


async def number(x_number: Annotated[int, Header()] = 0) -> None:
    """Be what a user guards the routes with; it may refuse a request as any dependency does."""


class Away(MemoryEngine):
    """An engine of the user's own, whose database is away."""

    async def find(self, *_: Any) -> Any:
        raise EngineUnavailable(engine="postgresql://db/chains", reason="connection refused")

    search = find


def shop(**options: Any) -> FastAPI:
    """Return an app with three chains, one of them on two routes, and a router at /chains."""
    app = FastAPI()
    app.include_router(
        install(app, drain_timeout=0, **options).router(), prefix="/chains", dependencies=[Depends(number)]
    )
    for made in (done, failed, active):

        async def endpoint() -> None: ...

        endpoint.__name__ = made.name
        app.post(f"/{made.name}", status_code=202)(chain(made, expose_result=made is not done)(endpoint))
    return app


def declared() -> set[tuple[str, str, int]]:
    """Return route, method and status of every refusal that the OpenAPI document knows."""
    found = set()
    for route, ways in shop().openapi()["paths"].items():
        if route.startswith("/chains"):
            for method, operation in ways.items():
                found |= {(route, method, int(status)) for status in operation["responses"] if int(status) >= 400}
    return found


def problem(status: int, slug: str, detail: str) -> dict[str, Any]:
    """Return the whole body."""
    return {
        "type": f"urn:fastapi-chain:problem:{slug}",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
    }


def refused(answer: Any, status: int, slug: str, detail: str) -> None:
    """Check a whole answer."""
    assert answer.headers["content-type"] == "application/problem+json"
    assert json.loads(answer.body) == problem(status, slug, detail)
    assert answer.status == status


@pytest.fixture(scope="module")
def walked() -> list[tuple[str, str, int]]:
    """What the table names."""
    return [(route, method, status) for route, _, method, _, status, _, _ in ROWS]


def test_every_refusal_that_is_declared_is_walked(walked):
    """And none that is not: the table below and the OpenAPI document name the same, but for what holds everywhere."""
    everywhere = {status for status, _, _ in ON_ALL}
    routes = {(route, method) for route, method, _ in declared()}
    assert {row for row in declared() if row[2] not in everywhere} == {
        row for row in walked if row[2] not in everywhere
    }
    assert {(route, method, 422) for route, method in routes} <= declared()
    # Chains are known without any database.
    assert {(route, method) for route, method, status in declared() if status == 503} == {
        (route, method) for route, method in routes if route.startswith("/chains/runs")
    }


def test_every_route_refuses_as_it_says(serving):
    """The status, the media type and the whole body."""

    async def main() -> None:
        async with serving(shop()) as client:
            ids = {}
            for name in ("done", "failed", "active"):
                ids[name] = (await client.post(f"/{name}")).headers["x-chain-run"]
            ids["cancelled"] = (await client.post("/active")).headers["x-chain-run"]
            await client.post(f"/chains/runs/{ids['cancelled']}/cancel")
            for name in ("done", "failed", "cancelled"):
                await client.finished(f"/chains/runs/{ids[name]}")
            for _, url, method, sent, status, slug, detail in ROWS:
                at = url.format(**ids)
                if method == "get":
                    answer = await client.get(at)
                elif "from" in sent:
                    answer = await client.post(at, sent)
                else:
                    answer = await client.post(at, **sent)
                refused(answer, status, slug, detail.format(**ids))

    asyncio.run(main())


def test_every_route_refuses_for_what_holds_everywhere(serving):
    """A dependency of the user's that is not satisfied is a 422, an engine whose database is away a 503, everywhere."""

    async def main() -> None:
        async with serving(shop(engine=Away())) as client:
            for route, method, status in sorted(declared()):
                url = route.format(run_id="x", task="x", name="done")
                if status == 422:
                    refused(await client.start(method.upper(), url, b"", x_number="x").end(), *ON_ALL[0])
                if status == 503:
                    answer = await client.start(method.upper(), url, b"").end()
                    refused(answer, *ON_ALL[1])
                    assert answer.headers["retry-after"] == "1"

    asyncio.run(main())


def test_every_refusal_of_an_endpoint_is_a_problem(serving):
    """Those of `idempotent=` and `max_pending=`, with the header that says when to try again."""
    app = FastAPI()
    install(app, drain_timeout=0)
    going: dict[str, asyncio.Event] = {}

    @app.post("/once", status_code=202)
    @chain(done, name="once", idempotent=True)
    async def once(n: int = 0) -> str:
        going["in"].set()
        await going["on"].wait()
        return "x" * n

    @app.post("/few", status_code=202)
    @chain(active, name="few", max_pending=1)
    async def few() -> None: ...

    async def main() -> None:
        going.update({"in": asyncio.Event(), "on": asyncio.Event()})
        async with serving(app) as client:
            first = client.start("POST", "/once", idempotency_key="k")
            await going["in"].wait()
            answer = await client.post("/once", idempotency_key="k")
            text = "The first request with this Idempotency-Key has not been answered yet."
            refused(answer, 409, "idempotency-in-flight", text)
            assert answer.headers["retry-after"] == "1"
            going["on"].set()
            await first.end()
            answer = await client.post("/once?n=1", idempotency_key="k")
            text = "This Idempotency-Key has come with another request before."
            refused(answer, 422, "idempotency-key-reused", text)
            await client.post("/once?n=65536", idempotency_key="large")
            text = "The answer to the first request was larger than 65536 bytes, so it was not kept."
            answer = await client.post("/once?n=65536", idempotency_key="large")
            refused(answer, 409, "idempotency-answer-not-kept", text)
            answer = await client.post("/once", idempotency_key="k" * 256)
            refused(answer, 422, "request", "An Idempotency-Key has at most 255 characters.")
            await client.post("/few")
            answer = await client.post("/few")
            text = "Chain 'few' has 1 run queued or running, as many as it may have."
            refused(answer, 429, "chain-busy", text)
            assert answer.headers["retry-after"] == "1"

    asyncio.run(main())
