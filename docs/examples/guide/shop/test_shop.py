import asyncio

from fastapi_chain.testing import assert_graph, chain_client, run_inline, stub

from .api import checkout
from .mail import receipt
from .main import create_app
from .models import Order


def test_the_graph() -> None:
    assert_graph(checkout, "charge -> receipt")


def test_the_mail_team_needs_no_bank() -> None:
    with stub(checkout, charge="19.90 EUR"):
        run = asyncio.run(run_inline(checkout, order=Order(id=1, cents=1990)))
    assert run[receipt] == "order 1: 19.90 EUR"


def test_each_test_may_have_an_app_of_its_own() -> None:
    with chain_client(create_app()) as client:
        run = client.run_of(client.post("/orders", json={"id": 2, "cents": 120}))
    assert run[receipt] == "order 2: 1.20 EUR"
