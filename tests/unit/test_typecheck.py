"""The module that typecheck writes, and the programs that it asks."""

import enum
import os
import sys
import types
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Generic, Literal, NewType, TypeVar, Union

import pytest
from pydantic import BaseModel

from fastapi_chain.chains import draft_of
from fastapi_chain.spec import Source
from fastapi_chain.typecheck import CheckerMissing, Finding, Report, check_types
from fastapi_chain.typecheck.checkers import checker_here, run_checker
from fastapi_chain.typecheck.module import CheckModule, Lines
from fastapi_chain.typecheck.written import ANY, Names, type_source

T = TypeVar("T")


class Color(enum.Enum):
    RED = 1


class Page(BaseModel, Generic[T]):
    items: list[T]


class Outer:
    class Inner: ...


UserId = NewType("UserId", int)


@pytest.fixture
def here(monkeypatch):
    """This module under a name by which others could import it."""
    module = types.ModuleType("here")
    vars(module).update(Color=Color, Page=Page, Outer=Outer, UserId=UserId)
    for cls in (Color, Page, Outer, Outer.Inner, UserId):
        monkeypatch.setattr(cls, "__module__", "here")
    monkeypatch.setitem(sys.modules, "here", module)


@pytest.mark.parametrize(
    ("annotation", "written"),
    [
        (int, "int"),
        (None, "None"),
        (int | None, "int | None"),
        (Union[int, list[str]], "int | list[str]"),  # noqa: UP007
        (Annotated[int, "doc"], "int"),
        (list, "list"),
        (dict[str, list[int]], "dict[str, list[int]]"),
        (tuple[int, ...], "tuple[int, ...]"),
        (tuple[()], "tuple[()]"),
        (Literal["a", 1], "Literal['a', 1]"),
        (Literal[Color.RED], "Literal[_m0.Color.RED]"),
        (Color, "_m0.Color"),
        (Outer.Inner, "_m0.Outer.Inner"),
        (UserId, "_m0.UserId"),
        (Page, "_m0.Page"),
        (Page[int], "_m0.Page[int]"),
        (Sequence[Color], "_m0.Sequence[_m1.Color]"),
        (Callable[[int, Color], str], "Callable[[int, _m0.Color], str]"),
        (Callable[..., int], "Callable[..., int]"),
        (type[Color], "type[_m0.Color]"),
        (Mapping, "_m0.Mapping"),
        # What a module cannot name, or no type at all.
        (Any, "_m0.Any"),
        (T, ANY),
        ("Later", ANY),
        (type("Local", (), {}), ANY),
        (list[type("Local", (), {})], f"list[{ANY}]"),
    ],
)
@pytest.mark.usefixtures("here")
def test_an_annotation_is_written_as_another_module_would(annotation, written):
    """Classes by the module that holds them, the rest as it is; what cannot be named is anything."""
    assert type_source(annotation, Names()) == written


def test_generics_of_what_cannot_be_named_are_anything():
    """There is nothing to put brackets behind."""

    class Local(Generic[T]): ...

    assert type_source(Local[int], Names()) == ANY


def test_names_are_imported_once():
    """Each module gets one alias, whatever is taken from it."""
    names = Names()
    assert [names.of(Path, "pathlib", "Path"), names.of(Source, "fastapi_chain.spec", "Source")] == [
        "_m0.Path",
        "_m1.Source",
    ]
    assert names.of(int, "builtins", "int") == "int"
    assert names.of(Path, "pathlib", "PurePath") is None
    assert names.of(Path, None, "Path") is None
    assert names.imports() == ["import pathlib as _m0", "import fastapi_chain.spec as _m1"]


def test_the_lines_of_parameters(tmp_path):
    """A place is the line of the parameter, else that of its `def`, else that of the decorator."""
    path = tmp_path / "shop.py"
    path.write_text("@task\n@other\ndef save(\n    row: int,\n    /,\n    *,\n    db: int,\n): ...\n")
    (tmp_path / "broken.py").write_text("def (")
    lines = Lines()
    save = Source(name="save", file=str(path), line=1)
    assert [lines.of(save, name) for name in ("row", "db", "nothing")] == [4, 7, 3]
    broken, missing = (Source(name="x", file=str(tmp_path / f), line=7) for f in ("broken.py", "missing.py"))
    assert [lines.of(broken, "x"), lines.of(missing, "x")] == [7, 7]


