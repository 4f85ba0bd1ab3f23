"""The options of `@task`: what each becomes, and what is refused."""

import functools
import warnings

import pytest
import tenacity

from fastapi_chain import Backoff, BadOption, CalledInsteadOfNamed, DeclarationError, task
from fastapi_chain._text import short_repr
from fastapi_chain.spec import Each, Rate


async def clean() -> int: ...


async def lines() -> list[int]: ...


def spec(**options):
    """Return the spec of a task with these options."""
    return task(name="save", **options)(lambda: None).spec


def test_defaults():
    """A bare task is tried once, without any limit, and needs nothing."""
    bare = spec()
    assert (bare.name, bare.output, bare.after, bare.each, bare.undo) == ("save", "save", (), None, None)
    assert (bare.retries, bare.backoff, bare.retry_on, bare.give_up_on) == (0, Backoff(), (Exception,), ())
    assert (bare.policy, bare.timeout, bare.limit, bare.rate) == (None, None, None, None)
    assert (bare.run_if, bare.optional, bare.effect, bare.queue) == ("all_succeeded", False, "safe", None)


POLICY = tenacity.AsyncRetrying(stop=tenacity.stop_after_attempt(2))


@pytest.mark.parametrize(
    ("option", "given", "field", "kept"),
    [
        ("output", "row_id", "output", "row_id"),
        # One task or name need not be wrapped; an iterator will do.
        ("after", "clean", "after", ("clean",)),
        ("after", ("clean", "index"), "after", ("clean", "index")),
        ("after", iter(["clean"]), "after", ("clean",)),
        ("retries", 3, "retries", 3),
        # A number is a constant delay.
        ("backoff", 2, "backoff", Backoff(initial=2.0, factor=1.0, maximum=2.0, jitter=False)),
        ("backoff", Backoff(initial=0.5), "backoff", Backoff(initial=0.5)),
        ("backoff", None, "backoff", Backoff()),
        ("retry_on", OSError, "retry_on", (OSError,)),
        ("retry_on", (OSError, ValueError), "retry_on", (OSError, ValueError)),
        # Nothing at all is something else than everything.
        ("retry_on", (), "retry_on", ()),
        ("retry_on", None, "retry_on", (Exception,)),
        ("give_up_on", KeyError, "give_up_on", (KeyError,)),
        ("retry", POLICY, "policy", POLICY),
        ("timeout", 30, "timeout", 30),
        ("timeout", float("inf"), "timeout", float("inf")),
        ("run_if", "any_failed", "run_if", "any_failed"),
        ("optional", True, "optional", True),
        ("each", "lines", "each", Each(over="lines")),
        ("each", {"line": "lines"}, "each", Each(over="lines", param="line")),
        ("limit", 1, "limit", 1),
        ("rate", "50/s", "rate", Rate(count=50, seconds=1.0)),
        ("rate", "1/m", "rate", Rate(count=1, seconds=60.0)),
        ("rate", "100/h", "rate", Rate(count=100, seconds=3600.0)),
        ("effect", "once", "effect", "once"),
        ("queue", "gpu", "queue", "gpu"),
    ],
)
def test_what_an_option_becomes(option, given, field, kept):
    """An option is kept in one form, however it may be written."""
    assert getattr(spec(**{option: given}), field) == kept


def test_tasks_are_kept_as_what_they_declare():
    """Where a task is named, its spec is kept."""
    first = task(clean)
    many = task(lines)
    named = spec(after=[first, "index"], each={"line": many})
    assert named.after == (first.spec, "index")
    assert named.each == Each(over=many.spec, param="line")


COUNT = "must be a whole number, 0 or more."
SECONDS = "must be seconds, more than 0."
CLASSES = "must be an exception class, or a tuple of them."
BACKOFF = "must be a Backoff of numbers that are 0 or more, or seconds as a number."
NAME = "must be a name without brackets; a lambda needs one of its own."
AFTER = "must be tasks, or their names."
EACH = "must be a task, or the name of its output."
ITEM = "must be one parameter and one task."
RATE = "must be starts per second, minute or hour."


