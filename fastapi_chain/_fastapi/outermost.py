"""An ASGI layer around a whole app."""

from collections.abc import Callable
from importlib import import_module
from typing import Any

from fastapi_chain.errors import DeclarationError


def wrap_app(app: Any, layer: Callable[[Any], Any]) -> None:  # noqa: ANN401 - an app of any version
    """Put *layer* around *app*, outside of every middleware, whenever those are added.

    `app.add_middleware` would put it below the ones that are added later, and their commits would come after ours.

    Raises:
        DeclarationError: The app has handled a request already, or is no Starlette app.
    """
    build = getattr(app, "build_middleware_stack", None)
    if build is None:
        raise DeclarationError(what=f"install() got {app!r}, which is no app.", fixes=("install(app)",))
    if getattr(app, "middleware_stack", None) is not None:
        text = "install() comes too late: the app has started already."
        raise DeclarationError(what=text, fixes=("call install(app) where the app is made",))
    app.build_middleware_stack = lambda: _outermost(layer(build()))


def _outermost(app: Any) -> Any:  # noqa: ANN401 - an ASGI app
    """Return *app* as what Starlette itself puts outermost; it does nothing but look like it.

    OpenTelemetry's instrumentor takes such an object apart, and leaves an app alone whose outermost layer is another.
    """
    # Not at the head: the pytest plugin comes here, and has nothing to do with Starlette.
    errors: Any = import_module("starlette.middleware.errors")

    class Outermost(errors.ServerErrorMiddleware):  # type: ignore[misc]  # its class is Any
        def __call__(self, scope: Any, receive: Any, send: Any) -> Any:  # noqa: ANN401 - what the app returns is awaited
            return self.app(scope, receive, send)

    return Outermost(app)
