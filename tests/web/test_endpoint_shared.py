"""Keys, tags and limits: what the requests of one chain have to do with each other."""

import asyncio
import functools
import gc
import itertools
from contextlib import asynccontextmanager
from typing import Annotated, Any

import fastapi
import pytest
from anyio import to_thread
from fastapi import Depends, FastAPI, HTTPException, Request
from fastapi.testclient import TestClient
from pydantic import BaseModel

from fastapi_chain import EngineError, InvalidChain, QueueFull, Run, chain, install, task
from fastapi_chain.engines.here import default_engine, engine_here

VERSION = tuple(int(number) for number in fastapi.__version__.split(".")[:2])

in_both_modes = pytest.mark.parametrize("installed", [False, True])


class Order(BaseModel):
    """What an endpoint returns."""

    id: int
    name: str = ""


class Commit(Exception):
    """A commit that fails."""


class Commits:
    """Sessions whose commits wait until they are told how to end."""

    def __init__(self) -> None:
        self.ends: dict[str, asyncio.Future[bool]] = {}
        self.reached: dict[str, asyncio.Event] = {}

    def expect(self, *names: str) -> None:
        for name in names:
            self.ends[name] = asyncio.get_running_loop().create_future()
            self.reached[name] = asyncio.Event()

    async def session(self, request: Request):
        name = request.query_params["name"]
        yield
        self.reached[name].set()
        if not await self.ends[name]:
            raise Commit(name)

    async def end(self, name: str, *, well: bool) -> None:
        await self.reached[name].wait()
        self.ends[name].set_result(well)


@asynccontextmanager
async def serving(server: Any, app: FastAPI, installed: bool):
    if not installed:
        yield server(app)
        return
    install(app)
    async with server(app).lifespan() as running:
        yield running


# --- keys


def test_requests_that_share_a_key_share_the_run_of_the_first_that_commits(server):
    """The first to come may fail to commit: then its values are those of nothing that is there."""
    seen: list[Any] = []
    commits = Commits()
    app = FastAPI()

    @task
    async def note(order: Order, run: Run) -> None:
        seen.append((order.name, run.tags["who"], run.id))

    @app.post("/", dependencies=[Depends(commits.session)])
    @chain(note, returns="order", key="order-{order.id}", tags={"who": "{name}"})
    async def endpoint(name: str) -> Order:
        return Order(id=1, name=name)

    async def main() -> list[Any]:
        async with serving(server, app, installed=True) as client:
            commits.expect("a", "b", "c")
            requests = [asyncio.create_task(client.post(f"/?name={name}")) for name in "abc"]
            await commits.end("a", well=False)
            await asyncio.wait(requests[:1])
            await commits.end("c", well=True)
            await commits.end("b", well=True)
            return await asyncio.gather(*requests, return_exceptions=True)

    failed, second, third = asyncio.run(main())
    if VERSION >= (0, 118):
        assert isinstance(failed, Commit)
        assert (second.status, third.status) == (200, 200)
        assert [name for name, _, _ in seen] == ["c"]
        assert [who for _, who, _ in seen] == ["c"]
        assert {second.headers["x-chain-run"], third.headers["x-chain-run"]} == {seen[0][2]}
    else:
        assert len(seen) == 1


def test_a_shared_run_is_dropped_only_when_all_its_requests_have_failed(server):
    """Then its key is free, and the next request makes a new one."""
    seen: list[Any] = []
    commits = Commits()
    app = FastAPI()

    @task
    async def note(name: str) -> None:
        seen.append(name)

    @app.post("/", dependencies=[Depends(commits.session)])
    @chain(note, key="one")
    async def endpoint(name: str) -> None: ...

    async def main() -> None:
        async with serving(server, app, installed=True) as client:
            commits.expect("a", "b", "c")
            requests = [asyncio.create_task(client.post(f"/?name={name}")) for name in "ab"]
            await commits.end("a", well=False)
            await commits.end("b", well=False)
            await asyncio.gather(*requests, return_exceptions=True)
            assert seen == []
            last = asyncio.create_task(client.post("/?name=c"))
            await commits.end("c", well=True)
            await last

    asyncio.run(main())
    assert seen == ["c"]


def test_a_request_that_shares_a_run_under_way_does_not_run_it_again(server):
    """It is told which one it is."""
    seen: list[Any] = []
    app = FastAPI()
    going: dict[str, asyncio.Event] = {}

    @task
    async def note(n: int, run: Run) -> None:
        seen.append((n, run.id))
        going["begun"].set()
        await going["on"].wait()

    @app.post("/")
    @chain(note, key="one")
    async def endpoint(n: int) -> None:
        if n == 2:
            going["second"].set()

    async def main() -> None:
        async with serving(server, app, installed=True) as client:
            going.update(begun=asyncio.Event(), on=asyncio.Event(), second=asyncio.Event())
            first = asyncio.create_task(client.post("/?n=1"))
            await going["begun"].wait()
            second = asyncio.create_task(client.post("/?n=2"))
            await going["second"].wait()
            assert (await second).headers["x-chain-run"] == seen[0][1]
            going["on"].set()
            assert [answer.status for answer in await asyncio.gather(first, second)] == [200, 200]

    asyncio.run(main())
    assert [n for n, _ in seen] == [1]


