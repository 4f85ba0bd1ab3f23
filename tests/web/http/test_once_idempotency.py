"""Requests with an `Idempotency-Key`."""

import asyncio
from typing import Annotated, Any

import pytest
from fastapi import Depends, FastAPI, Header, HTTPException
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel

from fastapi_chain import EngineError, Registry, chain, install
from fastapi_chain.endpoint import once
from fastapi_chain.endpoint.call import COMMITS_FIRST
from fastapi_chain.engines.keys import MemoryKeys

shared = Registry("shared")


@shared.task
async def save() -> None: ...


def shop() -> FastAPI:
    """Return an app with a runtime whose router is at /chains."""
    app = FastAPI()
    app.include_router(install(app).router(), prefix="/chains")
    return app


class Order(BaseModel):
    n: int


def test_the_same_request_gets_the_first_answer_again(serving):
    """Status, body and the headers about the run; the endpoint runs once, its dependencies each time."""
    app = shop()
    ran: list[str] = []

    def user(token: Annotated[str, Header()] = "") -> str:
        ran.append("user")
        if token == "bad":
            raise HTTPException(401)
        return token

    @app.post("/data", status_code=202)
    @chain(save, idempotent=True)
    async def ingest(order: Order, _user: Annotated[str, Depends(user)], q: int = 0) -> dict[str, int]:
        ran.append("endpoint")
        return {"n": order.n, "made": len(ran)}

    async def main() -> None:
        async with serving(app) as client:
            first = await client.post("/data", {"n": 1}, idempotency_key="k")
            again = await client.post("/data", {"n": 1}, idempotency_key=" k ")
            assert (again.status, again.body) == (202, first.body) == (202, b'{"n":1,"made":2}')
            for name in ("location", "x-chain-run", "link", "content-type"):
                assert again.headers[name] == first.headers[name]
            assert again.headers["idempotent-replay"] == "true"
            assert "idempotent-replay" not in first.headers
            assert ran == ["user", "endpoint", "user"]
            # Whoever may not, may not.
            assert (await client.post("/data", {"n": 1}, idempotency_key="k", token="bad")).status == 401
            # Without a key, or with another one, it is another request.
            for headers in ({}, {"idempotency_key": ""}, {"idempotency_key": "other"}):
                other = await client.post("/data", {"n": 1}, **headers)
                assert other.headers["x-chain-run"] != first.headers["x-chain-run"]
            # Another request with the same key.
            for url, body in (("/data", {"n": 2}), ("/data?q=1", {"n": 1})):
                answer = await client.post(url, body, idempotency_key="k")
                assert (answer.status, answer.slug) == (422, "idempotency-key-reused")
            answer = await client.post("/data", {"n": 1}, idempotency_key="k" * 256)
            assert (answer.status, answer.slug) == (422, "request")
            assert len((await client.get("/chains/runs")).json()["items"]) == 4

    asyncio.run(main())


def test_the_same_key_while_the_first_request_is_on_its_way(serving):
    """409, and when to try again; `def` endpoints as well."""
    app = shop()
    gates: dict[str, Any] = {}

    @app.post("/data", status_code=202)
    @chain(save, idempotent=True)
    async def ingest() -> None:
        gates["begun"].set()
        await gates["on"].wait()

    @app.post("/plain", status_code=202)
    @chain(save, name="plain", idempotent=True)
    def plain() -> dict[str, str]:
        return {"made": "here"}

    async def main() -> None:
        gates.update(begun=asyncio.Event(), on=asyncio.Event())
        async with serving(app) as client:
            first = client.start("POST", "/data", idempotency_key="k")
            await gates["begun"].wait()
            second = await client.post("/data", idempotency_key="k")
            assert (second.status, second.slug, second.headers["retry-after"]) == (409, "idempotency-in-flight", "1")
            # A key belongs to its chain.
            made = await client.post("/plain", idempotency_key="k")
            again = await client.post("/plain", idempotency_key="k")
            assert (made.status, again.body, again.headers["idempotent-replay"]) == (202, made.body, "true")
            gates["on"].set()
            await first.end()
            third = await client.post("/data", idempotency_key="k")
            assert third.headers["x-chain-run"] == first.headers["x-chain-run"]

    asyncio.run(main())


unheard = pytest.mark.skipif(COMMITS_FIRST, reason="before FastAPI 0.118 nobody hears of it")


