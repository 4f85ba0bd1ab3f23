"""The graph of a chain: what belongs to it, in which order, and what is wrong with it."""

from typing import Annotated

import pytest

from fastapi_chain import CalledInsteadOfNamed, DuplicateTask, From, PlanError, Registry, task
from fastapi_chain.plan.graph import Collector, reading_of


def test_order(planning):
    """Every task stands after all it waits for; otherwise they stand as they are named."""

    @task
    def clean(raw): ...

    @task(after=[clean])
    def save(clean): ...

    @task(after=[clean])
    def index(clean): ...

    @task(after=[save, "index"])
    def notify(save): ...

    plan = planning.plan(notify)
    assert plan.names == ("clean", "save", "index", "notify")
    assert [node.parents for node in plan.nodes] == [(), (0,), (0,), (1, 2)]
    assert plan.children == ((1, 2), (3,), (3,), ())
    assert planning.plan(index, save).names == ("clean", "index", "save")
    assert (planning.plan(index).targets, planning.plan(save, clean, save).targets) == ((1,), (1, 0))


def test_every_way_to_name_a_task(planning):
    """`after`, `each` and `From` are edges; a task that is named twice is waited for once."""

    @task
    def one() -> list[int]: ...

    @task
    def two() -> int: ...

    @task(each=one, after=["two", two])
    def three(item: int, a: Annotated[int, From(two)], *, b: list[int] = From("one")): ...

    plan = planning.plan(three)
    assert plan.names == ("two", "one", "three")
    assert (plan.nodes[2].parents, plan.nodes[2].after, plan.nodes[2].over) == ((0, 1), (0,), 1)


def test_names_in_the_own_registry_first(planning):
    """A name means the task of the same registry, then one of the registries that the chain names, in their order."""
    orders, users = Registry("orders"), Registry("users")
    task(name="both")(lambda: 1)
    own = orders.task(name="both")(lambda: 1)
    task(name="far")(lambda: 1)
    near = users.task(name="far")(lambda: 1)
    last = orders.task(name="last", after=["both", "far"])(lambda: 1)
    plan = planning.plan(last, registries=[users])
    assert [node.spec for node in plan.nodes] == [own.spec, near.spec, last.spec]


def test_each_by_the_name_of_an_output(planning):
    """`each="..."` means an output of that name before a task of that name, which would be another one."""

    @task(output="lines")
    def read_lines() -> list[int]: ...

    @task(output="words")
    def lines() -> list[str]: ...

    @task(each="lines")
    def ship(line: int): ...

    @task(each="read_lines")
    def count(line: int): ...

    assert planning.plan(ship).names == ("read_lines", "ship")
    assert planning.plan(count).names == ("read_lines", "count")
    assert planning.plan(ship, count).names == ("read_lines", "ship", "count")


def test_each_of_two_outputs(planning):
    """Two outputs of the name in `each=` leave it open which is meant."""

    @task(output="lines")
    def one() -> list[int]: ...

    @task(output="lines")
    def two() -> list[int]: ...

    @task(each="lines")
    def ship(line: int): ...

    assert planning.only(ship) == planning.text(f"""
        2 tasks provide 'lines', and each= of task 'ship' does not say which one it means.
            declared at   ship   {ship.spec.source.at}
            provided by   one    {one.spec.source.at}
            provided by   two    {two.spec.source.at}
        Fix, one of:
          - @task(each=one)
          - @task(each=two)
        See errors#plan
    """)


@pytest.mark.parametrize(
    ("options", "problem", "fix"),
    [
        (
            {"after": ["charge_cart"]},
            "Task 'ship' runs after 'charge_cart', but chain 'shop' has no such task.",
            '@task(after=["charge_card"])',
        ),
        (
            {"each": "charge_cart"},
            "Task 'ship' runs for each item of 'charge_cart', but chain 'shop' has no such task.",
            '@task(each="charge_card")',
        ),
    ],
)
def test_an_unknown_task(planning, options, problem, fix):
    """A name that nobody bears is told with all there are, and the near one."""
    task(name="charge_card")(lambda: 1)
    ship = task(name="ship", **options)(lambda item: 1)
    assert planning.only(ship) == planning.text(f"""
        {problem}
            declared at   {ship.spec.source.at}
            tasks known   charge_card, ship
        Fix, one of:
          - write {fix}
          - import the module that defines 'charge_cart' before the app starts
        See errors#unknown-task
    """)


def test_an_unknown_task_in_from(planning):
    """`From` of a name that nobody bears is told as well, also for what a string annotation says."""

    def ship(a: 'Annotated[int, From("charge_cart")]', b: "Annotated[int, From(charge())]"): ...

    async def charge(): ...

    made = task(ship)
    unknown, called = planning.problems(made)
    assert str(unknown).splitlines()[0] == "Task 'ship' takes 'charge_cart', but chain 'shop' has no such task."
    assert (type(called), str(called)) == (
        CalledInsteadOfNamed,
        planning.text(f"""
            From() in task 'ship' got the coroutine that charge() returned; it wants the task itself.
                written   From(charge())   {made.spec.source.at}
            Fix: From(charge)
            See errors#called-instead-of-named
        """),
    )


