from fastapi import FastAPI
from fastapi_chain import Backoff, RetryAfter, chain, current_task, task

app = FastAPI()


class Declined(Exception):
    """The bank says no, and will say no again."""


# --8<-- [start:task]
@task(
    retries=3,  # three more attempts after the first: at most four
    backoff=Backoff(initial=0.05, maximum=10.0),
    retry_on=ConnectionError,
    give_up_on=Declined,
    timeout=5.0,  # seconds, for one attempt
)
async def charge(cents: int) -> str:
    if current_task().attempt < 3:
        text = "the bank did not answer"
        raise ConnectionError(text)
    return f"charged on attempt {current_task().attempt}"


# --8<-- [end:task]
# --8<-- [start:after]
@task(after=[charge], retries=1)
async def notify(charge: str) -> None:
    if current_task().attempt == 1:
        raise RetryAfter(0.1)  # the service said when to come again
    print(charge)


# --8<-- [end:after]
@app.post("/charges", status_code=202)
@chain(notify, deadline=60.0)
async def place(cents: int) -> dict[str, str]:
    return {"status": "accepted"}
