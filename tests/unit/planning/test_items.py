"""Fan-out: which parameter takes the item."""

from collections.abc import Iterable, Mapping
from typing import Annotated, Any

import pytest
from fastapi import Depends
from pydantic import BaseModel

from fastapi_chain import From, Outcome, TaskContext, task


class Line(BaseModel):
    """What there are many of."""

    sku: str


class Long(Line):
    """One kind of them."""


def get_session() -> str: ...


def listing(returns: object = list[Line]):
    """Return a task that gives a list."""

    def lines(): ...

    lines.__annotations__ = {"return": returns}
    return task(lines)


def item(planning, ship) -> str | None:
    """Return the parameter of *ship* that takes the item."""
    node = planning.plan(ship).nodes[-1]
    return next((fill.param.name for fill in node.fills if fill.kind == "item"), None)


@pytest.mark.parametrize(
    ("given", "takes"),
    [
        (list[Line], Line),
        (list[Long], Line),
        (list[Line], Line | None),
        (tuple[Line, ...], Line),
        (set[int], float),
        (Iterable[Line], Line),
        # What is not known fits what is open.
        (list, Line),
        (list[Any], Line),
        (Any, Line),
        (list[Line], Any),
        (list[Line], object),
    ],
)
def test_the_type_decides(planning, given, takes):
    """The one parameter whose type certainly accepts the item takes it."""
    lines = listing(given)

    @task(each=lines)
    def ship(line: takes, ctx: TaskContext, limit: int = 3): ...

    assert item(planning, ship) == "line"


def test_what_else_is_filled(planning):
    """A parameter that something else fills is not for the item, though it could take it."""
    lines = listing()

    @task
    def other() -> Line: ...

    @task(each=lines, after=[other])
    def ship(
        line: Line,
        other: Line,
        *,
        named: Annotated[Line, From(other)],
        injected: Annotated[Line, Depends(get_session)],
        spare: Line | None = None,
        lines: list[Line],
    ): ...

    plan = planning.plan(ship)
    assert planning.sources(plan, ship) == {
        "line": "item",
        "other": "other",
        "named": "other",
        "injected": "injected",
        "spare": "<spare>",
        "lines": "lines",
    }


def test_the_item_that_is_named(planning):
    """`each={"line": lines}` says it outright, also where the type does not, or there is a default."""
    lines = listing()

    @task(each={"line": lines})
    def one(line, other: Line): ...

    @task(each={"line": lines})
    def two(line: Line | None = None): ...

    assert [item(planning, made) for made in (one, two)] == ["line", "line"]
    assert planning.plan(one).input_names == ("other",)


def test_a_fan_out_feeds_a_fan_out(planning):
    """The results of a fan-out are a list like any other."""
    lines = listing()

    @task(each=lines)
    def ship(line: Line) -> int: ...

    @task(each=ship)
    def track(parcel: int, lines: list[Line]): ...

    @task(each=track)
    def end(it: Any): ...

    assert item(planning, track) == "parcel"
    assert item(planning, end) == "it"


def test_an_outcome_is_no_item(planning):
    """Items come as they are, so a parameter of an outcome type does not take one, unless they are outcomes."""
    lines = listing(list[Outcome[Line]])

    @task(each=lines)
    def ship(line: Outcome[Line], order: int): ...

    (fill, _) = planning.plan(ship).nodes[-1].fills
    assert (fill.kind, fill.param.name, fill.param.outcomes) == ("item", "line", set())

    @task
    def more_lines() -> list[Line]: ...

    @task(each=more_lines)
    def pack(line: Outcome[Line]): ...

    (problem,) = planning.problems(pack)
    assert problem.problem().endswith("but none of its parameters certainly takes it.")


def test_several_could_take_the_item(planning):
    """Of several parameters that could take the item, none is chosen."""
    lines = listing()

    @task(each=lines)
    def ship(line: Line, spare: Line, order: str): ...

    assert planning.only(ship) == planning.text(f"""
        Task 'ship' runs for each item of 'lines', but 2 of its parameters could take the item.
            lines(...) -> list[Line]        {lines.spec.source.at}
            ship(line: Line, spare: Line)   {ship.spec.source.at}
        Fix, one of:
          - say which: each={{"line": lines}}
          - say which: each={{"spare": lines}}
        See errors#plan
    """)