@pytest.mark.parametrize(
    ("option", "value", "shown", "wanted", "fix"),
    [
        ("output", "", "''", NAME, 'output="save"'),
        ("output", 3, "3", NAME, 'output="save"'),
        ("output", "ship[3]", "'ship[3]'", NAME, 'output="save"'),  # that is how an item is called
        ("after", 3, "3", AFTER, "after=[clean]"),
        ("after", [None], "None", AFTER, "after=[clean]"),
        ("after", [""], "''", AFTER, "after=[clean]"),
        ("after", {"clean": 1}, "{'clean': 1}", AFTER, "after=[clean]"),
        ("retries", -1, "-1", COUNT, "retries=3"),
        ("retries", True, "True", COUNT, "retries=3"),
        ("retries", 1.5, "1.5", COUNT, "retries=3"),
        ("backoff", -1, "-1", BACKOFF, "backoff=Backoff(initial=0.5, maximum=10.0)"),
        ("backoff", False, "False", BACKOFF, "backoff=Backoff(initial=0.5, maximum=10.0)"),
        (
            "backoff",
            Backoff(factor=-2.0),
            short_repr(Backoff(factor=-2.0)),
            BACKOFF,
            "backoff=Backoff(initial=0.5, maximum=10.0)",
        ),
        ("retry_on", "OSError", "'OSError'", CLASSES, "retry_on=(ConnectionError,)"),
        ("retry_on", int, "<class 'int'>", CLASSES, "retry_on=(ConnectionError,)"),
        ("give_up_on", (3,), "(3,)", CLASSES, "give_up_on=(ConnectionError,)"),
        ("timeout", 0, "0", SECONDS, "timeout=30.0"),
        ("timeout", float("nan"), "nan", SECONDS, "timeout=30.0"),
        ("timeout", True, "True", SECONDS, "timeout=30.0"),
        ("timeout", "30", "'30'", SECONDS, "timeout=30.0"),
        (
            "run_if",
            "any",
            "'any'",
            "must be 'all_succeeded' or 'all_done' or 'any_failed' or 'any_succeeded'.",
            "run_if='all_succeeded'",
        ),
        ("optional", 1, "1", "must be True or False.", "optional=True"),
        ("each", 3, "3", EACH, "each=lines"),
        ("each", {}, "{}", ITEM, 'each={"line": lines}'),
        ("each", {"a": "b", "c": "d"}, "{'a': 'b', 'c': 'd'}", ITEM, 'each={"line": lines}'),
        ("each", {3: "lines"}, "{3: 'lines'}", ITEM, 'each={"line": lines}'),
        ("limit", 0, "0", "must be a whole number, 1 or more.", "limit=3"),
        ("rate", 50, "50", RATE, 'rate="50/s"'),
        ("rate", "0/s", "'0/s'", RATE, 'rate="50/s"'),
        ("rate", "50/d", "'50/d'", RATE, 'rate="50/s"'),
        ("effect", "twice", "'twice'", "must be 'safe' or 'once'.", "effect='safe'"),
        ("queue", "", "''", "must be the name of a queue.", 'queue="gpu"'),
        (
            "undo",
            3,
            "3",
            "must be a function, or a task without each=: it is called for each item anyway.",
            "undo=refund",
        ),
        ("retry", 3, "3", "must be a tenacity policy.", "retry=AsyncRetrying(stop=stop_after_attempt(4))"),
        (
            "retry",
            tenacity.AsyncRetrying,
            "<class 'tenacity.asyncio.AsyncRetrying'>",
            "must be a tenacity policy.",
            "retry=AsyncRetrying(stop=stop_after_attempt(4))",
        ),
    ],
)
def test_what_an_option_must_be(option, value, shown, wanted, fix):
    """A value that makes no sense is refused where the decorator stands, with one that does."""

    def save(): ...

    with pytest.raises(BadOption) as caught:
        task(**{option: value})(save)
    line = save.__code__.co_firstlineno
    assert str(caught.value) == (
        f"{option}={shown} of task 'save' {wanted}\n"
        f"    declared at   tests/unit/test_options.py:{line}\n"
        f"Fix: @task({fix})\n"
        "See errors#bad-option"
    )


