"""Where the values of parameters come from, and what is said where that is not clear."""

from typing import Annotated, Any, NewType

import pytest
from fastapi import Depends, Request

from fastapi_chain import Failed, From, Outcome, Progress, Registry, Run, Succeeded, TaskContext, task
from fastapi_chain.spec import EMPTY

UserId = NewType("UserId", int)


def get_session() -> str: ...


def test_every_source(planning):
    """From, FastAPI, the run, a task upstream, an input, a default: each parameter has one source, in this order."""

    @task
    def clean(raw: str) -> int: ...

    @task(after=[clean])
    def save(
        clean: int,
        order: str,
        *,
        db: Annotated[str, Depends(get_session)],
        request: Request,
        run: Run,
        ctx: TaskContext,
        progress: Progress,
        total: Annotated[int, From(clean)],
        amount: int = From("clean"),
        limit: int = 3,
    ) -> None: ...

    plan = planning.plan(save)
    assert planning.sources(plan, save) == {
        "clean": "clean",
        "order": "<order>",
        "db": "injected",
        "request": "injected",
        "run": "run",
        "ctx": "context",
        "progress": "progress",
        "total": "clean",
        "amount": "clean",
        "limit": "<limit>",
    }
    assert [(item.name, item.slot, item.default) for item in plan.inputs] == [
        ("raw", 2, EMPTY),
        ("order", 3, EMPTY),
        ("limit", 4, 3),
    ]
    assert (plan.required, plan.input_names, tuple(plan.blank.slots[2:5])) == (
        ("raw", "order"),
        ("raw", "order", "limit"),
        (EMPTY, EMPTY, 3),
    )
    assert (plan.injects, planning.plan(clean).injects) == (True, False)


def test_special_types_come_before_names(planning):
    """A parameter whose type is FastAPI's or the run's is not filled by a task of its name."""
    run = task(name="run")(lambda: 1)
    db = task(name="db")(lambda: 1)

    @task(after=[run, db])
    def save(run: Run, db: Annotated[str, Depends(get_session)]): ...

    assert planning.sources(planning.plan(save), save) == {"run": "run", "db": "injected"}


def test_a_default_gives_way_to_a_task(planning):
    """A task upstream fills a parameter although it has a default."""
    clean = task(name="clean")(lambda: 1)
    save = task(name="save", after=[clean])(lambda clean=None: 1)
    assert planning.sources(planning.plan(save), save) == {"clean": "clean"}


def test_the_name_of_the_output(planning):
    """A parameter is filled by the task whose output bears its name, whatever the task is called."""
    save = task(name="save", output="row_id")(lambda: 1)
    link = task(name="link", after=[save])(lambda row_id, save: 1)
    assert planning.sources(planning.plan(link), link) == {"row_id": "save", "save": "<save>"}


def test_a_near_task_before_a_far_one(planning):
    """Of two tasks that give a name, the one directly upstream fills the parameter."""

    @task(output="order")
    def read() -> int: ...

    @task(after=[read], output="order")
    def price(order: int) -> str: ...

    @task(after=[price])
    def save(order: str): ...

    @task(after=[price, read], output="far")
    def beside() -> int: ...

    plan = planning.plan(save)
    assert (planning.sources(plan, price), planning.sources(plan, save)) == ({"order": "read"}, {"order": "price"})


def test_a_diamond_is_one_source(planning):
    """A task that is reached by two ways is one task."""
    top = task(name="top")(lambda: 1)
    left = task(name="left", after=[top])(lambda: 1)
    right = task(name="right", after=[top])(lambda: 1)
    end = task(name="end", after=[left, right])(lambda top: 1)
    assert planning.sources(planning.plan(end), end) == {"top": "top"}


def test_two_sources(planning):
    """Two tasks that give a name, both near or both far, leave it open which is meant; From says it."""

    @task(output="address")
    def billing() -> int: ...

    @task(output="address")
    def shipping() -> int: ...

    @task(after=[billing, shipping])
    def send(address: int): ...

    @task(after=[send])
    def far(address: int): ...

    @task(after=[billing, shipping])
    def clear(address: Annotated[int, From(shipping)]): ...

    expected = """
        2 tasks provide 'address', and task '{name}' does not say which one it wants.
            wanted by     {row}
            provided by   billing    {billing}
            provided by   shipping   {shipping}
        Fix, one of:
          - choose one: address: Annotated[..., From(billing)]
          - give one of them another output name: @task(output="address_2")
        See errors#ambiguous-producer
    """
    for made in (send, far):
        row = f"{made.name:8}   {made.spec.source.at}"
        places = {"billing": billing.spec.source.at, "shipping": shipping.spec.source.at}
        found = [str(p) for p in planning.problems(made) if p.task.name == made.name]
        assert found == [planning.text(expected.format(name=made.name, row=row, **places))]
    assert planning.sources(planning.plan(clear), clear) == {"address": "shipping"}


