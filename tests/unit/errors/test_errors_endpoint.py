"""What errors say about a chain that does not fit its endpoint."""

import textwrap

import pytest

from fastapi_chain import errors
from fastapi_chain.spec import EMPTY, Source


@pytest.mark.parametrize(
    ("cls", "text"),
    [
        pytest.param(
            errors.MissingInput,
            """\
            POST /orders starts a chain that needs 'order_id', but endpoint 'checkout' does not give it.
                order_id: int    needed by 'charge_card'   shop/tasks.py:21
                endpoint gives   order, user               shop/api.py:9
            Fix, one of:
              - add a parameter to the endpoint: order_id: int
              - return it, and say so: @chain(..., returns="order_id")
            See errors#missing-input""",
            id="missing-input",
        ),
        pytest.param(
            errors.DuplicateChain,
            """\
            Two chains of this app are both called 'checkout'.
                first    shop/api.py:9
                second   shop/api.py:18
            Fix: @chain(..., name="checkout_2")
            See errors#duplicate-chain""",
            id="duplicate-chain",
        ),
        pytest.param(
            errors.RequestBoundDependency,
            """\
            Task 'audit' depends on Request, which is gone when engine 'dbos' runs the task.
                path          audit(user) -> current_user -> oauth2_scheme -> Request
                declared at   shop/tasks.py:80
            Fix, one of:
              - read what you need in the endpoint and hand it on as a value: a parameter of both endpoint and task
              - run the chain in the process of the request: install(app, engine="memory")
            See errors#request-bound-dependency""",
            id="request-bound-dependency",
        ),
        pytest.param(
            errors.ClosedInput,
            """\
            Task 'reserve_stock' takes 'db', the value of a dependency with yield, which is closed before the task starts.
                given by   checkout        shop/api.py:9
                taken by   reserve_stock   shop/tasks.py:12
            Fix, one of:
              - open it in the task: db: Annotated[..., Depends(...)]
              - hand on an id or a pydantic model instead
            See errors#closed-input""",
            id="closed-input",
        ),
        pytest.param(
            errors.DecoratorOrder,
            """\
            @chain stands above @app.post("/orders"), so FastAPI registered the bare function and the chain would never start.
                endpoint   checkout   shop/api.py:9
            Fix: put @chain(...) directly above `async def checkout`, below @app.post
            See errors#decorator-order""",
            id="decorator-order",
        ),
    ],
)
def test_endpoint_errors_say(samples, cls, text):
    """Endpoint and task are both named, each with its place."""
    assert str(samples[cls]) == textwrap.dedent(text)


CHARGE = Source(name="charge_card", file="shop/tasks.py", line=21)
CHECKOUT = Source(name="checkout", file="shop/api.py", line=9)


def said(text: str) -> str:
    """Return *text* without its indentation."""
    return textwrap.dedent(text).strip()


def test_an_endpoint_without_a_known_route():
    """Before it has a route, an endpoint is named by itself; several missing inputs are told together."""
    error = errors.MissingInput(
        route="checkout", endpoint=CHECKOUT, needed=(("order_id", int, CHARGE), ("card", EMPTY, CHARGE)), gives=()
    )

    assert str(error) == said("""
        Endpoint 'checkout' starts a chain that needs 'order_id' and 'card', but does not give them.
            order_id: int    needed by 'charge_card'   shop/tasks.py:21
            card             needed by 'charge_card'   shop/tasks.py:21
            endpoint gives   nothing                   shop/api.py:9
        Fix, one of:
          - add a parameter to the endpoint: order_id: int
          - add a parameter to the endpoint: card
          - return one of them, and say so: @chain(..., returns="order_id")
        See errors#missing-input
    """)


@pytest.mark.parametrize(
    ("needed", "problem", "fix"),
    [
        ([("order_id", int, CHARGE)], "needs 'order_id', but was started without it.", "start(order_id=...)"),
        (
            [("order_id", int, CHARGE), ("card", str, CHARGE)],
            "needs 'order_id' and 'card', but was started without them.",
            "start(order_id=..., card=...)",
        ),
    ],
)
def test_a_chain_that_is_started_by_hand(needed, problem, fix):
    """Without an endpoint the missing inputs are arguments of `start`."""
    error = errors.MissingInput(chain="checkout", needed=tuple(needed), gives=("user",))

    assert str(error).splitlines()[0] == f"Chain 'checkout' {problem}"
    assert "    given           user" in str(error).splitlines()
    assert f"Fix: {fix}" in str(error).splitlines()


def test_an_uploaded_file():
    """An upload is to be read while it is open."""
    error = errors.ClosedInput(endpoint=CHECKOUT, param="photo", reason="UploadFile", task=CHARGE)

    assert str(error) == said("""
        Task 'charge_card' takes 'photo', an UploadFile, which is closed before the task starts.
            given by   checkout      shop/api.py:9
            taken by   charge_card   shop/tasks.py:21
        Fix, one of:
          - read it in the endpoint and return what it held: @chain(..., returns="photo")
          - store it in the endpoint and hand on its path
        See errors#closed-input
    """)


@pytest.mark.parametrize(
    ("route", "is_async", "decorator", "fix"),
    [
        ("GET /orders", False, '@app.get("/orders")', "directly above `def checkout`, below @app.get"),
        ("GET,POST /x", True, '@app.api_route("/x")', "directly above `async def checkout`, below @app.api_route"),
        ('@orders.put("/x")', True, '@orders.put("/x")', "directly above `async def checkout`, below @orders.put"),
    ],
)
def test_the_decorator_is_shown_as_it_is_written(route, is_async, decorator, fix):
    """The route is shown as a decorator: of one method, of several, or as it stands in the code."""
    error = errors.DecoratorOrder(endpoint=CHECKOUT, route=route, is_async=is_async)

    assert error.problem().startswith(f"@chain stands above {decorator}, so ")
    assert list(error.remedies()) == [f"put @chain(...) {fix}"]
