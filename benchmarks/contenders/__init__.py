"""One file per contender: how one says "run this graph" in it.

A contender is a module with a function `build(graph)` that returns `run`, an async function which takes the input `x`
and returns the value of the last task. Building is not timed. `build` raises `CannotExpress` for a graph that the
contender has no words for. If the module has a coroutine function `close()`, it is awaited at the end.
"""

from collections.abc import Awaitable, Callable
from typing import Final, TypeAlias

Run: TypeAlias = Callable[[int], Awaitable[int]]
"""Runs a graph once: input -> value of the last task."""

THREADS: Final = 16
"""The threads that everybody gets for `def` tasks: as many as fastapi_chain has by default."""


class CannotExpress(Exception):
    """The contender has no words for this graph; the text says why."""
