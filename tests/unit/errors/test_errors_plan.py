"""What errors say about tasks that do not fit together."""

import textwrap

import pytest

from fastapi_chain import errors
from fastapi_chain.spec import EMPTY, Source


@pytest.mark.parametrize(
    ("cls", "text"),
    [
        pytest.param(
            errors.CycleError,
            """\
            3 tasks wait for each other, so none of them can ever start.
                ╭─>   reserve_stock   needs 'payment'         shop/tasks.py:12
                │     charge_card     needs 'invoice'         shop/tasks.py:21
                ╰─<   write_invoice   after=[reserve_stock]   shop/tasks.py:30
            Fix, one of:
              - drop after=[reserve_stock] from 'write_invoice'
              - split a task in two, so that the half which is needed early needs nothing late
            See errors#cycle""",
            id="cycle",
        ),
        pytest.param(
            errors.UnknownTask,
            """\
            Task 'send_receipt' runs after 'charge_cart', but chain 'checkout' has no such task.
                declared at   shop/tasks.py:44
                tasks known   charge_card, reserve_stock, write_invoice
            Fix, one of:
              - write @task(after=["charge_card"])
              - import the module that defines 'charge_cart' before the app starts
            See errors#unknown-task""",
            id="unknown-task",
        ),
        pytest.param(
            errors.UnknownParameter,
            """\
            Nothing provides 'reciept_id', a parameter of task 'send_receipt'.
                declared at      shop/tasks.py:44
                upstream gives   payment, receipt_id
                endpoint gives   order_id
            Fix, one of:
              - rename it to 'receipt_id'
              - give it a default: reciept_id: int = ...
              - inject it: reciept_id: Annotated[int, Depends(...)]
            See errors#unknown-parameter""",
            id="unknown-parameter",
        ),
        pytest.param(
            errors.NotUpstream,
            """\
            Task 'send_receipt' takes 'charge', but task 'charge' does not come before it.
                wanted by   send_receipt   shop/tasks.py:44
                named       charge         shop/tasks.py:21
            Fix: @task(after=[charge])
            See errors#not-upstream""",
            id="not-upstream",
        ),
        pytest.param(
            errors.AmbiguousProducer,
            """\
            2 tasks provide 'address', and task 'send_receipt' does not say which one it wants.
                wanted by     send_receipt       shop/tasks.py:44
                provided by   billing_address    shop/tasks.py:8
                provided by   shipping_address   shop/tasks.py:16
            Fix, one of:
              - choose one: address: Annotated[..., From(billing_address)]
              - give one of them another output name: @task(output="address_2")
            See errors#ambiguous-producer""",
            id="ambiguous-producer",
        ),
        pytest.param(
            errors.TypeMismatch,
            """\
            Task 'charge_card' returns Payment | None, but task 'send_receipt' takes 'payment' as Payment.
                returned   charge_card(...) -> Payment | None   shop/tasks.py:21
                taken      send_receipt(payment: Payment)       shop/tasks.py:44
            Fix, one of:
              - take Payment | None in 'send_receipt' and handle None
              - raise Skip("...") in 'charge_card' instead of returning None
            See errors#type-mismatch""",
            id="type-mismatch",
        ),
        pytest.param(
            errors.InvalidChain,
            """\
            Chain 'checkout' cannot run: 2 problems.

            1. Task 'send_receipt' takes 'charge', but task 'charge' does not come before it.
                   wanted by   send_receipt   shop/tasks.py:44
                   named       charge         shop/tasks.py:21
               Fix: @task(after=[charge])
               See errors#not-upstream

            2. 2 tasks provide 'address', and task 'send_receipt' does not say which one it wants.
                   wanted by     send_receipt       shop/tasks.py:44
                   provided by   billing_address    shop/tasks.py:8
                   provided by   shipping_address   shop/tasks.py:16
               Fix, one of:
                 - choose one: address: Annotated[..., From(billing_address)]
                 - give one of them another output name: @task(output="address_2")
               See errors#ambiguous-producer""",
            id="invalid-chain",
        ),
    ],
)
def test_plan_errors_say(samples, cls, text):
    """Tasks that do not fit together are all named, each with its place."""
    assert str(samples[cls]) == textwrap.dedent(text)


def at(name: str, line: int, file: str = "shop/tasks.py") -> Source:
    """Return a place in the shop."""
    return Source(name=name, file=file, line=line)


