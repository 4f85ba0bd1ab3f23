import asyncio

from fastapi_chain.testing import ChainClock, assert_graph, chain_client, flaky, run_inline, stub
from tested import app, charge, checkout, get_bank, receipt


# --8<-- [start:function]
def test_a_task_is_a_function() -> None:
    assert asyncio.run(receipt("paid 5")) == "receipt: paid 5"


# --8<-- [end:function]
# --8<-- [start:graph]
def test_the_graph() -> None:
    assert_graph(checkout, "charge -> receipt")


# --8<-- [end:graph]
# --8<-- [start:stub]
def test_a_bank_that_does_not_answer(chain_clock: ChainClock) -> None:
    bank = flaky(ConnectionError, times=2, then="paid 5")
    with stub(checkout, charge=bank) as calls:
        run = asyncio.run(run_inline(checkout, cents=5))
    assert run[receipt] == "receipt: paid 5"
    assert calls.charge.count == 3
    assert len(chain_clock.sleeps) == 2  # the waits between attempts, which took no time


# --8<-- [end:stub]
# --8<-- [start:client]
class FreeBank:
    async def charge(self, cents: int) -> str:
        return "free"


def test_over_http() -> None:
    app.dependency_overrides[get_bank] = FreeBank
    with chain_client(app) as client:
        response = client.post("/charges?cents=5")
        run = client.run_of(response)
    app.dependency_overrides.clear()
    assert response.status_code == 202
    assert (run.state, run[charge], run[receipt]) == ("succeeded", "free", "receipt: free")


# --8<-- [end:client]
