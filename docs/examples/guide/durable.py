"""An app on a durable engine: what only such an engine can do."""

import os
from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import Depends, FastAPI
from fastapi_chain import TaskContext, chain, install, task
from pydantic import BaseModel
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

DATABASE = os.environ.get("DATABASE", "chains.db")

# --8<-- [start:install]
app = FastAPI()
runtime = install(app, engine=f"sqlite:///{DATABASE}")
app.include_router(runtime.router(), prefix="/chains")
# --8<-- [end:install]


class Base(DeclarativeBase):
    pass


class OrderRow(Base):
    __tablename__ = "orders"

    id: Mapped[int] = mapped_column(primary_key=True)
    item: Mapped[str]


class Order(BaseModel):
    id: int
    item: str


engine = create_async_engine(f"sqlite+aiosqlite:///{DATABASE}")


async def get_session() -> AsyncIterator[AsyncSession]:
    async with engine.begin() as connection:
        await connection.run_sync(Base.metadata.create_all)
    async with AsyncSession(engine) as session:
        yield session
        await session.commit()


Db = Annotated[AsyncSession, Depends(get_session)]


class Bank:
    """A payment service that takes a key: the same key is charged once."""

    charged: dict[str, int] = {}

    async def charge(self, order: int, key: str) -> None:
        self.charged.setdefault(key, order)


# --8<-- [start:once]
@task(retries=3)
async def charge(order_id: int, ctx: TaskContext) -> str:
    await Bank().charge(order_id, key=ctx.idempotency_key)  # the same key, however often this is called
    return f"order {order_id} is charged"


@task(after=[charge], effect="once")  # never started twice: after a crash in mid-flight the run stops instead
async def print_label(charge: str) -> str:
    return f"label: {charge}"


# --8<-- [end:once]


# --8<-- [start:outbox]
ship = chain(print_label, name="ship", expose_result=True)


@app.post("/orders", status_code=202)
async def place(order: Order, db: Db) -> dict[str, str]:
    db.add(OrderRow(id=order.id, item=order.item))
    run = await ship.start(session=db, order_id=order.id)  # a row of this transaction: both are committed, or neither
    return {"run": run.id}


# --8<-- [end:outbox]


# --8<-- [start:cron]
@task
async def tidy() -> str:
    return "tidied"


nightly = chain(tidy, name="nightly", cron="0 3 * * *")  # UTC; once for all processes
# --8<-- [end:cron]


# --8<-- [start:later]
@app.post("/reminders/{order_id}", status_code=202)
@chain(print_label, name="remind", delay=3600.0, priority=10, key="reminder-{order_id}")
async def remind(order_id: int) -> dict[str, str]:
    return {"status": "accepted"}


# --8<-- [end:later]
