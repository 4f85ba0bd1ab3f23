"""What `install` does: headers, history, limits, start-up and shutdown."""

import asyncio
import gc
import logging
import secrets
import signal
import sys
import threading
from types import CoroutineType, FrameType, FunctionType, ModuleType, SimpleNamespace
from typing import Annotated, Any

import pytest
from fastapi import Depends, FastAPI, Request, Response
from fastapi.testclient import TestClient
from starlette.applications import Starlette

from fastapi_chain import DeclarationError, QueueFull, Registry, Run, chain, current_task, install, task
from fastapi_chain.endpoint.call import COMMITS_FIRST
from fastapi_chain.engines import history as histories
from fastapi_chain.engines import memory
from fastapi_chain.web.stopping import Stopping
from fastapi_chain.web.workers import address, siblings

shared = Registry("shared")


@shared.task
async def save() -> None: ...


def links(page: str) -> str:
    """Return the `Link` header of a run with this page."""
    return f'<{page}>; rel="status", <{page}/events>; rel="monitor"; type="text/event-stream"'


def test_a_202_says_where_its_run_is_watched(serving):
    """`Location`, `Link`, `Retry-After`; what the endpoint has set itself stays; other statuses only name the run."""
    app = FastAPI()
    app.include_router(install(app).router(), prefix="/chains")

    @app.post("/plain", status_code=202)
    @chain(save, name="plain")
    async def plain(run: Run) -> dict[str, str | None]:
        return {"id": run.id, "url": run.url}

    @app.post("/own", status_code=202)
    @chain(save, name="own")
    async def own(response: Response) -> None:
        response.headers["location"] = "/mine"
        response.headers["Retry-After"] = "9"
        response.headers["link"] = "</next>; rel=next"

    @app.post("/created", status_code=201)
    @chain(save, name="created")
    async def created() -> None: ...

    @app.post("/none", status_code=202)
    @chain(save, name="none")
    async def none(run: Run) -> None:
        run.discard()

    async def main() -> None:
        async with serving(app) as client:
            answer = await client.post("/plain")
            page = f"/chains/runs/{answer.headers['x-chain-run']}"
            assert answer.json() == {"id": answer.headers["x-chain-run"], "url": page}
            assert answer.headers["location"] == page
            assert answer.headers["link"] == links(page)
            assert answer.headers["retry-after"] == "1"
            answer = await client.post("/own")
            page = f"/chains/runs/{answer.headers['x-chain-run']}"
            assert [value for name, value in answer.raw if name == "location"] == ["/mine"]
            assert [value for name, value in answer.raw if name == "retry-after"] == ["9"]
            assert [value for name, value in answer.raw if name == "link"] == ["</next>; rel=next", links(page)]
            answer = await client.post("/created")
            assert "x-chain-run" in answer.headers
            assert not {"location", "link", "retry-after"} & set(answer.headers)
            answer = await client.post("/none")
            assert not {"x-chain-run", "location", "link", "retry-after"} & set(answer.headers)

    asyncio.run(main())


def test_without_the_router_a_run_has_no_page(serving):
    """It is named, and that is all."""
    app = FastAPI()
    install(app)

    @app.post("/", status_code=202)
    @chain(save)
    async def ingest(run: Run) -> str | None:
        return run.url

    async def main() -> None:
        async with serving(app) as client:
            answer = await client.post("/")
            assert answer.json() is None
            assert not {"location", "link", "retry-after"} & set(answer.headers)
            assert len(answer.headers["x-chain-run"]) == 32

    asyncio.run(main())


