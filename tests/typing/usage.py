"""The public API as its users write it: every type checker agrees, without a plugin.

`assert_type` says what a type is; `type: ignore` stands where an error must be, and is an error itself where none is.
Types are asserted of what tasks give, not of tasks: under mypy the plugin has a class of its own for these.
"""

from typing import Annotated, Any, assert_type

from fastapi import Depends, FastAPI
from pydantic import BaseModel

from fastapi_chain import (
    AnyTask,
    Backoff,
    Chain,
    Failed,
    FanOut,
    From,
    Outcome,
    Progress,
    Registry,
    Run,
    Skipped,
    Succeeded,
    Task,
    TaskContext,
    chain,
    task,
)

app = FastAPI()
orders = Registry("orders")


class Order(BaseModel):
    lines: list[str]


class Parcel(BaseModel):
    sku: str


def get_session() -> str:
    return ""


# --- declaring


@task
def sync(x: int, *, y: str = "") -> bytes:
    """Document."""
    return b""


@task(retries=3, backoff=Backoff(initial=0.5), retry_on=(ValueError,), give_up_on=KeyError, timeout=3.0, rate="50/s")
async def coro(x: int) -> list[int]:
    return [x]


@orders.task(after=[coro, "later"], output="o", run_if="all_done", optional=True)
async def method(coro: list[int]) -> str:
    return ""


@orders.task
async def bare(ctx: TaskContext, progress: Progress) -> int:
    for _ in progress.track([1, 2]):
        ctx.logger.info("%d", ctx.attempt)
    return 1


@task(after=sync)
def later() -> None: ...


@task
async def lines(order: Order) -> list[str]:
    return order.lines


def take_back(ship: Parcel) -> None: ...


@task(each=lines, limit=4, undo=take_back)
async def ship(line: str, db: Annotated[str, Depends(get_session)]) -> Parcel:
    return Parcel(sku=line)


@task(each={"line": lines})
def weigh(line: str) -> float:
    return 1.0


@task(after=[ship])
async def summary(ship: list[Parcel], parcels: list[Parcel] = From(ship), weights: list[float] = From(weigh)) -> int:
    return len(ship)


@task(after=[ship, later, summary])
async def alert(ship: list[Failed], later: Failed | None) -> None:
    assert_type([failed.error.message for failed in ship], list[str])
    if later is not None:
        assert_type(later.attempts, int)


@task(after=[ship, later, summary])
async def audit(ship: list[Outcome[Parcel]], later: Failed | Skipped, summary: Outcome[int]) -> None:
    for outcome in ship:
        if isinstance(outcome, Succeeded):
            assert_type(outcome.value, Parcel)
        elif isinstance(outcome, Failed):
            assert_type(outcome.attempts, int)
            assert_type(outcome.exception(), BaseException | None)
        else:
            assert_type(outcome.reason, str)


# --- calling, naming, reading


async def calls() -> None:
    assert_type(sync(1), bytes)
    assert_type(sync(1, y=""), bytes)
    assert_type(await coro(1), list[int])
    assert_type(await method([1]), str)
    assert_type(await ship("", ""), Parcel)
    assert_type(weigh(""), float)
    assert_type(coro.name, str)
    assert_type(coro.after, tuple[str, ...])
    assert_type(coro.__doc__, str | None)
    sync("")  # type: ignore
    sync(1, z=1)  # type: ignore
    coro.nope  # type: ignore


def references() -> None:
    assert_type(From(sync), bytes)
    assert_type(From(coro), list[int])
    assert_type(From(ship), list[Parcel])
    assert_type(From(weigh), list[float])
    assert_type(From("coro"), Any)
    From(1)  # type: ignore


@task
def good(
    a: list[int] = From(coro), b: bytes = From(sync), c: list[Parcel] = From(ship), d: str = From("method")
) -> None: ...


@task
def bad(x: str = From(coro)) -> None: ...  # type: ignore


def kinds(any_task: AnyTask, one: Task[..., object], many: FanOut[..., object]) -> None: ...


kinds(sync, coro, ship)
kinds(sync, coro, coro)  # type: ignore


# --- options


def options() -> None:
    task(after=[print])  # type: ignore
    task(after=[coro()])  # type: ignore
    task(retries="x")  # type: ignore
    task(run_if="sometimes")  # type: ignore
    task(undo=1)  # type: ignore
    task(each=1)  # type: ignore
    task(retry_on="ValueError")  # type: ignore
    task(unknown=1)  # type: ignore
    chain(options)  # type: ignore
    chain(coro, deadline="soon")  # type: ignore
    chain(coro, start="later")  # type: ignore


# --- chains and runs

everything = chain(summary, "audit", orders, name="everything", key="order-{order.id}", tags={"a": "{x}"})
assert_type(everything.name, str)


@app.post("/orders")
@chain(summary, audit, returns="order")
async def checkout(x: int, run: Run) -> Order:
    run.discard()
    return Order(lines=[])


@app.post("/sync")
@everything
def checkout_sync(x: int, order: Order) -> str:
    return ""


async def runs(any_chain: Chain) -> None:
    assert_type(await checkout(1, await any_chain.start(x=1)), Order)
    assert_type(checkout_sync(1, Order(lines=[])), str)
    checkout_sync("", Order(lines=[]))  # type: ignore
    run = await any_chain.run(x=1)
    assert_type(run, Run)
    assert_type(run[sync], bytes)
    assert_type(run[coro], list[int])
    assert_type(run[ship], list[Parcel])
    assert_type(run[weigh], list[float])
    assert_type(run["coro"], object)
    run[1]  # type: ignore
    assert_type(await run.wait(timeout=1.0), Run)
    async for event in run.events():
        assert_type(event.seq, int)
    await run.retry(from_=coro)
