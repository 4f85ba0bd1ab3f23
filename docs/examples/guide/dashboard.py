"""A shop whose bank is slow to answer and whose printer is out of order: something to see in the dashboard."""

import asyncio
import logging
from typing import Annotated

from fastapi import Depends, FastAPI
from fastapi_chain import Backoff, Progress, Registry, chain, current_task, install
from pydantic import BaseModel

# --8<-- [start:install]
app = FastAPI(title="shop")
runtime = install(app)
# Open to all: on your own machine only.
app.include_router(runtime.dashboard(allow_anonymous=True), prefix="/chains/ui")
# --8<-- [end:install]

shop = Registry("shop")
log = logging.getLogger("shop")
log.setLevel(logging.INFO)


class Order(BaseModel):
    id: int
    cents: int


class Invoice(BaseModel):
    order: int
    text: str


class PrinterError(Exception):
    """No paper."""


class Printer:
    async def print(self, invoice: Invoice) -> bytes:
        await asyncio.sleep(0.5)
        reason = f"no paper for invoice {invoice.order}"
        raise PrinterError(reason)


@shop.task
async def validate(order: Order) -> Order:
    await asyncio.sleep(0.1)
    log.info("order %s: %.2f EUR", order.id, order.cents / 100)
    return order


@shop.task(after=[validate], output="receipt", retries=3, backoff=Backoff(initial=0.4, jitter=False))
async def charge(validate: Order) -> str:
    await asyncio.sleep(0.5)
    if current_task().attempt == 1:
        reason = "the bank did not answer"
        raise ConnectionError(reason)
    return f"receipt {validate.id}"


@shop.task(after=[validate])
async def reserve(validate: Order) -> str:
    await asyncio.sleep(0.4)
    return f"shelf {validate.id % 7}"


@shop.task(after=[reserve, charge])
async def pack(reserve: str) -> str:
    await asyncio.sleep(0.3)
    return f"parcel from {reserve}"


@shop.task(after=[charge])
async def invoice(receipt: str, order: Order) -> Invoice:
    await asyncio.sleep(0.2)
    return Invoice(order=order.id, text=receipt)


@shop.task(after=[invoice], retries=2, backoff=Backoff(initial=0.4, jitter=False))
async def print_invoice(invoice: Invoice, printer: Annotated[Printer, Depends(Printer)]) -> bytes:
    return await printer.print(invoice)


@shop.task(after=[print_invoice])
async def send(print_invoice: bytes) -> None:
    log.info("%s bytes are on their way", len(print_invoice))


@shop.task(after=[charge])
async def sync_customers(progress: Progress) -> int:
    for done in range(0, 1250, 250):
        progress(done, 1250, "customers")
        await asyncio.sleep(0.8)
    log.info("1250 customers are in sync")
    return 1250


@shop.task
async def rows(count: int) -> list[int]:
    return list(range(count))


@shop.task(each=rows)
async def store(row: int) -> int:
    await asyncio.sleep(0.1 + row % 4 / 10)
    if row in {7, 11}:
        reason = f"row {row} has no email"
        raise ValueError(reason)
    return row


@app.post("/orders", status_code=202)
@chain(pack, send, sync_customers, name="checkout", tags={"order": "{order.id}"})
async def checkout(order: Order) -> dict[str, str]:
    return {"status": "accepted"}


@app.post("/imports", status_code=202)
@chain(store, name="import_rows")
async def import_rows(count: int) -> dict[str, str]:
    return {"status": "accepted"}