def test_a_task_that_is_only_registered_feeds_nobody(planning):
    """A task that does not come before a task does not fill its parameters: those are inputs, with a note."""
    orders = Registry("orders")
    elsewhere = task(name="far", output="paid")(lambda: 1)
    beside = task(name="beside")(lambda: 1)
    own = orders.task(name="own")(lambda: 1)
    save = orders.task(name="save")(lambda beside, own, paid, new: 1)
    plan = planning.plan(beside, save)
    notes = {item.name: [need.elsewhere for need in item.needs] for item in plan.inputs}
    assert notes == {
        "beside": [beside.spec.source],
        "own": [own.spec.source],
        "paid": [elsewhere.spec.source],
        "new": [None],
    }


def test_a_task_is_not_its_own_source(planning):
    """A parameter that bears the name of the task's own output, or of one further down, is an input."""

    @task(output="order")
    def price(order: int) -> int: ...

    @task(after=[price])
    def beside(): ...

    @task(after=[price, beside], output="later")
    def save(order: int) -> int: ...

    @task(output="order_2")
    def first(later: int) -> int: ...

    task(name="last", after=[first])(lambda: 1)
    plan = planning.plan(save)
    assert planning.sources(plan, price) == {"order": "<order>"}
    assert [need.elsewhere for item in plan.inputs for need in item.needs] == [None]
    again = task(name="again")(lambda later: 1)
    after_all = task(name="after_all", after=[first, save, again])(lambda: 1)
    needs = next(item for item in planning.plan(after_all).inputs if item.name == "later").needs
    assert [need.elsewhere for need in needs] == [save.spec.source, save.spec.source]


def test_inputs_are_shared(planning):
    """Tasks that take one input share it; with a default of its own, each has one of its own."""
    one = task(name="one")(lambda x, y=1: 1)
    two = task(name="two")(lambda x, y=2: 1)
    plan = planning.plan(one, two)
    assert [(item.name, item.default, [n.task.name for n in item.needs]) for item in plan.inputs] == [
        ("x", EMPTY, ["one", "two"]),
        ("y", 1, ["one"]),
        ("y", 2, ["two"]),
    ]


def test_outcomes_without_a_task(planning):
    """Where no task gives it, a parameter of an outcome type is an input of that type."""
    save = task(name="save")(lambda charge: 1)
    save.spec.fn.__annotations__ = {"charge": Outcome[int]}
    (need,) = planning.plan(save).inputs[0].needs
    assert (need.param.type, need.param.outcomes) == (Outcome[int], set())


# ----------------------------------------------------------------------------------------------------------------------
# Types
# ----------------------------------------------------------------------------------------------------------------------


def pair(returns: object, takes: object, **options: Any):
    """Return a task that takes what another one returns."""
    charge = task(name="charge", **options)(lambda line=None: 1)
    charge.spec.fn.__annotations__ = {} if returns is EMPTY else {"return": returns}
    receipt = task(name="receipt", after=[charge])(lambda charge: 1)
    receipt.spec.fn.__annotations__ = {} if takes is EMPTY else {"charge": takes}
    return charge, receipt


@pytest.mark.parametrize(
    ("returns", "takes"),
    [
        (int, int),
        (bool, int),
        (EMPTY, int),
        (int, EMPTY),
        (int, "Unknown"),
        (int, Annotated[int, "noted"]),
        (int, Outcome[int]),
        (int, Failed),
        (Annotated[int, {}], int),  # metadata that cannot be hashed
    ],
)
def test_types_that_fit(planning, returns, takes):
    """What is not certainly wrong is right."""
    assert planning.problems(*pair(returns, takes)) == ()


def test_a_type_that_does_not_fit(planning):
    """A task that takes what it certainly does not get is told, both ends with their places."""
    charge, receipt = pair(int, str)
    assert planning.only(receipt) == planning.text(f"""
        Task 'charge' returns int, but task 'receipt' takes 'charge' as str.
            returned   charge(...) -> int     {charge.spec.source.at}
            taken      receipt(charge: str)   {receipt.spec.source.at}
        Fix, one of:
          - take int in 'receipt'
          - return str in 'charge'
        See errors#type-mismatch
    """)


def test_only_none_does_not_fit(planning):
    """Where None is all that is wrong, there is another way out."""
    charge, receipt = pair(int | None, int)
    assert planning.only(receipt) == planning.text(f"""
        Task 'charge' returns int | None, but task 'receipt' takes 'charge' as int.
            returned   charge(...) -> int | None   {charge.spec.source.at}
            taken      receipt(charge: int)        {receipt.spec.source.at}
        Fix, one of:
          - take int | None in 'receipt' and handle None
          - raise Skip("...") in 'charge' instead of returning None
        See errors#type-mismatch
    """)


