"""Test clients that wait for the runs that they start."""

from contextlib import AsyncExitStack
from typing import Any, Final, Self, cast

from starlette import testclient
from starlette.testclient import TestClient

from fastapi_chain._lifespan import lifespan
from fastapi_chain.engines.here import default_engine
from fastapi_chain.engines.history import History
from fastapi_chain.run import Run
from fastapi_chain.web.middleware import Message, Middleware, Receive, Scope, Send
from fastapi_chain.web.runtime import Runtime, runtime_of

from . import seen

httpx: Any = testclient.httpx  # type: ignore[attr-defined]  # httpx2, or httpx: whichever Starlette has found
"""The client library."""

_REQUEST: Final = "x-chain-test"
"""The header of a response by which a client finds its runs."""

_KEPT: Final = 1000
"""How many runs are remembered for an app that remembers none."""

_RUN: Final = b"x-chain-run"
"""The header by which an app with `install` tells of a run."""


class _Watched:
    """An app whose requests are over when their runs are."""

    def __init__(self, app: Any, *, wait: bool) -> None:  # noqa: ANN401 - any Starlette app
        self.app = app
        self.wait = wait
        self.runs: list[list[Run]] = []
        installed = runtime_of(app)
        self._runtime = installed or _bare(app)
        # An app without `install` gets a layer that tells of runs; as it never starts up, they end with their
        # requests as before.
        self._layer = app if installed is not None else Middleware(app, self._runtime)
        self._told = installed is not None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one ASGI connection."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        ids: list[str] = []
        runs: list[Run] = []
        number = str(len(self.runs)).encode()
        self.runs.append(runs)

        async def say(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = list(message.get("headers", ()))
                ids.extend(value.decode() for name, value in headers if name == _RUN)
                shown = [header for header in headers if self._told or header[0] != _RUN]
                message = {**message, "headers": [*shown, (_REQUEST.encode(), number)]}
            await send(message)

        await self._layer(scope, receive, say)
        # One that was dropped after the response had begun is not known.
        found = [await self._runtime.here.find(id_) for id_ in ids]
        runs += [Run(backend) for backend in found if backend is not None]
        seen.runs.extend(runs)
        if self.wait:
            for run in runs:
                await run.wait()


def _bare(app: object) -> Runtime:
    """Return a runtime for an app that has none."""
    made = Runtime(app, default_engine, History(_KEPT), drain_timeout=0.0, expose_errors=False, expose_values=False)
    # What an app cannot have without one fails here as it does when the app is served.
    made.installed = False
    return made


class _Runs:
    """What a client knows about its runs."""

    watched: _Watched

    @property
    def runs(self) -> list[Run]:
        """The runs of all its requests, in order; a run that two requests share is there twice."""
        return [run for runs in self.watched.runs for run in runs]

    def run_of(self, response: Any) -> Run:  # noqa: ANN401 - a response of httpx or httpx2
        """Return the run that the request of *response* has started.

        Raises:
            AssertionError: It has started none.
        """
        number = response.headers.get(_REQUEST)
        runs = [] if number is None else self.watched.runs[int(number)]
        if not runs:
            request = f"{response.request.method} {response.url.path}"
            text = f"the request started no run: {request} -> {response.status_code}"
            raise AssertionError(text)
        return runs[0]


class ChainClient(_Runs, TestClient):
    """A `TestClient` whose requests return when the runs that they have started are over."""

    def __init__(self, app: Any, *, wait: bool = True, **options: Any) -> None:  # noqa: ANN401 - those of TestClient
        """Make a client of *app*; `chain_client` does it.

        Args:
            app: The app.
            wait: Whether requests wait for their runs; if not, leaving the client does.
            **options: Those of `TestClient`.
        """
        self.watched = _Watched(app, wait=wait)
        super().__init__(self.watched, **options)

    def __enter__(self) -> Self:
        """Start the app up."""
        super().__enter__()
        return self


class AsyncChainClient(_Runs, httpx.AsyncClient):  # type: ignore[misc]  # httpx2 or httpx: known at run time
    """An `AsyncClient` whose requests return when the runs that they have started are over."""

    def __init__(self, app: Any, *, wait: bool = True, **options: Any) -> None:  # noqa: ANN401 - those of AsyncClient
        """Make a client of *app*; arguments as for `ChainClient`."""
        self.watched = _Watched(app, wait=wait)
        self._open = AsyncExitStack()
        super().__init__(**{"transport": httpx.ASGITransport(self.watched), "base_url": "http://testserver", **options})

    async def __aenter__(self) -> Self:
        """Start the app up."""
        await self._open.enter_async_context(lifespan(self.watched))
        await super().__aenter__()
        return self

    async def __aexit__(self, *error: object) -> None:
        """Shut the app down."""
        await super().__aexit__(*error)
        await self._open.aclose()


class chain_client:  # noqa: N801 - it reads like a function
    """A test client of an app, sync or async: its requests return when the runs that they have started are over.

        with chain_client(app) as client:
            response = client.post("/orders", json=order)
            run = client.run_of(response)

        async with chain_client(app) as client:
            response = await client.post("/orders", json=order)
            run = client.run_of(response)

    With it, the app starts up and shuts down. Its runs run where they would run without it.
    """

    def __init__(self, app: Any, *, wait: bool = True, **options: Any) -> None:  # noqa: ANN401 - those of the client
        """Prepare a client.

        Args:
            app: The app.
            wait: Whether a request waits for its runs. False: they go on meanwhile, and leaving the block waits for
                them.
            **options: What is handed on to `TestClient` or `AsyncClient`: `headers=...`, `base_url=...`.
        """
        self._app = app
        self._wait = wait
        self._options = options
        self._open: Any = None

    def __enter__(self) -> ChainClient:
        """Start the app up, and return a `TestClient`."""
        self._open = ChainClient(self._app, wait=self._wait, **self._options)
        return cast("ChainClient", self._open.__enter__())

    def __exit__(self, *error: object) -> None:
        """Shut the app down."""
        self._open.__exit__(*error)

    async def __aenter__(self) -> AsyncChainClient:
        """Start the app up, and return an `AsyncClient`."""
        self._open = AsyncChainClient(self._app, wait=self._wait, **self._options)
        return cast("AsyncChainClient", await self._open.__aenter__())

    async def __aexit__(self, *error: object) -> None:
        """Shut the app down."""
        await self._open.__aexit__(*error)
