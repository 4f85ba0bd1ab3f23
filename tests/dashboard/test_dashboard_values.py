"""Values, errors and definitions as the pages show them."""

import dataclasses
import json
import linecache
from typing import Annotated, Any

import pytest
from fastapi import Depends, Request
from pydantic import BaseModel, Field, SecretBytes, SecretStr, TypeAdapter
from tenacity import Retrying

from fastapi_chain import Backoff, Registry, TaskContext, chain
from fastapi_chain.dashboard.definition import definition
from fastapi_chain.dashboard.failure import failures
from fastapi_chain.dashboard.values import MASK, shown
from fastapi_chain.errors import InvalidChain


class Card(BaseModel):
    owner: str
    pin: SecretStr
    number: str = Field(json_schema_extra={"redact": True})
    api_key: str = "k"


@dataclasses.dataclass
class Point:
    x: int
    hidden: int = dataclasses.field(default=1, repr=False)


class Broken:
    def __repr__(self) -> str:
        raise RuntimeError


def nested(depth: int) -> Any:
    return [nested(depth - 1)] if depth else "deep"


@pytest.mark.parametrize(
    ("value", "name", "text"),
    [
        # Data is JSON.
        (None, "", "null"),
        (1.5, "", "1.5"),
        ("é", "", '"é"'),
        ({"a": [1, True]}, "", '{\n "a": [\n  1,\n  true\n ]\n}'),
        ((1,), "", "[\n 1\n]"),
        # Secrets are masked: by type, by name, by field.
        (SecretStr("s"), "", MASK),
        (SecretBytes(b"s"), "", MASK),
        ("hunter2", "password", MASK),
        ({"Authorization": "Bearer x", "n": 1}, "", f'{{\n "Authorization": "{MASK}",\n "n": 1\n}}'),
        (
            Card(owner="Ada", pin=SecretStr("1"), number="4242"),
            "",
            f'{{\n "owner": "Ada",\n "pin": "{MASK}",\n "number": "{MASK}",\n "api_key": "{MASK}"\n}}',
        ),
        # What a dataclass keeps out of its repr stays out.
        (Point(3), "", f'{{\n "x": 3,\n "hidden": "{MASK}"\n}}'),
        (b"abc", "", "<3 bytes>"),
        # No data: its repr, or its type where that fails.
        (3 + 4j, "", "(3+4j)"),
        (Broken(), "", "<Broken object>"),
        (Point, "", "<class 'Point'>"),
        # Deep, long and large things are cut.
        (nested(7), "", nested),
        ("y" * 600, "", f'"{"y" * 500}… (600 characters)"'),
    ],
)
def test_values_are_shown(value: object, name: str, text: Any) -> None:
    """Data as JSON, all else as its repr, secrets not at all."""
    if text is nested:
        assert "['deep']" in shown(value, name)
    elif value is Point:
        assert shown(value, name).startswith("<class ")
    else:
        assert shown(value, name) == text


def test_large_values_are_cut() -> None:
    """Of a list and of a mapping the first 50 entries are shown, and of all text 4,000 characters."""
    assert '"… 10 more"' in shown(list(range(60)))
    assert '"…": "10 more"' in shown({str(i): i for i in range(60)})
    assert shown(["z" * 400] * 20).endswith("more characters")


def raised(depth: int = 0) -> Exception:
    try:
        if depth:
            raise ValueError("outer") from raised(depth - 1)
        raise KeyError("inner")
    except LookupError as error:
        return error
    except ValueError as error:
        return error


def test_an_error_shows_the_users_lines() -> None:
    """Each frame of the user's own has the lines around; what caused it comes after it."""
    first, second = failures(raised(1))
    assert (first.type, first.message, first.link) == ("ValueError", "outer", "")
    assert (second.type, second.message, second.link) == ("KeyError", "'inner'", "caused by")
    (group,) = first.frames
    assert group.own
    (frame,) = group.frames
    assert frame.function == "raised"
    assert frame.place.startswith("tests/dashboard/test_dashboard_values.py:")
    assert [line.text.strip() for line in frame.lines if line.hot] == [
        'raise ValueError("outer") from raised(depth - 1)'
    ]


@pytest.mark.parametrize(
    ("call", "packages"),
    [
        (lambda: json.loads("{"), "Python"),
        (lambda: TypeAdapter(int).validate_python("x"), "pydantic"),
        (lambda: chain("nobody").check(), "fastapi_chain"),
    ],
)
def test_frames_of_libraries_are_folded(call: Any, packages: str) -> None:
    """What lies in libraries, in Python itself or in this package is named, not shown."""
    with pytest.raises((ValueError, InvalidChain)) as caught:
        call()
    own, library = failures(caught.value)[0].frames
    assert own.own
    assert (library.own, library.packages, library.frames[0].lines) == (False, packages, ())


def test_a_group_names_its_members() -> None:
    """Of an exception group every member is named, up to twenty."""
    (failure,) = failures(ExceptionGroup("many", [ValueError(str(i)) for i in range(30)]))
    assert failure.members[:2] == ("ValueError: 0", "ValueError: 1")
    assert len(failure.members) == 20


