"""Whether a chain is given what it needs."""

from typing import Annotated, Any

import pytest
from fastapi import Response
from fastapi.responses import JSONResponse

from fastapi_chain import Failed, From, Outcome, task
from fastapi_chain.spec import EMPTY, EndpointSpec, Source

CHECKOUT = Source(name="checkout", file="/shop/api.py", line=9)


def endpoint(gives: dict[str, object] | None = None, **more: Any) -> EndpointSpec:
    """Return an endpoint that gives these inputs."""
    return EndpointSpec(source=CHECKOUT, route="POST /orders", gives=gives or {}, **more)


def charge_card(name: str = "charge_card", **annotations: object):
    """Return a task with parameters of these types."""
    names: dict[str, object] = {}
    exec(f"def charge_card({', '.join(annotations)}): ...", names)
    names["charge_card"].__annotations__ = annotations
    return task(name=name)(names["charge_card"])


@pytest.mark.parametrize(
    "given",
    [
        endpoint({"order": int}),
        endpoint({"order": bool, "user": str}),
        endpoint({"order": EMPTY}),
        endpoint({"order": int}, closed={"session": "yield-dependency"}),
        endpoint({"order": int}, returns="order"),
    ],
)
def test_covered(planning, given):
    """An endpoint may give more than is needed, narrower, or without a type."""
    assert planning.uncovered(charge_card(order=int), endpoint=given) == []


def test_a_default_covers(planning):
    """What has a default need not be given, even if the endpoint has it and cannot hand it on."""
    limited = task(name="limited")(lambda limit=3: 1)
    for given in (endpoint(), endpoint(closed={"limit": "UploadFile"}), None):
        assert planning.uncovered(limited, endpoint=given) == []


def test_a_missing_input(planning):
    """What the endpoint does not give is told with the route, the tasks that need it, and what there is."""
    charge = charge_card(order_id=int)
    (problem,) = planning.uncovered(charge, endpoint=endpoint({"order": str, "user": str}))
    assert str(problem) == planning.text(f"""
        POST /orders starts a chain that needs 'order_id', but endpoint 'checkout' does not give it.
            order_id: int    needed by 'charge_card'   {charge.spec.source.at}
            endpoint gives   order, user               /shop/api.py:9
        Fix, one of:
          - add a parameter to the endpoint: order_id: int
          - return it, and say so: @chain(..., returns="order_id")
        See errors#missing-input
    """)


def test_missing_inputs_are_told_together(planning):
    """All that an endpoint does not give is one problem."""

    def refund(why: str): ...

    one = task(name="one", undo=refund)(lambda a, b: 1)
    two = task(name="two")(lambda a: 1)
    (problem,) = planning.uncovered(one, two, endpoint=endpoint())
    assert [(name, place.name) for name, _, place in problem.needed] == [
        ("a", "one"),
        ("a", "two"),
        ("b", "one"),
        ("why", "refund"),
    ]


def test_nothing_is_missing_for_start(planning):
    """Without an endpoint, what nobody gives is an input of `start()`."""
    assert planning.uncovered(charge_card(order_id=int)) == []


@pytest.mark.parametrize(
    ("output", "gives"),
    [
        # What was meant is a name upstream …
        ("receipt_id", {"order": int}),
        # … or one of the endpoint.
        ("number", {"receipt_id": int}),
    ],
)
def test_a_near_name(planning, output, gives):
    """What seems to be a slip is told with the name that was meant."""
    write = task(name="write_receipt")(lambda: 1)
    number = task(name="count", after=[write], output=output)(lambda: 1)

    @task(after=[number])
    def send_receipt(reciept_id: int): ...

    (problem,) = planning.uncovered(send_receipt, endpoint=endpoint(gives))
    assert str(problem) == planning.text(f"""
        Nothing provides 'reciept_id', a parameter of task 'send_receipt'.
            declared at      {send_receipt.spec.source.at}
            upstream gives   write_receipt, {output}
            endpoint gives   {", ".join(gives)}
        Fix, one of:
          - rename it to 'receipt_id'
          - give it a default: reciept_id: int = ...
          - inject it: reciept_id: Annotated[int, Depends(...)]
        See errors#unknown-parameter
    """)


