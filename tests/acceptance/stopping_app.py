"""An app whose runs take until they are told to end, for a real server; it prints what happens."""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI

from fastapi_chain import chain, install, task

release = asyncio.Event()


@asynccontextmanager
async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
    say("pool opens")
    yield
    say("pool closes")


def say(text: str) -> None:
    print(text, flush=True)  # noqa: T201 - the test reads it


app = FastAPI(lifespan=lifespan)


@task
async def work() -> None:
    say("run begins")
    # The server has been told to stop meanwhile: what is left is to be done all the same.
    await release.wait()
    await asyncio.sleep(0.2)


@task(after=[work])
def finish() -> None:
    say("run ends")


@app.post("/runs", status_code=202)
@chain(finish)
async def start() -> str:
    return "started"


@app.post("/release")
async def let_go() -> str:
    release.set()
    return "released"


if os.environ.get("INSTALL"):
    install(app)
