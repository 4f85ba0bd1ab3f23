import asyncio
import time

from fastapi import FastAPI
from fastapi_chain import chain, install, task

app = FastAPI()

# --8<-- [start:install]
install(
    app,
    max_running=200,  # runs at once in this process; the others are queued
    max_pending=5_000,  # queued and running together: beyond, clients get 429 with Retry-After
    threads=32,  # `def` tasks at once
    history=500,  # finished runs that are kept
)
# --8<-- [end:install]


# --8<-- [start:limits]
@task(limit=8, rate="50/s", timeout=10.0)  # at most 8 calls at once and 50 starts a second, over all runs
async def call_service(order_id: int) -> int:
    await asyncio.sleep(0.001)
    return order_id


@task(after=[call_service])
def crunch(call_service: int) -> int:  # blocking work: plain `def`, so that it has a thread
    time.sleep(0.001)
    return call_service * 2


@task(after=[crunch])
async def whole_file(crunch: int) -> bytes:
    return await asyncio.to_thread(bytes, crunch)  # `async def` that must block for once


# --8<-- [end:limits]


@app.post("/orders/{order_id}", status_code=202)
@chain(whole_file, max_pending=1_000, deadline=60.0)
async def place(order_id: int) -> dict[str, str]:
    return {"status": "accepted"}
