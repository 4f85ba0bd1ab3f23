"""The mail team's tasks. They name a task of another module by the task itself, so that the editor can follow it."""

from fastapi_chain import Registry

from .models import Order
from .payments import charge

mail = Registry("mail")


@mail.task(after=[charge])
async def receipt(charge: str, order: Order) -> str:
    return f"order {order.id}: {charge}"
