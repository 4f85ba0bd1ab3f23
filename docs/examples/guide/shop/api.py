"""The routes: an APIRouter like any other."""

from fastapi import APIRouter
from fastapi_chain import chain

from .mail import receipt
from .models import Order

router = APIRouter(prefix="/orders")
checkout = chain(receipt, name="checkout", expose_result=True)


@router.post("", status_code=202)
@checkout
async def place(order: Order) -> dict[str, str]:
    return {"status": "accepted"}
