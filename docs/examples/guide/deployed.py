import asyncio

from fastapi import FastAPI
from fastapi_chain import chain, install, task

app = FastAPI()
runtime = install(app, drain_timeout=20.0)  # seconds
app.include_router(runtime.router(), prefix="/chains")


@app.get("/health")
async def health() -> dict[str, str]:
    return {"status": "fine"}


@task
async def ship(seconds: float) -> None:
    await asyncio.sleep(seconds)
    print("shipped", flush=True)


@app.post("/orders", status_code=202)
@chain(ship)
async def place(seconds: float) -> dict[str, str]:
    return {"status": "accepted"}
