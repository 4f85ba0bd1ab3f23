import asyncio
from collections.abc import Iterator
from itertools import count
from typing import Annotated

from fastapi import Depends, FastAPI, Header, HTTPException
from fastapi_chain import Backoff, Failed, From, Outcome, Progress, Skip, Succeeded, chain, install, task
from pydantic import BaseModel


# --8<-- [start:install]
def current_user(authorization: Annotated[str | None, Header()] = None) -> str:
    if authorization != "Bearer ann":
        raise HTTPException(401)
    return "ann"


app = FastAPI()
runtime = install(app)
app.include_router(runtime.router(), prefix="/chains", dependencies=[Depends(current_user)])
# --8<-- [end:install]
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


class Declined(Exception):
    """The bank says no, and will say no again."""


class Bank:
    async def charge(self, order: Order) -> Charge:
        await asyncio.sleep(0.1)
        if order.cents > 10_000:
            text = "insufficient funds"
            raise Declined(text)
        return Charge(order=order.id, cents=order.cents)


@task(
    output="payment",
    retries=3,
    backoff=Backoff(initial=0.05, maximum=10.0),
    retry_on=ConnectionError,
    give_up_on=Declined,
    timeout=5.0,
)
async def charge(order: Order, bank: Annotated[Bank, Depends(Bank)]) -> Charge:
    if order.cents == 0:
        reason = "nothing to pay"
        raise Skip(reason)
    return await bank.charge(order)


@task(output="shelf")
async def reserve(order: Order, db: Db) -> str:
    assert order.id in db.rows
    return f"shelf {len(order.items)}"


@task(after=[reserve])
async def items(order: Order) -> list[str]:
    return order.items


@task(each=items, limit=4, retries=2)
async def wrap(item: str) -> str:
    await asyncio.sleep(0.1)
    return f"{item} in paper"


@task(after=[wrap])
async def pack(wrap: list[str], shelf: str, progress: Progress) -> str:
    for _ in progress.track(wrap, text="packing"):  # one step for each
        await asyncio.sleep(0.3)
    progress(len(wrap), len(wrap), "closing the lid")  # done, of how many, and a word for people
    return f"{len(wrap)} parcels from {shelf}"


@task(after=[charge, reserve])
async def receipt(payment: Charge, shelf: str, order: Order) -> str:
    return f"{', '.join(order.items)}: {payment.cents / 100:.2f} EUR, from {shelf}"


@task(retries=1)
async def send(text: Annotated[str, From(receipt)], email: str = "shop@example.com") -> None:
    print(f"to {email}: {text}")


@task(after=[charge])
async def audit(payment: Outcome[Charge]) -> None:
    match payment:
        case Succeeded(value):
            print(f"audit: {value.cents} cents")
        case Failed(error=error):
            print(f"audit: failed, {error}")
        case _:
            print(f"audit: {payment.reason}")


@task(after=[charge])
async def call_customer(payment: Failed, email: str) -> None:
    print(f"calling {email}, because of {payment.error.message!r}")


# --8<-- [start:endpoint]
checkout = chain(
    send,
    pack,
    audit,
    call_customer,
    name="checkout",
    returns="order",
    deadline=60.0,
    tags={"email": "{email}"},
    expose_result=True,
)


@app.post("/orders", status_code=202)
@checkout
async def place(basket: Basket, email: str, db: Db) -> Order:
    order = Order(id=next(numbers), items=basket.items, cents=basket.cents)
    db.add(order)
    return order


# --8<-- [end:endpoint]
