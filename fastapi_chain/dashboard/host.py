"""What the pages need of the runtime of an app."""

from typing import Any, Protocol

from fastapi_chain.engines.base import Engine
from fastapi_chain.web.directory import Directory
from fastapi_chain.web.stopping import Stopping


class Host(Protocol):
    """The runtime of an app."""

    @property
    def app(self) -> Any:  # noqa: ANN401 - any Starlette app
        """The app."""

    @property
    def here(self) -> Engine:
        """Where runs run, and are found again."""

    @property
    def directory(self) -> Directory:
        """The chains of the app."""

    @property
    def stopping(self) -> Stopping:
        """Whether the server is about to stop."""

    @property
    def expose_values(self) -> bool:
        """Whether inputs and outputs may be shown."""