@pytest.mark.parametrize(
    ("root", "path", "prefix"),
    [
        # A proxy that takes a prefix away, known to the app alone.
        ("/api", "", "/api"),
        # The same, and the server puts it before the path.
        ("/api", "/api", "/api"),
        # No proxy.
        ("", "", ""),
        # A path that only looks as if it began with the prefix.
        ("/cha", "", "/cha"),
    ],
)
def test_pages_are_where_the_client_sees_them(serving, root, path, prefix):
    """`root_path` is part of every link, however the server gives it."""
    app = FastAPI()
    # What `FastAPI(root_path=...)` sets, which newer ones advise against.
    app.root_path = root
    app.include_router(install(app).router(), prefix="/chains")
    urls: list[str | None] = []

    @app.post("/data", status_code=202)
    @chain(save, name="ingest")
    async def ingest(run: Run) -> str | None:
        return run.url

    async def main() -> None:
        async with serving(app) as client:
            answer = await client.post(f"{path}/data")
            page = f"{prefix}/chains/runs/{answer.headers['x-chain-run']}"
            assert (answer.headers["location"], answer.json()) == (page, page)
            shown = await client.get(f"{path}/chains/runs/{answer.headers['x-chain-run']}")
            assert shown.json()["links"]["self"] == page
            listed = (await client.get(f"{path}/chains/runs")).json()["items"]
            assert listed[0]["links"]["self"] == page
            run = await chain(save, name="code").start()
            urls.append(run.url)
            assert urls == [f"{prefix}/chains/runs/{run.id}"]

    asyncio.run(main())


def test_mounted_apps(serving):
    """The runtime of the outer app serves the runs of a mounted one, at its own router or at that of the latter."""
    outer, inner = FastAPI(), FastAPI()
    outer.include_router(install(outer).router(), prefix="/chains")
    inner.include_router(install(inner).router(), prefix="/own")
    outer.mount("/inner", inner)

    @inner.post("/data", status_code=202)
    @chain(save)
    async def ingest() -> None: ...

    async def main() -> None:
        async with serving(outer) as client:
            answer = await client.post("/inner/data")
            run = answer.headers["x-chain-run"]
            assert answer.headers["location"] == f"/chains/runs/{run}"
            assert (await client.finished(f"/chains/runs/{run}"))["started_by"] == "POST /inner/data"
            shown = (await client.get(f"/inner/own/runs/{run}")).json()
            assert shown["links"]["self"] == f"/inner/own/runs/{run}"

    asyncio.run(main())


def test_a_router_in_an_app_without_a_runtime_shows_the_runs_of_its_own(serving):
    """For an admin app beside the real one, in the same process."""
    app, admin = FastAPI(), FastAPI()
    admin.include_router(install(app).router())

    @app.post("/", status_code=202)
    @chain(save)
    async def ingest() -> None: ...

    async def main() -> None:
        async with serving(app) as client, serving(admin) as other:
            run = (await client.post("/")).headers["x-chain-run"]
            assert (await other.finished(f"/runs/{run}"))["id"] == run

    asyncio.run(main())


def test_an_app_whose_lifespan_never_begins_runs_within_the_request():
    """A bare test client: the run is over with the request, and is found afterwards."""
    app = FastAPI()
    app.include_router(install(app).router(), prefix="/chains")

    @app.post("/", status_code=202)
    @chain(save)
    async def ingest() -> None: ...

    client = TestClient(app)
    at = client.post("/").headers["location"]
    assert client.get(at).json()["state"] == "succeeded"


def test_the_history_is_bounded(serving, monkeypatch):
    """By the number of finished runs, and by their age; runs that go on are never forgotten."""
    app = FastAPI()
    runtime = install(app, history=2)
    app.include_router(runtime.router())
    gates: dict[str, asyncio.Event] = {}

    @task
    async def wait() -> None:
        await gates["on"].wait()

    @app.post("/wait", status_code=202)
    @chain(wait)
    async def waiting() -> None: ...

    @app.post("/", status_code=202)
    @chain(save)
    async def ingest() -> None: ...

    async def main() -> None:
        gates["on"] = asyncio.Event()
        async with serving(app) as client:
            first = (await client.post("/wait")).headers["location"]
            made = []
            for _ in range(4):
                made.append((await client.post("/")).headers["location"])
                await client.get(made[-1], prefer="wait=5")
            assert [(await client.get(at)).status for at in made] == [404, 404, 200, 200]
            assert (await client.get(first)).status == 200
            assert runtime.history.open == 1
            gates["on"].set()
            await client.finished(first)
            assert runtime.history.open == 0
            assert [(await client.get(at)).status for at in made[2:]] == [404, 200]
            monkeypatch.setattr(histories, "AGE", -1.0)
            last = (await client.post("/")).headers["location"]
            while (await client.get(last)).status != 404:
                await asyncio.sleep(0)
            assert (await client.get("/runs")).json()["items"] == []

    asyncio.run(main())


