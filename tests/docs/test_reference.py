"""The reference: its tables are what there is, no row more and none less."""

import inspect
import re
import typing
from ast import literal_eval
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI

import fastapi_chain
from fastapi_chain import ChainError, Registry, Runtime, chain, install
from tests.docs.pages import DOCS, SKILL

PACKAGE = Path(fastapi_chain.__file__).parent
SOURCE = "\n".join(path.read_text() for path in sorted(PACKAGE.rglob("*.py")))
REQUIRED = inspect.Parameter.empty
REFERENCE = DOCS / "reference"


def table(page: str, anchor: str) -> list[list[str]]:
    """Return the cells of the first table below a heading with that anchor, or with that text."""
    text = (REFERENCE / page).read_text()
    heading = re.search(rf"^#+ (.*\{{ #{anchor} \}}|{re.escape(anchor)})$", text, re.MULTILINE)
    assert heading is not None, f"{page} has no section {anchor}"
    lines = text[heading.end() :].splitlines()
    first = next(i for i, line in enumerate(lines) if line.startswith("|"))
    rows = []
    for line in lines[first + 2 :]:
        if not line.startswith("|"):
            break
        rows.append([cell.strip() for cell in line.strip("|").split("|")])
    return rows


def names(cell: str) -> list[str]:
    """Return what stands between backticks."""
    return re.findall(r"`([^`]+)`", cell)


def options(*functions: Any) -> dict[str, object]:
    """Return the keywords of functions, each with its default."""
    found: dict[str, object] = {}
    for function in functions:
        for name, parameter in inspect.signature(function).parameters.items():
            if parameter.kind is inspect.Parameter.KEYWORD_ONLY:
                found.setdefault(name, parameter.default)
    return found


def documented(anchor: str) -> dict[str, object]:
    """Return the options of a table in the settings, each with its default."""
    rows = table("settings.md", anchor)
    return {names(row[0])[0]: literal_eval(names(row[1])[0]) if names(row[1]) else REQUIRED for row in rows}


@pytest.mark.parametrize(
    ("anchor", "functions"),
    [
        ("task", tuple(typing.get_overloads(Registry.task)[1:])),
        ("chain", (chain,)),
        ("install", (install,)),
        ("routers", (Runtime.router, Runtime.dashboard)),
    ],
)
def test_settings(anchor: str, functions: tuple[Any, ...]) -> None:
    """Every option is there with its default."""
    assert documented(anchor) == options(*functions)


def test_environment_variables() -> None:
    """Every variable that is read is there, but those of other programs and of our own tests."""
    read = set(re.findall(r'environ(?:\.get\(|\[)"(\w+)"', SOURCE)) | set(re.findall(r'envvar="(\w+)"', SOURCE))
    shown = {name for row in table("settings.md", "environment") for name in names(row[0])}
    assert shown == read - {"MYPYPATH"}


@pytest.fixture(scope="module")
def openapi() -> dict[str, Any]:
    """The OpenAPI document of an app with the router."""
    app = FastAPI()
    app.include_router(install(app).router(), prefix="/chains")
    return app.openapi()


def test_routes(openapi: dict[str, Any]) -> None:
    """Every route of the router is there, with every status that it may answer."""
    real = {
        (f"{method.upper()} {path.removeprefix('/chains')}", ", ".join(sorted(operation["responses"])))
        for path, operations in openapi["paths"].items()
        for method, operation in operations.items()
    }
    assert {(names(row[0])[0], row[1]) for row in table("http.md", "Routes")} == real


def test_parameters_of_the_list(openapi: dict[str, Any]) -> None:
    """Runs are searched for by the parameters that the page names."""
    real = [parameter["name"] for parameter in openapi["paths"]["/chains/runs"]["get"]["parameters"]]
    assert [names(row[0])[0] for row in table("http.md", "Parameters of `GET /runs`")] == real


@pytest.mark.parametrize(
    ("anchor", "schema"), [("run", "RunModel"), ("task", "TaskModel"), ("attempt", "AttemptModel")]
)
def test_fields(openapi: dict[str, Any], anchor: str, schema: str) -> None:
    """Every field of what is answered is there, in its order."""
    real = list(openapi["components"]["schemas"][schema]["properties"])
    assert [names(row[0])[0] for row in table("http.md", anchor)] == real


def test_problems() -> None:
    """Every type of problem that the code can answer is there, with its statuses."""
    pattern = r'(?:Refusal|ProblemResponse)\(\s*(\d+),\s*"([a-z-]+)"|\((\d+), "([a-z-]+)"\)'
    real: dict[str, set[str]] = {}
    for match in re.finditer(pattern, SOURCE):
        real.setdefault(match[2] or match[4], set()).add(match[1] or match[3])
    shown = {names(row[0])[0]: set(row[1].split(", ")) for row in table("http.md", "Problems")}
    assert shown == real


def test_server_sent_events() -> None:
    """Every event that is sent is there."""
    sent = set(re.findall(r'chunk\("([a-z]+\.[a-z]+)"', SOURCE)) | {"task.changed", "task.progress", "task.log"}
    assert {names(row[0])[0] for row in table("http.md", "Events")} == sent
    assert all(f'"{name}"' in SOURCE for name in sent)


def test_the_skill_names_everything() -> None:
    """What agents are taught by names every public name that is no error, and every option."""
    skill = set(re.findall(r"\w+", SKILL.read_text()))
    public = {name for name in fastapi_chain.__all__ if not is_error(getattr(fastapi_chain, name))}
    functions = (typing.get_overloads(Registry.task)[1], chain, install, Runtime.router, Runtime.dashboard)
    assert (public | options(*functions).keys()) - skill == set()


def is_error(thing: object) -> bool:
    """Whether a public name is one of our errors: each of them says itself what to do."""
    return isinstance(thing, type) and issubclass(thing, ChainError)
