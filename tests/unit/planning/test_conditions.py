"""Whether a task can ever run."""

from typing import Annotated

import pytest

from fastapi_chain import Failed, From, Outcome, Skipped, Succeeded, task


def tasks():
    """Return the task that others ask about, and one beside it."""
    return task(name="charge")(lambda: 1), task(name="other")(lambda: 1)


@pytest.mark.parametrize(
    ("annotations", "run_if"),
    [
        ({"charge": Failed}, "all_succeeded"),
        ({"charge": Failed}, "any_failed"),
        ({"charge": Failed | Skipped}, "any_failed"),
        ({"charge": Skipped}, "any_failed"),  # skipped because something failed
        ({"charge": Outcome[int]}, "any_failed"),
        ({"charge": int}, "any_succeeded"),
        ({"charge": Outcome[int]}, "any_succeeded"),
        ({"charge": Failed}, "all_done"),
        ({}, "any_failed"),
        ({}, "any_succeeded"),
        ({}, "all_done"),
        # Both may be what is wanted.
        ({"charge": Succeeded[int] | Failed, "again": Annotated[Failed | Skipped, From("charge")]}, "all_succeeded"),
    ],
)
def test_possible(planning, annotations, run_if):
    """A task whose wishes can be met together is left in peace."""
    charge, _ = tasks()
    assert planning.problems(asking(annotations, after=[charge], run_if=run_if)) == ()


def asking(annotations, **options):
    """Return a task with parameters of these types."""
    names: dict[str, object] = {}
    exec(f"def audit({', '.join(annotations)}): ...", names)
    names["audit"].__annotations__ = annotations
    return task(**options)(names["audit"])


@pytest.mark.parametrize(
    ("annotations", "run_if", "rows"),
    [
        # One task cannot both fail and succeed.
        (
            {"charge": Failed, "paid": Annotated[int, From("charge")]},
            "all_succeeded",
            ["takes charge: Failed", "takes paid: int"],
        ),
        # Where none may have failed, nothing has.
        ({"charge": int}, "any_failed", ["takes charge: int", "run_if='any_failed'"]),
        ({"charge": Failed}, "any_succeeded", ["takes charge: Failed", "run_if='any_succeeded'"]),
    ],
)
def test_impossible(planning, annotations, run_if, rows):
    """A task that could never run is told, with what excludes each other."""
    charge, _ = tasks()
    audit = asking(annotations, after=[charge], run_if=run_if)
    width = max(map(len, rows))
    places = [*(f"    {row:{width}}   {audit.spec.source.at}" for row in rows)]
    places.append(f"    {'charge':{width}}   {charge.spec.source.at}")
    assert planning.only(audit).splitlines() == [
        "Task 'audit' can never run: it wants outcomes of 'charge' that exclude each other.",
        *places,
        "Fix, one of:",
        "  - take Outcome[...] in 'audit' and look at what it is",
        "  - make two tasks of it",
        "See errors#plan",
    ]


def test_one_of_several(planning):
    """One task in `after` of which nothing is taken is enough to fail, or to succeed."""
    charge, other = tasks()
    assert planning.problems(asking({"charge": int}, after=[charge, other], run_if="any_failed")) == ()
    assert (
        len(
            planning.problems(
                asking({"charge": int, "other": int}, name="both", after=[charge, other], run_if="any_failed")
            )
        )
        == 1
    )


def test_a_default_can_always_stand_in(planning):
    """A parameter with a default keeps no task from running."""
    charge, _ = tasks()

    @task(after=[charge])
    def audit(charge: int, failed: Annotated[Failed, From("charge")] = None): ...

    assert planning.problems(audit) == ()


@pytest.mark.parametrize("run_if", ["any_failed", "any_succeeded"])
def test_a_condition_about_nothing(planning, run_if):
    """A condition on the tasks before needs some."""
    alert = task(name="alert", run_if=run_if)(lambda: 1)
    assert planning.only(alert) == planning.text(f"""
        Task 'alert' has run_if={run_if!r}, which is about the tasks before it, and there are none.
            declared at   {alert.spec.source.at}
        Fix: name them: @task(after=[...], run_if={run_if!r})
        See errors#plan
    """)


def test_a_condition_about_references(planning):
    """Where `after` is left out, the condition is about the tasks in `From`, which stands for it."""
    charge, other = tasks()

    @task(run_if="any_failed")
    def alert(a: Annotated[Outcome[int], From(charge)], b: Annotated[Outcome[int], From(other)]): ...

    @task(run_if="any_failed", after=[other])
    def near(a: Annotated[Outcome[int], From(charge)]): ...

    assert planning.plan(alert).nodes[-1].after == (0, 1)
    assert [planning.plan(near).names[i] for i in planning.plan(near).nodes[-1].after] == ["other"]


def test_conditional_tasks(planning):
    """A plan knows which tasks may be left out although everything before them went well."""
    charge, _ = tasks()
    refund = asking({"charge": Failed}, name="refund", after=[charge])
    alert = task(name="alert", after=[charge], run_if="any_failed")(lambda: 1)
    audit = asking({"charge": Outcome[int]}, name="audit", after=[charge])
    last = task(name="last", after=[charge], run_if="any_succeeded")(lambda: 1)
    plan = planning.plan(charge, refund, alert, audit, last)
    assert dict(zip(plan.names, plan.conditional, strict=True)) == {
        "charge": 0,
        "refund": 1,
        "alert": 1,
        "audit": 0,
        "last": 0,
    }