@pytest.mark.skipif(COMMITS_FIRST, reason="before FastAPI 0.118 there is no run before the commit")
def test_a_run_whose_request_failed_is_not_in_the_history(serving):
    """It was known while the request went on, and never ran."""
    app = FastAPI()
    app.include_router(install(app).router())
    seen: list[Any] = []

    async def session() -> Any:
        yield
        seen.append([run["state"] for run in (await client_[0].get("/runs")).json()["items"]])
        raise OSError

    @app.post("/", status_code=202)
    @chain(save)
    async def ingest(_session: Annotated[None, Depends(session)]) -> None: ...

    client_: list[Any] = []

    async def main() -> None:
        async with serving(app) as client:
            client_.append(client)
            failing = client.start("POST", "/")
            await asyncio.wait([failing.task])
            assert isinstance(failing.task.exception(), OSError)
            assert (failing.status, seen) == (202, [["queued"]])
            gone = await client.get(failing.headers["location"])
            assert (gone.status, gone.slug) == (404, "run-not-found")
            run = failing.headers["x-chain-run"]
            assert gone.json()["detail"] == (
                f"Run '{run}' has never begun: the request that was to start it failed after its response. "
                "What failed is in the server's log: a commit, most likely. Fix: send that request again"
            )
            assert (await client.get("/runs")).json()["items"] == []

    asyncio.run(main())


def test_the_number_of_runs_of_an_app_is_limited(serving):
    """Beyond `max_pending`, whatever the chain, 429 before the endpoint begins, and `QueueFull` from `start()`."""
    app = FastAPI()
    install(app, max_pending=2)
    gates: dict[str, asyncio.Event] = {}
    ran: list[str] = []

    @task
    async def wait() -> None:
        await gates["on"].wait()

    waits = chain(wait, name="waits")

    @app.post("/one", status_code=202)
    @waits
    async def one() -> None:
        ran.append("one")

    @app.post("/two", status_code=202)
    @chain(wait, name="two", max_pending=1)
    async def two() -> None:
        ran.append("two")

    async def main() -> None:
        gates["on"] = asyncio.Event()
        async with serving(app) as client:
            for url, status in (("/two", 202), ("/two", 429), ("/one", 202), ("/one", 429)):
                answer = await client.post(url)
                assert answer.status == status
                if status == 429:
                    assert (answer.slug, answer.headers["retry-after"]) == ("chain-busy", "1")
            assert answer.json()["detail"] == "This app has 2 runs queued or running, as many as it may have."
            assert ran == ["two", "one"]
            with pytest.raises(QueueFull) as caught:
                await waits.start()
            assert str(caught.value) == (
                "This app has 2 runs queued or running, as many as it may have.\n"
                "Fix, one of:\n"
                "  - try again in 1 s\n"
                "  - allow more: install(app, max_pending=4)\n"
                "See errors#queue-full"
            )
            gates["on"].set()
            while (await client.post("/two")).status == 429:
                await asyncio.sleep(0)

    asyncio.run(main())


def test_no_more_runs_run_at_once_than_allowed(serving):
    """The others are queued, in order."""
    app = FastAPI()
    app.include_router(install(app, max_running=1).router())
    gates: dict[str, asyncio.Event] = {}

    @task
    async def wait() -> None:
        await gates["on"].wait()

    @app.post("/", status_code=202)
    @chain(wait)
    async def ingest() -> None: ...

    async def main() -> None:
        gates["on"] = asyncio.Event()
        async with serving(app) as client:
            made = [(await client.post("/")).headers["location"] for _ in range(2)]
            assert [(await client.get(at)).json()["state"] for at in made] == ["running", "queued"]
            gates["on"].set()
            assert [(await client.finished(at))["state"] for at in made] == ["succeeded", "succeeded"]

    asyncio.run(main())


def test_installing_twice_is_refused():
    """One app has one runtime."""
    app = FastAPI()
    install(app)
    with pytest.raises(DeclarationError) as caught:
        install(app)
    assert str(caught.value) == (
        "install() was called twice for one app.\nFix: call install(app) once\nSee errors#declaration"
    )


# --- shutdown


def stopped(app: FastAPI, serving: Any, drive: Any) -> list[Run]:
    """Serve *app*, let *drive* start runs, shut the app down; return the runs."""
    runs: list[Run] = []

    async def main() -> None:
        async with serving(app) as client:
            runs.extend(await drive(client))

    asyncio.run(main())
    return runs


