import asyncio

from fastapi_chain.testing import ChainClock, assert_graph, chain_client, flaky, run_inline, stub
from watching import Bank, Charge, Order, app, charge, checkout, receipt, wrap


# --8<-- [start:function]
def test_a_task_is_a_function() -> None:
    assert asyncio.run(wrap("pen")) == "pen in paper"


# --8<-- [end:function]
# --8<-- [start:graph]
def test_the_graph() -> None:
    assert_graph(
        checkout,
        "charge -> receipt -> send; reserve -> receipt; charge -> audit; charge -> call_customer;"
        " reserve -> items -> wrap -> pack",
    )


# --8<-- [end:graph]
# --8<-- [start:stub]
def test_a_bank_that_does_not_answer(chain_clock: ChainClock) -> None:
    bank = flaky(ConnectionError, times=2, then=Charge(order=1, cents=5))
    with stub(checkout, charge=bank, reserve="shelf 1", pack="packed") as calls:
        run = asyncio.run(run_inline(checkout, order=Order(id=1, items=["pen"], cents=5), email="ann@example.com"))
    assert run[receipt] == "pen: 0.05 EUR, from shelf 1"
    assert calls.charge.count == 3
    assert len(chain_clock.sleeps) == 2  # the waits between attempts, which took no time


# --8<-- [end:stub]
# --8<-- [start:client]
class FreeBank:
    async def charge(self, order: Order) -> Charge:
        return Charge(order=order.id, cents=0)


def test_over_http() -> None:
    app.dependency_overrides[Bank] = FreeBank
    with chain_client(app) as client:
        response = client.post("/orders?email=ann@example.com", json={"items": ["pen"], "cents": 5})
        run = client.run_of(response)
    app.dependency_overrides.clear()
    assert response.status_code == 202
    assert (run.state, run[charge].cents) == ("succeeded", 0)
    assert run.tasks["call_customer"].skip_reason == "condition"


# --8<-- [end:client]
