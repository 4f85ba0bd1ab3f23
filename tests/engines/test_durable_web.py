"""Requests on a durable engine: what is stored when, what is dropped, and what is refused before the first of them."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any

import pytest
import sqlalchemy as sa
from fastapi import Depends, FastAPI, HTTPException, Request
from fastapi.testclient import TestClient

from fastapi_chain import Chain, InvalidChain, Registry, Run, chain, install
from fastapi_chain.engines.durable.database import Database, workflows
from fastapi_chain.engines.durable.names import HELD
from fastapi_chain.web.runtime import runtime_of
from tests.engines.durable_kit import Databases
from tests.engines.kit import Log
from tests.engines.zygote import wait_for


def stored(url: str) -> list[tuple[str, str]]:
    """Return status and kind of queue of all runs."""
    engine = Database(url).connect(patient=True, size=1)
    with engine.connect() as connection:
        rows = connection.execute(sa.select(workflows.c.status, workflows.c.queue_name)).all()
    engine.dispose()
    return [(row.status, (row.queue_name or "").removeprefix(HELD).partition("/")[0]) for row in rows]


@contextmanager
def client_of(app: FastAPI, url: str, **options: Any) -> Iterator[TestClient]:
    install(app, engine=url, **options)
    with TestClient(app, raise_server_exceptions=False) as client:
        yield client


def test_a_run_is_stored_before_the_response_and_begins_after_the_commit(url: str):
    """As long as a dependency has not committed, the run is held; without one it is sure; both begin when the request is over."""
    app, registry, seen = FastAPI(), Registry("r"), Log()

    @registry.task
    def only(n: int) -> None:
        seen(n)

    def session() -> Iterator[None]:
        yield
        seen(stored(url))

    @app.post("/unsure")
    @chain(only, name="unsure")
    def unsure(n: int, _session: Annotated[None, Depends(session)]) -> None: ...

    @app.post("/sure")
    @chain(only, name="sure")
    async def sure(n: int, run: Run) -> str:
        return run.id

    with client_of(app, url) as client:
        assert client.post("/unsure?n=1").headers["x-chain-run"]
        wait_for(lambda: 1 in seen, "the first run")
        answer = client.post("/sure?n=2")
        assert answer.json() == answer.headers["x-chain-run"]
        wait_for(lambda: 2 in seen, "the second run")
    assert seen[0] == [("ENQUEUED", "unsure")]
    assert stored(url) == [("SUCCESS", "fastapi_chain")] * 2


def test_a_request_that_fails_leaves_nothing(url: str):
    """A status of 400 or more, or a commit that fails, drops what was stored."""
    app, registry, seen = FastAPI(), Registry("r"), Log()

    @registry.task
    def only(n: int) -> None:
        seen(n)

    def session() -> Iterator[None]:
        yield
        raise ValueError("the commit fails")

    @app.post("/fails")
    @chain(only, name="fails")
    async def fails(n: int, _session: Annotated[None, Depends(session)]) -> None: ...

    @app.post("/refuses")
    @chain(only, name="refuses")
    async def refuses(n: int) -> None:
        raise HTTPException(400)

    with client_of(app, url, worker=False) as client:
        client.post("/fails?n=1")
        assert client.post("/refuses?n=2").status_code == 400
        wait_for(lambda: stored(url) == [], "the run to be dropped")
    assert seen == []


def test_what_cannot_work_is_refused_at_start_up(url: str):
    """Dependencies that need the request, and types that cannot be stored, are told before the first request, with a cure."""
    app, registry = FastAPI(), Registry("r")

    @registry.task
    async def opens(path: str) -> Iterator[int]:
        return iter([1])

    @registry.task
    def user(request: Request) -> str:
        return str(request.url)

    @app.post("/x")
    @chain(opens, user, name="x")
    async def x(path: str) -> None: ...

    install(app, engine=url)
    with pytest.raises(InvalidChain) as caught, TestClient(app):
        pass
    text = str(caught.value)
    assert "Task 'opens' returned a value that engine" in text
    assert "cannot store" in text
    assert "depends on Request, which is gone when engine" in text
    assert stored(url) == []


def test_an_input_that_cannot_be_stored_fails_the_request(url: str):
    """The endpoint gave something else than it says: a 500, and nothing is stored."""
    app, registry = FastAPI(), Registry("r")

    @registry.task
    async def only(thing: list[int]) -> None: ...

    @app.post("/x")
    @chain(only, name="x", returns="thing")
    async def x() -> list[int]:
        return [1, 2] if stored(url) else [(1, 2)]  # type: ignore[list-item]

    with client_of(app, url, worker=False) as client:
        assert client.post("/x").status_code == 500
    assert stored(url) == []


def test_a_database_that_is_away_is_a_503(tmp_path_factory: pytest.TempPathFactory):
    """The request has failed, says when to try again, and its dependencies have seen it; when the database is back, all goes on."""
    databases = Databases(tmp_path_factory.mktemp("away"))
    url, server = databases.postgres(), databases.server
    app, registry, seen = FastAPI(), Registry("r"), Log()

    @registry.task
    async def only(n: int) -> None:
        seen(n)

    def session() -> Iterator[None]:
        try:
            yield
        except BaseException as error:
            seen(type(error).__name__)
            raise

    @app.post("/x")
    @chain(only, name="x")
    async def x(n: int, _session: Annotated[None, Depends(session)]) -> None: ...

    try:
        with client_of(app, url) as client:
            server.stop()
            response = client.post("/x?n=1")
            assert (response.status_code, response.headers["retry-after"]) == (503, "5")
            assert response.json()["type"] == "urn:fastapi-chain:problem:engine-unavailable"
            assert seen == ["EngineUnavailable"]
            server.start()
            time.sleep(0.2)
            assert client.post("/x?n=2").status_code == 200
            wait_for(lambda: 2 in seen, "the run")
    finally:
        databases.close()
    assert 1 not in seen


def test_workers_see_the_overrides_of_the_app(url: str):
    """A run that comes from the database runs with the dependencies of the app that carries it on."""
    registry, seen = Registry("r"), Log()

    def name() -> str:
        return "real"

    @registry.task
    async def only(name: Annotated[str, Depends(name)]) -> None:
        seen(name)

    ours = chain(registry, name="overridden")

    def app() -> FastAPI:
        made = FastAPI()

        @made.post("/x")
        async def x() -> str:
            return (await ours.start()).id

        return made

    with client_of(app(), url, worker=False) as client:
        assert len(client.post("/x").json()) == 32
    other = app()
    other.dependency_overrides[name] = lambda: "stand-in"
    with client_of(other, url):
        wait_for(lambda: seen == ["stand-in"], "the run")


def test_of_several_chains_of_one_name_the_last_counts(url: str):
    """A chain that was made again, in a notebook's cell, say, is found as it was made last, though the first still lives."""
    seen = Log()

    def made(text: str) -> Chain:
        registry = Registry("r")

        @registry.task
        async def only() -> None:
            seen(text)

        return chain(registry, name="made again", cron="0 0 1 1 *")

    chains = [made(text) for text in ("first", "second", "last")]
    apps = [FastAPI(), FastAPI()]

    @apps[0].post("/x")
    async def x() -> str:
        return (await chains[-1].start()).id

    with client_of(apps[0], url, worker=False) as client:
        assert client.post("/x").status_code == 200
    with client_of(apps[1], url):
        wait_for(lambda: seen == ["last"], "the run")
    runtime = runtime_of(apps[1])
    assert runtime is not None
    assert [plan for plan, _ in runtime.crons() if plan.chain == "made again"] == [chains[-1].plan]
