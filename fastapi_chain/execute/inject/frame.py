"""One attempt, and the types of what is handed around."""

from collections.abc import Awaitable, Callable, Mapping
from contextlib import ExitStack
from types import TracebackType
from typing import Any, Final, ParamSpec, Protocol, TypeAlias, TypeVar

from anyio import CancelScope

from fastapi_chain.errors import RunError
from fastapi_chain.spec import Source

P = ParamSpec("P")
R = TypeVar("R")

Slots: TypeAlias = list[Any]
"""The values of one run; the last one is its `Environment`."""

Injected: TypeAlias = Mapping[str, object]
"""What was injected, by parameter."""

AsyncCall: TypeAlias = Callable[[Slots, Injected], Awaitable[object]]
"""Calls the task with values from the slots and the injected ones."""

SyncCall: TypeAlias = Callable[[Slots, Injected], object]
"""The same for a `def` task."""

MISSING: Final = object()
"""The result of an attempt that has none."""


class Environment(Protocol):
    """What a run knows about where it comes from."""

    @property
    def app(self) -> object:
        """The FastAPI app; None without one."""

    @property
    def request_scope(self) -> Mapping[str, object] | None:
        """The snapshot of the request's scope (`snapshot_scope`); None for a run without a request."""


class Hop(Protocol):
    """Runs a sync callable in a worker thread.

    It always runs it to its end, and returns or raises only then, even if it is cancelled meanwhile: nothing is closed
    in one thread while another still uses it, and nothing stays open because a cancellation came in between.
    """

    async def __call__(self, fn: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
        """Call *fn* in a copy of the current context."""
        ...


class Frame:
    """One attempt: what its dependencies gave and how it ended."""

    __slots__ = ("error", "result", "shield", "slots", "values")

    shield: CancelScope
    """Keeps scopes around the run from cancelling the closing; only where there are async generators, as in FastAPI."""

    def __init__(self, slots: Slots, size: int) -> None:
        """Begin an attempt with the run's *slots* and *size* values of dependencies to come."""
        self.slots = slots
        self.values: list[object] = [None] * size
        self.result: object = MISSING
        self.error: BaseException | None = None  # what passes through the dependencies on its way out

    def outcome(self, task: Source) -> object:
        """Return the result of the attempt.

        Raises:
            RunError: There is none, since a dependency has swallowed an exception. FastAPI treats an endpoint likewise.
            BaseException: A dependency has swallowed a cancellation, which must not get lost.
        """
        if self.result is not MISSING:
            return self.result
        if self.error is not None and not isinstance(self.error, Exception):
            raise self.error
        raise RunError(
            what=f"A dependency of task {task.name!r} caught {_shown(self.error)} and did not raise it again.",
            rows=[("declared at", task.at)],
            fixes=["end the except block of the dependency with a bare `raise`"],
        ) from self.error


def _shown(error: BaseException | None) -> str:
    text = str(error)
    return type(error).__name__ + (f": {text}" if text else "")


class ClosingInThread:
    """Closes in a thread what was opened in threads; the exception passes through it."""

    __slots__ = ("_hop", "_stack")

    def __init__(self, hop: Hop, stack: ExitStack) -> None:
        """Close *stack* through *hop*."""
        self._hop = hop
        self._stack = stack

    async def __aenter__(self) -> None:
        """Opening is done by whoever knows what to open."""

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool | None:
        return await self._hop(self._stack.__exit__, kind, error, traceback)
