import asyncio
import logging

from fastapi import FastAPI
from fastapi_chain import Progress, chain, install, task

app = FastAPI()
runtime = install(app, expose_errors=True)
app.include_router(runtime.router(), prefix="/chains")
log = logging.getLogger("shop")


@task(retries=1, backoff=0.5)
async def charge(order_id: int, progress: Progress) -> str:
    progress(1, 2, "asking the bank")
    await asyncio.sleep(1)
    log.warning("no answer for order %s", order_id)
    text = "the bank did not answer"
    raise ConnectionError(text)


@task(after=[charge])
async def receipt(charge: str) -> str:
    return f"receipt: {charge}"


@app.post("/orders/{order_id}", status_code=202)
@chain(receipt, name="checkout", tags={"order": "{order_id}"})
async def place(order_id: int) -> dict[str, str]:
    return {"status": "accepted"}
