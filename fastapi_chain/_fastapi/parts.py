"""What we use of FastAPI, loaded and probed on first use."""

import functools
import inspect
import re
from collections.abc import Callable, Iterable
from typing import Any, Final

from fastapi_chain._record import record
from fastapi_chain.errors import ChainError

SUPPORTED: Final = "fastapi>=0.115,!=0.137.0,!=0.137.1"

_SOLVER_TAKES: Final = frozenset(
    {"request", "dependant", "dependency_overrides_provider", "async_exit_stack", "embed_body_fields"}
)

FIELDS: Final = ("path", "query", "header", "cookie")
"""Where FastAPI finds a parameter in a request: `Dependant` has a list of each, as `path_params`."""

OBJECTS: Final = {
    "request_param_name": "Request",
    "http_connection_param_name": "HTTPConnection",
    "websocket_param_name": "WebSocket",
    "response_param_name": "Response",
    "background_tasks_param_name": "BackgroundTasks",
    "security_scopes_param_name": "SecurityScopes",
}
"""The attributes of `Dependant` that name the parameter which takes a whole object, and that object."""


@record(slots=True)
class Parts:
    """The parts of FastAPI and Starlette that we use."""

    depends: type[Any]
    """`Depends`; `Security` is one, too."""
    markers: tuple[type[Any], ...]
    """`Depends`, and `Header`, `Query`, … as classes."""
    objects: tuple[type[Any], ...]
    """What FastAPI gives by the type alone: `Request`, `Response`, …"""
    request: type[Any]
    """`Request`."""
    upload: type[Any]
    """Starlette's `UploadFile`; FastAPI's is one, too."""
    api_route: type[Any]
    """`APIRoute`."""
    file: type[Any]
    """The class behind `File()`."""
    validation_error: Callable[..., Exception]
    """`RequestValidationError`."""
    get_dependant: Callable[..., Any]
    """Reads what a function depends on."""
    solve_dependencies: Callable[..., Any]
    """Calls what a function depends on."""
    route_contexts: Callable[[Iterable[Any]], Iterable[Any]]
    """Gives the effective routes of nested routers; before 0.137 a list of routes is flat already."""


def fastapi_version() -> str:
    """Return the version of FastAPI."""
    from fastapi import __version__  # noqa: PLC0415 - see _load()

    return __version__


def version_numbers() -> tuple[int, ...]:
    """Return the first two numbers of FastAPI's version."""
    return tuple(int(number) for number in re.findall(r"\d+", fastapi_version())[:2])


def unexpected(what: str) -> ChainError:
    """Return the error for a FastAPI that does not look as we know it.

    Args:
        what: The difference, as a sentence without its full stop.
    """
    return ChainError(
        what=f"This FastAPI is unknown to fastapi_chain: {what}.",
        rows=[("installed", f"fastapi=={fastapi_version()}"), ("supported", SUPPORTED)],
        fixes=["pip install --upgrade fastapi-chain", "pip install 'fastapi==0.165.0'"],
    )


@functools.cache
def parts() -> Parts:
    """Import FastAPI and return what we use of it.

    Raises:
        ChainError: It does not look as we know it.
    """
    try:
        found = _load()
    except ImportError as error:
        raise unexpected(str(error)) from error
    _probe_solver(found)
    _probe_dependant(found)
    return found


def _load() -> Parts:
    # The imports stand in a function because a task can be declared, planned and run without FastAPI being loaded.
    from fastapi import params, routing  # noqa: PLC0415 - as are all below
    from fastapi.dependencies.utils import get_dependant, solve_dependencies  # noqa: PLC0415
    from fastapi.exceptions import RequestValidationError  # noqa: PLC0415
    from fastapi.security import SecurityScopes  # noqa: PLC0415
    from starlette.background import BackgroundTasks  # noqa: PLC0415
    from starlette.datastructures import UploadFile  # noqa: PLC0415
    from starlette.requests import HTTPConnection, Request  # noqa: PLC0415
    from starlette.responses import Response  # noqa: PLC0415

    return Parts(
        depends=params.Depends,
        markers=(params.Depends, params.Param, params.Body),
        objects=(HTTPConnection, Response, BackgroundTasks, SecurityScopes),
        request=Request,
        upload=UploadFile,
        api_route=routing.APIRoute,
        file=params.File,
        validation_error=RequestValidationError,
        get_dependant=get_dependant,
        solve_dependencies=solve_dependencies,
        route_contexts=getattr(routing, "iter_route_contexts", iter),
    )


def _probe_solver(found: Parts) -> None:
    taken = inspect.signature(found.solve_dependencies).parameters
    required = {name for name, parameter in taken.items() if parameter.default is parameter.empty}
    if not required <= _SOLVER_TAKES <= set(taken):
        raise unexpected(f"solve_dependencies() takes {', '.join(taken)}")


def _probe_dependant(found: Parts) -> None:
    dependant = found.get_dependant(path="/", call=_nothing)
    wanted = [*(f"{place}_params" for place in (*FIELDS, "body")), *OBJECTS]
    missing = [name for name in (*wanted, "dependencies", "name", "call", "use_cache") if not hasattr(dependant, name)]
    if missing:
        raise unexpected(f"Dependant has no {', '.join(missing)}")


def _nothing() -> None:
    """Depend on nothing: what FastAPI makes of this has all attributes and no content."""