@pytest.mark.parametrize("how", ["raises", "refuses", "commit", pytest.param("swallowed", marks=unheard)])
def test_a_request_that_failed_leaves_its_key_free(serving, how):
    """An error, a refusal, or a commit that failed when the response was out, even if somebody swallows that."""
    app = shop()
    fails = [True]

    async def outer() -> Any:
        try:
            yield
        except OSError:
            if how != "swallowed":
                raise

    async def session(_outer: Annotated[None, Depends(outer)]) -> Any:
        yield
        if fails[0] and how in {"commit", "swallowed"}:
            raise OSError

    @app.post("/data", status_code=202)
    @chain(save, idempotent=True)
    async def ingest(_session: Annotated[None, Depends(session)]) -> None:
        if fails[0] and how == "raises":
            raise OSError
        if fails[0] and how == "refuses":
            raise HTTPException(400)

    async def main() -> None:
        async with serving(app) as client:
            failing = client.start("POST", "/data", idempotency_key="k")
            await asyncio.wait([failing.task])
            failing.task.exception()
            fails[0] = False
            again = await client.post("/data", idempotency_key="k")
            assert again.status == 202
            assert "idempotent-replay" not in again.headers

    asyncio.run(main())


def test_an_answer_that_is_too_large_is_not_kept(serving, monkeypatch):
    """Its replay is a 409: the endpoint does not run again."""
    monkeypatch.setattr(once, "LARGEST", 10)
    app = shop()
    ran: list[int] = []

    @app.post("/data", status_code=202)
    @chain(save, idempotent=True)
    async def ingest() -> str:
        ran.append(1)
        return "x" * 10

    async def main() -> None:
        async with serving(app) as client:
            assert (await client.post("/data", idempotency_key="k")).status == 202
            again = await client.post("/data", idempotency_key="k")
            assert (again.status, again.slug, ran) == (409, "idempotency-answer-not-kept", [1])

    asyncio.run(main())


def test_the_chain_may_name_the_caller(serving):
    """The key of one caller is no use to another one: 422."""
    app = shop()

    class User(BaseModel):
        id: str

    def user(name: Annotated[str, Header()]) -> User:
        return User(id=name)

    @app.post("/data", status_code=202)
    @chain(save, idempotent="{user.id}")
    async def ingest(user: Annotated[User, Depends(user)]) -> str:
        return user.id

    async def main() -> None:
        async with serving(app) as client:
            for name, status in (("ann", 202), ("bob", 422), ("ann", 202)):
                assert (await client.post("/data", idempotency_key="k", name=name)).status == status

    asyncio.run(main())


def test_keys_need_a_runtime(serving):
    """Without `install` there is nothing that keeps the first answers."""
    app = FastAPI()

    @app.post("/data", status_code=202)
    @chain(save, idempotent=True)
    async def ingest() -> None: ...

    async def main() -> None:
        async with serving(app) as client:
            with pytest.raises(EngineError, match="is idempotent, which needs install"):
                await client.post("/data", idempotency_key="k")

    asyncio.run(main())


def test_direct_responses_and_their_headers_are_kept(serving):
    """A `Response` of the endpoint's own, with its status and its `Location`."""
    app = shop()

    @app.post("/data")
    @chain(save, idempotent=True)
    async def ingest() -> Response:
        return JSONResponse({"n": 1}, 201, {"Location": "/orders/1", "Set-Cookie": "secret=1"})

    async def main() -> None:
        async with serving(app) as client:
            first = await client.post("/data", idempotency_key="k")
            again = await client.post("/data", idempotency_key="k")
            assert (first.status, first.headers["location"], "set-cookie" in first.headers) == (201, "/orders/1", True)
            assert (again.status, again.headers["location"], "set-cookie" in again.headers) == (201, "/orders/1", False)

    asyncio.run(main())


def test_old_answers_are_forgotten():
    """The memory engine keeps the last ones only."""

    async def main() -> None:
        keys = MemoryKeys(limit=2)
        for key in "abc":
            assert await keys.claim("c", key, "p") is None
            await keys.keep("c", key, once.Answer(status=202, headers=(), body=b""))
        assert await keys.claim("c", "a", "p") is None
        kept = await keys.claim("c", "b", "p")
        assert kept is not None
        assert kept.answer is not None

    asyncio.run(main())
