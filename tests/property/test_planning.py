"""Random graphs, planned, against a naive reading of the rules."""

import graphlib
from collections.abc import Iterator
from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from fastapi_chain import AmbiguousProducer, CycleError, From, Registry
from fastapi_chain.plan import Draft, draft_plan

OUTPUTS = ("order", "price", "paid")
"""Names that several tasks may give, and inputs may bear."""


@dataclass(frozen=True)
class Declared:
    """A task of a random graph; others are meant by their number."""

    output: str | None
    """None: its own name."""
    after: tuple[int, ...]
    references: tuple[int, ...]
    """In `From`."""
    takes: tuple[tuple[str, bool], ...]
    """The parameters that are filled by name: the name, and whether there is a default."""


def name_of(i: int) -> str:
    return f"t{i}"


def output_of(tasks: list[Declared], i: int) -> str:
    return tasks[i].output or name_of(i)


@st.composite
def graphs(draw: st.DrawFn) -> list[Declared]:
    """Draw tasks, each of which names some of those before it."""
    tasks: list[Declared] = []
    for i in range(draw(st.integers(1, 12))):
        before = st.lists(st.integers(0, i - 1), unique=True, max_size=3) if i else st.just([])
        names = [*OUTPUTS, *(name_of(j) for j in range(i)), "x"]
        takes = draw(st.dictionaries(st.sampled_from(names), st.booleans(), max_size=4))
        output = draw(st.none() | st.sampled_from(OUTPUTS))
        # Parameters without a default come first.
        ordered = sorted(takes.items(), key=lambda item: item[1])
        tasks.append(Declared(output, tuple(draw(before)), tuple(draw(before)), tuple(ordered)))
    return tasks


def draft(tasks: list[Declared], targets: list[int], order: list[int]) -> Draft:
    """Declare *tasks* in that order, each naming the others by name, and plan those of *targets*."""
    registry = Registry("random")
    for i in order:
        declared = tasks[i]
        params = [f"{name}{'=None' if default else ''}" for name, default in declared.takes]
        params += [f"ref{j}=From('{name_of(j)}')" for j in declared.references]
        names: dict[str, object] = {"From": From}
        exec(f"def task({', '.join(params)}): ...", names)
        registry.task(name=name_of(i), output=declared.output, after=[name_of(j) for j in declared.after])(
            names["task"]
        )
    return draft_plan("random", [registry[name_of(i)].spec for i in targets], [registry])


def ancestors(tasks: list[Declared], i: int) -> set[int]:
    """Return all tasks above task *i*, the slow way."""
    above = {*tasks[i].after, *tasks[i].references}
    return above.union(*(ancestors(tasks, j) for j in above))


def sources(tasks: list[Declared], i: int, name: str) -> list[int]:
    """Return the tasks that give *name* to task *i*: near ones, else far ones."""
    near = [j for j in {*tasks[i].after, *tasks[i].references} if output_of(tasks, j) == name]
    return near or [j for j in ancestors(tasks, i) if output_of(tasks, j) == name]


def expected(tasks: list[Declared], i: int) -> Iterator[tuple[str, str]]:
    """Yield where each parameter of task *i* comes from: the name of a task, `input`, or `ambiguous`."""
    for name, _ in tasks[i].takes:
        found = sources(tasks, i, name)
        yield name, "input" if not found else name_of(found[0]) if len(found) == 1 else "ambiguous"
    for j in tasks[i].references:
        yield f"ref{j}", name_of(j)


@given(tasks=graphs(), data=st.data())
def test_plans_follow_the_rules(tasks, data):
    """A plan has what its targets need, in order, and each parameter comes from where the rules say."""
    numbers = list(range(len(tasks)))
    targets = data.draw(st.lists(st.sampled_from(numbers), min_size=1, unique=True))
    made = draft(tasks, targets, data.draw(st.permutations(numbers)))
    plan = made.plan

    wanted = set(targets).union(*(ancestors(tasks, i) for i in targets))
    assert set(plan.names) == {name_of(i) for i in wanted}
    assert [plan.names[i] for i in plan.targets] == [name_of(i) for i in targets]
    for node in plan.nodes:
        declared = tasks[int(node.name[1:])]
        assert all(parent < node.index for parent in node.parents)
        assert {plan.names[p] for p in node.parents} == {name_of(j) for j in (*declared.after, *declared.references)}
        assert all(node.index in plan.children[p] for p in node.parents)

    ambiguous = set()
    for i in wanted:
        rules = dict(expected(tasks, i))
        found = {f.param.name: f for f in plan.nodes[plan.index[name_of(i)]].fills}
        for name, source in rules.items():
            if source == "ambiguous":
                ambiguous.add((name_of(i), name))
                assert name not in found
            else:
                fill = found[name]
                assert source == ("input" if fill.kind == "input" else plan.names[fill.slot])
    assert {(problem.task.name, problem.param) for problem in made.problems} == ambiguous
    assert all(type(problem) is AmbiguousProducer for problem in made.problems)
    needed = [(i, n) for i in wanted for n, default in tasks[i].takes if not default and not sources(tasks, i, n)]
    assert set(plan.required) == {name for _, name in needed}
    # Each is told of a task that could come before, if there is any.
    proposed = {(need.task.name, item.name): need.elsewhere for item in plan.inputs for need in item.needs}
    for i, name in needed:
        givers = [j for j in numbers if output_of(tasks, j) == name and j != i]
        could = {name_of(j) for j in givers if j not in wanted or i not in ancestors(tasks, j)}
        found = proposed[name_of(i), name]
        assert (found.name in could) if found else not could


@given(edges=st.sets(st.tuples(st.integers(0, 8), st.integers(0, 8)), max_size=20))
def test_circles_are_found(edges):
    """There is a problem exactly if tasks wait for each other, and what is shown is such a circle."""
    tasks = [Declared(None, tuple(sorted(b for a, b in edges if a == i)), (), ()) for i in range(9)]
    made = draft(tasks, list(range(9)), list(range(9)))
    try:
        graphlib.TopologicalSorter({i: declared.after for i, declared in enumerate(tasks)}).prepare()
    except graphlib.CycleError:
        assert made.problems
    else:
        assert made.problems == ()
    for problem in made.problems:
        assert type(problem) is CycleError
        path = [int(source.name[1:]) for source, _ in problem.path]
        assert all(pair in edges for pair in zip(path, [*path[1:], path[0]], strict=True))
        assert len(set(path)) == len(path)
