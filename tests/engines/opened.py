"""Durable engines for tests that play several processes, one after the other or side by side."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from fastapi_chain import Chain
from fastapi_chain.engines.durable.engine import DurableEngine
from fastapi_chain.engines.here import set_engine


@asynccontextmanager
async def opened(url: str, *chains: Chain, here: bool = True, **options: Any) -> AsyncIterator[DurableEngine]:
    """An engine as long as the block lasts; what runs at its end is left to the next one.

    Args:
        url: The database.
        *chains: The chains of the app.
        here: Whether it is the engine of this loop.
        **options: More options.
    """
    plans = {one.name: one.plan for one in chains}
    engine = DurableEngine(url, plans=plans.get, **options)
    engine.heed = ()
    await engine.open()
    if here:
        set_engine(asyncio.get_running_loop(), engine)
    try:
        yield engine
    finally:
        if here:
            set_engine(asyncio.get_running_loop(), None)
        await engine.drain(0)


async def until(condition: Callable[[], bool]) -> None:
    """Return when *condition* holds."""
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.01)
