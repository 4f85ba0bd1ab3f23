"""Every route of an app."""

import functools
import gc
import inspect
from collections.abc import Iterator, Mapping
from typing import Any

from fastapi_chain._record import record

from .parts import parts


@record(slots=True)
class ApiRoute:
    """A route of an app, as requests meet it."""

    path: str
    """Its whole path, the prefixes of routers and mounts included."""
    methods: tuple[str, ...]
    """Its methods, sorted."""
    endpoint: Any
    """The function that was given to FastAPI."""
    dependant: Any
    """FastAPI's description of its parameters, for `input_kinds`."""

    @property
    def name(self) -> str:
        """What a route is called in lists and errors: `POST /orders`."""
        return f"{self.methods[0]} {self.path}"


def api_routes(app: Any, prefix: str = "") -> Iterator[ApiRoute]:  # noqa: ANN401 - an app, router or mount of any version
    """Yield every route of *app*, through included routers and mounted apps, on every version.

    Since 0.137 included routers are kept as they are, and `app.routes` is a tree.
    """
    found = parts()
    for route in found.route_contexts(app.routes):
        original = getattr(route, "original_route", route)
        if isinstance(original, found.api_route):
            yield ApiRoute(
                path=prefix + route.path,
                methods=tuple(sorted(route.methods)),
                endpoint=route.endpoint,
                dependant=route.dependant,
            )
        elif hasattr(original, "routes"):  # a mount or a host
            yield from api_routes(original, prefix + (getattr(route, "path", None) or ""))


def known_endpoints() -> Iterator[object]:
    """Yield the endpoint of every route in this process, whatever app or router it is in; that takes 0.1 s."""
    kind = parts().api_route
    for found in gc.get_objects():
        # Not `isinstance`, which may run code of the object's own; and of one that was refused there may be remains.
        if issubclass(type(found), kind):
            yield getattr(found, "endpoint", None)


def endpoint_ids(fn: object) -> Iterator[int]:
    """Yield the ids of *fn* and of all that it wraps, through decorators, partials and methods, from the outside."""
    seen: set[int] = set()
    while fn is not None and id(fn) not in seen:
        seen.add(id(fn))
        yield id(fn)
        if isinstance(fn, functools.partial):
            fn = fn.func
        else:
            fn = fn.__func__ if inspect.ismethod(fn) else getattr(fn, "__wrapped__", None)


def overrides_of(app: object) -> Mapping[Any, Any]:
    """Return `app.dependency_overrides` as it is now; empty without an app, or for one that knows no such thing."""
    return getattr(app, "dependency_overrides", None) or {}
