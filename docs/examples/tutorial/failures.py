from fastapi import FastAPI
from fastapi_chain import Failed, Outcome, Skip, Succeeded, chain, task

app = FastAPI()


# --8<-- [start:tasks]
@task
async def charge(cents: int) -> str:
    if cents > 10_000:
        text = "insufficient funds"
        raise PermissionError(text)
    if cents == 0:
        reason = "nothing to pay"
        raise Skip(reason)
    return "paid"


@task(after=[charge])
async def receipt(charge: str) -> None:
    print(f"receipt: {charge}")


# --8<-- [end:tasks]
# --8<-- [start:outcomes]
@task(after=[charge])
async def audit(charge: Outcome[str]) -> None:
    match charge:
        case Succeeded(value):
            print(f"audit: {value}")
        case Failed(error=error):
            print(f"audit: failed, {error}")
        case _:
            print(f"audit: {charge.reason}")


@task(after=[charge])
async def call_customer(charge: Failed) -> None:
    print(f"calling, because of {charge.error.message!r}")


# --8<-- [end:outcomes]
@app.post("/charges", status_code=202)
@chain(receipt, audit, call_customer)
async def place(cents: int) -> dict[str, str]:
    return {"status": "accepted"}
