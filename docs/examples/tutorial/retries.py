import asyncio
from collections.abc import Iterator
from itertools import count
from typing import Annotated

from fastapi import Depends, FastAPI
from fastapi_chain import Backoff, From, RetryAfter, chain, current_task, task
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


# --8<-- [start:bank]
class Declined(Exception):
    """The bank says no, and will say no again."""


class Bank:
    async def charge(self, order: Order) -> Charge:
        await asyncio.sleep(0.1)
        if current_task().attempt < 3:
            text = "the bank did not answer"
            raise ConnectionError(text)
        return Charge(order=order.id, cents=order.cents)


# --8<-- [end:bank]
# --8<-- [start:task]
@task(
    output="payment",
    retries=3,  # three more attempts after the first: at most four
    backoff=Backoff(initial=0.05, maximum=10.0),
    retry_on=ConnectionError,
    give_up_on=Declined,
    timeout=5.0,  # seconds, for one attempt
)
async def charge(order: Order, bank: Annotated[Bank, Depends(Bank)]) -> Charge:
    payment = await bank.charge(order)
    print(f"charged on attempt {current_task().attempt}")
    return payment


# --8<-- [end:task]


@task(output="shelf")
async def reserve(order: Order, db: Db) -> str:
    print(f"order {order.id} is in the database: {order.id in db.rows}")
    return f"shelf {len(order.items)}"


@task(after=[reserve])
def pack(shelf: str) -> str:
    print(f"packing from {shelf}")
    return f"packed from {shelf}"


@task(after=[charge, reserve])
async def receipt(payment: Charge, shelf: str, order: Order) -> str:
    return f"{', '.join(order.items)}: {payment.cents / 100:.2f} EUR, from {shelf}"


# --8<-- [start:after]
@task(retries=1)
async def send(text: Annotated[str, From(receipt)], email: str = "shop@example.com") -> None:
    if current_task().attempt == 1:
        raise RetryAfter(0.1)  # the mail server said when to come again
    print(f"to {email}: {text}")


# --8<-- [end:after]
# --8<-- [start:endpoint]
@app.post("/orders", status_code=202)
@chain(send, pack, returns="order", deadline=60.0)
async def place(basket: Basket, email: str, db: Db) -> Order:
    order = Order(id=next(numbers), items=basket.items, cents=basket.cents)
    db.add(order)
    return order


# --8<-- [end:endpoint]