def test_a_shutdown_waits_for_runs_and_then_cancels_them(serving, caplog):
    """What ends in time has succeeded; the rest is cancelled, undone, and says why; what never began is told so."""
    app = FastAPI()
    install(app, drain_timeout=0.05, max_running=2)
    undone: list[str] = []

    @task
    async def quick() -> None:
        await asyncio.sleep(0.001)

    async def unpack() -> None:
        undone.append("pack")

    @task(undo=unpack)
    async def pack() -> None: ...

    @task(after=[pack])
    async def forever() -> None:
        await asyncio.Event().wait()

    async def drive(_client: Any) -> list[Run]:
        return [await chain(quick).start(), *[await chain(forever).start() for _ in range(3)]]

    ended = stopped(app, serving, drive)
    assert [(run.state, run.reason) for run in ended] == [("succeeded", None), *[("cancelled", "shutdown")] * 3]
    assert [run.started_at is None for run in ended] == [False, False, False, True]
    assert [one.cancel_reason for one in ended[3].tasks.values()] == ["shutdown", "shutdown"]
    assert undone == ["pack", "pack"]


def test_a_second_signal_ends_the_wait(serving):
    """The server was told twice: nobody waits for `drain_timeout`, undos still have their time."""
    app = FastAPI()
    runtime = install(app, drain_timeout=1000)
    undone: list[str] = []

    async def unpack() -> None:
        await asyncio.sleep(0)
        undone.append("pack")

    @task(undo=unpack)
    async def pack() -> None: ...

    @task(after=[pack])
    async def forever() -> None:
        asyncio.get_running_loop().call_later(0.01, runtime.stopping.stop)
        await asyncio.Event().wait()

    async def drive(_client: Any) -> list[Run]:
        return [await chain(forever).start()]

    (run,) = stopped(app, serving, drive)
    assert (run.state, undone) == ("cancelled", ["pack"])


def test_what_does_not_end_is_left_behind(serving, caplog, monkeypatch):
    """A thread that cannot be stopped, an undo that takes too long: the log names the run, and the server goes."""
    monkeypatch.setattr(memory, "UNDO_SECONDS", 0.02)
    app = FastAPI()
    install(app, drain_timeout=0)
    release = threading.Event()

    async def unpack() -> None:
        await asyncio.Event().wait()

    @task(undo=unpack)
    async def pack() -> None: ...

    @task(after=[pack])
    async def forever() -> None:
        await asyncio.Event().wait()

    async def drive(_client: Any) -> list[Run]:
        run = await chain(forever, name="slow").start()
        while not run.tasks["forever"].attempts:
            await asyncio.sleep(0)
        return [run]

    (run,) = stopped(app, serving, drive)
    release.set()
    text = f"run {run.id[:8]} of chain 'slow' has not ended in time and is left behind"
    assert text in [record.getMessage() for record in caplog.records]


def test_signals_are_heard_and_passed_on(monkeypatch):
    """The server's own handlers are called, everybody who listens is told, and in the end all is as before."""
    heard: list[Any] = []

    def server(number: int, _frame: object) -> None:
        heard.append(("server", number))

    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    signal.signal(signal.SIGTERM, server)
    # Nobody listens to this one, so it ends the process as always.
    signal.signal(signal.SIGINT, signal.SIG_DFL)

    def listener() -> None:
        heard.append("told")

    async def main() -> None:
        stopping = Stopping()
        stopping.add(listener)
        stopping.begin(lambda: heard.append("urgent"))
        assert signal.getsignal(signal.SIGINT) is signal.SIG_DFL
        for _ in range(2):
            signal.raise_signal(signal.SIGTERM)
            await asyncio.sleep(0)
        assert stopping.begun
        stopping.remove(listener)
        stopping.end()
        assert signal.getsignal(signal.SIGTERM) is server
        # Somebody else has changed it meanwhile: that is left alone.
        stopping.begin(lambda: None)
        chained = signal.getsignal(signal.SIGTERM)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        stopping.end()
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_IGN
        assert callable(chained)
        chained(signal.SIGTERM, None)

    try:
        asyncio.run(main())
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    term = ("server", signal.SIGTERM)
    assert heard == [term, "told", term, "urgent", term]


