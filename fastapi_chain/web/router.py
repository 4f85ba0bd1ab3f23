"""The routes under which runs are watched, cancelled and retried, and chains are looked up."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated, Any, Final

from fastapi import APIRouter, Body, Depends, Header, Query, Request, Response
from fastapi.params import Depends as DependsMarker
from pydantic import BeforeValidator
from starlette.responses import PlainTextResponse

from fastapi_chain._drawing import picture_of
from fastapi_chain._drawing.mermaid import mermaid
from fastapi_chain.endpoint.problem import Refusal
from fastapi_chain.engines.base import RunFilter
from fastapi_chain.outcome import RunState

from .access import Access
from .definitions import chain_model, graph_of
from .directory import Directory
from .encoding import json_of
from .feed import Feeds
from .models import ChainList, ChainModel, Graph, Model, Result, Retry, RunModel, RunPage, TaskModel
from .render import Renderer
from .result import result_of
from .routes import RETRY_AFTER, ProblemRoute, base_of, refuses, same_site
from .sse import EventStream
from .stopping import Stopping
from .waiting import Reader
from .words import RETRY, Words

FORM: Final = "text/event-stream"
SINGLE_PAGE: Final = 200
"""How many runs one page may have."""
USUAL_PAGE: Final = 50
"""How many it has if nobody says."""

_EVENTS: Final[dict[int | str, dict[str, Any]]] = {
    200: {"description": "The run as server-sent events", "content": {FORM: {"schema": {"title": "Events"}}}},
    204: {"description": "There is nothing after that event, and never will be"},
}
_PICTURE: Final[dict[int | str, dict[str, Any]]] = {
    200: {"description": "The graph", "content": {"image/svg+xml": {"schema": {"type": "string"}}}}
}
_TEXT: Final[dict[int | str, dict[str, Any]]] = {
    200: {"description": "The graph", "content": {"text/plain": {"schema": {"type": "string"}}}}
}


def _filled(value: object) -> object:
    """Return what a parameter of a query says: one that is empty, as from a form, says nothing."""
    if isinstance(value, list):
        return [item for item in value if item != ""]
    return None if value == "" else value


_Filled: Final = BeforeValidator(_filled)
_Limit: Final = BeforeValidator(lambda value: USUAL_PAGE if value == "" else value)


def _json(model: Model, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    return Response(json_of(model), status, {"Cache-Control": "no-store", **(headers or {})}, "application/json")


class Routes:
    """The handlers of one router."""

    def __init__(
        self,
        *,
        access: Access,
        directory: Directory,
        renderer: Renderer,
        feeds: Feeds,
        stopping: Stopping,
        expose_values: bool,
    ) -> None:
        """Put them together.

        Args:
            access: The runs, as far as they may be seen.
            directory: The chains.
            renderer: Makes models.
            feeds: The events of runs.
            stopping: Tells when the server is about to stop.
            expose_values: Whether results are shown of chains that do not say so themselves.
        """
        self._access = access
        self._directory = directory
        self._renderer = renderer
        self._words = Words(renderer)
        self._feeds = feeds
        self._stopping = stopping
        self._reader = Reader(feeds, stopping)
        self._expose_values = expose_values

    # --- runs

    async def list_runs(  # noqa: PLR0917 - FastAPI gives each by its name
        self,
        request: Request,
        state: Annotated[list[RunState] | None, Query(description="Only runs in one of these states"), _Filled] = None,
        chain: Annotated[str | None, Query(description="Only runs of this chain")] = None,
        tag: Annotated[
            list[str] | None, Query(description="Only runs with all of these tags, each as `name:value`"), _Filled
        ] = None,
        q: Annotated[
            str | None, Query(description="Only runs with this text in their id, chain, route or a tag", max_length=200)
        ] = None,
        since: Annotated[
            datetime | None,
            Query(description="Only runs made at this moment or later; UTC if it names no zone"),
            _Filled,
        ] = None,
        limit: Annotated[int, Query(ge=1, le=SINGLE_PAGE, description="How many at most"), _Limit] = USUAL_PAGE,
        cursor: Annotated[str | None, Query(description="The `next_cursor` of the page before", max_length=500)] = None,
    ) -> Response:
        """List runs, the newest first."""
        pairs = [text.partition(":") for text in tag or ()]
        if not all(colon for _, colon, _ in pairs):
            raise Refusal(422, "request", "query.tag: a tag is written as name:value")
        wanted = RunFilter(
            states=frozenset(state or ()),
            chain=chain or None,
            tags={name: value for name, _, value in pairs},
            text=q or None,
            since=since if since is None or since.tzinfo is not None else since.replace(tzinfo=UTC),
        )
        page = await self._access.search(request, wanted, limit, cursor or None)
        base = base_of(request, "/runs")
        items = [self._renderer.run(run, base, items=False) for run in page.runs]
        return _json(RunPage(items=items, next_cursor=page.cursor))

    async def get_run(
        self,
        request: Request,
        run_id: str,
        prefer: Annotated[  # noqa: ARG002 - for OpenAPI; the reader reads it
            str | None, Header(description="`wait=20`: answer when it has changed, or after 20 seconds; at most 30")
        ] = None,
        if_none_match: Annotated[  # noqa: ARG002 - as above
            str | None, Header(description="The `ETag` that is known: 304 if it still holds")
        ] = None,
    ) -> Response:
        """Show a run."""
        run = await self._access.get(request, run_id)
        base = base_of(request, f"/runs/{run_id}")
        return await self._reader.answer(request, run, lambda: self._renderer.run(run, base))

    async def stream_events(
        self,
        request: Request,
        run_id: str,
        after: Annotated[int | None, Query(description="The number of the last event that is known", ge=0)] = None,
        last_event_id: Annotated[
            str | None, Header(description="The same, as an `EventSource` sends it when it comes back")
        ] = None,
    ) -> Response:
        """Stream a run: `run.snapshot`, then `task.changed`, `task.progress` and `task.log`, last `run.finished`."""
        run = await self._access.get(request, run_id)
        base = base_of(request, f"/runs/{run_id}")
        seen = int(last_event_id) if last_event_id and last_event_id.isdecimal() else after
        if run.finished_at is None:
            known = seen is not None and seen <= run.seq
            return EventStream(
                run,
                base,
                words=self._words,
                feeds=self._feeds,
                stopping=self._stopping,
                after=seen if known else None,
            )
        if seen is not None and seen >= run.seq:
            # This is how an EventSource learns not to come back.
            return Response(status_code=204)
        whole = RETRY + self._words.snapshot(run, base, run.seq) + self._words.finished(run)
        return Response(whole, media_type=FORM, headers={"Cache-Control": "no-store"})

    async def get_task(self, request: Request, run_id: str, task: str) -> Response:
        """Show one task of a run with its attempts, or one item of a fan-out: `ship[2]`."""
        run = await self._access.get(request, run_id)
        found = self._renderer.task(run, task)
        if found is None:
            raise Refusal(404, "task-not-found", f"Run {run_id!r} has no task {task!r}.")
        return _json(found)

    async def get_result(self, request: Request, run_id: str) -> Response:
        """Show the outputs of the chain's targets."""
        run = await self._access.get(request, run_id)
        chain = self._directory.find(run.chain)
        if not (self._expose_values or (chain is not None and chain.options.expose_result)):
            text = f"The results of chain {run.chain!r} are not shown: chain(..., expose_result=True) would."
            raise Refusal(403, "values-not-exposed", text)
        if run.finished_at is None:
            base = base_of(request, f"/runs/{run_id}")
            return _json(self._renderer.run(run, base), 202, RETRY_AFTER)
        if run.state != "succeeded":
            raise Refusal(
                409, "run-failed", f"Run {run_id!r} has {run.state}, so it has no result.".replace("has c", "was c")
            )
        return Response(result_of(run), media_type="application/json", headers={"Cache-Control": "no-store"})

    async def cancel_run(self, request: Request, run_id: str) -> Response:
        """Cancel a run: `async` tasks at once; a `def` task goes on to its end, but nothing starts after it."""
        run = await self._access.get(request, run_id)
        await run.cancel()
        return _json(self._renderer.run(run, base_of(request, f"/runs/{run_id}")), 202)

    async def retry_run(self, request: Request, run_id: str, retry: Annotated[Retry | None, Body()] = None) -> Response:
        """Run again what failed, or more; what has succeeded and does not depend on it is kept."""
        run = await self._access.get(request, run_id)
        from_ = "failed" if retry is None else retry.from_
        if from_ not in {"failed", "start", *run.inner.plan.names}:
            raise Refusal(422, "task-not-found", f"Run {run_id!r} has no task {from_!r} to begin with.")
        await run.retry(from_)
        model = self._renderer.run(run, base_of(request, f"/runs/{run_id}"))
        return _json(model, 202, {"Location": model.links.self, **RETRY_AFTER})

    # --- chains

    async def list_chains(self, request: Request) -> Response:
        """List the chains of the app."""
        base = base_of(request, "/chains")
        chains = self._directory.chains()
        return _json(ChainList(items=[chain_model(chain, routes, base) for chain, routes in chains.items()]))

    async def get_chain(self, request: Request, name: str) -> Response:
        """Show a chain."""
        chain = self._directory.get(name)
        return _json(chain_model(chain, self._directory.routes(chain), base_of(request, f"/chains/{name}")))

    async def get_graph(self, name: str) -> Response:
        """Show the graph of a chain: its tasks and what they have to do with each other."""
        return _json(graph_of(self._directory.get(name).plan))

    async def get_mermaid(self, name: str) -> Response:
        """Show the graph of a chain as Mermaid text."""
        return PlainTextResponse(mermaid(self._directory.get(name).plan))

    async def get_svg(self, name: str) -> Response:
        """Show the graph of a chain as a drawing; 404 where nothing is installed that draws it."""
        drawn = picture_of(self._directory.get(name).plan).alone
        if drawn is None:
            text = "Nothing is installed that draws: pip install 'fastapi-chain[dashboard]'"
            raise Refusal(404, "drawing-not-installed", text)
        return Response(drawn, media_type="image/svg+xml")


