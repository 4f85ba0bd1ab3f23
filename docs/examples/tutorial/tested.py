from typing import Annotated

from fastapi import Depends, FastAPI
from fastapi_chain import Registry, chain, install

app = FastAPI()
install(app)
shop = Registry("shop")


class Bank:
    async def charge(self, cents: int) -> str:
        return f"paid {cents}"


def get_bank() -> Bank:
    return Bank()


@shop.task(retries=3, retry_on=ConnectionError)
async def charge(cents: int, bank: Annotated[Bank, Depends(get_bank)]) -> str:
    return await bank.charge(cents)


@shop.task(after=[charge])
async def receipt(charge: str) -> str:
    return f"receipt: {charge}"


checkout = chain(receipt, name="checkout")


@app.post("/charges", status_code=202)
@checkout
async def place(cents: int) -> dict[str, str]:
    return {"status": "accepted"}