LINES, SHIP, SUMMARY, CHECKOUT = at("lines", 40), at("ship", 51), at("summary", 58), at("checkout", 9, "shop/api.py")


def said(text: str) -> str:
    """Return *text* without its indentation."""
    return textwrap.dedent(text).strip()


def test_a_task_that_waits_for_itself():
    """A circle of one task has no picture and no second cure."""
    error = errors.CycleError(path=((SHIP, "after=[ship]"),))

    assert str(error) == said("""
        Task 'ship' waits for itself, so it can never start.
            ship   after=[ship]   shop/tasks.py:51
        Fix: drop after=[ship] from 'ship'
        See errors#cycle
    """)


def test_a_circle_of_parameters():
    """Where no option can be dropped, a parameter is proposed."""
    error = errors.CycleError(path=((LINES, "needs 'ship'"), (SHIP, "needs 'lines'")))

    assert str(error) == said("""
        2 tasks wait for each other, so none of them can ever start.
            ╭─>   lines   needs 'ship'    shop/tasks.py:40
            ╰─<   ship    needs 'lines'   shop/tasks.py:51
        Fix, one of:
          - drop parameter 'lines' from 'ship'
          - split a task in two, so that the half which is needed early needs nothing late
        See errors#cycle
    """)


@pytest.mark.parametrize(
    ("option", "problem", "fix"),
    [
        ("after", "Task 'ship' runs after 'linez', but chain 'buy' has no such task.", '@task(after=["lines"])'),
        ("each", "Task 'ship' runs for each item of 'linez', but chain 'buy' has no such task.", '@task(each="lines")'),
        ("undo", "Task 'ship' is undone by 'linez', but chain 'buy' has no such task.", '@task(undo="lines")'),
        ("From", "Task 'ship' takes 'linez', but chain 'buy' has no such task.", 'From("lines")'),
        ("chain", "Chain 'buy' is made of 'linez', but there is no such task.", 'chain("lines")'),
    ],
)
def test_an_unknown_task_is_shown_where_it_is_named(option, problem, fix):
    """The sentence and the cure follow the place where the name stands."""
    error = errors.UnknownTask(task=SHIP, wanted="linez", option=option, known=("lines", "pay"), chain="buy")

    assert str(error).splitlines() == [
        problem,
        "    declared at   shop/tasks.py:51",
        "    tasks known   lines, pay",
        "Fix, one of:",
        f"  - write {fix}",
        "  - import the module that defines 'linez' before the app starts",
        "See errors#unknown-task",
    ]


def test_an_unknown_task_without_a_near_name():
    """Where no name is near, none is proposed."""
    error = errors.UnknownTask(task=SHIP, wanted="linez", known=(), chain="buy")

    assert str(error) == said("""
        Task 'ship' runs after 'linez', but chain 'buy' has no such task.
            declared at   shop/tasks.py:51
            tasks known   nothing
        Fix: import the module that defines 'linez' before the app starts
        See errors#unknown-task
    """)


def test_an_unknown_parameter_without_annotation_or_endpoint():
    """Without an annotation the cures have none either, and without an endpoint nothing is said about one."""
    error = errors.UnknownParameter(task=SHIP, param="carrier", type=EMPTY, upstream=(), endpoint=None)

    assert str(error) == said("""
        Nothing provides 'carrier', a parameter of task 'ship'.
            declared at      shop/tasks.py:51
            upstream gives   nothing
        Fix, one of:
          - give it a default: carrier = ...
          - inject it: carrier: Annotated[..., Depends(...)]
        See errors#unknown-parameter
    """)


def test_a_task_that_is_not_upstream_by_its_output():
    """An output name that is not the task's own is said to be one."""
    error = errors.NotUpstream(task=SHIP, producer=LINES, param="order_lines")

    assert str(error) == said("""
        Task 'ship' takes 'order_lines', the output of task 'lines', but that does not come before it.
            wanted by   ship    shop/tasks.py:51
            named       lines   shop/tasks.py:40
        Fix: @task(after=[lines])
        See errors#not-upstream
    """)