@pytest.mark.parametrize(
    ("takes", "problem"),
    [
        (Outcome[str], "Task 'charge' returns int, but task 'receipt' takes 'charge' as str."),
        (Succeeded[str], "Task 'charge' returns int, but task 'receipt' takes 'charge' as str."),
        (UserId, "Task 'charge' returns int, but task 'receipt' takes 'charge' as UserId."),
        # Only the items of a fan-out come as a list of outcomes.
        (
            list[Outcome[int]],
            "Task 'charge' returns int, but task 'receipt' takes 'charge' as list[Succeeded[int] | Failed | Skipped].",
        ),
    ],
)
def test_more_types_that_do_not_fit(planning, takes, problem):
    """The type within an outcome is what is compared."""
    (found,) = planning.problems(*pair(int, takes))
    assert found.problem() == problem


def test_a_type_that_cannot_be_hashed(planning):
    """Types are compared whatever they are made of."""
    (found,) = planning.problems(*pair(Annotated[int, {}], Annotated[str, []]))
    assert found.problem() == "Task 'charge' returns int, but task 'receipt' takes 'charge' as str."


def test_a_list_of_outcomes_that_a_task_has_made(planning):
    """A task may return outcomes itself: they are values then, and it must have succeeded."""
    _, receipt = pair(list[Outcome[int]], list[Outcome[int]])
    plan = planning.plan(receipt)
    (fill,) = plan.nodes[1].fills
    assert (fill.param.outcomes, fill.param.collects, fill.param.accepts) == (set(), False, {"succeeded"})


@pytest.mark.parametrize(
    ("takes", "problem"),
    [
        (list[int], None),
        (list[Outcome[int]], None),
        (Outcome[list[int]], None),
        (
            int,
            "Task 'charge' runs for each item and gives list[int], but task 'receipt' takes 'charge' as int.",
        ),
        (
            list[str],
            "Task 'charge' runs for each item and gives list[int], but task 'receipt' takes 'charge' as list[str].",
        ),
        (list[Outcome[str]], "Task 'charge' returns int, but task 'receipt' takes 'charge' as str."),
    ],
)
def test_the_results_of_a_fan_out(planning, takes, problem):
    """A fan-out gives the list of its results, or of their outcomes."""
    lines = task(name="lines")(lambda: [1])
    _, receipt = pair(int, takes, each={"line": lines})
    assert [found.problem() for found in planning.problems(receipt)] == ([problem] if problem else [])


def test_a_fan_out_that_is_taken_for_one(planning):
    """Whoever takes one result of a fan-out is told that it is a list."""
    lines = task(name="lines")(lambda: [1])
    charge, receipt = pair(int, int, each={"line": lines})
    assert planning.only(receipt) == planning.text(f"""
        Task 'charge' runs for each item and gives list[int], but task 'receipt' takes 'charge' as int.
            returned   charge(...) -> int     {charge.spec.source.at}
            taken      receipt(charge: int)   {receipt.spec.source.at}
        Fix: take list[int] in 'receipt'
        See errors#type-mismatch
    """)


# ----------------------------------------------------------------------------------------------------------------------
# Undo
# ----------------------------------------------------------------------------------------------------------------------


def undo_sources(plan):
    """Return where the parameters of the undo of the last task come from."""
    names = [*plan.names, *(f"<{name}>" for name in plan.input_names)]
    fills = plan.nodes[-1].undo.fills
    return {f.param.name: names[f.slot] if f.kind in {"task", "input"} else f.kind for f in fills}


def test_the_sources_of_an_undo(planning):
    """An undo is filled as if it were a task right after its own: by that, by all before, by inputs and FastAPI."""

    def refund(
        charge: int,
        why: str,
        order: str,
        price: int,
        *,
        db: Annotated[str, Depends(get_session)],
        ctx: TaskContext,
        again: Annotated[int, From("charge")],
        limit: int = 3,
    ): ...

    @task
    def order() -> str: ...

    @task(after=[order])
    def price() -> int: ...

    @task(undo=refund, after=[price])
    def charge() -> int: ...

    plan = planning.plan(charge)
    assert undo_sources(plan) == {
        "charge": "charge",
        "why": "<why>",
        "order": "order",
        "price": "price",
        "db": "injected",
        "ctx": "context",
        "again": "charge",
        "limit": "<limit>",
    }
    assert (plan.nodes[-1].undo.spec.fn, plan.nodes[0].undo, plan.injects) == (refund, None, True)