SHOP = """
from typing import Annotated
from fastapi import Depends
from fastapi_chain import Failed, From, Outcome, Registry, chain
shop = Registry("shop")
def get_db() -> str: ...
class Undo:
    def back(self, pair: int) -> None: ...
class UndoAgain(Undo): ...

@shop.task
def lines(order: int, /, limit: int = 3, *, db: Annotated[str, Depends(get_db)]) -> list[str]: ...
def take_back(ship: int, order: int) -> None: ...
@shop.task(each=lines, undo=take_back)
def ship(line: str) -> int: ...
def no_pair(pair: int) -> None: ...
@shop.task(undo=no_pair)
def pair() -> int: ...
@shop.task(each={"n": "pairs"})
def both(n: int) -> None: ...
@shop.task
def pairs() -> tuple[int, int]: ...
@shop.task
def untyped(): ...
@shop.task(after=[ship, pair, untyped])
def tell(ship: list[Outcome[int]], pair: Outcome[int], untyped: int, note: str = "") -> None: ...
@shop.task(after=[pair])
def sorry(pair: Failed, late: int = From(pair)) -> None: ...
@shop.task(after=[pair], undo=Undo().back)
def last(pair: int, /, why: str = "") -> None: ...
everything = chain(tell, both, sorry, last)
@chain(tell)
async def endpoint(order: int, limit: int, other, note: str) -> None: ...
"""


def test_the_module_calls_every_task_with_what_flows_into_it(tmp_path, monkeypatch):
    """One line for each argument; what is of no interest is anything, and left out where there is a default."""
    (tmp_path / "shop_app.py").write_text(SHOP)
    monkeypatch.syspath_prepend(tmp_path)
    import shop_app  # noqa: PLC0415

    module = CheckModule()
    module.add(draft_of(shop_app.everything).plan, [])
    endpoint = next(c for c in chain_objects() if c.endpoints and c.source.file == str(tmp_path / "shop_app.py"))
    module.add(endpoint.plan, [e.describe() for e in endpoint.endpoints])
    sys.modules.pop("shop_app")
    assert module.source().partition("def _item(items: Iterable[_T]) -> _T: ...\n")[2] == (
        "def _flow() -> None:\n"
        "    pass\n"
        "    _ = _m0.lines(\n"
        "        _any,\n"
        "        db=_any,\n"
        "    )\n"
        "    _ = _m0.ship(\n"
        "        line=_item(From(_m0.lines)),\n"
        "    )\n"
        "    _ = _m0.take_back(\n"
        "        ship=_item(From(_m0.ship)),\n"
        "        order=_any,\n"
        "    )\n"
        "    _ = _m0.no_pair(\n"
        "        pair=From(_m0.pair),\n"
        "    )\n"
        "    _ = _m0.tell(\n"
        "        ship=[Succeeded(_one) for _one in From(_m0.ship)],\n"
        "        pair=Succeeded(From(_m0.pair)),\n"
        "        untyped=From(_m0.untyped),\n"
        "    )\n"
        "    _ = _m0.both(\n"
        "        n=_any,\n"
        "    )\n"
        "    _ = _m0.sorry(\n"
        "        pair=_any,\n"
        "        late=From(_m0.pair),\n"
        "    )\n"
        "    _ = _m0.last(\n"
        "        From(_m0.pair),\n"
        "    )\n"
        "def _endpoint0(order: int, limit: int, note: str) -> None:\n"
        "    pass\n"
        "    _ = _m0.lines(\n"
        "        order,\n"
        "        limit=limit,\n"
        "        db=_any,\n"
        "    )\n"
        "    _ = _m0.take_back(\n"
        "        ship=_any,\n"
        "        order=order,\n"
        "    )\n"
        "    _ = _m0.tell(\n"
        "        ship=_any,\n"
        "        pair=_any,\n"
        "        untyped=_any,\n"
        "        note=note,\n"
        "    )\n"
    )


