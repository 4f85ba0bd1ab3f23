"""An endpoint with BackgroundTasks, as it was before."""

from collections.abc import Iterator
from typing import Annotated

from fastapi import BackgroundTasks, Depends, FastAPI
from pydantic import BaseModel

app = FastAPI()


class Order(BaseModel):
    id: int
    address: str


class Session:
    def add(self, order: Order) -> None:
        print(f"order {order.id} is stored")

    def commit(self) -> None:
        print("commit")


def get_session() -> Iterator[Session]:
    session = Session()
    yield session
    session.commit()


Db = Annotated[Session, Depends(get_session)]


def charge(order: Order) -> None:
    print(f"charging order {order.id}")
    if not order.address:
        reason = "no address"
        raise ValueError(reason)


def receipt(order: Order) -> None:
    print(f"receipt for order {order.id}")


# --8<-- [start:endpoint]
@app.post("/orders")
async def place(order: Order, background: BackgroundTasks, db: Db) -> dict[str, bool]:
    db.add(order)
    background.add_task(charge, order)  # runs before the commit of `db`
    background.add_task(receipt, order)  # never runs if charge raises
    return {"ok": True}


# --8<-- [end:endpoint]
