"""Which engine holds where a chain is started: that of the runtime on this loop, else the one of every process."""

import asyncio
from typing import Final

from .base import Engine
from .memory import MemoryEngine

default_engine: Final = MemoryEngine()
"""The engine of chains in apps without `install`."""

_by_loop: Final[dict[asyncio.AbstractEventLoop, Engine]] = {}


def engine_here() -> Engine:
    """Return the engine that holds on the running loop."""
    return _by_loop.get(asyncio.get_running_loop(), default_engine) if _by_loop else default_engine


def set_engine(loop: asyncio.AbstractEventLoop, engine: Engine | None) -> None:
    """Let *engine* hold on *loop*; None: the default one again."""
    _by_loop.pop(loop, None)
    # The lifespan of an app may never have ended, and its loop be closed all the same.
    for closed in [other for other in _by_loop if other.is_closed()]:
        del _by_loop[closed]
    if engine is not None:
        _by_loop[loop] = engine
