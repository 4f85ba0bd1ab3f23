"""Texts that no encoding has, on the pages of the dashboard."""

import logging

from fastapi import FastAPI
from fastapi.testclient import TestClient

from fastapi_chain import Progress, Registry, Skip, chain, install

ODD = "caf\udce9.txt"
"""What Python makes of a file name that is not UTF-8."""

tasks = Registry("odd")


@tasks.task
async def says(progress: Progress) -> str:
    progress(1, 2, ODD)
    logging.getLogger("shop").warning(ODD)
    return ODD


@tasks.task
async def fails() -> None:
    raise ValueError(ODD)


@tasks.task
async def skips() -> None:
    raise Skip(ODD)


def test_a_text_that_no_encoding_has_breaks_no_page() -> None:
    """It is shown with a question mark for what cannot be said."""
    app = FastAPI()
    runtime = install(app, expose_errors=True, expose_values=True)
    app.include_router(runtime.dashboard(allow_anonymous=True), prefix="/ui")

    @app.post("/go")
    @chain(says, fails, skips, tags={"file": ODD})
    async def go() -> None: ...

    # Without a lifespan, a run is over with its request.
    client = TestClient(app)
    run = client.post("/go").headers["x-chain-run"]
    shown = [client.get("/ui/")]
    shown += [
        client.get(f"/ui/runs/{run}?task={task}&tab={tab}")
        for task in ("says", "fails", "skips")
        for tab in ("error", "values", "log")
    ]
    assert [page.status_code for page in shown] == [200] * 10
    assert all("caf?.txt" in page.text for page in shown)
