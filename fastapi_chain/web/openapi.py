"""The OpenAPI document of an app: what its operations start, and where that is watched."""

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from fastapi_chain._fastapi import ApiRoute
from fastapi_chain.chains import Chain
from fastapi_chain.errors import ChainError

EXTENSION: Final = "x-fastapi-chain"

Document = dict[str, Any]
Started = Callable[[], Iterator[tuple[Chain, ApiRoute]]]

_ID_OF_RUN: Final[Mapping[str, Any]] = {
    "description": "The id of the run that was started",
    "schema": {"type": "string"},
}
_WHERE: Final[Mapping[str, Any]] = {
    "Location": {"description": "The run, unless the endpoint says otherwise", "schema": {"type": "string"}},
    "Link": {
        "description": 'The run as `rel="status"`, its events as `rel="monitor"`',
        "schema": {"type": "string"},
    },
    "Retry-After": {"description": "When to ask for the run, in seconds", "schema": {"type": "integer"}},
}


def annotate(app: Any, started: Started, page: Callable[[], str | None]) -> None:  # noqa: ANN401 - any Starlette app
    """Let the OpenAPI document of *app* tell what its operations start.

    Args:
        app: The app; one that has no such document is left alone.
        started: Yields every chain, with each of its routes.
        page: Returns the path at which a run is shown, as its route has it; None if there is none.
    """
    make: Callable[[], Document] | None = getattr(app, "openapi", None)
    if make is None:
        return

    def openapi() -> Document:
        assert make is not None, "else there is nothing to annotate"
        document = make()
        paths = document.get("paths", {})
        shown = page()
        operation = None if shown is None else paths.get(shown, {}).get("get", {}).get("operationId")
        for chain, route in started():
            for method in route.methods:
                found = paths.get(_format(route.path), {}).get(method.lower())
                # FastAPI gives the same document again unless there are new routes.
                if found is not None and EXTENSION not in found:
                    _annotate(found, chain, operation, where=shown is not None)
        return document

    app.openapi = openapi


def _format(path: str) -> str:
    """Return a route's path as OpenAPI has it: without the types of its parameters."""
    return re.sub(r"\{([^}:]+):[^}]+\}", r"{\1}", path)


def _annotate(operation: Document, chain: Chain, show: str | None, *, where: bool) -> None:
    try:
        plan = chain.plan
    except ChainError:
        # Start-up tells what is wrong with it; a document can be made all the same.
        return
    operation[EXTENSION] = {
        "chain": chain.name,
        "tasks": [node.name for node in plan.nodes],
        "edges": [
            {"from": source, "to": target, "kind": "data" if params else "order"}
            for source, target, params in plan.edges()
        ],
    }
    for status, response in operation.get("responses", {}).items():
        if not status.startswith("2"):
            continue
        headers = response.setdefault("headers", {})
        headers.setdefault("X-Chain-Run", _ID_OF_RUN)
        if status == "202" and where:
            for name, header in _WHERE.items():
                headers.setdefault(name, header)
        if show is not None:
            link = {"operationId": show, "parameters": {"run_id": "$response.header.X-Chain-Run"}}
            response.setdefault("links", {}).setdefault("run", link)
    if chain.options.idempotent:
        header = {"name": "Idempotency-Key", "in": "header", "required": False, "schema": {"type": "string"}}
        operation.setdefault("parameters", []).append(
            {**header, "description": "The same key and request give the same answer, and start nothing again"}
        )
