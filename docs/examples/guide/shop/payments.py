"""The payments team's tasks: a registry of their own."""

from typing import Annotated

from fastapi import Depends
from fastapi_chain import Registry

from .models import Order

payments = Registry("payments")


class Bank:
    async def charge(self, cents: int) -> str:
        return f"{cents / 100:.2f} EUR"


def get_bank() -> Bank:
    return Bank()


@payments.task(retries=3, retry_on=ConnectionError)
async def charge(order: Order, bank: Annotated[Bank, Depends(get_bank)]) -> str:
    return await bank.charge(order.cents)