@pytest.mark.parametrize("is_async", [True, False])
def test_many_requests_with_few_keys_make_a_run_for_each_key(server, is_async):
    """Whether endpoints run on the loop or in threads."""
    seen: list[int] = []
    app = FastAPI()

    @task
    async def note(n: int) -> None:
        seen.append(n)
        await asyncio.sleep(0)

    def endpoint(n: int) -> None: ...

    async def async_endpoint(n: int) -> None:
        await asyncio.sleep(0)

    app.post("/")(chain(note, key="key-{n}")(async_endpoint if is_async else endpoint))

    async def main() -> None:
        async with serving(server, app, installed=True) as client:
            answers = await asyncio.gather(*(client.post(f"/?n={i % 5}") for i in range(100)))
            assert {answer.status for answer in answers} == {200}

    asyncio.run(main())
    assert sorted(seen) == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("option", [{"key": "order-{order.id}"}, {"tags": {"order": "{order.id}"}}])
def test_a_key_or_tag_that_cannot_be_formatted_is_an_error_of_the_request(option):
    """It is formatted when the endpoint has returned, before the response."""
    seen: list[str] = []
    app = FastAPI()

    @task
    async def note() -> None:
        seen.append("run")

    @app.post("/")
    @chain(note, returns="order", **option)
    async def endpoint() -> Any:
        return {"id": 1}

    install(app)
    with pytest.raises(AttributeError, match="'dict' object has no attribute 'id'"):
        TestClient(app).post("/")
    assert TestClient(app, raise_server_exceptions=False).post("/").status_code == 500
    assert seen == []


def test_tags_are_filled_in_from_all_that_the_endpoint_gives():
    """Also from what no task takes."""
    seen: list[Any] = []
    app = FastAPI()

    @task
    async def note(run: Run) -> None:
        seen.append(run.tags)

    @app.post("/{shop}")
    @chain(note, returns="order", tags={"shop": "{shop}", "order": "{order.id:03}", "all": "x"})
    async def endpoint(shop: str, unused: int = 1) -> Order:
        return Order(id=7)

    TestClient(app).post("/eu")
    assert seen == [{"shop": "eu", "order": "007", "all": "x"}]


def test_a_key_needs_a_runtime(server):
    """Without `install` no run is kept, so the same key would start another one: its requests fail, and say so."""
    app = FastAPI()

    @task
    async def note() -> None: ...

    @app.post("/")
    @chain(note, name="orders", key="one")
    async def endpoint() -> None:
        raise AssertionError("the request has failed before")

    with pytest.raises(EngineError) as caught:
        asyncio.run(server(app).post())
    assert str(caught.value) == (
        "Chain 'orders' has key=, which needs install(): that keeps the runs, each under its key.\n"
        "Fix: install(app)\n"
        "See errors#engine"
    )


# --- limits


@in_both_modes
@pytest.mark.parametrize("is_async", [True, False])
def test_a_full_queue_refuses_requests_before_their_endpoint_runs(server, installed, is_async):
    """Of many at once, exactly as many come through as there is room for."""
    calls: list[int] = []
    runs: list[int] = []
    app = FastAPI()
    going: dict[str, asyncio.Event] = {}

    @task
    async def note(n: int) -> None:
        runs.append(n)
        if len(runs) == 3:
            going["full"].set()
        await going["on"].wait()

    def endpoint(n: int) -> None:
        calls.append(n)

    async def async_endpoint(n: int) -> None:
        calls.append(n)
        await asyncio.sleep(0)

    app.post("/")(chain(note, max_pending=3)(async_endpoint if is_async else endpoint))

    async def main() -> list[Any]:
        async with serving(server, app, installed) as client:
            going.update(full=asyncio.Event(), on=asyncio.Event())
            requests = [asyncio.create_task(client.post(f"/?n={n}")) for n in range(30)]
            await going["full"].wait()
            for refused in itertools.islice(asyncio.as_completed(requests), 27):
                await refused
            assert (await client.post("/?n=100")).status == 429
            going["on"].set()
            answers = await asyncio.gather(*requests)
            # There is room again.
            await engine_here().idle()
            assert (await client.post("/?n=101")).status == 200
            return answers

    answers = asyncio.run(main())
    assert sorted(answer.status for answer in answers) == [200] * 3 + [429] * 27
    assert len(calls) == 4
    assert sorted(runs) == sorted(calls)


def full(app: FastAPI, **options: Any) -> FastAPI:
    """Put an endpoint on *app* whose chain is full already."""

    @task
    async def note() -> None: ...

    @app.post("/")
    @chain(note, max_pending=1, name="orders", **options)
    async def endpoint() -> None:
        raise AssertionError("it is refused before")

    default_engine._pending["orders"] += 1
    return app


@pytest.fixture
def _empty_again():
    yield
    del default_engine._pending["orders"]


