"""The same routes over runs in a database."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI

from fastapi_chain import chain, install, task

pytest.importorskip("dbos")


def test_stored_runs_are_watched_and_retried_over_the_same_routes(serving, tmp_path: Path):
    """Shown, listed, streamed, answered again by their key, retried; the router knows nothing of the engine."""
    app = FastAPI()
    runtime = install(app, engine=f"sqlite:///{tmp_path / 'runs.db'}", expose_values=True)
    app.include_router(runtime.router(), prefix="/chains")
    broken = [True]

    @task
    async def clean(raw: int) -> int:
        return raw

    @task(after=[clean])
    async def save(clean: int) -> str:
        if broken[0]:
            raise OSError
        return f"row {clean}"

    @app.post("/data", status_code=202)
    @chain(save, tags={"raw": "{raw}"}, idempotent=True)
    async def ingest(raw: int) -> None: ...

    async def drive(client: Any) -> None:
        first = await client.post("/data?raw=5", idempotency_key="k")
        again = await client.post("/data?raw=5", idempotency_key="k")
        assert again.headers["idempotent-replay"] == "true"
        assert (await client.post("/data?raw=6", idempotency_key="k")).slug == "idempotency-key-reused"
        at = first.headers["location"]
        assert again.headers["location"] == at
        stream = await client.get(f"{at}/events")
        assert (stream.names()[0], stream.names()[-1]) == ("run.snapshot", "run.finished")
        run = await client.finished(at)
        assert (run["state"], run["started_by"], run["tags"]) == ("failed", "POST /data", {"raw": "5"})
        assert (await client.get(f"{at}/events", last_event_id=str(run["seq"]))).status == 204
        listed = (await client.get("/chains/runs?state=failed&tag=raw:5")).json()["items"]
        assert [one["id"] for one in listed] == [run["id"]]
        broken[0] = False
        assert (await client.post(f"{at}/retry")).status == 202
        assert (await client.finished(at))["state"] == "succeeded"
        assert (await client.get(f"{at}/result")).json() == {"save": "row 5"}
        for way, slug in (("cancel", "run-finished"), ("retry", "nothing-to-retry")):
            assert (await client.post(f"{at}/{way}")).slug == slug
        missing = await client.get("/chains/runs/nope")
        assert missing.json()["detail"] == "There is no run 'nope'. Engine 'sqlite' knows the runs in its database."

    async def main() -> None:
        async with serving(app) as client:
            await drive(client)

    asyncio.run(main())
