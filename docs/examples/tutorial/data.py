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


# --8<-- [start:names]
@task(output="payment")
async def charge(order: Order) -> Charge:
    return Charge(order=order.id, cents=order.cents)


@task(after=[charge])
async def receipt(payment: Charge, order: Order) -> str:
    return f"{', '.join(order.items)}: {payment.cents / 100:.2f} EUR"


# --8<-- [end:names]
# --8<-- [start:from]
@task
async def send(text: Annotated[str, From(receipt)], email: str = "shop@example.com") -> None:
    print(f"to {email}: {text}")


# --8<-- [end:from]
# --8<-- [start:endpoint]
@app.post("/orders", status_code=202)
@chain(send, returns="order")
async def place(basket: Basket, email: str) -> Order:
    return Order(id=next(numbers), items=basket.items, cents=basket.cents)


# --8<-- [end:endpoint]
