"""An app with a chain for each promise of the contract, for a client that knows nothing but the contract."""

import asyncio
from collections.abc import Iterator
from typing import Annotated

from fastapi import Depends, FastAPI, Header, HTTPException, Request, Response
from pydantic import BaseModel, SecretStr

from fastapi_chain import Progress, Registry, Run, Skip, TaskContext, chain, install

tasks = Registry("contract")
gate = asyncio.Event()
app = FastAPI()


async def known(authorization: Annotated[str, Header()] = "") -> str:
    """Return who asks."""
    if not authorization:
        raise HTTPException(401)
    return authorization


def sees(request: Request, run: Run) -> bool:
    return run.tags.get("owner", request.headers["authorization"]) == request.headers["authorization"]


runtime = install(app, drain_timeout=0.2, history=50)
app.include_router(runtime.router(visible=sees), prefix="/api/chains", dependencies=[Depends(known)])


class Card(BaseModel):
    owner: str
    number: SecretStr


@tasks.task
async def lines(n: int) -> list[int]:
    return list(range(n))


@tasks.task(each=lines, retries=1, backoff=0)
async def ship(line: int, progress: Progress, ctx: TaskContext) -> int:
    progress(line, 10, f"line {line}")
    if line == 1 and ctx.attempt == 1:
        raise ConnectionError("secret words")
    return line * 10


@tasks.task(after=[ship])
async def card(ship: list[int]) -> Card:
    await gate.wait()
    return Card(owner=f"{sum(ship)}", number=SecretStr("4242"))


@app.post("/orders", status_code=202)
@chain(card, name="order", expose_result=True, idempotent=True, tags={"n": "{n}", "owner": "{authorization}"})
async def order(n: int, authorization: Annotated[str, Header()]) -> dict[str, int]:
    return {"n": n}


@app.post("/open")
async def open_() -> None:
    gate.set()


@app.post("/shut")
async def shut() -> None:
    gate.clear()


mended: list[bool] = []
calls: list[str] = []


async def take_back() -> None:
    calls.append("take_back")
    raise OSError("secret words")


@tasks.task(undo=take_back)
async def reserve() -> int:
    calls.append("reserve")
    return 1


@tasks.task(after=[reserve])
async def charge(reserve: int) -> int:
    calls.append("charge")
    if not mended:
        raise PermissionError("secret words")
    return reserve


@tasks.task(after=[charge])
async def receipt(charge: int) -> int:
    calls.append("receipt")
    return charge


@tasks.task
async def nothing() -> None:
    raise Skip("nothing to do")


@app.post("/payments", status_code=202)
@chain(receipt, nothing, name="payment", key="payment-{n}")
async def payment(n: int, response: Response) -> None:
    response.headers["Location"] = "/mine"


@app.post("/mend")
async def mend() -> None:
    mended.append(True)


@app.get("/calls")
async def get_calls() -> list[str]:
    return calls


@tasks.task
async def wait() -> None:
    await asyncio.Event().wait()


@app.post("/waits", status_code=201)
@chain(wait, name="wait", max_pending=1)
async def waits(run: Run) -> dict[str, str | None]:
    return {"id": run.id, "url": run.url}


def commits() -> Iterator[None]:
    yield
    raise OSError("the commit failed")


@app.post("/fails", status_code=202)
@chain(wait, name="fails")
async def fails(_db: Annotated[None, Depends(commits)]) -> None: ...