@pytest.mark.usefixtures("_empty_again")
def test_a_refused_request_is_told_when_to_try_again():
    """The answer is a problem (RFC 9457)."""
    answer = TestClient(full(FastAPI())).post("/")
    assert answer.status_code == 429
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["retry-after"] == "1"
    assert answer.json() == {
        "type": "urn:fastapi-chain:problem:chain-busy",
        "title": "Too Many Requests",
        "status": 429,
        "detail": "Chain 'orders' has 1 run queued or running, as many as it may have.",
    }


@pytest.mark.usefixtures("_empty_again")
def test_a_handler_of_the_users_answers_refused_requests_its_own_way():
    """One for the status goes before ours."""
    app = full(FastAPI())

    @app.exception_handler(429)
    async def handle(request: Request, error: HTTPException) -> fastapi.Response:
        return fastapi.Response(error.detail, 503, headers=error.headers)

    answer = TestClient(app).post("/")
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
    assert answer.text == "Chain 'orders' has 1 run queued or running, as many as it may have."


@pytest.mark.usefixtures("_empty_again")
def test_dependencies_of_a_refused_request_see_an_exception():
    """So that a session rolls back what authentication has written."""
    log: list[str] = []
    app = FastAPI()

    async def session():
        try:
            yield
        except Exception as error:
            log.append(type(error).__name__)
            raise

    app = full(FastAPI(dependencies=[Depends(session)]))
    assert TestClient(app).post("/").status_code == 429
    assert log == ["Refusal"]


@in_both_modes
@pytest.mark.parametrize("is_async", [True, False])
def test_a_request_that_fails_gives_its_place_back(server, installed, is_async):
    """Whatever happens after the place was taken."""
    app = FastAPI()

    @task
    async def note() -> None: ...

    async def session(request: Request):
        yield
        if "commit" in request.query_params:
            raise Commit

    def endpoint(db: Annotated[None, Depends(session)], fail: bool = False, bad: bool = False, n: int = 1) -> Any:
        if fail:
            raise HTTPException(409)
        return "no number" if bad else n

    @functools.wraps(endpoint)
    async def async_endpoint(**given: Any) -> Any:
        return endpoint(**given)

    app.post("/", response_model=int)(chain(note, max_pending=1)(async_endpoint if is_async else endpoint))

    async def main() -> list[int | str]:
        async with serving(server, app, installed) as client:
            return [await outcome(client, query) for query in ("fail=1", "", "bad=1", "", "commit=1", "", "n=x", "")]

    assert asyncio.run(main()) == [409, 200, "ResponseValidationError", 200, "Commit", 200, 422, 200]


async def outcome(client: Any, query: str) -> int | str:
    """Return the status of a request, or the name of the exception that goes through to the server."""
    try:
        return (await client.post(f"/?{query}")).status
    except Exception as error:  # noqa: BLE001 - whatever it is
        return type(error).__name__
    finally:
        # With a runtime the run may still be on its way.
        await engine_here().idle()
        # Before FastAPI 0.118 a place is held until the error has been forgotten, by tasks and threads alike.
        await to_thread.run_sync(int)
        gc.collect()


def test_places_and_runs_started_by_hand_count_together(server):
    """A request on its way to a run leaves no room for another one."""
    app = FastAPI()
    going: dict[str, asyncio.Event] = {}

    @task
    async def note() -> None: ...

    tell = chain(note, max_pending=1)

    @app.post("/")
    @tell
    async def endpoint() -> None:
        going["in"].set()
        await going["on"].wait()

    async def main() -> None:
        going.update({"in": asyncio.Event(), "on": asyncio.Event()})
        request = asyncio.create_task(server(app).post("/"))
        await going["in"].wait()
        with pytest.raises(QueueFull) as caught:
            await tell.start()
        assert caught.value.max_pending == 1
        going["on"].set()
        await request
        await (await tell.start()).wait()

    asyncio.run(main())


def test_a_request_that_its_app_refuses_gives_the_place_of_its_chain_back(server):
    """`install(max_pending=...)` limits the runs of all chains together."""
    app = FastAPI()
    install(app, max_pending=1)
    going: dict[str, asyncio.Event] = {}

    @task
    async def wait() -> None:
        await going["on"].wait()

    @app.post("/one")
    @chain(wait, name="one")
    async def one() -> None: ...

    @app.post("/two")
    @chain(wait, name="two", max_pending=1)
    async def two() -> None: ...

    async def main() -> list[int]:
        going["on"] = asyncio.Event()
        async with server(app).lifespan() as client:
            statuses = [(await client.post(path)).status for path in ("/one", "/two", "/two")]
            going["on"].set()
            await engine_here().idle()
            return [*statuses, (await client.post("/two")).status]

    assert asyncio.run(main()) == [200, 429, 429, 200]


def test_a_chain_that_is_invalid_takes_no_place():
    """Its requests fail for another reason."""
    app = FastAPI()

    @task
    async def note(missing: int) -> None: ...

    @app.post("/")
    @chain(note, max_pending=1)
    async def endpoint() -> None: ...

    client = TestClient(app)
    for _ in range(3):
        with pytest.raises(InvalidChain):
            client.post("/")
