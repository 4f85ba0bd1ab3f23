from collections.abc import Iterator
from typing import Annotated

from fastapi import Depends, FastAPI
from fastapi_chain import chain, task
from pydantic import BaseModel

app = FastAPI()


class Order(BaseModel):
    id: int
    item: str


# --8<-- [start:session]
class Session:
    """Stands in for a database session."""

    rows: dict[int, str] = {}

    def __init__(self) -> None:
        self.new: dict[int, str] = {}

    def add(self, id_: int, item: str) -> None:
        self.new[id_] = item

    def commit(self) -> None:
        self.rows.update(self.new)


def get_session() -> Iterator[Session]:
    session = Session()
    yield session
    session.commit()


Db = Annotated[Session, Depends(get_session)]
# --8<-- [end:session]


# --8<-- [start:chain]
@task
async def confirm(order_id: int, db: Db) -> None:
    print(f"order {order_id} is in the database: {order_id in db.rows}")


@app.post("/orders", status_code=202)
@chain(confirm, returns="order_id")
async def place(order: Order, db: Db) -> int:
    db.add(order.id, order.item)
    return order.id


# --8<-- [end:chain]
