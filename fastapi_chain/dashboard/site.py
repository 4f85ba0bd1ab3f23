"""The pages: one method each, from a request to a response."""

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Annotated, Final
from urllib.parse import quote

from fastapi import Header, Request, Response
from fastapi import Query as Asked
from starlette.responses import RedirectResponse

from fastapi_chain.endpoint.call import SLOT, Slot
from fastapi_chain.engines.base import Engine, KnownRun, RunRequest
from fastapi_chain.errors import ChainError, EngineUnavailable
from fastapi_chain.web.feed import Feeds
from fastapi_chain.web.sse import HEADERS as STREAM_HEADERS
from fastapi_chain.web.sse import EventStream

from . import catalogue, runs
from .assets import respond
from .graph import of_chain
from .host import Host
from .live import Ticks
from .pages import Site, page, theme_of
from .panel import Query
from .run_page import run_values
from .stats import recent_runs
from .subject import Subject

Text = Annotated[str, Asked(max_length=200)]
Number = Annotated[int, Asked(ge=0, le=10_000_000)]

_BASES: Final = {
    "list_runs": ".",
    "list_chains": ".",
    "list_tasks": ".",
    "cancel": "../..",
    "retry": "../..",
    "run_again": "../..",
}
"""The way from a page to the root of the dashboard, where it is another than one folder up."""


