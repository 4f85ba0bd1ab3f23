"""Import of a list: one call for each row; a row that fails stops nothing, and the report says which ones did."""

from typing import Annotated

from fastapi import Depends, FastAPI
from fastapi_chain import Backoff, Failed, Outcome, Registry, Skip, Skipped, chain, install
from pydantic import BaseModel

app = FastAPI()
runtime = install(app)
app.include_router(runtime.router(), prefix="/chains")
imports = Registry("imports")


class Row(BaseModel):
    number: int
    address: str


class Report(BaseModel):
    stored: int
    left_out: list[int]
    failed: dict[int, str]


class Contacts:
    """The service that keeps addresses."""

    async def store(self, address: str) -> str:
        if "@" not in address:
            reason = f"{address!r} is no address"
            raise ValueError(reason)
        return address


@imports.task
def rows(addresses: list[str]) -> list[Row]:
    return [Row(number=number, address=address) for number, address in enumerate(addresses, 1)]


@imports.task(
    each=rows,
    limit=8,
    retries=3,
    backoff=Backoff(initial=0.2),
    retry_on=ConnectionError,  # an address that is wrong is wrong the next time, too
    optional=True,  # a row may fail, and the run succeeds all the same
)
async def store(row: Row, contacts: Annotated[Contacts, Depends(Contacts)]) -> str:
    if not row.address:
        reason = "no address"
        raise Skip(reason)
    return await contacts.store(row.address)


@imports.task(after=[store])
async def report(rows: list[Row], store: list[Outcome[str]]) -> Report:
    """Takes what became of each row, in the order of the rows."""
    report = Report(stored=0, left_out=[], failed={})
    for row, outcome in zip(rows, store, strict=True):
        match outcome:
            case Failed(error=error):
                report.failed[row.number] = error.message
            case Skipped():
                report.left_out.append(row.number)
            case _:
                report.stored += 1
    return report


@app.post("/imports", status_code=202)
@chain(report, name="import", expose_result=True)
async def upload(addresses: list[str]) -> dict[str, str]:
    return {"status": "accepted"}
