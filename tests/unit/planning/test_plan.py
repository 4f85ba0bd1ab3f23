"""What a plan says, and how many tasks it may have."""

import pickle
import time

import pytest

from fastapi_chain import Failed, InvalidChain, task
from fastapi_chain.plan.upstream import Reach


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
    ("parents", "asked", "found"),
    [
        ([(), (0,)], {}, {}),
        # Far up, through others, and not beside.
        ([(), (0,), (1,), (), (3,)], {2: {"t0"}, 4: {"t0"}}, {(2, "t0"): [0], (4, "t0"): []}),
        # What is dropped once its children have it does not get lost.
        (
            [(), (0,), (0,), (1, 2), (3,)],
            {4: {"t0", "t2"}, 3: {"t1"}},
            {(4, "t0"): [0], (4, "t2"): [2], (3, "t1"): [1]},
        ),
        # Several of one name, and of names that nobody has asked about.
        ([(), (0,), (1,), (2,)], {3: {"same"}}, {(3, "same"): [0, 2], (3, "t1"): []}),
        # A circle leads nowhere.
        ([(1,), (0,), (1,)], {2: {"t0"}}, {(2, "t0"): [0]}),
    ],
)
def test_reach(parents, asked, found):
    """Which tasks are above which, and give a value of some name, is found in one pass; likewise what is below."""
    producers = {f"t{i}": [i] for i in range(len(parents))}
    if any("same" in names for names in asked.values()):
        producers = {"same": [0, 2], "t1": [1], "t3": [3]}
    reach = Reach(producers.__getitem__, asked, parents)
    assert {pair: list(reach.of(pair[1], pair[0])) for pair in found} == found
    assert all(len(reach.of(name, i)) == len(found[i, name]) for i, name in found)


def test_reach_downwards():
    """What is below a task is found the same way; what is not is known as well."""
    producers = {"same": [1, 2, 4], "t0": [0]}
    reach = Reach(producers.__getitem__, {0: {"same"}}, [(1,), (4,), (3,), (), ()], downwards=True)
    assert (list(reach.of("same", 0)), list(reach.of("same", 0).others)) == ([1, 4], [2])
    assert list(reach.of("same", 3).others) == [1, 2, 4]


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


def shared(i: int, names: str, after: list[object], *, output: str = "value") -> object:
    """Return one of many tasks that give a value of one name."""
    found: dict[str, object] = {}
    exec(f"def f({names}): ...", found)
    return task(name=f"t{i}", output=output, after=after)(found["f"])


def test_very_many_tasks_that_share_an_output_name(planning):
    """They are planned about as fast as as many others, whichever of them take it: nobody looks at all of them."""

    def took(*targets: object) -> float:
        began = time.process_time()
        planning.plan(*targets)
        return time.process_time() - began

    count = 4_000
    plain, row = [shared(0, "", [], output="v0")], [shared(count, "", [])]
    for i in range(1, count):
        plain.append(shared(i, f"v{i - 1}", plain[-1:], output=f"v{i}"))
        row.append(shared(count + i, "value", row[-1:]))
    apart = [shared(2 * count + i, "value", []) for i in range(count)]
    usual = took(plain[-1])
    # When each looked at all others, it took some fifty times as long.
    assert took(row[-1]) < 10 * usual
    assert took(*apart) < 10 * usual
    plan = planning.plan(row[-1])
    assert [fill.slot for fill in plan.nodes[-1].fills] == [count - 2]
    plan = planning.plan(*apart)
    assert (plan.required, len(plan.inputs[0].needs)) == (("value",), count)
    # Each of them could come before any of the others.
    assert {need.elsewhere.name for need in plan.inputs[0].needs[1:]} == {f"t{2 * count}"}


def test_thousands_of_sources(planning):
    """Of very many tasks that give a name, the first are shown, and how many more there are."""
    row: list[object] = []
    for i in range(2_000):
        row.append(shared(i, "", row[-1:]))
    row.append(shared(2_000, "", row[-1:], output="other"))
    end = shared(2_001, "value", row[-1:], output="end")
    (problem,) = planning.problems(end)
    lines = str(problem).splitlines()
    assert lines[0] == "2000 tasks provide 'value', and task 't2001' does not say which one it wants."
    assert [line.split()[:3] for line in lines[1:4]] == [
        ["wanted", "by", "t2001"],
        ["provided", "by", "t0"],
        ["provided", "by", "t1"],
    ]
    assert (lines[21].split()[:3], lines[22]) == (["provided", "by", "t19"], "    provided by   1980 more")


def test_very_many_tasks_below_that_give_a_name(planning):
    """A task that must be given what only tasks below it give has no other source: nobody is proposed."""
    row: list[object] = []
    for i in range(1_000):
        row.append(shared(i, "value" if i < 500 else "", row[-1:], output="other" if i < 500 else "value"))
    plan = planning.plan(row[-1])
    assert {need.elsewhere for need in plan.inputs[0].needs} == {None}