def test_a_task_and_an_input_of_one_name():
    """An input of the chain is one of the sources between which the task has to choose."""
    error = errors.AmbiguousProducer(task=SHIP, param="lines", producers=(LINES, "endpoint 'checkout'"))

    assert str(error) == said("""
        2 sources provide 'lines', and task 'ship' does not say which one it wants.
            wanted by     ship                  shop/tasks.py:51
            provided by   lines                 shop/tasks.py:40
            provided by   endpoint 'checkout'
        Fix, one of:
          - choose one: lines: Annotated[..., From(lines)]
          - give one of them another output name: @task(output="lines_2")
          - give the input another name than 'lines'
        See errors#ambiguous-producer
    """)


def test_two_inputs_of_one_name():
    """Between two inputs no reference can choose: one has to be renamed."""
    error = errors.AmbiguousProducer(
        task=SHIP, param="order", producers=("a parameter of 'checkout'", "what 'checkout' returns")
    )

    assert list(error.remedies()) == ["give the input another name than 'order'"]


@pytest.mark.parametrize(
    ("via", "returns", "takes", "text"),
    [
        pytest.param(
            "task",
            str | None,
            int,
            """
            Task 'lines' returns str | None, but task 'ship' takes 'line' as int.
                returned   lines(...) -> str | None   shop/tasks.py:40
                taken      ship(line: int)            shop/tasks.py:51
            Fix, one of:
              - take str | None in 'ship'
              - return int in 'lines'
            See errors#type-mismatch
            """,
            id="more than None differs",
        ),
        pytest.param(
            "item",
            list[str],
            int,
            """
            Task 'lines' returns list[str], but task 'ship' takes each item, 'line', as int.
                returned   lines(...) -> list[str]   shop/tasks.py:40
                taken      ship(line: int)           shop/tasks.py:51
            Fix: return list[int] in 'lines'
            See errors#type-mismatch
            """,
            id="one item",
        ),
        pytest.param(
            "fan-out",
            str,
            str,
            """
            Task 'lines' runs for each item and gives list[str], but task 'ship' takes 'line' as str.
                returned   lines(...) -> str   shop/tasks.py:40
                taken      ship(line: str)     shop/tasks.py:51
            Fix: take list[str] in 'ship'
            See errors#type-mismatch
            """,
            id="the list of all results",
        ),
        pytest.param(
            "endpoint",
            str,
            int,
            """
            Endpoint 'lines' returns str, but task 'ship' takes 'line' as int.
                returned   lines(...) -> str   shop/tasks.py:40
                taken      ship(line: int)     shop/tasks.py:51
            Fix, one of:
              - take str in 'ship'
              - return int in 'lines'
            See errors#type-mismatch
            """,
            id="what the endpoint returns",
        ),
        pytest.param(
            "input",
            str,
            int,
            """
            Endpoint 'lines' gives 'line' as str, but task 'ship' takes it as int.
                given   lines(line: str)   shop/tasks.py:40
                taken   ship(line: int)    shop/tasks.py:51
            Fix, one of:
              - take str in 'ship'
              - declare line: int in 'lines'
            See errors#type-mismatch
            """,
            id="a parameter of the endpoint",
        ),
    ],
)
def test_every_way_of_a_value_has_its_words(via, returns, takes, text):
    """A mismatch is told as the value travels: as output, as item, as list, as return value, as input."""
    error = errors.TypeMismatch(param="line", producer=LINES, returns=returns, consumer=SHIP, takes=takes, via=via)

    assert str(error) == said(text)


def test_two_classes_of_one_name_are_told_apart():
    """Only where two classes share a short name do their modules appear."""
    one, other = type("Line", (), {"__module__": "shop"}), type("Line", (), {"__module__": "stock"})

    error = errors.TypeMismatch(param="line", producer=LINES, returns=one, consumer=SHIP, takes=other | None)

    assert error.problem() == "Task 'lines' returns shop.Line, but task 'ship' takes 'line' as stock.Line | None."


@pytest.mark.parametrize(
    ("chain", "count", "text"),
    [
        ("buy", 1, "Chain 'buy' cannot run: 1 problem."),
        (None, 2, "The chains of this app cannot run: 2 problems."),
    ],
)
def test_one_chain_or_all(chain, count, text):
    """The first line says whether one chain is concerned or the app, and how many problems there are."""
    problem = errors.NotUpstream(task=SHIP, producer=LINES, param="lines")

    assert errors.InvalidChain(chain=chain, problems=(problem,) * count).problem() == text