def test_an_error_while_another_one_was_handled() -> None:
    """The one that was handled follows; not if it was hidden, or is that of an earlier attempt, or would never end."""
    handled, hidden, later = ValueError("a"), ValueError("b"), ValueError("c")
    handled.__context__ = KeyError("k")
    assert [failure.link for failure in failures(handled)] == ["", "while handling"]
    hidden.__context__, hidden.__suppress_context__ = KeyError("k"), True
    assert len(failures(hidden)) == 1
    earlier = KeyError("k")
    earlier.add_note("raised by task 'a', attempt 1 of 2, run 7f3a")
    later.__context__ = earlier
    assert len(failures(later)) == 1
    circle = ValueError("d")
    circle.__cause__ = KeyError("k")
    circle.__cause__.__cause__ = circle
    assert len(failures(circle)) == 2


def test_an_error_without_a_text_or_lines() -> None:
    """An error whose text cannot be made is shown all the same, and so is code whose file is gone."""

    class Odd(Exception):
        def __str__(self) -> str:
            raise RuntimeError

    code = compile("def f():\n    raise Odd\nf()", "/nowhere/odd.py", "exec")
    try:
        exec(code, {"Odd": Odd})
    except Odd as error:
        linecache.clearcache()
        (failure,) = failures(error)
    assert failure.message == "(its text cannot be made)"
    assert failure.frames[0].frames[-1].place == "/nowhere/odd.py:2"
    assert failure.frames[0].frames[-1].lines == ()


def test_a_definition_says_all_that_was_declared() -> None:
    """Signature, docstring, options that are not at their default, where each parameter comes from, and the code."""
    tasks = Registry("shop")

    def session() -> int:
        return 1

    @tasks.task
    async def lines() -> list[int]: ...

    @tasks.task
    def refund(order: str) -> None: ...

    def take_back() -> None: ...

    @tasks.task(
        output="parcel",
        each=lines,
        retries=2,
        backoff=Backoff(initial=0.5),
        retry_on=(ConnectionError, OSError),
        give_up_on=(KeyError,),
        timeout=30,
        run_if="all_done",
        optional=True,
        limit=4,
        rate="50/s",
        undo=take_back,
    )
    async def ship(
        line: int, order: str, db: Annotated[int, Depends(session)], request: Request, ctx: TaskContext, untyped="x"
    ) -> str:
        """Send it."""
        return f"{line} of {order}"

    plan = chain(ship).plan
    found = definition(plan, plan.nodes[plan.index["ship"]])
    assert found.place.startswith("tests/dashboard/test_dashboard_values.py:")
    assert found.signature == "async def ship -> str"
    assert found.doc == "Send it."
    assert [(p.name, p.type, p.source, p.task) for p in found.params] == [
        ("line", "int", "each of", "lines"),
        ("order", "str", "input of the chain", ""),
        ("db", "int", "Depends(session)", ""),
        ("request", "Request", "FastAPI", ""),
        ("ctx", "TaskContext", "the context", ""),
        ("untyped", "", "input of the chain", ""),
    ]
    assert dict(found.options) == {
        "output": "parcel",
        "retries": "2, after 0.5 s, each time × 2, at most 60 s",
        "retry on": "ConnectionError, OSError",
        "give up on": "KeyError",
        "timeout": "30 s for one attempt",
        "run if": "all done",
        "optional": "its failure does not make the run failed",
        "limit": "4 at once",
        "rate": "50 starts every 1 s",
        "undo": "take_back",
    }
    assert 'return f"{line} of {order}"' in found.code


def test_a_bare_definition() -> None:
    """Without options, docstring, annotations or a file there is little to say, and that is said."""
    tasks = Registry("shop")
    space: dict[str, Any] = {}
    exec("def typed(ctx): return ctx\ndef long():\n" + "    x = 1\n" * 200, space)
    made = tasks.task(space["typed"])
    policy = tasks.task(name="policy", retry=Retrying())(lambda: None)
    constant = tasks.task(name="constant", retries=1, backoff=2.0)(lambda: None)
    plan = chain(made, policy, constant).plan
    bare, with_policy, with_constant = (
        definition(plan, plan.nodes[plan.index[name]]) for name in ("typed", "policy", "constant")
    )
    assert (bare.signature, bare.doc, bare.code, bare.options) == ("def typed", "", "", [])
    assert dict(with_policy.options)["retry"].startswith("<Retrying object")
    assert dict(with_constant.options)["retries"] == "1, after 2 s"


def test_long_code_is_cut() -> None:
    """Of a function of more than 120 lines the first 120 are shown."""
    tasks = Registry("long")
    lines = ["def long():", *["    pass"] * 200]
    linecache.cache["<long>"] = (1, None, [f"{line}\n" for line in lines], "<long>")
    space: dict[str, Any] = {}
    exec(compile("\n".join(lines), "<long>", "exec"), space)
    plan = chain(tasks.task(space["long"])).plan
    code = definition(plan, plan.nodes[0]).code
    assert len(code.splitlines()) == 121
    assert code.endswith("…")
