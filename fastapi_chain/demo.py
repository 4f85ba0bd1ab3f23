"""A small shop that shows chains at work: `python -m fastapi_chain.demo`, or `make demo`.

It serves on 127.0.0.1, sends real orders to itself and prints what becomes of each: one goes well, one needs a second
try, one fails for good. The dashboard shows them too, and retries them. On a terminal it goes on serving until Ctrl-C;
otherwise it ends with exit code 0 once all runs have finished.
"""

import asyncio
import json
import logging
import re
import sys
import urllib.request
from collections.abc import Sequence
from contextlib import suppress
from typing import Annotated, Any, Final

from fastapi import Depends, FastAPI
from pydantic import BaseModel

from . import Backoff, Registry, Run, chain, current_task, install
from .events import (
    Event,
    RunFinished,
    RunStarted,
    TaskFailed,
    TaskRetrying,
    TaskSkipped,
    TaskStarted,
    TaskSucceeded,
)

HOST: Final = "127.0.0.1"

shop: Final = Registry("shop")


class Order(BaseModel):
    """What the client posts."""

    id: int
    item: str
    cents: int


class Charge(BaseModel):
    """A payment."""

    order: int
    cents: int


class Bank:
    """A payment service that has a bad day now and then."""

    async def charge(self, order: Order) -> Charge:
        """Take the money."""
        await asyncio.sleep(0.15)
        if order.item == "flaky" and current_task().attempt == 1:
            text = "the bank did not answer"
            raise ConnectionError(text)
        if order.item == "unpaid":
            text = "insufficient funds"
            raise PermissionError(text)
        return Charge(order=order.id, cents=order.cents)


def bank() -> Bank:
    """Return the bank: a dependency like any other, and `app.dependency_overrides` replaces it in tests."""
    return Bank()


@shop.task(retries=3, backoff=Backoff(initial=0.3), retry_on=ConnectionError)
async def charge(order: Order, bank: Annotated[Bank, Depends(bank)]) -> Charge:
    """Charge the card; a bank that does not answer is asked again, up to four times in all."""
    return await bank.charge(order)


@shop.task
async def reserve(order: Order) -> str:
    """Reserve the goods, beside the charge."""
    await asyncio.sleep(0.1)
    return f"shelf {order.id % 7}"


@shop.task(after=[charge, reserve])
async def receipt(charge: Charge, reserve: str) -> str:
    """Write the receipt once both are done."""
    await asyncio.sleep(0.05)
    return f"{charge.cents / 100:.2f} EUR, from {reserve}"


@shop.task
def analytics(order: Order) -> None:
    """Count the order; a plain `def`, so it runs in a thread, and nobody waits for it."""
    logging.getLogger("shop").debug("counted %s", order.item)


app: Final = FastAPI(title="fastapi_chain demo")


@app.post("/orders", status_code=202)
@chain(receipt, analytics, tags={"item": "{order.item}"})
async def place(order: Order, run: Run) -> dict[str, str]:
    """Accept an order; the chain starts when this response is out and committed."""
    return {"run": run.id}


ORDERS: Final = (
    Order(id=1, item="book", cents=1990),
    Order(id=2, item="flaky", cents=990),
    Order(id=3, item="unpaid", cents=59900),
)


class Printer:
    """Prints the events of all runs, and knows when the last one has ended."""

    def __init__(self, runs: int) -> None:
        """Wait for *runs* runs."""
        self._left = runs
        self.finished = asyncio.Event()

    def __call__(self, event: Event) -> None:
        """Print one event."""
        text = _told(event)
        if text:
            print(f"  {event.run_id[:4]}  {text}", flush=True)
        if isinstance(event, RunFinished):
            self._left -= 1
            if self._left == 0:
                self.finished.set()


def _told(event: Event) -> str:
    """Return *event* in words."""
    match event:
        case RunStarted():
            return "the run begins: the request is over and committed"
        case TaskStarted():
            return f"{event.task:<10} attempt {event.attempt} of {event.max_attempts}"
        case TaskSucceeded():
            return f"{event.task:<10} done"
        case TaskRetrying():
            return f"{event.task:<10} failed: {event.error}; next try in {event.delay:.1f} s"
        case TaskFailed():
            return f"{event.task:<10} failed for good: {event.error}"
        case TaskSkipped():
            return f"{event.task:<10} skipped, {event.reason}"
        case RunFinished():
            return f"the run has {event.state}"
        case _:
            return ""


def _post(url: str, order: Order) -> Any:  # noqa: ANN401 - whatever the endpoint answers
    """Send *order* as any client would."""
    request = urllib.request.Request(  # noqa: S310 - our own address
        url, data=order.model_dump_json().encode(), headers={"content-type": "application/json"}, method="POST"
    )
    with urllib.request.urlopen(request, timeout=10) as response:  # noqa: S310 - our own address
        return response.status, json.load(response)


def _look(url: str) -> int:
    """Return how many runs the dashboard lists, as a browser would see it."""
    with urllib.request.urlopen(url, timeout=10) as response:  # noqa: S310 - our own address
        return len(set(re.findall(r"runs/([0-9a-f]{32})", response.read().decode())))


async def _orders(base: str, printer: Printer) -> None:
    """Send all orders and wait for their runs."""
    for order in ORDERS:
        status, body = await asyncio.to_thread(_post, f"{base}/orders", order)
        print(f"POST /orders {order.item!r} -> {status}, run {body['run'][:4]}", flush=True)
    await printer.finished.wait()


async def serve(port: int, *, stay: bool) -> None:
    """Serve the shop and send it orders.

    Args:
        port: Where to listen; 0 takes a free port.
        stay: Whether to go on serving when all runs have finished.
    """
    import uvicorn  # noqa: PLC0415 - only the demo needs a server

    printer = Printer(len(ORDERS))
    # Nobody else can reach 127.0.0.1, and the orders are made up: here everybody may see everything.
    runtime = install(app, sinks=[printer], expose_errors=True, expose_values=True)
    app.include_router(runtime.router(), prefix="/chains")
    app.include_router(runtime.dashboard(allow_anonymous=True), prefix="/chains/ui")
    config = uvicorn.Config(app, host=HOST, port=port, log_level="warning")
    # If the port is taken, this says so and exits.
    listening = config.bind_socket()
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server.serve([listening]))
    while not server.started and not serving.done():
        await asyncio.sleep(0.01)
    base = f"http://{HOST}:{listening.getsockname()[1]}"
    print(f"Serving on {base}\n", flush=True)
    await _orders(base, printer)
    pages = await asyncio.to_thread(_look, f"{base}/chains/ui/")
    print(f"\nThe dashboard shows {pages} runs: {base}/chains/ui/", flush=True)
    print(f"Next: read fastapi_chain/demo.py, open {base}/docs, or post an order of your own:", flush=True)
    print(
        f"  curl -X POST {base}/orders -H 'content-type: application/json' "
        """-d '{"id": 4, "item": "pen", "cents": 120}'"""
    )
    if stay:
        print("Ctrl-C ends.", flush=True)
    else:
        server.should_exit = True
    await serving


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the demo; return the exit code."""
    arguments = sys.argv[1:] if arguments is None else arguments
    port = int(arguments[0]) if arguments else 0
    # The demo prints every event itself.
    logging.getLogger("fastapi_chain").addHandler(logging.NullHandler())
    logging.getLogger("fastapi_chain").propagate = False
    try:
        with suppress(KeyboardInterrupt):
            asyncio.run(serve(port, stay=sys.stdout.isatty()))
    except ModuleNotFoundError as error:
        print(f"The demo needs {error.name}: pip install 'fastapi-chain[standard]'", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