def test_a_near_name_elsewhere(planning):
    """A name that only a task beside it gives is no slip; of very many tasks that need an input, the first are told."""
    beside = task(name="order_id")(lambda: 1)
    made = [task(name=f"t{i}")(lambda ordr_id: 1) for i in range(102)]
    (problem,) = planning.uncovered(beside, made[0], endpoint=endpoint())
    assert (problem.code, [name for name, _, _ in problem.needed]) == ("missing-input", ["ordr_id"])
    told = planning.uncovered(*made, endpoint=endpoint({"order_id": int}))
    assert [problem.code for problem in told] == ["unknown-parameter"] * 100 + ["missing-input"]
    assert len(told[-1].needed) == 2


def test_a_task_that_does_not_come_before(planning):
    """A parameter that bears the name of a task says how to put that before; an endpoint that gives it is meant."""
    charge = task(name="charge")(lambda: 1)
    send = task(name="send_receipt")(lambda charge: 1)
    expected = planning.text(f"""
        Task 'send_receipt' takes 'charge', but task 'charge' does not come before it.
            wanted by   send_receipt   {send.spec.source.at}
            named       charge         {charge.spec.source.at}
        Fix: @task(after=[charge])
        See errors#not-upstream
    """)
    for given in (None, endpoint(), endpoint({"charges": int})):
        assert [str(problem) for problem in planning.uncovered(send, endpoint=given)] == [expected]
    assert planning.uncovered(send, endpoint=endpoint({"charge": int})) == []


def test_the_output_of_a_task_that_does_not_come_before(planning):
    """An output that is called otherwise than its task is told as such."""
    task(name="charge", output="paid")(lambda: 1)
    send = task(name="send_receipt")(lambda paid: 1)
    (problem,) = planning.uncovered(send)
    first = "Task 'send_receipt' takes 'paid', the output of task 'charge', but that does not come before it."
    assert problem.problem() == first


@pytest.mark.parametrize(
    ("reason", "what", "fixes"),
    [
        (
            "yield-dependency",
            "the value of a dependency with yield",
            [
                "open it in the task: order: Annotated[..., Depends(...)]",
                "hand on an id or a pydantic model instead",
            ],
        ),
        (
            "UploadFile",
            "an UploadFile",
            [
                'read it in the endpoint and return what it held: @chain(..., returns="order")',
                "store it in the endpoint and hand on its path",
            ],
        ),
    ],
)
def test_a_closed_input(planning, reason, what, fixes):
    """What is closed when the run begins cannot be handed on; each task that takes it is told."""
    charge = charge_card(order=int)
    again = charge_card("again", order=int)
    problems = planning.uncovered(charge, again, endpoint=endpoint(closed={"order": reason}))
    assert [problem.task.name for problem in problems] == ["charge_card", "again"]
    assert str(problems[0]).splitlines() == [
        f"Task 'charge_card' takes 'order', {what}, which is closed before the task starts.",
        "    given by   checkout      /shop/api.py:9",
        f"    taken by   charge_card   {charge.spec.source.at}",
        "Fix, one of:",
        *(f"  - {fix}" for fix in fixes),
        "See errors#closed-input",
    ]


def pricing():
    """Return a task that takes and gives an order, and one that takes it from there."""
    price = task(name="price", output="order")(lambda order: 1)
    ship = task(name="ship", after=[price])(lambda order: 1)
    return price, ship


def test_a_task_and_an_endpoint_give_the_same(planning):
    """Where a task upstream and the endpoint both give a parameter, neither is chosen."""
    price, ship = pricing()
    (problem,) = planning.uncovered(ship, endpoint=endpoint({"order": int}))
    assert str(problem) == planning.text(f"""
        2 sources provide 'order', and task 'ship' does not say which one it wants.
            wanted by     ship                {ship.spec.source.at}
            provided by   price               {price.spec.source.at}
            provided by   endpoint checkout   /shop/api.py:9
        Fix, one of:
          - choose one: order: Annotated[..., From(price)]
          - give one of them another output name: @task(output="order_2")
          - give the input another name than 'order'
        See errors#ambiguous-producer
    """)


