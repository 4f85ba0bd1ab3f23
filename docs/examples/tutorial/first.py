from fastapi import FastAPI
from fastapi_chain import chain, task
from pydantic import BaseModel

app = FastAPI()


class Order(BaseModel):
    id: int
    items: list[str]
    cents: int


# --8<-- [start:task]
@task
async def charge(order: Order) -> str:
    return f"charged {order.cents / 100:.2f} EUR for order {order.id}"


@task(after=[charge])
async def receipt(charge: str) -> None:
    print(f"receipt: {charge}")


# --8<-- [end:task]
# --8<-- [start:endpoint]
@app.post("/orders", status_code=202)
@chain(receipt)
async def place(order: Order) -> dict[str, str]:
    return {"status": "accepted"}


# --8<-- [end:endpoint]
