"""What happens in runs, told to the log, to OpenTelemetry and to a sink of one's own."""

import logging
from collections import Counter

from fastapi import FastAPI
from fastapi_chain import chain, current_task, install, task
from fastapi_chain.events import Event, RunFinished, TaskFailed, TaskRetrying
from fastapi_chain.observe.otel import OpenTelemetry
from fastapi_chain.observe.tasklog import TaskFields

app = FastAPI()

# --8<-- [start:fields]
handler = logging.StreamHandler()
handler.addFilter(TaskFields())
handler.setFormatter(logging.Formatter("%(levelname)s %(message)s [chain=%(chain)s task=%(task)s attempt=%(attempt)s]"))
logging.getLogger("mails").addHandler(handler)
# --8<-- [end:fields]

# --8<-- [start:sink]
ended: Counter[str] = Counter()
alarms: list[str] = []


def count(event: Event) -> None:
    """A sink is called for every event of every run; it must not block."""
    match event:
        case RunFinished():
            ended[f"{event.chain} {event.state}"] += 1
        case TaskRetrying():
            ended[f"{event.chain} retried"] += 1
        case TaskFailed() if event.exception is not None:
            alarms.append(f"{event.task}: {event.error}")  # here: sentry_sdk.capture_exception(event.exception)
        case _:
            pass


# --8<-- [end:sink]

# --8<-- [start:otel]
telemetry = OpenTelemetry()
runtime = install(app, sinks=[telemetry, count])
telemetry.watch(runtime.engine)  # the metric fastapi_chain.runs.pending
# --8<-- [end:otel]


# --8<-- [start:log]
log = logging.getLogger("mails.sent")


@task(retries=1, backoff=0.01)
async def send(address: str) -> None:
    log.warning("sending to %s", address)
    current_task().logger.warning("the same, without a logger of one's own")
    if "@" not in address:
        text = f"{address} is no address"
        raise ValueError(text)


# --8<-- [end:log]
@app.post("/mails", status_code=202)
@chain(send, name="mails")
async def mail(address: str) -> dict[str, str]:
    return {"status": "accepted"}
