import asyncio
from pathlib import Path

from fastapi import FastAPI
from fastapi.responses import HTMLResponse
from fastapi_chain import Progress, chain, install, task

# --8<-- [start:install]
app = FastAPI()
runtime = install(app)
app.include_router(runtime.router(), prefix="/chains")
# --8<-- [end:install]


# --8<-- [start:tasks]
@task
async def cut(text: str, progress: Progress) -> list[str]:
    words: list[str] = []
    for word in progress.track(text.split(), text="cutting"):  # one step for each
        await asyncio.sleep(0.3)
        words.append(word)
    return words


@task(after=[cut])
def count(cut: list[str], progress: Progress) -> int:
    progress(1, 2, "counting")  # done, of how many, and a word for people
    return len(cut)


@app.post("/texts", status_code=202)
@chain(count, expose_result=True)
async def upload(text: str) -> dict[str, str]:
    return {"status": "accepted"}


# --8<-- [end:tasks]
# --8<-- [start:page]
@app.get("/", response_class=HTMLResponse)
def page() -> str:
    return Path(__file__).with_name("follow.html").read_text()


# --8<-- [end:page]
