"""What the browser tests share: a headless Chromium, a server in a thread, a shop whose tasks wait for the test."""

import asyncio
import json
import shutil
import threading
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Annotated, Any

import pytest
import uvicorn
from fastapi import Depends, FastAPI

from fastapi_chain import Backoff, Progress, Registry, chain, install

PREFIX = "/chains/ui"
FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
"""Chromium itself asks nothing of anybody, and runs as root in a container."""


class NotPaidError(Exception):
    """What the bank says."""


class Bank:
    def __init__(self) -> None:
        self.solvent = False

    def charge(self, order: str) -> str:
        if not self.solvent:
            raise NotPaidError(f"order {order} is not paid")
        return f"receipt of {order}"


class Gates:
    """Lets tasks wait for the test."""

    def __init__(self) -> None:
        self.loop: asyncio.AbstractEventLoop | None = None
        self._events: dict[str, asyncio.Event] = {}

    def _event(self, name: str) -> asyncio.Event:
        return self._events.setdefault(name, asyncio.Event())

    async def wait(self, name: str) -> None:
        await self._event(name).wait()

    def open(self, *names: str) -> None:
        assert self.loop is not None
        for name in names:
            self.loop.call_soon_threadsafe(lambda name=name: self._event(name).set())


class Shop:
    """A running app."""

    def __init__(self) -> None:
        self.gates = Gates()
        self.bank = Bank()
        self.app = FastAPI(title="shop")
        self.base = ""

    def post(self, path: str) -> str:
        """Send a request; return the id of the run that it has started."""
        request = urllib.request.Request(f"{self.base}{path}", method="POST")
        with urllib.request.urlopen(request, timeout=10) as response:
            return str(response.headers["x-chain-run"])

    def state(self, run: str) -> str:
        """Return the state of a run, as clients are told it."""
        with urllib.request.urlopen(f"{self.base}/chains/runs/{run}", timeout=10) as response:
            return str(json.load(response)["state"])

    @property
    def ui(self) -> str:
        """The address of the dashboard."""
        return f"{self.base}{PREFIX}"


def furnish(shop: Shop) -> None:
    """Give the shop its tasks, chains and endpoints."""
    gates, tasks = shop.gates, Registry("shop")

    def bank() -> Bank:
        return shop.bank

    @tasks.task
    async def check(order: str) -> str:
        await gates.wait("check")
        return order

    @tasks.task(after=[check], retries=1, backoff=Backoff(initial=0.01, jitter=False))
    async def charge(check: str, bank: Annotated[Bank, Depends(bank)]) -> str:
        """Take the money."""
        return bank.charge(check)

    @tasks.task(after=[charge])
    async def mail(charge: str) -> None:
        """Send the receipt."""

    @tasks.task(after=[check])
    async def sync(progress: Progress) -> int:
        progress(513, 1250, "list 1 of 2")
        await gates.wait("sync")
        return 1250

    @shop.app.post("/orders/{order}", status_code=202)
    @chain(mail, sync, name="checkout", tags={"order": "{order}"})
    async def checkout(order: str) -> None: ...


def furnish_imports(shop: Shop) -> None:
    """Give the shop a chain with a fan-out."""
    imports = Registry("imports")

    @imports.task
    async def rows(count: int) -> list[int]:
        return list(range(count))

    @imports.task(each=rows)
    async def store(row: int) -> int:
        if row == 7:
            raise ValueError("row 7 has no email")
        return row

    @shop.app.post("/imports", status_code=202)
    @chain(store, name="import_rows")
    async def upload(count: int) -> None: ...


@contextmanager
def serving(app: Any, **options: Any) -> Iterator[tuple[str, uvicorn.Server, asyncio.AbstractEventLoop]]:
    """Serve *app* from a thread of its own, on a free port of 127.0.0.1."""
    started, loops = threading.Event(), []

    class Server(uvicorn.Server):
        async def startup(self, sockets: Any = None) -> None:
            await super().startup(sockets)
            loops.append(asyncio.get_running_loop())
            started.set()

    server = Server(uvicorn.Config(app, host="127.0.0.1", port=0, log_level="error", **options))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    assert started.wait(20)
    port = server.servers[0].sockets[0].getsockname()[1]
    try:
        yield f"http://127.0.0.1:{port}", server, loops[0]
    finally:
        server.should_exit = True
        thread.join(20)
        assert not thread.is_alive(), "the server does not end"


@pytest.fixture
def serve() -> Callable[..., Any]:
    """Return what serves an app of the test's own."""
    return serving


@pytest.fixture
def shop() -> Iterator[Shop]:
    """Return a shop that is open."""
    made = Shop()
    furnish(made)
    furnish_imports(made)
    runtime = install(made.app, expose_values=True, drain_timeout=0.2)
    made.app.include_router(runtime.router(), prefix="/chains")
    made.app.include_router(runtime.dashboard(allow_anonymous=True), prefix=PREFIX)
    with serving(made.app) as (base, _, loop):
        made.base, made.gates.loop = base, loop
        yield made
        # Streams of pages that are still open end when the server is told to stop.
        loop.call_soon_threadsafe(runtime.stopping.stop)


@pytest.fixture(scope="session")
def chromium() -> Iterator[Any]:
    """Start one browser for all tests."""
    playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright")
    path = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if path is None:
        pytest.skip("needs Chromium")
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=path, args=list(FLAGS))
        yield browser
        browser.close()


@pytest.fixture
def open_page(chromium: Any, shop: Shop) -> Iterator[Callable[..., Any]]:
    """Return what opens a page in a window of its own; no page may complain, or ask another machine."""
    complaints: list[str] = []
    contexts: list[Any] = []

    def watch(page: Any) -> None:
        page.on("console", lambda m: complaints.append(m.text) if m.type in {"error", "warning"} else None)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("request", lambda r: None if r.url.startswith(shop.base) else complaints.append(f"asks {r.url}"))

    def opened(path: str = "/", **options: Any) -> Any:
        context = chromium.new_context(viewport=options.pop("viewport", {"width": 1440, "height": 900}), **options)
        context.set_default_timeout(15_000)
        contexts.append(context)
        page = context.new_page()
        watch(page)
        page.goto(f"{shop.ui}{path}")
        return page

    yield opened
    for context in contexts:
        context.close()
    assert complaints == []
