"""An ASGI layer around a whole app."""

from collections.abc import Callable
from typing import Any

from starlette.middleware.errors import ServerErrorMiddleware
from starlette.types import Receive, Scope, Send

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
    app.build_middleware_stack = lambda: _Outermost(layer(build()))


class _Outermost(ServerErrorMiddleware):
    """Looks like what Starlette itself puts outermost, and is only there for that.

    OpenTelemetry's instrumentor takes such an object apart, and leaves an app alone whose outermost layer is anything
    else.
    """

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Any:  # noqa: ANN401 - what the app returns is awaited
        """Hand on one ASGI connection."""
        return self.app(scope, receive, send)
