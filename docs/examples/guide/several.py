import os

from fastapi import FastAPI
from fastapi_chain import chain, install, task

# --8<-- [start:install]
app = FastAPI()
runtime = install(
    app,
    engine=os.environ.get("CHAINS", "sqlite:///chains.db"),  # postgresql://… for several machines
    worker=os.environ.get("WORKER", "yes") == "yes",
)
app.include_router(runtime.router(), prefix="/chains")
# --8<-- [end:install]


# --8<-- [start:queue]
@task
async def fetch(name: str) -> str:
    return f"{name}.raw"


@task(after=[fetch], queue="gpu")  # runs where a worker was started with --queues gpu
def resize(fetch: str) -> str:
    return fetch.replace("raw", "png")


# --8<-- [end:queue]
@app.post("/pictures", status_code=202)
@chain(resize, name="picture", expose_result=True)
async def picture(name: str) -> dict[str, str]:
    return {"status": "accepted"}