def test_a_name_must_be_one():
    """A name that cannot be one is refused, under the name that there is."""

    def save(): ...

    with pytest.raises(BadOption, match=r"^name='' of task 'save' must be a name"):
        task(name="")(save)
    with pytest.raises(BadOption, match=r"^name='<lambda>' of task '<lambda>' must be a name"):
        task(lambda: None)


def test_a_plain_function_is_no_task_yet():
    """Who names a function where a task belongs is told how it becomes one."""
    wanted = r"must be tasks, or their names; a plain function becomes one through @task\."
    with pytest.raises(BadOption, match=wanted):
        spec(after=[clean])
    with pytest.raises(BadOption, match=r"a task, or the name of its output; a plain function becomes one"):
        spec(each=lines)


@pytest.mark.parametrize(
    ("options", "place", "written", "fix"),
    [
        (lambda called: {"after": [called, called]}, "after=", "@task(after=[clean()])", "@task(after=[clean])"),
        (lambda called: {"after": called}, "after=", "@task(after=[clean()])", "@task(after=[clean])"),
        (lambda called: {"each": called}, "each=", "@task(each=clean())", "@task(each=clean)"),
        (lambda called: {"each": {"line": called}}, "each=", "@task(each=clean())", "@task(each=clean)"),
        (lambda called: {"undo": called}, "undo=", "@task(undo=clean())", "@task(undo=clean)"),
    ],
)
def test_a_task_that_is_called_where_it_is_named(options, place, written, fix):
    """The coroutine of a task that was called is recognised, and closed: nobody warns that it was never awaited."""

    def save(): ...

    with warnings.catch_warnings(record=True) as seen, pytest.raises(CalledInsteadOfNamed) as caught:
        warnings.simplefilter("always")
        task(**options(task(clean)()))(save)
    assert str(caught.value) == (
        f"{place} of task 'save' got the coroutine that clean() returned; it wants the task itself.\n"
        f"    written   {written}   tests/unit/test_options.py:{save.__code__.co_firstlineno}\n"
        f"Fix: {fix}\n"
        "See errors#called-instead-of-named"
    )
    assert seen == []


def test_all_coroutines_are_closed():
    """Of several tasks that were called, the first is named and none is left open."""
    with warnings.catch_warnings(record=True) as seen, pytest.raises(CalledInsteadOfNamed, match=r"clean\(\) returned"):
        warnings.simplefilter("always")
        spec(after=[clean(), lines()])
    assert seen == []


@pytest.mark.parametrize(
    ("option", "value", "shown"),
    [("retries", 0, "0"), ("backoff", 1.0, "1.0"), ("retry_on", OSError, "<class 'OSError'>")],
)
def test_a_policy_decides_alone(option, value, shown):
    """Beside a whole policy, the options that it replaces are refused."""
    with pytest.raises(BadOption) as caught:
        spec(retry=POLICY, **{option: value})
    assert (
        caught.value.problem()
        == f"{option}={shown} of task 'save' must be left out beside retry=, which decides alone."
    )
    assert spec(retry=POLICY, give_up_on=KeyError, retry_on=None).give_up_on == (KeyError,)


@pytest.mark.parametrize("hook", ["before", "after", "before_sleep", "retry_error_callback"])
def test_a_policy_has_no_callbacks(hook):
    """A policy with callbacks is refused, for the one it has: they would never be called."""
    policy = tenacity.Retrying(**{hook: functools.partial(print)})
    with pytest.raises(BadOption) as caught:
        spec(retry=policy)
    wanted = (
        f"must be a tenacity policy without callbacks, and it has {hook}=: who watches runs is install(sinks=[...])."
    )
    assert caught.value.problem().endswith(wanted)


@pytest.mark.parametrize(
    ("option", "fix"),
    [
        ("time_out", "Fix: write timeout=...\n"),
        ("zzz", ""),
    ],
)
def test_an_unknown_option(option, fix):
    """An option that there is none of is not ignored, which would be found out much later."""
    with pytest.raises(DeclarationError) as caught:
        task(**{option: 3})
    line = caught.tb.tb_lineno
    assert str(caught.value) == (
        f"@task has no option {option!r}.\n"
        f"    written at   tests/unit/test_options.py:{line}\n"
        f"{fix}See errors#declaration"
    )