@pytest.mark.parametrize(
    ("signals", "urgent"),
    [
        # Ctrl-C in a terminal: the worker hears it, and then its parent, which has heard it, too.
        ([signal.SIGINT, signal.SIGTERM], 0),
        # Once more.
        ([signal.SIGINT, signal.SIGTERM, signal.SIGINT], 1),
        # A supervisor that loses its patience, or a person.
        ([signal.SIGTERM, signal.SIGTERM], 1),
        ([signal.SIGTERM, signal.SIGINT], 1),
        # The lifespan has ended before any signal.
        ([None, signal.SIGTERM], 0),
        ([None, signal.SIGINT], 1),
    ],
)
def test_only_a_second_wish_is_urgent(signals, urgent):
    """A signal that a parent passes on to its worker, which has had it from the terminal, is no second one."""
    heard: list[str] = []

    async def main() -> None:
        stopping = Stopping()
        stopping.begin(lambda: heard.append("urgent"))
        for number in signals:
            stopping.stop(number)
        stopping.end()

    asyncio.run(main())
    assert len(heard) == urgent


def test_a_signal_after_the_loop_is_closed_is_passed_on():
    """There is nobody left to tell."""
    heard: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, _frame: heard.append(number))

    async def main() -> Any:
        Stopping().begin(lambda: None)
        return signal.getsignal(signal.SIGTERM)

    try:
        chained = asyncio.run(main())
        chained(signal.SIGTERM, None)
    finally:
        signal.signal(signal.SIGTERM, before)
    assert heard == [signal.SIGTERM]


def test_an_app_in_a_thread_hears_no_signals(serving):
    """Only the main thread may: all the rest works."""
    app = FastAPI()
    runtime = install(app)

    async def main() -> None:
        async with serving(app):
            assert runtime.stopping._chained == {}

    thread = threading.Thread(target=lambda: asyncio.run(main()))
    thread.start()
    thread.join()


def test_an_app_starts_again_after_its_shutdown(serving):
    """Repeated test clients: each start-up is a new beginning, on a loop of its own."""
    app = FastAPI()
    runtime = install(app)
    app.include_router(runtime.router())

    @app.post("/", status_code=202)
    @chain(save)
    async def ingest() -> None: ...

    async def main() -> None:
        async with serving(app) as client:
            at = (await client.post("/")).headers["location"]
            stream = await client.get(f"{at}/events")
            assert stream.names()[-1] == "run.finished"
            assert not runtime.stopping.begun

    for _ in range(3):
        asyncio.run(main())
    asyncio.run(runtime.end())  # once more does no harm


# --- logs and workers


def test_what_tasks_log_is_still_seen(serving, capsys, monkeypatch):
    """Where nothing is configured, Python prints warnings; it goes on doing so."""
    app = FastAPI()
    install(app)
    monkeypatch.setattr(logging.getLogger(), "handlers", [])
    log = logging.getLogger("shop")

    @task
    async def warn() -> None:
        log.warning("in %s", current_task().task)
        log.info("not this")

    @app.post("/", status_code=202)
    @chain(warn)
    async def ingest() -> None: ...

    async def main() -> None:
        async with serving(app) as client:
            await client.post("/")

    asyncio.run(main())
    assert capsys.readouterr().err == "in warn\n"


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        # No server has spawned this process: it may be behind anything.
        ({}, ""),
        ({"host": "127.0.0.1", "port": 8000}, "http://127.0.0.1:8000"),
        ({"host": "127.0.0.1", "port": 8000, "ssl_certfile": "own.pem"}, "https://127.0.0.1:8000"),
        # A port that the system chooses, a socket in a file, a socket of somebody else's.
        ({"host": "127.0.0.1", "port": 0}, ""),
        ({"host": "127.0.0.1", "port": 8000, "uds": "/run/app"}, ""),
        ({"host": "127.0.0.1", "port": 8000, "fd": 3}, ""),
    ],
)
def test_where_the_app_is_served(monkeypatch, config, expected):
    """A child of uvicorn's knows the address; nobody else does."""
    process = SimpleNamespace(_kwargs={"config": SimpleNamespace(**config)} if config else {})
    monkeypatch.setattr("multiprocessing.current_process", lambda: process)
    assert address() == expected


