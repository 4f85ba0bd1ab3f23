"""What the programs of "Migrating" have become."""

import logging
from collections.abc import Iterator
from typing import Annotated

from fastapi import Depends, FastAPI, UploadFile
from fastapi_chain import Backoff, Failed, Skip, chain, install, task
from pydantic import BaseModel

app = FastAPI()
install(app)
log = logging.getLogger("shop")


class Order(BaseModel):
    id: int
    address: str


class Session:
    def add(self, order: Order) -> None:
        print(f"order {order.id} is stored")


def get_session() -> Iterator[Session]:
    yield Session()


Db = Annotated[Session, Depends(get_session)]


# --8<-- [start:background]
@task(retries=3)
async def charge(order: Order) -> str:
    return f"charged order {order.id}"


@task(after=[charge])
async def receipt(charge: str) -> None:
    print(f"receipt: {charge}")


@app.post("/orders", status_code=202)
@chain(receipt)
async def place(order: Order, db: Db) -> dict[str, bool]:
    db.add(order)
    return {"ok": True}


# --8<-- [end:background]


# --8<-- [start:upload]
@task
async def words(text: str) -> None:
    print(f"{len(text.split())} words")


@app.post("/files", status_code=202)
@chain(words, returns="text")
async def upload(file: UploadFile) -> str:
    return (await file.read()).decode()


# --8<-- [end:upload]


# --8<-- [start:taskflow]
@task(retries=3, backoff=Backoff(initial=1.0, factor=2.0, jitter=False))
async def welcome(address: str) -> None:
    log.info("sending to %s", address)
    print(f"welcome, {address}")


@app.post("/signup", status_code=202)
@chain(welcome, key="welcome-{address}", max_pending=1000)
async def signup(address: str) -> dict[str, str]:
    return {"status": "accepted"}


# --8<-- [end:taskflow]


# --8<-- [start:celery]
@task
async def urls(event: str) -> list[str]:
    return [f"https://{name}.example/{event}" for name in ("a", "b")]


@task(each=urls, retries=3, retry_on=ConnectionError, rate="10/m")
async def deliver(url: str) -> int:
    return 200


@task(after=[deliver])
async def summary(deliver: list[int]) -> None:
    print(f"{len(deliver)} deliveries")


@task(after=[deliver])
async def alert(deliver: Failed) -> None:
    print(f"alert: {deliver.error.message}")


@app.post("/events", status_code=202)
@chain(summary, alert)
async def receive(event: str) -> dict[str, str]:
    return {"status": "accepted"}


# --8<-- [end:celery]


# --8<-- [start:taskiq]
@task
async def add_one(value: int) -> int:
    return value + 1


@task(after=[add_one])
async def repeat(add_one: int, reps: int) -> list[int]:
    return [add_one] * reps


@task(each=repeat)
async def bigger(value_: int) -> int:
    if value_ < 2:
        reason = "too small"
        raise Skip(reason)  # `filter`: what is skipped is left out of the list
    return value_ + 1


@task(after=[bigger])
async def show(bigger: list[int]) -> None:
    print(bigger)


@app.post("/numbers", status_code=202)
@chain(show)
async def number(value: int, reps: int) -> dict[str, str]:
    return {"status": "accepted"}


# --8<-- [end:taskiq]
