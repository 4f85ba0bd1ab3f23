"""FastAPI's own solver, outside of a request."""

import dataclasses
import functools
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from types import SimpleNamespace
from typing import Any, Final, Never

from fastapi_chain._record import record

from .dependencies import Dependency, Kind, kind_of
from .parts import parts

Scope = dict[str, Any]
"""An ASGI scope."""

_SYNTHETIC: Final = "fastapi_chain.synthetic"
_NO_BODY: Final = "the body of the request is gone when its tasks run"


@record(slots=True)
class Solved:
    """What FastAPI's solver gave."""

    values: dict[str, object]
    """The value of each parameter."""
    background: Callable[[], Any] | None
    """Runs the background tasks that dependencies have added; None if there are none."""


_PUBLIC: Final = frozenset(
    {
        "type",
        "asgi",
        "http_version",
        "method",
        "scheme",
        "path",
        "raw_path",
        "root_path",
        "app_root_path",
        "query_string",
        "client",
        "server",
        "app",
        "state",
        "path_params",
        "router",
        "route",
        "endpoint",
    }
)
"""What of a scope tells nothing that a client has sent in confidence."""


def snapshot_scope(scope: Mapping[str, Any]) -> Scope:
    """Return a copy of a request's scope that outlives the request.

    `state` and the path's parameters are its own; what FastAPI and we keep there until the request is over is left out.
    """
    kept = {key: value for key, value in scope.items() if not key.startswith("fastapi")}
    return {**kept, "state": dict(scope.get("state", {})), "path_params": dict(scope.get("path_params", {}))}


def without_secrets(scope: Mapping[str, Any]) -> Scope:
    """Return *scope* without its headers, cookies included, and without what a middleware has made of them.

    What is left says what was asked for, and in which app: `state` and the parameters of the path are still there.
    """
    return {**{key: value for key, value in scope.items() if key in _PUBLIC}, "headers": []}


def synthetic_scope(app: object, state: Mapping[str, Any]) -> Scope:
    """Return the scope of an empty request, for a run that was started without one.

    Args:
        app: What `request.app` is.
        state: What the app's lifespan has yielded: `request.state`.
    """
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": "POST",
        "scheme": "http",
        "path": "/",
        "raw_path": b"/",
        "root_path": "",
        "query_string": b"",
        "headers": [],
        "client": None,
        "server": ("localhost", 80),
        "app": app,
        "path_params": {},
        "state": dict(state),
        _SYNTHETIC: True,
    }


async def solve(
    root: Dependency,
    scope: Mapping[str, Any],
    overrides: Mapping[Any, Any],
    request_stack: AsyncExitStack,
    function_stack: AsyncExitStack,
) -> Solved:
    """Let FastAPI call what *root* depends on.

    Args:
        root: What `read_params` gave.
        scope: A scope from `snapshot_scope` or `synthetic_scope`; it is not changed.
        overrides: `app.dependency_overrides`.
        request_stack: Takes what is to be closed last.
        function_stack: Takes what is to be closed as soon as the function has returned (`Depends(scope="function")`).

    Raises:
        RequestValidationError: The request does not hold what a dependency wants.
        Exception: A dependency raised it. What fails on an empty request, or for its body, says so in a note.
    """
    own = snapshot_scope(scope)
    own["fastapi_inner_astack"] = request_stack
    own["fastapi_function_astack"] = function_stack
    found = parts()
    try:
        solved = await found.solve_dependencies(
            request=found.request(own, _receive, _send),
            dependant=root.dependant,
            # Where there is nothing to replace, FastAPI need not read every signature again.
            dependency_overrides_provider=SimpleNamespace(dependency_overrides=overrides) if overrides else None,
            async_exit_stack=request_stack,
            embed_body_fields=False,
        )
    except Exception as error:
        _explain(error, root, scope)
        raise
    if solved.errors:
        refused = found.validation_error(solved.errors)
        if any(error["loc"][0] == "body" for error in solved.errors):
            refused.add_note(_NO_BODY)
        _explain(refused, root, scope)
        raise refused
    return Solved(values=solved.values, background=solved.background_tasks)


def _explain(error: Exception, root: Dependency, scope: Mapping[str, Any]) -> None:
    """Say in a note what else is to be known about *error*."""
    if _SYNTHETIC in scope and root.request_path():
        error.add_note("raised for a run without a request: its tasks see an empty one")


async def _receive() -> Never:
    """Say why there is nothing to receive."""
    raise RuntimeError(_NO_BODY)


async def _send(_message: object) -> Never:
    """Say why there is nobody to send to."""
    raise RuntimeError("the response of the request has been sent when its tasks run")


def replace_calls(root: Dependency, replace: Callable[[Callable[..., Any], Kind], Callable[..., Any]]) -> Dependency:
    """Return *root* with every call below it replaced by what *replace* makes of it.

    Args:
        root: What `read_params` gave.
        replace: Called once for each call, with its kind: FastAPI caches values by the call.
    """
    replaced = functools.cache(lambda call: replace(call, kind_of(call)))

    def rebuild(dependant: Any) -> Any:  # noqa: ANN401 - FastAPI's, of any version
        # A copy, and not the original changed: some versions keep what they have found out about its call.
        below = [dataclasses.replace(rebuild(sub), call=replaced(sub.call)) for sub in dependant.dependencies]
        return dataclasses.replace(dependant, dependencies=below)

    return dataclasses.replace(root, dependant=rebuild(root.dependant))
