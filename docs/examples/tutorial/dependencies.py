import asyncio
from collections.abc import Iterator
from itertools import count
from typing import Annotated

from fastapi import Depends, FastAPI
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


# --8<-- [start:session]
class Session:
    """Stands in for a database session."""

    rows: dict[int, Order] = {}

    def __init__(self) -> None:
        self.new: dict[int, Order] = {}

    def add(self, order: Order) -> None:
        self.new[order.id] = order

    def commit(self) -> None:
        self.rows.update(self.new)


def get_session() -> Iterator[Session]:
    session = Session()
    yield session
    session.commit()


Db = Annotated[Session, Depends(get_session)]
# --8<-- [end:session]


@task(output="payment")
async def charge(order: Order) -> Charge:
    await asyncio.sleep(0.2)
    return Charge(order=order.id, cents=order.cents)


# --8<-- [start:task]
@task(output="shelf")
async def reserve(order: Order, db: Db) -> str:
    print(f"order {order.id} is in the database: {order.id in db.rows}")
    return f"shelf {len(order.items)}"


# --8<-- [end:task]
@task(after=[reserve])
def pack(shelf: str) -> str:
    print(f"packing from {shelf}")
    return f"packed from {shelf}"


@task(after=[charge, reserve])
async def receipt(payment: Charge, shelf: str, order: Order) -> str:
    return f"{', '.join(order.items)}: {payment.cents / 100:.2f} EUR, from {shelf}"


@task
async def send(text: Annotated[str, From(receipt)], email: str = "shop@example.com") -> None:
    print(f"to {email}: {text}")


# --8<-- [start:endpoint]
@app.post("/orders", status_code=202)
@chain(send, pack, returns="order")
async def place(basket: Basket, email: str, db: Db) -> Order:
    order = Order(id=next(numbers), items=basket.items, cents=basket.cents)
    db.add(order)
    return order


# --8<-- [end:endpoint]
