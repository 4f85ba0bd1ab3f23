"""Webhooks: deliver an event to every subscriber, fifty a second; sum up always, and raise an alarm if need be."""

from typing import Annotated

from fastapi import Depends, FastAPI, Header
from fastapi_chain import Backoff, Failed, Outcome, Registry, Succeeded, chain, install
from pydantic import BaseModel

app = FastAPI()
runtime = install(app)  # remembers runs: `key=` counts on that
app.include_router(runtime.router(), prefix="/chains")
hooks = Registry("hooks")


class Event(BaseModel):
    kind: str


class Delivered(BaseModel):
    url: str
    status: int


class Report(BaseModel):
    delivered: list[str]
    failed: list[str]


class Client:
    """Sends a request to a subscriber."""

    async def post(self, url: str, event: Event) -> int:
        if "down" in url:
            raise ConnectionError(url)
        return 200


def get_client() -> Client:
    return Client()


subscribers = ["https://a.example", "https://down.example", "https://b.example"]


@hooks.task
async def targets(event: Event) -> list[str]:
    return list(subscribers)


@hooks.task(each={"url": targets}, retries=2, backoff=Backoff(initial=0.01), rate="50/s")
async def deliver(url: str, event: Event, client: Annotated[Client, Depends(get_client)]) -> Delivered:
    return Delivered(url=url, status=await client.post(url, event))


@hooks.task(after=[deliver])
async def summary(deliver: list[Outcome[Delivered]]) -> Report:
    """Takes every outcome, so it runs whatever became of the deliveries."""
    return Report(
        delivered=[outcome.value.url for outcome in deliver if isinstance(outcome, Succeeded)],
        failed=[outcome.error.message for outcome in deliver if isinstance(outcome, Failed)],
    )


@hooks.task(after=[deliver, summary], run_if="any_failed")
async def alarm(summary: Report) -> None:
    print(f"alarm: could not reach {', '.join(summary.failed)}")  # here: call whoever is on duty


@app.post("/events", status_code=202)
@chain(alarm, key="{delivery}")
async def receive(event: Event, delivery: Annotated[str, Header(alias="X-Delivery")]) -> dict[str, str]:
    """A delivery that comes twice is one run; the header X-Chain-Run says which."""
    return {"status": "accepted"}
