"""Names across modules: a task that is defined later, and two tasks of one name."""

from typing import Annotated

from fastapi import FastAPI
from fastapi_chain import From, Registry, chain, task

app = FastAPI()


# --8<-- [start:later]
@task(after=["clean"])  # by its name: it is defined below, or in a module that imports this one
async def save(clean: str) -> str:
    return f"saved {clean}"


@task
async def clean(raw: str) -> str:
    return raw.strip()


# --8<-- [end:later]

# --8<-- [start:same]
billing = Registry("billing")
shipping = Registry("shipping")


@billing.task(output="invoice_number")
async def number(raw: str) -> int:
    return len(raw)


@shipping.task(name="number_parcel")  # `number` is taken: a chain takes no two tasks of one name
async def number_(of: Annotated[int, From(number)]) -> str:
    return f"parcel {of}"


# --8<-- [end:same]


# --8<-- [start:from]
@task
async def charge(cents: int) -> int:
    return cents


@task
def receipt(amount: int = From(charge)) -> None: ...


# --8<-- [end:from]

# --8<-- [start:include]
everything = Registry("everything")
everything.include(billing)
everything.include(shipping)

all_of_it = chain(everything)  # every task of a registry; resolved when it is first checked
# --8<-- [end:include]


@app.post("/raw", status_code=202)
@chain(save)
async def ingest(raw: str) -> dict[str, str]:
    return {"status": "accepted"}