def test_the_undo_of_a_fan_out(planning):
    """The undo of a fan-out gets one result; what was declared last is what undoes."""

    def declare():
        @task
        def cancel(parcel: Annotated[int, From("ship")], ship: int, line: str = ""): ...

        return cancel

    old = declare()
    lines = task(name="lines")(lambda: [1])

    @task(each={"line": lines}, undo=old)
    def ship(line: int) -> int: ...

    new = declare()
    plan = planning.plan(ship)
    assert undo_sources(plan) == {"parcel": "item", "ship": "item", "line": "<line>"}
    assert plan.nodes[-1].undo.spec is new.spec


@pytest.mark.parametrize(
    ("takes", "each", "problem"),
    [
        (str, None, "Task 'charge' returns int, but task 'refund' takes 'charge' as str."),
        (Outcome[int], None, None),
        # What is undone has succeeded.
        (Failed, None, "Task 'charge' returns int, but task 'refund' takes 'charge' as Failed."),
        # One of many is undone at a time.
        (list[int], "lines", "Task 'charge' returns int, but task 'refund' takes 'charge' as list[int]."),
        (
            Outcome[int],
            "lines",
            "Task 'charge' returns int, but task 'refund' takes 'charge' as Succeeded[int] | Failed | Skipped.",
        ),
    ],
)
def test_what_an_undo_takes(planning, takes, each, problem):
    """The undo of a task takes what that returned."""
    task(name="lines")(lambda: [1])

    def refund(charge): ...

    refund.__annotations__ = {"charge": takes}
    options = {} if each is None else {"each": {"line": each}}

    @task(undo=refund, **options)
    def charge(line: int = 1) -> int: ...

    assert [found.problem() for found in planning.problems(charge)] == ([problem] if problem else [])


def test_an_undo_that_refers_to_another_task(planning):
    """`From` in an undo can only name the task that it undoes."""

    def refund(one: Annotated[int, From("order")]): ...

    task(name="order")(lambda: 1)
    charge = task(name="charge", after=["order"], undo=refund)(lambda: 1)
    assert planning.only(charge) == planning.text(f"""
        Undo 'refund' takes From(...) in 'one'; it can name only 'charge', the task it undoes.
            refund   {charge.spec.undo.source.at}
            charge   {charge.spec.source.at}
        Fix: take it by name: charge
        See errors#plan
    """)


def test_an_undo_with_two_sources(planning):
    """Of two tasks before it that give a name, an undo does not choose either; they are equally far."""

    def refund(address: int): ...

    one = task(name="one", output="address")(lambda: 1)
    two = task(name="two", output="address", after=[one])(lambda: 1)
    charge = task(name="charge", after=[two], undo=refund)(lambda: 1)
    (problem,) = planning.problems(charge)
    assert problem.problem() == "2 tasks provide 'address', and task 'refund' does not say which one it wants."


# ----------------------------------------------------------------------------------------------------------------------
# What is not to be said
# ----------------------------------------------------------------------------------------------------------------------


def test_nothing_is_said_of_what_an_unknown_task_may_give(planning):
    """Below a name that nobody bears, what seems to be missing, or to come twice, may be all right."""

    @task(output="value")
    def one() -> int: ...

    @task(output="value")
    def two() -> int: ...

    @task(after=["nope", one, two], run_if="any_failed")
    def below(value: int, missing: int, one: Annotated[int, From("nor_this")]) -> list[int]: ...

    @task(each=below)
    def far(one_of: int, them: int): ...

    @task(after=[far])
    def last(): ...

    problems = planning.problems(last)
    assert [problem.code for problem in problems] == ["unknown-task", "unknown-task"]
    assert planning.draft(far).plan.inputs == ()


def test_what_is_certain_is_said_all_the_same(planning):
    """A type that certainly does not fit is wrong, whatever else is."""

    @task
    def one() -> int: ...

    @task(after=["nope", one])
    def below(one: str): ...

    assert [problem.code for problem in planning.problems(below)] == ["unknown-task", "type-mismatch"]


def test_all_problems_at_once(planning):
    """Everything that is wrong in all tasks of a chain is told."""

    @task(output="value")
    def one() -> int: ...

    @task(output="value", after=[one])
    def two(value: str) -> int: ...

    @task(after=[two], run_if="any_succeeded")
    def three(value: Failed): ...

    @task(after=[three])
    def four(value: int, db: Annotated[str, Depends(get_session)], /): ...

    codes = [problem.code for problem in planning.problems(four)]
    assert codes == ["type-mismatch", "plan", "ambiguous-producer", "plan"]


def test_a_positional_only_dependency(planning):
    """FastAPI gives values by name, so it cannot fill a parameter that has none to the outside."""

    @task
    def save(db: Annotated[str, Depends(get_session)], /): ...

    assert planning.only(save) == planning.text(f"""
        Parameter 'db' of task 'save' is positional-only, but FastAPI gives values by name.
            declared at   {save.spec.source.at}
        Fix: leave out the `/` behind it in 'save'
        See errors#plan
    """)
