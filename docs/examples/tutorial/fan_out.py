from fastapi import FastAPI
from fastapi_chain import chain, task
from pydantic import BaseModel

app = FastAPI()


class Line(BaseModel):
    item: str
    count: int


class Order(BaseModel):
    lines: list[Line]


# --8<-- [start:tasks]
@task
async def lines(order: Order) -> list[Line]:
    return order.lines


@task(each=lines, limit=4, retries=2)
async def ship(line: Line) -> str:
    return f"{line.count} x {line.item}"


@task(after=[ship])
async def note(ship: list[str]) -> None:
    print(", ".join(ship))


# --8<-- [end:tasks]
@app.post("/orders", status_code=202)
@chain(note)
async def place(order: Order) -> dict[str, str]:
    return {"status": "accepted"}
