import asyncio

from fastapi import FastAPI
from fastapi_chain import chain, task
from pydantic import BaseModel

app = FastAPI()


class Order(BaseModel):
    id: int
    item: str


# --8<-- [start:tasks]
@task
async def charge(order: Order) -> str:
    await asyncio.sleep(0.2)
    return "paid"


@task
async def reserve(order: Order) -> str:
    await asyncio.sleep(0.1)
    return "shelf 3"


@task(after=[reserve])
async def pack(reserve: str) -> None:
    print(f"packed from {reserve}")  # at 0.1 s: it does not wait for the charge


@task(after=[charge, reserve])
async def receipt(charge: str, reserve: str) -> None:
    print(f"receipt: {charge}, {reserve}")  # at 0.2 s, not at 0.3


@task
def count(order: Order) -> None:
    print(f"counted {order.item}")  # plain `def`: in a thread of its own


# --8<-- [end:tasks]
@app.post("/orders", status_code=202)
@chain(receipt, pack, count)
async def place(order: Order) -> dict[str, str]:
    return {"status": "accepted"}
