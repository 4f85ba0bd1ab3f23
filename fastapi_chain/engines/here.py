"""Which engine holds where a chain is started: that of the runtime on this loop, else the one of every process."""

import asyncio
from typing import Final
from weakref import WeakKeyDictionary

from .base import Engine
from .memory import MemoryEngine

default_engine: Final = MemoryEngine()
"""The engine of chains in apps without `install`."""

_by_loop: "WeakKeyDictionary[asyncio.AbstractEventLoop, Engine]" = WeakKeyDictionary()


def engine_here() -> Engine:
    """Return the engine that holds on the running loop."""
    if not _by_loop:
        return default_engine
    return _by_loop.get(asyncio.get_running_loop(), default_engine)


def set_engine(loop: asyncio.AbstractEventLoop, engine: Engine | None) -> None:
    """Let *engine* hold on *loop*; None: the default one again."""
    if engine is None:
        _by_loop.pop(loop, None)
    else:
        _by_loop[loop] = engine
