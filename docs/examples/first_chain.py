from collections.abc import Iterator
from typing import Annotated

from fastapi import Depends, FastAPI
from fastapi_chain import chain, task
from pydantic import BaseModel

app = FastAPI()
rows: list[str] = []  # stands in for your database


class Raw(BaseModel):
    text: str


class Clean(BaseModel):
    words: list[str]


def get_rows() -> Iterator[list[str]]:  # or a session that commits on exit, …
    yield rows


Rows = Annotated[list[str], Depends(get_rows)]


@task(retries=3)
async def clean(raw: Raw) -> Clean:
    return Clean(words=raw.text.lower().split())


@task(after=[clean], retries=3)
async def save(clean: Clean, db: Rows) -> int:  # takes what `clean` returned
    db.append(" ".join(clean.words))
    return len(db)


@task(after=[save])
def notify(save: int) -> None:  # plain `def` runs in a worker thread
    print(f"row {save} is saved")


@task(after=[clean])
async def index(clean: Clean) -> None:  # runs beside save and notify
    print(f"indexed {clean.words}")


@app.post("/data", status_code=202)
@chain(notify, index)  # starts after the commit of the request
async def ingest(raw: Raw) -> dict[str, str]:
    return {"status": "accepted"}
