"""Texts that no encoding has, numbers that are none: what tasks may say, and a client must be able to read."""

import asyncio
import json
import logging
from typing import Any

import pytest
from fastapi import FastAPI

from fastapi_chain import Progress, Registry, Skip, chain, install

ODD = "caf\udce9.txt"
"""What Python makes of a file name that is not UTF-8."""

odd = Registry("odd")
going: dict[str, asyncio.Event] = {}


@odd.task
async def reports(progress: Progress) -> None:
    progress(1, 2, ODD)


@odd.task(retries=1, backoff=0)
async def fails() -> None:
    raise ValueError(ODD)


@odd.task
async def skips() -> None:
    raise Skip(ODD)


@odd.task
async def logs() -> None:
    logging.getLogger("shop").warning(ODD)


@odd.task
async def returns() -> dict[str, Any]:
    return {"name": [ODD], "no number": float("nan")}


def shop(name: str) -> FastAPI:
    """Return an app in which `POST /go` starts a chain of that task, once it is let go."""
    app = FastAPI()
    runtime = install(app, expose_errors=True, expose_values=True)
    app.include_router(runtime.router(), prefix="/chains")
    app.include_router(runtime.dashboard(allow_anonymous=True), prefix="/ui")

    @odd.task(name=f"gate_{name}")
    async def gate() -> None:
        await going["on"].wait()

    @app.post("/go", status_code=202)
    @chain(odd[name], gate, tags={"file": ODD})
    async def go() -> None: ...

    return app


@pytest.mark.parametrize("name", ["reports", "fails", "skips", "logs", "returns"])
def test_a_text_that_no_encoding_has_breaks_no_page(serving, name):
    """Neither a page of the run, nor the list of all runs, nor a stream: what cannot be said becomes a question mark."""
    app = shop(name)

    async def main() -> None:
        going["on"] = asyncio.Event()
        async with serving(app) as client:
            at = (await client.post("/go")).headers["location"]
            stream = client.start("GET", f"{at}/events")
            await stream.event("run.snapshot")
            going["on"].set()
            await stream.end()
            assert stream.names()[-1] == "run.finished"
            run = await client.finished(at)
            assert run["tags"] == {"file": "caf?.txt"}
            ui = f"/ui/runs/{run['id']}?task={name}"
            for url in (at, f"{at}/tasks/{name}", f"{at}/result", f"{at}/events", "/chains/runs", "/ui/", ui):
                answer = await client.get(url)
                assert answer.status in {200, 409}, url
                answer.body.decode()
            for tab in ("error", "values", "log"):
                assert (await client.get(f"{ui}&tab={tab}")).status == 200

    asyncio.run(main())


def test_what_cannot_be_said_is_said_as_well_as_it_goes(serving):
    """Everything else of the result is there; a number that is none is null."""

    async def main() -> None:
        going["on"] = asyncio.Event()
        going["on"].set()
        async with serving(shop("returns")) as client:
            at = (await client.post("/go")).headers["location"]
            await client.finished(at)
            result = (await client.get(f"{at}/result")).json()
            assert result["returns"] == {"name": ["caf?.txt"], "no number": None}

    asyncio.run(main())


def test_progress_is_always_a_number(serving):
    """What is no finite number is not told, as a total it is unknown; what is no number fails where it is reported."""
    app = FastAPI()
    app.include_router(install(app, expose_errors=True).router(), prefix="/chains")
    tasks = Registry("numbers")

    @tasks.task
    async def reports(progress: Progress) -> None:
        progress(3, float("inf"), "x" * 1000)
        progress(float("nan"), 5)

    @tasks.task
    async def mistakes(progress: Progress) -> None:
        progress("3")  # type: ignore[arg-type]  # that is the mistake

    @app.post("/go", status_code=202)
    @chain(reports, mistakes)
    async def go() -> None: ...

    async def main() -> None:
        async with serving(app) as client:
            run = await client.finished((await client.post("/go")).headers["location"])
            first, second = run["tasks"]
            assert first["progress"] == {"done": 3.0, "total": None, "text": "x" * 500}
            assert (second["progress"], second["error"]["title"]) == (None, "TypeError")
            json.dumps(run, allow_nan=False)

    asyncio.run(main())