def test_tasks_that_wait_for_each_other(planning):
    """Tasks in a circle are shown as one, each with what it waits for, as it is written."""

    @task(after=["charge_card"])
    def reserve_stock(payment): ...

    @task(after=["write_invoice"], output="payment")
    def charge_card(invoice): ...

    @task(after=[reserve_stock], output="invoice")
    def write_invoice(): ...

    # As it is, `payment` is not the name of a task, so the option is shown.
    assert planning.only(reserve_stock) == planning.text(f"""
        3 tasks wait for each other, so none of them can ever start.
            ╭─>   reserve_stock   after=[charge_card]     {reserve_stock.spec.source.at}
            │     charge_card     after=[write_invoice]   {charge_card.spec.source.at}
            ╰─<   write_invoice   after=[reserve_stock]   {write_invoice.spec.source.at}
        Fix, one of:
          - drop after=[reserve_stock] from 'write_invoice'
          - split a task in two, so that the half which is needed early needs nothing late
        See errors#cycle
    """)


def test_a_circle_of_values(planning):
    """A task that waits for a value is shown with the parameter that takes it."""

    @task(after=["second"])
    def first(second): ...

    @task(after=[first])
    def second(first): ...

    @task
    def third(a: Annotated[int, From("third")]): ...

    both, itself = planning.problems(second, third)
    assert str(both).splitlines()[1:3] == [
        f"    ╭─>   second   needs 'first'    {second.spec.source.at}",
        f"    ╰─<   first    needs 'second'   {first.spec.source.at}",
    ]
    assert str(itself) == planning.text(f"""
        Task 'third' waits for itself, so it can never start.
            third   needs 'a'   {third.spec.source.at}
        Fix: drop parameter 'a' from 'third'
        See errors#cycle
    """)


def test_two_circles_are_two_problems(planning):
    """Each circle is told once, however many ways lead into it."""
    a = task(name="a", after=["b", "c"])(lambda: 1)
    b = task(name="b", after=["a"])(lambda: 1)
    task(name="c", after=["a", "b"])(lambda: 1)
    end = task(name="end", after=[a, b, "c"])(lambda: 1)
    circles = [[place.name for place, _ in problem.path] for problem in planning.problems(end)]
    assert circles == [["a", "b"], ["a", "c"]]


def test_a_tangle(planning):
    """Where everything waits for everything, a few circles are shown, not millions."""
    names = [f"t{i}" for i in range(30)]
    made = [task(name=name, after=names)(lambda: 1) for name in names]
    assert len(planning.problems(*made)) == 20


def test_one_name_from_two_registries(planning):
    """Two tasks of one name cannot be in one chain: results are looked up by name."""
    orders = Registry("orders")
    one = task(name="save")(lambda: 1)
    two = orders.task(name="save")(lambda: 1)
    (problem,) = planning.problems(one, two)
    assert type(problem) is DuplicateTask
    assert str(problem) == planning.text(f"""
        Two tasks of chain 'shop' are both called 'save'.
            first    {one.spec.source.at}
            second   {two.spec.source.at}
        Fix, one of:
          - rename one: @task(name="save_2")
          - if this is one file imported under two names, import it under one
        See errors#duplicate-task
    """)


def test_references_by_object(planning, monkeypatch):
    """As long as nothing has been declared anew, a task means itself, and nobody has to look."""
    monkeypatch.setattr(Registry, "reloads", 0)
    clean = task(name="clean")(lambda: 1)
    save = task(name="save", after=[clean])(lambda clean: 1)
    assert [node.spec for node in planning.plan(save).nodes] == [clean.spec, save.spec]


def test_references_mean_what_was_declared_last(planning):
    """A task that refers to one that has been declared anew since then means the new one."""

    def declare():
        @task
        def clean(): ...

        return clean

    old = declare()
    save = task(name="save", after=[old])(lambda clean: 1)
    new = declare()
    assert [node.spec for node in planning.plan(save).nodes] == [new.spec, save.spec]


def test_signatures_are_read_late(planning):
    """A signature is read at the first check, and kept when everything in it is known."""
    names: dict[str, object] = {"task": task}
    exec("@task\ndef late(a: 'Later') -> int: ...", names)
    late = names["late"]
    before = reading_of(late.spec)
    names["Later"] = int
    after = reading_of(late.spec)
    assert (before.signature.params[0].type, after.signature.params[0].type) == ("Later", int)
    assert reading_of(late.spec) is after


def test_undo_tasks_are_no_part_of_the_graph(planning):
    """What an undo names in its own options does not count: it runs when the run has failed, not before."""

    @task(after=["nobody"])
    def refund(charge: int) -> None: ...

    @task(undo=refund)
    def charge() -> int: ...

    assert planning.plan(charge).names == ("charge",)


def test_a_chain_of_many_tasks():
    """Nothing recurses: a chain is as long as it may be, and so is a circle."""
    tasks = [task(name="t0", after=["t4999"])(lambda: 1)]
    for i in range(1, 5_000):
        tasks.append(task(name=f"t{i}", after=[tasks[-1]])(lambda: 1))
    graph = Collector("shop", [tasks[0].spec.registry]).collect([tasks[-1].spec])
    assert len(graph.order) == 5_000
    (circle,) = graph.problems
    assert circle.problem() == "5000 tasks wait for each other, so none of them can ever start."


def test_all_problems_of_a_graph_at_once(planning):
    """Every unknown name and every circle is told, in the order in which the graph is walked."""
    a = task(name="a", after=["nope", "b", "nor_this"])(lambda: 1)
    task(name="b", after=["a"])(lambda: 1)
    problems = planning.problems(a)
    assert all(isinstance(problem, PlanError) for problem in problems)
    assert [problem.code for problem in problems] == ["unknown-task", "unknown-task", "cycle"]
