"""Commands as processes of their own: exit code, both outputs, and JSON by its schema.

`runs`, `show`, `retry`, `cancel` and `worker` are in test_cli_runs.py and test_cli_store.py.
"""

from typing import Literal

import pytest
from pydantic import ConfigDict, TypeAdapter
from typing_extensions import TypedDict

from fastapi_chain.web.models import Graph, RunModel
from tests.cli.conftest import Cli, Result, schema_holds

APP = """
from fastapi import FastAPI
from fastapi_chain import chain, install, task

app = FastAPI()
install(app)


@task
async def charge(order: str) -> str:
    if order == "bad":
        raise PermissionError("declined")
    return order


@task(after=[charge])
def receipt(charge: str) -> list[str]:
    return [charge]


checkout = chain(receipt, name="checkout")
"""

WRONG = """
from fastapi import FastAPI
from fastapi_chain import chain, task

app = FastAPI()


@task
def total() -> int:
    return 1


@task(after=[total])
def bill(total: str) -> None: ...


@app.post("/")
@chain(bill)
async def start() -> None: ...
"""


class CheckedChain(TypedDict):
    name: str
    tasks: int | None
    errors: int
    warnings: int


class Found(TypedDict):
    severity: Literal["error", "warning"]
    code: str
    message: str
    chain: str | None
    file: str | None
    line: int | None
    evidence: list[str]
    help: list[str]


class Checked(TypedDict):
    """What `check --json` and `typecheck --json` print."""

    app: str
    ok: bool
    chains: list[CheckedChain]
    problems: list[Found]


class RunHere(RunModel):
    """What `run --json` prints: a run, and what its targets have made."""

    model_config = ConfigDict(extra="forbid")
    outputs: dict[str, object]


def test_check_and_typecheck(cli: Cli) -> None:
    """Both exit with 0 or 1, and print one kind of document; GitHub's form has a line for each problem."""
    cli.write("main.py", WRONG)
    cli.write("fine.py", WRONG.replace("total: str", "total: int"))
    report = TypeAdapter(Checked)
    for command in (["check"], ["typecheck", "--checker", "mypy"]):
        wrong, fine = cli.process(*command, "--json"), cli.process(*command, "--json", "--app", "fine.py")
        assert (wrong.code, wrong.err, fine.code, fine.err) == (1, "", 0, "")
        for result in (wrong, fine):
            assert report.validate_json(result.out, strict=True) == result.json
        assert [(problem["file"], problem["line"]) for problem in wrong.json["problems"]] in (
            [("main.py", 12)],
            [("main.py", 13)],
        )
        github = cli.process(*command, "--format", "github")
        assert (github.code, github.err) == (1, "")
        assert [line.split(" ")[0] for line in github.lines] == ["::error", "1"]
        assert cli.process(*command, "--app", "nowhere:app") == Result(
            2, "", "fastapi-chain: error: the app cannot be imported: ModuleNotFoundError: No module named 'nowhere'\n"
        )


@pytest.mark.parametrize("form", ["terminal", "tree", "mermaid", "svg", "dot", "json"])
def test_graph(cli: Cli, form: str) -> None:
    """Every format is the same on the output and in a file."""
    cli.write("main.py", APP)
    shown = cli.process("graph", "checkout", "--format", form)
    written = cli.process("graph", "checkout", "--format", form, "-o", "drawing")
    assert (shown.code, shown.err, written) == (0, "", Result(0, "", ""))
    assert (cli.folder / "drawing").read_text().strip() == shown.out.strip()
    assert "\x1b" not in shown.out
    if form == "json":
        assert schema_holds(Graph, shown.json)


def test_run(cli: Cli) -> None:
    """A chain that runs here ends with 0 or 1; the document is a run with its outputs."""
    cli.write("main.py", APP)
    good = cli.process("run", "checkout", "--input", "order=pen", "--json")
    bad = cli.process("run", "checkout", "--input", "order=bad", "--json")
    assert (good.code, bad.code) == (0, 1)
    assert (good.json["outputs"], bad.json["outputs"]) == ({"receipt": ["pen"]}, {})
    assert schema_holds(RunHere, good.json)
    assert schema_holds(RunHere, bad.json)
    cli.write("stored.py", APP.replace("install(app)", 'install(app, engine="sqlite:///chains.db", worker=False)'))
    stored = cli.process("run", "checkout", "--input", "order=pen", "--json", "--app", "stored.py")
    assert (stored.code, stored.json["outputs"]) == (0, {"receipt": ["pen"]})  # it works here, though servers do not
    assert cli.process("run", "checkout") == Result(
        2, "", "fastapi-chain: error: Chain 'checkout' needs 'order', but was started without it.\n"
    )