def test_a_process_that_nobody_spawned(monkeypatch):
    """What spawns processes is not loaded to find out that none was."""
    monkeypatch.delitem(sys.modules, "multiprocessing", raising=False)
    assert (address(), siblings()) == ("", 1)
    assert "multiprocessing" not in sys.modules


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        # No server has spawned this process.
        (None, 1),
        # uvicorn --workers 3, and --reload.
        (SimpleNamespace(workers=3, should_reload=False), 3),
        (SimpleNamespace(workers=3, should_reload=True), 1),
        (SimpleNamespace(workers=None, should_reload=False), 1),
    ],
)
def test_the_memory_engine_warns_in_one_of_several_workers(serving, monkeypatch, caplog, config, expected):
    """A status page asked of another worker is not found; the cure is named."""
    process = SimpleNamespace(_kwargs={"config": config} if config else {})
    monkeypatch.setattr("multiprocessing.current_process", lambda: process)
    assert siblings() == expected
    app = FastAPI()
    install(app)

    async def main() -> None:
        async with serving(app):
            pass

    asyncio.run(main())
    warnings = [record.getMessage() for record in caplog.records]
    text = (
        f"{expected} workers serve this app, and each knows only its own runs: a status page asked of another one is "
        'not found. Fix: install(app, engine="sqlite:///chains.db")'
    )
    assert warnings == ([text] if expected > 1 else [])


def test_a_starlette_app_can_have_a_runtime(serving):
    """It has no document and no chains of its own, but code that starts some."""
    app = Starlette()
    install(app)

    async def main() -> None:
        async with serving(app):
            run = await chain(save).start()
            await run.wait()
            assert (run.state, run.url) == ("succeeded", None)

    asyncio.run(main())


def test_nothing_that_a_client_sends_in_confidence_is_shown(serving):
    """The headers of a request are in no answer about its run."""
    app = FastAPI()
    app.include_router(install(app, expose_errors=True, expose_values=True).router())

    @app.post("/", status_code=202)
    @chain(save)
    async def ingest(_request: Request) -> None: ...

    async def main() -> None:
        async with serving(app) as client:
            at = (await client.post("/", authorization="Bearer hush", cookie="a=hush")).headers["location"]
            for url in (at, f"{at}/events", f"{at}/tasks/save", f"{at}/result", "/runs"):
                assert b"hush" not in (await client.get(url, prefer="wait=5")).body

    asyncio.run(main())


def reaches(root: object, secret: str) -> bool:
    """Whether *secret* is in any text that *root* holds on to, however far down; code, app and loop left out."""
    others = (type, ModuleType, FrameType, CoroutineType, FunctionType, Starlette, asyncio.AbstractEventLoop)
    seen = {id(root)}
    following = [root]
    while following:
        for held in gc.get_referents(following.pop()):
            if isinstance(held, str | bytes):
                if secret.encode() in (held.encode(errors="replace") if isinstance(held, str) else held):
                    return True
            elif id(held) not in seen and not isinstance(held, others):
                seen.add(id(held))
                following.append(held)
    return False


def test_nothing_that_a_client_sends_in_confidence_is_kept(serving):
    """A run that has finished knows its request without headers, cookies and session; a retry sees it like that."""
    app = FastAPI()
    runtime = install(app)
    app.include_router(runtime.router())
    seen: list[Any] = []
    secret = secrets.token_hex(8)

    def who(request: Request) -> Any:
        session = request.scope.get("session")
        return request.headers.get("authorization"), request.cookies, session, request.query_params["n"], request.app

    @task
    async def save(asked: Annotated[Any, Depends(who)]) -> None:
        seen.append(asked[:4])
        assert asked[4] is app
        raise ValueError

    @app.post("/", status_code=202)
    @chain(save)
    async def ingest() -> None: ...

    class Sessions:
        async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
            await app({**scope, "session": {"user": secret}}, receive, send)

    async def main() -> None:
        async with serving(app) as client:
            client.app = Sessions()
            at = (await client.post("/?n=1", authorization=secret, cookie=f"a={secret}")).headers["location"]
            live = runtime.history.get((await client.finished(at))["id"])
            assert seen == [(secret, {"a": secret}, {"user": secret}, "1")]
            seen.clear()
            assert not reaches(live, secret)
            await client.post(f"{at}/retry")
            await client.finished(at)
            assert seen == [(None, {}, None, "1")]

    asyncio.run(main())