def test_a_task_and_start_give_the_same(planning):
    """Without an endpoint, a name that is an input of one task and the output of another is no clearer."""
    price, ship = pricing()
    (problem,) = planning.uncovered(ship)
    assert str(problem) == planning.text(f"""
        2 sources provide 'order', and task 'ship' does not say which one it wants.
            wanted by     ship                       {ship.spec.source.at}
            provided by   price                      {price.spec.source.at}
            provided by   input 'order' of start()
        Fix, one of:
          - choose one: order: Annotated[..., From(price)]
          - give one of them another output name: @task(output="order_2")
          - give the input another name than 'order'
        See errors#ambiguous-producer
    """)


@pytest.mark.parametrize("given", [None, endpoint({"order": int})])
def test_a_reference_says_which(planning, given):
    """`From` says that the task upstream is meant, and other names have one source anyway."""
    price, _ = pricing()
    count = task(name="count")(lambda: 1)

    @task(after=[count])
    def pack(order: Annotated[int, From(price)], count: int, lost: int = 1): ...

    assert planning.uncovered(pack, endpoint=given) == []


def test_an_input_that_need_not_be_given(planning):
    """An input with a default leaves the task upstream as the only source, unless an endpoint gives it."""
    price = task(name="price", output="order")(lambda order=1: 1)
    ship = task(name="ship", after=[price])(lambda order: 1)
    assert planning.uncovered(ship) == []
    assert len(planning.uncovered(ship, endpoint=endpoint({"order": int}))) == 1


def test_an_undo_takes_what_both_give(planning):
    """What holds for the parameters of a task holds for those of its undo."""

    def cancel(order): ...

    price, _ = pricing()
    pack = task(name="pack", after=[price], undo=cancel)(lambda: 1)
    (problem,) = planning.uncovered(pack)
    assert problem.problem() == "2 sources provide 'order', and task 'cancel' does not say which one it wants."


def test_an_input_of_another_type(planning):
    """A parameter of the endpoint must be what the task takes."""
    charge = charge_card(order=int)
    (problem,) = planning.uncovered(charge, endpoint=endpoint({"order": str}))
    assert str(problem) == planning.text(f"""
        Endpoint 'checkout' gives 'order' as str, but task 'charge_card' takes it as int.
            given   checkout(order: str)      /shop/api.py:9
            taken   charge_card(order: int)   {charge.spec.source.at}
        Fix, one of:
          - take str in 'charge_card'
          - declare order: int in 'checkout'
        See errors#type-mismatch
    """)


def test_a_return_value_of_another_type(planning):
    """What the endpoint returns must be what the task takes."""
    charge = charge_card(order=int)
    (problem,) = planning.uncovered(charge, endpoint=endpoint({"order": str}, returns="order"))
    assert str(problem) == planning.text(f"""
        Endpoint 'checkout' returns str, but task 'charge_card' takes 'order' as int.
            returned   checkout(...) -> str      /shop/api.py:9
            taken      charge_card(order: int)   {charge.spec.source.at}
        Fix, one of:
          - take str in 'charge_card'
          - return int in 'checkout'
        See errors#type-mismatch
    """)


@pytest.mark.parametrize(
    ("returns", "compared"),
    [
        # With a response of its own an endpoint says that something is wrong: then nothing starts.
        (int | JSONResponse, None),
        (int | None, "int | None"),
        (str | int | Response, "str | int"),
        (Response | JSONResponse, "Response | JSONResponse"),
    ],
)
def test_a_return_value_or_a_response(planning, returns, compared):
    """Of what an endpoint returns, only the values are compared, not the responses."""
    charge = charge_card(order=int)
    problems = planning.uncovered(charge, endpoint=endpoint({"order": returns}, returns="order"))
    assert [problem.returns for problem in problems] == ([] if compared is None else [compared])


def test_what_was_closed_is_returned(planning):
    """An endpoint may return what it has read from what is closed, under the same name."""
    given = endpoint({"file": int}, closed={"file": "UploadFile"}, returns="file")
    assert planning.uncovered(charge_card(file=int), endpoint=given) == []


def test_each_taker_is_compared(planning):
    """Each task that takes an input of the wrong type is told, those with a default included."""
    one = charge_card("one", order=int)
    two = task(name="two")(lambda order=1: 1)
    two.spec.fn.__annotations__ = {"order": bytes}
    three = charge_card("three", order=str)
    four = charge_card("four", order=Outcome[Failed])
    problems = planning.uncovered(one, two, three, four, endpoint=endpoint({"order": str}))
    assert [problem.consumer.name for problem in problems] == ["one", "four", "two"]
