"""An ASGI layer around a whole app."""

from collections.abc import Callable
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
    app.build_middleware_stack = lambda: layer(build())
