"""What a plan says, and how many tasks it may have."""

import pickle

import pytest

from fastapi_chain import Failed, InvalidChain, task
from fastapi_chain.plan.upstream import reached


def test_what_a_node_says(planning):
    """A node has its task's name and how often that may be tried."""
    clean = task(name="clean", retries=3)(lambda: 1)
    save = task(name="save", after=[clean])(lambda: 1)
    one, two = planning.plan(save).nodes
    assert [(node.index, node.name, node.max_attempts) for node in (one, two)] == [(0, "clean", 4), (1, "save", 1)]
    assert [(node.spec, node.children, node.over) for node in (one, two)] == [
        (clean.spec, (1,), None),
        (save.spec, (), None),
    ]


def test_what_a_plan_says(planning):
    """A plan has the arrays that a run counts in."""
    clean = task(name="clean")(lambda raw: 1)
    save = task(name="save", after=[clean])(lambda clean: 1)
    index = task(name="index", after=[clean, save])(lambda clean, limit=3: 1)
    plan = planning.plan(index)
    assert (plan.chain, plan.names, dict(plan.index)) == (
        "shop",
        ("clean", "save", "index"),
        {"clean": 0, "save": 1, "index": 2},
    )
    assert (plan.indegrees, plan.children, plan.targets) == ((0, 1, 2), ((1, 2), (2,), ()), (2,))
    assert (plan.input_names, plan.required, plan.conditional) == (("raw", "limit"), ("raw",), b"\0\0\0")


def test_what_a_task_could_take(planning):
    """A task can take what any task before it gives."""
    top = task(name="top", output="a")(lambda: 1)
    left = task(name="left", after=[top], output="b")(lambda: 1)
    right = task(name="right", after=[top], output="c")(lambda: 1)
    end = task(name="end", after=[left, right])(lambda: 1)
    plan = planning.plan(end)
    assert [plan.provides_to(i) for i in range(4)] == [(), ("a",), ("a",), ("a", "b", "c")]


def test_what_tasks_take_by_name(planning):
    """A plan tells which parameters tasks upstream fill because of their name, those of undos included."""

    def refund(clean, save): ...

    clean = task(name="clean")(lambda raw: 1)
    save = task(name="save", after=[clean], undo=refund)(lambda clean: 1)
    taken = [(spec.name, fill.param.name) for spec, fill in planning.plan(save).taken()]
    assert taken == [("save", "clean"), ("refund", "clean"), ("refund", "save")]


def test_a_plan_with_problems(planning):
    """There is no plan as long as anything is wrong; all of it is told at once, and survives a pickle."""

    @task
    def one() -> int: ...

    @task(after=["nope", one])
    def two(one: str): ...

    @task(after=[one], run_if="any_succeeded")
    def three(one: Failed): ...

    with pytest.raises(InvalidChain) as caught:
        planning.plan(two, three)
    at = {made.name: made.spec.source.at for made in (one, two, three)}
    expected = planning.text(f"""
        Chain 'shop' cannot run: 3 problems.

        1. Task 'two' runs after 'nope', but chain 'shop' has no such task.
               declared at   {at["two"]}
               tasks known   one, two, three
           Fix: import the module that defines 'nope' before the app starts
           See errors#unknown-task

        2. Task 'one' returns int, but task 'two' takes 'one' as str.
               returned   one(...) -> int   {at["one"]}
               taken      two(one: str)     {at["two"]}
           Fix, one of:
             - take int in 'two'
             - return str in 'one'
           See errors#type-mismatch

        3. Task 'three' can never run: it wants outcomes of 'one' that exclude each other.
               takes one: Failed        {at["three"]}
               run_if='any_succeeded'   {at["three"]}
               one                      {at["one"]}
           Fix, one of:
             - take Outcome[...] in 'three' and look at what it is
             - make two tasks of it
           See errors#plan
    """)
    assert str(caught.value) == expected
    copy = pickle.loads(pickle.dumps(caught.value))
    assert (type(copy), str(copy), len(copy.problems)) == (InvalidChain, expected, 3)
    assert [str(problem) for problem in copy.problems] == [str(problem) for problem in caught.value.problems]


@pytest.mark.parametrize(
    ("parents", "asked", "pairs"),
    [
        ([(), (0,)], {}, set()),
        # Far up, through others, and not beside.
        ([(), (0,), (1,), (), (3,)], {2: [0], 4: [0]}, {(2, 0)}),
        # What is dropped once its children have it does not get lost.
        ([(), (0,), (0,), (1, 2), (3,)], {4: [0, 2], 3: [1]}, {(4, 0), (4, 2), (3, 1)}),
        # A circle leads nowhere.
        ([(1,), (0,), (1,)], {2: [0]}, {(2, 0)}),
    ],
)
def test_reached(parents, asked, pairs):
    """Which tasks are above which is found in one pass."""
    assert reached(parents, asked) == pairs


def test_a_long_chain(planning):
    """A chain of many tasks, each of which takes what the first and the last but one have given, is planned at once."""
    tasks = [task(name="first")(lambda x: x)]
    for i in range(2_999):
        names: dict[str, object] = {}
        exec(f"def f(first, x{f', t{i - 2}' if i > 1 else ''}): ...", names)
        tasks.append(task(name=f"t{i}", after=[tasks[-1]])(names["f"]))
    plan = planning.plan(tasks[-1])
    assert (len(plan.nodes), plan.required) == (3_000, ("x",))
    assert planning.sources(plan, tasks[-1]) == {"first": "first", "x": "<x>", "t2996": "t2996"}


def test_a_wide_graph(planning):
    """A task may wait for very many others and take something of each."""
    tasks = [task(name=f"t{i}")(lambda: 1) for i in range(2_000)]
    names: dict[str, object] = {}
    exec(f"def end({', '.join(made.name for made in tasks)}): ...", names)
    end = task(after=tasks)(names["end"])
    plan = planning.plan(end)
    assert (plan.nodes[-1].parents, len(plan.nodes[-1].fills)) == (tuple(range(2_000)), 2_000)
