import os
from pathlib import Path

from fastapi import FastAPI
from fastapi_chain import chain, install, task

app = FastAPI()
# --8<-- [start:install]
runtime = install(app, engine=os.environ.get("CHAINS", "memory"))  # CHAINS=sqlite:///chains.db, CHAINS=postgresql://…
# --8<-- [end:install]


@task
async def greet(name: str) -> str:
    return f"hello {name}"


@task(after=[greet])
def write(greet: str) -> None:
    Path("greetings.txt").write_text(greet)


@app.post("/greetings", status_code=202)
@chain(write)
async def welcome(name: str) -> dict[str, str]:
    return {"status": "accepted"}