def test_none_certainly_takes_the_item(planning):
    """A parameter that does not fit, or does not say what it takes, is not chosen either."""
    lines = listing()

    @task(each=lines)
    def ship(line, order: str): ...

    @task(each=lines)
    def count(): ...

    for made in (ship, count):
        (problem,) = planning.problems(made)
        first = f"Task {made.name!r} runs for each item of 'lines', but none of its parameters certainly takes it."
        assert problem.problem() == first
    assert planning.only(ship) == planning.text(f"""
        Task 'ship' runs for each item of 'lines', but none of its parameters certainly takes it.
            lines(...) -> list[Line]   {lines.spec.source.at}
            ship(line, order: str)     {ship.spec.source.at}
        Fix, one of:
          - say which: each={{"line": lines}}
          - say which: each={{"order": lines}}
        See errors#plan
    """)
    assert planning.only(count).splitlines()[2:4] == [
        f"    count()                    {count.spec.source.at}",
        "Fix: add a parameter for the item to 'count'",
    ]


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        (int, "int"),
        (str, "str"),
        (Mapping[str, Line], "Mapping[str, Line]"),
        (Line, "Line"),
        (list[Line] | None, "list[Line] | None"),
    ],
)
def test_no_list(planning, given, shown):
    """What is certainly no list has no items, whichever parameter takes them."""
    lines = listing(given)

    @task(each=lines)
    def ship(line: Line): ...

    @task(each={"line": lines})
    def named(line: Line): ...

    assert planning.only(ship).splitlines()[-2:] == ["Fix: return a list in 'lines'", "See errors#plan"]
    width = max(len(f"lines(...) -> {shown}"), len("named(line: Line)"))
    assert planning.only(named) == planning.text(f"""
        Task 'lines' returns {shown}, but task 'named' takes each item, 'line', as Line.
            returned   {f"lines(...) -> {shown}":{width}}   {lines.spec.source.at}
            taken      {"named(line: Line)":{width}}   {named.spec.source.at}
        Fix: return list[Line] in 'lines'
        See errors#type-mismatch
    """)


def test_items_of_another_type(planning):
    """The parameter that `each=` names must be able to take the item."""
    lines = listing()

    @task(each={"line": lines})
    def ship(line: int): ...

    assert planning.only(ship).splitlines()[0] == (
        "Task 'lines' returns list[Line], but task 'ship' takes each item, 'line', as int."
    )


def test_no_such_parameter(planning):
    """A name in `each=` that no parameter bears is told with the near one."""
    lines = listing()

    @task(each={"lime": lines})
    def ship(line: Line | None = None): ...

    assert planning.only(ship) == planning.text(f"""
        Nothing provides 'lime', a parameter of task 'ship'.
            declared at      {ship.spec.source.at}
            upstream gives   line
        Fix, one of:
          - rename it to 'line'
          - give it a default: lime = ...
          - inject it: lime: Annotated[..., Depends(...)]
        See errors#unknown-parameter
    """)


def test_a_parameter_that_is_filled_otherwise(planning):
    """The parameter that `each=` names must not be filled by anything else."""
    lines = listing()

    @task(each={"db": lines})
    def ship(db: Annotated[Line, Depends(get_session)]): ...

    assert planning.only(ship) == planning.text(f"""
        Parameter 'db' of task 'ship' is to take the item, but something else fills it.
            lines(...) -> list[Line]   {lines.spec.source.at}
            ship(db: Line)             {ship.spec.source.at}
        Fix: add a parameter for the item to 'ship'
        See errors#plan
    """)


def test_a_list_without_a_type(planning):
    """A list that says nothing is shown without an arrow."""

    @task
    def lines(): ...

    @task(each=lines)
    def ship(one: Line, two: Line): ...

    assert planning.only(ship).splitlines()[1:3] == [
        f"    lines(...)                   {lines.spec.source.at}",
        f"    ship(one: Line, two: Line)   {ship.spec.source.at}",
    ]
