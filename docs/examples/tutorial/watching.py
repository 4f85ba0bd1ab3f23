import asyncio
from typing import Annotated

from fastapi import Depends, FastAPI, Header, HTTPException
from fastapi_chain import Progress, chain, install, task


# --8<-- [start:install]
def current_user(authorization: Annotated[str | None, Header()] = None) -> str:
    if authorization != "Bearer ann":
        raise HTTPException(401)
    return "ann"


app = FastAPI()
runtime = install(app)
app.include_router(runtime.router(), prefix="/chains", dependencies=[Depends(current_user)])
# --8<-- [end:install]


# --8<-- [start:chain]
@task
async def cut(text: str, progress: Progress) -> list[str]:
    words: list[str] = []
    for word in progress.track(text.split(), text="cutting"):
        words.append(word)
        await asyncio.sleep(0)
    return words


@task(after=[cut])
async def count(cut: list[str]) -> int:
    return len(cut)


@app.post("/texts", status_code=202)
@chain(count, expose_result=True)
async def upload(text: str) -> dict[str, str]:
    return {"status": "accepted"}


# --8<-- [end:chain]
