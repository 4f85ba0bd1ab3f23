"""The app that real servers serve in these tests."""

import asyncio
import os
from pathlib import Path

from fastapi import FastAPI

from fastapi_chain import Registry, Run, chain, current_task, install

app = FastAPI()
runtime = install(app, drain_timeout=float(os.environ.get("DRAIN", "0.2")), history=1000)
app.include_router(runtime.router(), prefix="/chains")

shop = Registry("shop")


def tell(text: str) -> None:
    """Write a line where the test reads it."""
    with Path(os.environ["TOLD"]).open("a") as file:
        file.write(f"{text}\n")


async def unpack() -> None:
    tell("undone")


@shop.task(undo=unpack)
async def pack() -> None: ...


@shop.task(after=[pack])
async def wait() -> None:
    try:
        await asyncio.Event().wait()
    except asyncio.CancelledError:
        tell("cancelled")
        raise


@app.post("/waits", status_code=202)
@chain(wait)
async def waits(run: Run) -> dict[str, str | int | None]:
    return {"run": run.id, "url": run.url, "pid": os.getpid()}


@shop.task
async def clean(n: int) -> int:
    return n


@shop.task(after=[clean], retries=1, backoff=0.01)
async def save(clean: int) -> None:
    if clean % 2 and current_task().attempt == 1:
        raise ConnectionError


@app.post("/quick", status_code=202)
@chain(save)
async def quick(n: int) -> None: ...