class Pages:
    """The pages of one dashboard."""

    def __init__(self, host: Host) -> None:
        """Show the runs of *host*."""
        self._host = host
        self._ticks: Final = Ticks()
        self._feeds: Final = Feeds(self._ticks)

    # --- what is shown

    async def list_runs(
        self,
        request: Request,
        *,
        state: Text = "",
        chain: Text = "",
        tag: Text = "",
        q: Text = "",
        since: Text = "",
        cursor: Annotated[str, Asked(max_length=500)] = "",
    ) -> Response:
        """Show the list of runs."""
        query = runs.Query(state, chain, tag, q, since, cursor)
        try:
            values = await runs.list_values(self._engine(request), query, ".")
        except ValueError:
            return self._missing(request, ".", "There is no such page", "Its address is none that this list has given.")
        chains = self._host.directory.chains()
        routes = dict.fromkeys(endpoint.route for known in chains for endpoint in known.endpoints)
        more = {"chain_names": [known.name for known in chains], "endpoints": list(routes)}
        return page("runs.html", self._site(request, ".", "runs"), {**values, **more})

    async def show_run(
        self, request: Request, run_id: str, *, task: Text = "", tab: Text = "", state: Text = "", first: Number = 0
    ) -> Response:
        """Show a run."""
        run = await self._engine(request).find(run_id)
        if run is None:
            return self._no_run(request, run_id)
        query = Query(task, tab, state, first)
        values = await run_values(Subject(run), query, "..", values=self._host.expose_values)
        return page("run.html", self._site(request, "..", "runs"), values)

    async def list_chains(self, request: Request) -> Response:
        """Show the chains."""
        chains, engine = self._host.directory.chains(), self._engine(request)
        lines = [catalogue.chain_line(chain, await recent_runs(engine, chain.name), ".") for chain in chains]
        return page("chains.html", self._site(request, ".", "chains"), {"chains": lines, "now": runs.now_utc()})

    async def show_chain(self, request: Request, name: str) -> Response:
        """Show a chain: its graph, and how its tasks have done."""
        chain = self._host.directory.find(name)
        if chain is None:
            return self._missing(request, "..", "There is no such chain", f"This app has no chain {name!r}.")
        recent = await recent_runs(self._engine(request), chain.name)
        values = {
            "chain": catalogue.chain_line(chain, recent, ".."),
            "tasks": [catalogue.task_line(chain, node, recent, "..") for node in chain.plan.nodes],
            "drawing": await of_chain(chain.plan, None, partial(catalogue.task_href, "..", chain.name)),
        }
        return page("chain.html", self._site(request, "..", "chains"), values)

    async def list_tasks(self, request: Request) -> Response:
        """Show the tasks of all chains."""
        lines = []
        for chain in self._host.directory.chains():
            recent = await recent_runs(self._engine(request), chain.name)
            lines += [catalogue.task_line(chain, node, recent, ".") for node in chain.plan.nodes]
        return page("tasks.html", self._site(request, ".", "tasks"), {"tasks": lines})

    async def show_task(self, request: Request, name: str, chain: Text = "") -> Response:
        """Show a task: its place in a chain, its definition, and how it has done."""
        having = [known for known in self._host.directory.chains() if name in known.plan.index]
        if not having:
            return self._missing(request, "..", "There is no such task", f"No chain of this app has a task {name!r}.")
        shown = next((known for known in having if known.name == chain), having[0])
        recent, now = await recent_runs(self._engine(request), shown.name), runs.now_utc()
        href = partial(catalogue.task_href, "..", shown.name)
        values = {
            "task": catalogue.full_task(shown, name, recent, ".."),
            "others": [(o.name, catalogue.task_href("..", o.name, name)) for o in having if o is not shown],
            "drawing": await of_chain(shown.plan, name, href),
            "recent": list(catalogue.seen(name, recent, "..", now)),
            "href": href,
            "now": now,
        }
        return page("task.html", self._site(request, "..", "tasks"), values)

    async def static_file(self, request: Request, name: str) -> Response:
        """Send a static file."""
        return respond(request, name) or self._missing(request, "..", "There is no such file", f"{name!r} is not here.")

    async def stream_ticks(
        self,
        request: Request,
        run_id: str,
        after: Number = 0,
        last_event_id: Annotated[str | None, Header()] = None,
    ) -> Response:
        """Tell a page whenever something changes in a run."""
        run = await self._engine(request).find(run_id)
        if run is None:
            return self._no_run(request, run_id)
        if run.finished_at is not None:
            return Response(self._ticks.finished(run), media_type="text/event-stream", headers=STREAM_HEADERS)
        seen = int(last_event_id) if last_event_id and last_event_id.isdecimal() else after
        return EventStream(
            run,
            "",
            words=self._ticks,
            feeds=self._feeds,
            stopping=self._host.stopping,
            after=seen if seen <= run.seq else None,
        )

    # --- what is done

    async def cancel(self, request: Request, run_id: str) -> Response:
        """Cancel a run, and show it."""
        return await self._act(request, run_id, lambda run: run.cancel())

    async def retry(
        self, request: Request, run_id: str, from_: Annotated[str, Asked(alias="from")] = "failed"
    ) -> Response:
        """Retry a run, and show it."""

        async def again(run: KnownRun) -> None:
            if from_ not in {"failed", "start", *run.inner.plan.names}:
                raise ChainError(what=f"This run has no task {from_!r} to begin with.")
            await run.retry(from_)

        return await self._act(request, run_id, again)

    async def run_again(self, request: Request, run_id: str) -> Response:
        """Start a new run with the inputs of an old one, and show it."""
        run = await self._engine(request).find(run_id)
        if run is None:
            return self._no_run(request, run_id)
        subject = Subject(run)
        asked = RunRequest(subject.plan, subject.inputs())
        # Without its key: that belongs to the old run. The same request and app are there for its dependencies.
        asked.tags, asked.started_by = run.tags, run.started_by
        asked.app, asked.request_scope = subject.state.app or self._host.app, subject.state.request_scope
        engine = self._engine(request)
        try:
            made = engine.take(asked)
            if engine.hold_soon is not None:
                await engine.hold_soon(made, sure=True)
            _ = engine.start(made)
        except ChainError as error:
            return self._refused(request, run_id, error)
        return RedirectResponse(f"../{quote(made.id, safe='')}", 303)

    async def _act(self, request: Request, run_id: str, act: Callable[[KnownRun], Awaitable[None]]) -> Response:
        run = await self._engine(request).find(run_id)
        if run is None:
            return self._no_run(request, run_id)
        try:
            await act(run)
        except ChainError as error:
            return self._refused(request, run_id, error)
        # From `runs/7f3a/cancel` to `runs/7f3a`: relative, as all addresses are.
        return RedirectResponse(f"../{quote(run_id, safe='')}", 303)

    # --- what they have in common

    def unavailable(self, request: Request, error: EngineUnavailable) -> Response:
        """Say that the database does not answer."""
        values = {
            "title": "The database does not answer",
            "lines": [error.problem()],
            "back": "",
            "back_label": "Try again",
        }
        base = _BASES.get(request.scope["endpoint"].__name__, "..")
        return page("message.html", self._site(request, base, "runs"), values, 503)

    def _engine(self, request: Request) -> Engine:
        """Return the engine that has the runs: of a mounted app, that is the one of the app around it."""
        slot: Slot | None = request.scope.get(SLOT)
        return self._host.here if slot is None else slot.engine

    def _site(self, request: Request, base: str, part: str) -> Site:
        title = getattr(self._host.app, "title", "") or "app"
        return Site(base, part, title, self._engine(request).name, theme_of(request))

    def _no_run(self, request: Request, run_id: str) -> Response:
        more = ""
        if self._engine(request).name == "memory":
            more = (
                " The memory engine knows only the runs of this process, and of the finished ones the last"
                ' (install(history=...)); install(app, engine="sqlite:///chains.db") keeps them for all processes.'
            )
        return self._missing(request, "..", "There is no such run", f"No run {run_id!r} is known here.{more}")

    def _missing(self, request: Request, base: str, title: str, line: str) -> Response:
        site = self._site(request, base, "runs")
        values = {"title": title, "lines": [line], "back": f"{base}/", "back_label": "All runs"}
        return page("message.html", site, values, 404)

    def _refused(self, request: Request, run_id: str, error: ChainError) -> Response:
        """Say why something cannot be done."""
        values = {
            "title": "That cannot be done",
            "lines": [error.problem()],
            "back": f"../{quote(run_id, safe='')}",
            "back_label": "Back to the run",
        }
        return page("message.html", self._site(request, "../..", "runs"), values, 409)
