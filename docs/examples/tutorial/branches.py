import asyncio
from itertools import count
from typing import Annotated

from fastapi import FastAPI
from fastapi_chain import From, chain, task
from pydantic import BaseModel

app = FastAPI()
numbers = count(1)


class Basket(BaseModel):
    items: list[str]
    cents: int


class Order(BaseModel):
    id: int
    items: list[str]
    cents: int


class Charge(BaseModel):
    order: int
    cents: int


# --8<-- [start:tasks]
@task(output="payment")
async def charge(order: Order) -> Charge:
    await asyncio.sleep(0.2)  # the bank takes its time
    return Charge(order=order.id, cents=order.cents)


@task(output="shelf")
async def reserve(order: Order) -> str:
    await asyncio.sleep(0.1)
    return f"shelf {len(order.items)}"


@task(after=[reserve])
def pack(shelf: str) -> str:  # plain `def`: in a thread
    print(f"packing from {shelf}")  # at 0.1 s: it does not wait for the bank
    return f"packed from {shelf}"


@task(after=[charge, reserve])
async def receipt(payment: Charge, shelf: str, order: Order) -> str:  # at 0.2 s, not at 0.3
    return f"{', '.join(order.items)}: {payment.cents / 100:.2f} EUR, from {shelf}"


# --8<-- [end:tasks]
@task
async def send(text: Annotated[str, From(receipt)], email: str = "shop@example.com") -> None:
    print(f"to {email}: {text}")


# --8<-- [start:endpoint]
@app.post("/orders", status_code=202)
@chain(send, pack, returns="order")
async def place(basket: Basket, email: str) -> Order:
    return Order(id=next(numbers), items=basket.items, cents=basket.cents)


# --8<-- [end:endpoint]