def chain_objects():
    """All chains that there are."""
    from fastapi_chain.chains import all_chains  # noqa: PLC0415

    return list(all_chains)


def program(folder, name, *lines):
    """Put a program into a folder."""
    path = folder / name
    path.write_text("\n".join(["#!/bin/sh", *lines, ""]))
    path.chmod(0o755)


def test_a_checker_that_is_not_installed(tmp_path, monkeypatch):
    """What to install is said."""
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(CheckerMissing) as caught:
        run_checker("ty", "")
    assert str(caught.value) == "ty is not installed: pip install ty"
    with pytest.raises(CheckerMissing) as caught:
        check_types([])
    assert str(caught.value) == ("no type checker is installed: pip install mypy, or one of mypy, pyright, ty, pyrefly")


@pytest.mark.parametrize(
    ("lines", "text"),
    [
        (("echo 'no such option' >&2", "exit 2"), "pyright failed: no such option"),
        (("echo 'nonsense'", "exit 3"), "pyright failed: nonsense"),
        (("echo 'it broke' >&2", "exit 1"), "pyright failed: it broke"),
    ],
)
def test_a_checker_that_fails(lines, text, tmp_path, monkeypatch):
    """Its own words are handed on."""
    program(tmp_path, "pyright", *lines)
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    with pytest.raises(CheckerMissing) as caught:
        run_checker("pyright", "")
    assert str(caught.value) == text


def test_what_is_no_error_is_not_reported(tmp_path, monkeypatch):
    """Warnings and hints of a checker are about style, which a written module does not have."""
    warning = '{"severity": "warning", "message": "", "range": {}, "line": 1, "description": ""}'
    program(tmp_path, "pyright", f"echo '{{\"generalDiagnostics\": [{warning}]}}'")
    program(tmp_path, "pyrefly", f"echo '{{\"errors\": [{warning}]}}'")
    program(tmp_path, "ty", "echo 'chain_flow.py:1:2: warning[style] odd'")
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    assert [run_checker(name, "") for name in ("pyright", "pyrefly", "ty")] == [[], [], []]


def test_the_folders_of_the_users_modules_are_handed_on(tmp_path, monkeypatch):
    """The current folder, what the caller says, what this process imports from, and what MYPYPATH said."""
    program(tmp_path, "mypy", 'echo "chain_flow.py:1: error: $MYPYPATH  [misc]"', "exit 1")
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    monkeypatch.setattr(sys, "path", ["", str(tmp_path / "gone"), sys.prefix, str(tmp_path)])
    monkeypatch.setenv("MYPYPATH", "stubs")
    monkeypatch.chdir(tmp_path)
    assert run_checker("mypy", "", ["more"]) == [(1, os.pathsep.join([str(tmp_path), "more", "stubs"]))]


def test_the_checker_of_a_project(tmp_path, monkeypatch):
    """The one that is configured here wins over the first that is installed."""
    for name in ("mypy", "pyright", "ty"):
        program(tmp_path, name)
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    monkeypatch.chdir(tmp_path)
    assert checker_here() == "mypy"
    (tmp_path / "ty.toml").write_text("")
    assert checker_here() == "ty"
    (tmp_path / "pyproject.toml").write_text("[tool.pyright]\n")
    assert checker_here() == "pyright"


def test_a_report_says_nothing_twice():
    """What the checker said follows where it is not what is said already."""
    findings = (
        Finding("/shop/tasks.py", 3, "Task 'a' returns int.", "Incompatible types"),
        Finding("/shop/tasks.py", 9, "Unexpected keyword", "Unexpected keyword"),
    )
    assert str(Report("mypy", findings, (), 2, ("local",))) == (
        "/shop/tasks.py:3: Task 'a' returns int.\n"
        "    mypy: Incompatible types\n"
        "/shop/tasks.py:9: Unexpected keyword\n"
        "left out: a module cannot name task 'local'\n"
        "2 problems in 2 tasks, checked with mypy"
    )