def make_router(routes: Routes, *, dependencies: Sequence[DependsMarker], tags: Sequence[str]) -> APIRouter:
    """Return a router with *routes*."""
    router = APIRouter(route_class=ProblemRoute, dependencies=list(dependencies), tags=list(tags))

    def get(path: str, handler: Any, model: Any, responses: dict[int | str, dict[str, Any]]) -> None:  # noqa: ANN401
        router.add_api_route(path, handler, methods=["GET"], response_model=model, responses=responses)

    def post(path: str, handler: Any, responses: dict[int | str, dict[str, Any]]) -> None:  # noqa: ANN401
        router.add_api_route(
            path,
            handler,
            methods=["POST"],
            status_code=202,
            response_model=RunModel,
            responses=responses,
            dependencies=[Depends(same_site)],
        )

    unchanged: dict[int | str, dict[str, Any]] = {304: {"description": "It is as the client knows it"}}
    active: dict[int | str, dict[str, Any]] = {202: {"model": RunModel, "description": "It has not finished yet"}}
    run = "/runs/{run_id}"
    get("/runs", routes.list_runs, RunPage, refuses(422, 503))
    get(run, routes.get_run, RunModel, unchanged | refuses(404, 422, 503))
    get(f"{run}/events", routes.stream_events, None, _EVENTS | refuses(404, 422, 503))
    get(f"{run}/tasks/{{task:path}}", routes.get_task, TaskModel, refuses(404, 422, 503))
    get(f"{run}/result", routes.get_result, Result, active | refuses(403, 404, 409, 422, 503))
    post(f"{run}/cancel", routes.cancel_run, refuses(403, 404, 409, 422, 503))
    post(f"{run}/retry", routes.retry_run, refuses(403, 404, 409, 422, 503))
    get("/chains", routes.list_chains, ChainList, {})
    get("/chains/{name}", routes.get_chain, ChainModel, refuses(404, 422))
    get("/chains/{name}/graph.json", routes.get_graph, Graph, refuses(404, 422))
    get("/chains/{name}/graph.mmd", routes.get_mermaid, None, _TEXT | refuses(404, 422))
    get("/chains/{name}/graph.svg", routes.get_svg, None, _PICTURE | refuses(404, 422))
    return router
