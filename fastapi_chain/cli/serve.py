"""`worker`: the runs of a durable engine, without a server."""

import asyncio
import signal
from collections.abc import Iterable
from typing import Any

from fastapi_chain._lifespan import lifespan
from fastapi_chain._text import counted
from fastapi_chain.errors import ChainError

from .check import every_chain
from .discovery import Found
from .output import warn
from .stopping import Stop
from .store import durable, work_without_serving


async def work(found: Found, queues: Iterable[str] = ()) -> int:
    """Run what waits in the database of the app, and tasks on *queues*, until told to stop.

    Raises:
        Stop: The app has no durable engine, or does not start up.
    """
    engine: Any = durable(found).engine
    engine.work_on(queues)
    work_without_serving(found.app)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    try:
        async with lifespan(found.app):
            chains = counted(len(every_chain(found.app)), "chain")
            warn(f"worker of {chains} of {found.name} on {engine.name}; Ctrl-C ends it")
            await stop.wait()
    except ChainError as error:
        raise Stop(error.problem()) from error
    return 0
