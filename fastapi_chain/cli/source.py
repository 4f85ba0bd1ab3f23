"""Where runs are looked up, whether in an app that runs or in a database."""

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Protocol, TypeAlias

from .stopping import Stop

Document: TypeAlias = Mapping[str, Any]
"""A JSON object of the HTTP interface."""

WHOLE: Final = 32
"""The length of an id; anything shorter is the beginning of one."""

_NEAR: Final = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Which runs are looked for."""

    states: tuple[str, ...] = ()
    chain: str | None = None
    tags: tuple[str, ...] = ()
    """Each as `name:value`."""
    text: str | None = None
    """Part of the id, the chain's name, the route or a tag."""
    since: datetime | None = None
    limit: int = 20
    cursor: str | None = None


class Runs(Protocol):
    """The runs of an app."""

    async def page(self, wanted: Wanted) -> Document:
        """Return some runs, as `GET /runs` answers."""

    async def get(self, run: str) -> Document:
        """Return a run, as `GET /runs/{id}` answers.

        Raises:
            Stop: There is none.
        """

    async def cancel(self, run: str) -> Document:
        """Cancel a run, and return it.

        Raises:
            Stop: It has finished.
        """

    async def retry(self, run: str, from_: str) -> Document:
        """Let a run go on, and return it.

        Raises:
            Stop: It has not finished, or there is nothing to retry.
        """

    def watch(self, run: str) -> AsyncIterator[Document]:
        """Yield a run each time that it has changed, until it has finished."""


async def whole_id(runs: Runs, run: str) -> str:
    """Return the id that begins with *run*.

    Raises:
        Stop: There is none, or there are several.
    """
    if len(run) >= WHOLE:
        return run
    page = await runs.page(Wanted(text=run, limit=_NEAR))
    found = [item["id"] for item in page["items"] if item["id"].startswith(run)]
    if not found:
        raise Stop(f"there is no run {run!r}", 1)
    if len(found) > 1:
        raise Stop(f"{len(found)} runs begin with {run!r}: give more of the id")
    return str(found[0])
