"""Checkout: charge and reserve side by side, a receipt after both, and the money back if the goods are not there."""

from typing import Annotated

from fastapi import Depends, FastAPI
from fastapi_chain import Backoff, Registry, chain, install
from pydantic import BaseModel

app = FastAPI()
runtime = install(app)  # remembers runs: `key=` counts on that
app.include_router(runtime.router(), prefix="/chains")
shop = Registry("shop")


class Order(BaseModel):
    id: int
    item: str
    cents: int


class Charge(BaseModel):
    order: int
    cents: int


class Hold(BaseModel):
    order: int
    shelf: str


class SoldOut(Exception):
    """No retry can mend that."""


class Bank:
    """The payment service; tests put another one in its place."""

    def __init__(self) -> None:
        self.taken: dict[int, int] = {}

    async def charge(self, order: int, cents: int) -> None:
        self.taken[order] = cents

    async def refund(self, order: int) -> None:
        del self.taken[order]


class Stock:
    """The warehouse."""

    def __init__(self) -> None:
        self.items = {"book": 3, "pen": 0}

    def take(self, item: str) -> str:
        if not self.items.get(item):
            raise SoldOut(item)
        self.items[item] -= 1
        return f"shelf of {item}s"


bank, stock = Bank(), Stock()


def get_bank() -> Bank:
    return bank


def get_stock() -> Stock:
    return stock


async def refund(charge: Charge, bank: Annotated[Bank, Depends(get_bank)]) -> None:
    """Takes what `charge` returned, by its name."""
    await bank.refund(charge.order)


@shop.task(retries=3, backoff=Backoff(initial=0.5), timeout=10.0, undo=refund)
async def charge(order: Order, bank: Annotated[Bank, Depends(get_bank)]) -> Charge:
    await bank.charge(order.id, order.cents)
    return Charge(order=order.id, cents=order.cents)


@shop.task(retries=3, give_up_on=SoldOut)
def reserve(order: Order, stock: Annotated[Stock, Depends(get_stock)]) -> Hold:
    return Hold(order=order.id, shelf=stock.take(order.item))


@shop.task(after=[charge, reserve])
async def receipt(charge: Charge, reserve: Hold) -> str:
    return f"order {charge.order}: {charge.cents / 100:.2f} EUR, from the {reserve.shelf}"


@shop.task(optional=True)
async def analytics(order: Order) -> None:
    """Whatever happens here, the order is fine."""


@app.post("/orders", status_code=202)
@chain(receipt, analytics, key="order-{order.id}", tags={"item": "{order.item}"}, expose_result=True)
async def place(order: Order) -> dict[str, str]:
    """An order that comes twice is one run: the header X-Chain-Run says which."""
    return {"status": "accepted"}
