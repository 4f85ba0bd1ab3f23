"""Everything that can be wrong with the chains of an app, told at its start-up, all at once."""

import pickle
import textwrap
from typing import Any

import pytest
from fastapi.testclient import TestClient

from fastapi_chain import InvalidChain

SHOP = """
from typing import Annotated
from fastapi import Depends, FastAPI, UploadFile
from fastapi_chain import chain, install, task

def get_session():
    yield "session"

@task(after=["write_invoice"])
def reserve_stock(write_invoice: str) -> str: ...
@task(after=[reserve_stock])
def write_invoice() -> str: ...
@task(after=["chrage"])
def send_receipt() -> None: ...
@task
def charge(order_id: int) -> int: ...
@task
def refund(charge: int) -> None: ...
@task(output="address")
def billing(order_id: int) -> str: ...
@task(output="address")
def shipping(order_id: int) -> str: ...
@task(after=[billing, shipping])
def label(address: str) -> None: ...
@task(after=[charge])
def book(charge: str) -> None: ...
@task
def near(ordr_id: int) -> None: ...
@task
def greet(user_id: int) -> None: ...
@task
def count_rows(session: str) -> None: ...
@task
def scan(file: bytes) -> None: ...
@task(each=charge)
def pack(line: str) -> None: ...

app = FastAPI()

@app.post("/circles")
@chain(write_invoice, send_receipt)
async def circles(order_id: int) -> None: ...
@app.post("/orders")
@chain(refund, label, book, near, greet, count_rows, scan, pack, name="checkout")
async def checkout(order_id: int, session: Annotated[str, Depends(get_session)], file: UploadFile) -> None: ...
@chain(charge)
@app.post("/above")
def above(order_id: int) -> None: ...
@app.post("/again")
@chain(charge, name="checkout", delay=5.0)
async def again(order_id: int) -> None: ...

install(app)
"""

WRONG = """
    The chains of this app cannot run: 13 problems.

    1. @chain stands above @app.post("/above"), so FastAPI registered the bare function and the chain would never start.
           endpoint   above   shop.py:46
       Fix: put @chain(...) directly above `def above`, below @app.post
       See errors#decorator-order

    2. 2 tasks wait for each other, so none of them can ever start.
           ╭─>   write_invoice   after=[reserve_stock]   shop.py:11
           ╰─<   reserve_stock   needs 'write_invoice'   shop.py:9
       Fix, one of:
         - drop after=[reserve_stock] from 'write_invoice'
         - split a task in two, so that the half which is needed early needs nothing late
       See errors#cycle

    3. Task 'send_receipt' runs after 'chrage', but chain 'circles' has no such task.
           declared at   shop.py:13
           tasks known   reserve_stock, write_invoice, send_receipt, charge, refund, billing, shipping, label, book, near, greet, count_rows, scan, pack
       Fix, one of:
         - write @task(after=["charge"])
         - import the module that defines 'chrage' before the app starts
       See errors#unknown-task

    4. 2 tasks provide 'address', and task 'label' does not say which one it wants.
           wanted by     label      shop.py:23
           provided by   billing    shop.py:19
           provided by   shipping   shop.py:21
       Fix, one of:
         - choose one: address: Annotated[..., From(billing)]
         - give one of them another output name: @task(output="address_2")
       See errors#ambiguous-producer

    5. Task 'charge' returns int, but task 'book' takes 'charge' as str.
           returned   charge(...) -> int   shop.py:15
           taken      book(charge: str)    shop.py:25
       Fix, one of:
         - take int in 'book'
         - return str in 'charge'
       See errors#type-mismatch

    6. Task 'pack' runs for each item of 'charge', but none of its parameters certainly takes it.
           charge(...) -> int   shop.py:15
           pack(line: str)      shop.py:35
       Fix: return a list in 'charge'
       See errors#plan

    7. Task 'refund' takes 'charge', but task 'charge' does not come before it.
           wanted by   refund   shop.py:17
           named       charge   shop.py:15
       Fix: @task(after=[charge])
       See errors#not-upstream

    8. Nothing provides 'ordr_id', a parameter of task 'near'.
           declared at      shop.py:27
           upstream gives   nothing
           endpoint gives   order_id
       Fix, one of:
         - rename it to 'order_id'
         - give it a default: ordr_id: int = ...
         - inject it: ordr_id: Annotated[int, Depends(...)]
       See errors#unknown-parameter

    9. POST /orders starts a chain that needs 'user_id', but endpoint 'checkout' does not give it.
           user_id: int     needed by 'greet'   shop.py:29
           endpoint gives   order_id            shop.py:43
       Fix, one of:
         - add a parameter to the endpoint: user_id: int
         - return it, and say so: @chain(..., returns="user_id")
       See errors#missing-input

    10. Task 'count_rows' takes 'session', the value of a dependency with yield, which is closed before the task starts.
            given by   checkout     shop.py:43
            taken by   count_rows   shop.py:31
        Fix, one of:
          - open it in the task: session: Annotated[..., Depends(...)]
          - hand on an id or a pydantic model instead
        See errors#closed-input

    11. Task 'scan' takes 'file', an UploadFile, which is closed before the task starts.
            given by   checkout   shop.py:43
            taken by   scan       shop.py:33
        Fix, one of:
          - read it in the endpoint and return what it held: @chain(..., returns="file")
          - store it in the endpoint and hand on its path
        See errors#closed-input

    12. Two chains of this app are both called 'checkout'.
            first    shop.py:43
            second   shop.py:49
        Fix: @chain(..., name="checkout_2")
        See errors#duplicate-chain

    13. Chain 'checkout' has delay=, which needs a durable engine: engine 'memory' forgets what has not begun.
            declared at   shop.py:50
        Fix, one of:
          - install(app, engine="sqlite:///chains.db")
          - leave out delay=
        See errors#plan
"""


@pytest.fixture
def shop(tmp_path, monkeypatch) -> dict[str, Any]:
    """The names of a module `shop.py` in the working directory."""
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {"__name__": "shop"}
    exec(compile(SHOP, str(tmp_path / "shop.py"), "exec"), names)
    return names


def test_all_that_is_wrong_with_an_app(shop):
    """Every problem is there, each with its places and its cures; and after pickling it says the same."""
    with pytest.raises(InvalidChain) as caught, TestClient(shop["app"]):
        pass
    assert str(caught.value) == textwrap.dedent(WRONG).strip()
    again = pickle.loads(pickle.dumps(caught.value))
    assert (type(again), str(again)) == (InvalidChain, str(caught.value))
    assert [(type(one), str(one)) for one in again.problems] == [(type(one), str(one)) for one in caught.value.problems]
