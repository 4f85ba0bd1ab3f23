"""`fastapi-chain run`: one run of a chain, here."""

import pytest

from tests.cli.conftest import Cli

APP = """
import logging
from contextlib import asynccontextmanager
from datetime import date

from fastapi import FastAPI
from fastapi_chain import chain, install, task
from pydantic import BaseModel

life = []


@asynccontextmanager
async def lifespan(app):
    life.append("up")
    yield
    life.append("down")


app = FastAPI(lifespan=lifespan)
install(app)


class Order(BaseModel):
    id: int


@task
async def charge(order: Order, day: date, note: str = "", anything=None) -> str:
    assert life == ["up"]
    if order.id == 13:
        raise PermissionError("declined")
    return f"{order.id} {day:%d.%m.} {note} {anything!r}".strip()


@task
async def lines() -> list[int]:
    return [1, 2]


@task(each=lines)
async def ship(line: int):
    return line


checkout = chain(charge, ship, name="checkout")
"""


@pytest.fixture
def shop(cli: Cli) -> Cli:
    """Commands in a folder with a shop."""
    cli.write("main.py", APP)
    return cli


def test_inputs_are_read_by_their_types(shop: Cli) -> None:
    """Each input is JSON, or text where its type says so, or the content of a file; the outputs are in the document."""
    shop.write("order.json", '{"id": 7}')
    arguments = [
        "run",
        "checkout",
        "-i",
        "order=@order.json",
        "-i",
        "day=2026-11-24",
        "--input",
        "note=1",
        "-i",
        "anything=x",
    ]
    result = shop(*arguments, "--json")
    assert (result.code, result.err) == (0, "")
    assert result.json["state"] == "succeeded"
    assert result.json["outputs"] == {"charge": "7 24.11. 1 'x'", "ship": [1, 2]}
    assert (
        shop("run", "checkout", "-i", 'order={"id": 1}', "-i", 'day="2026-11-24"', "-i", "anything=[1]", "--json").json[
            "outputs"
        ]["charge"]
        == "1 24.11.  [1]"
    )


def test_the_run_is_drawn(shop: Cli) -> None:
    """The run is shown as `show` shows it, with the lines of the user's own code; exit code 1 if it has failed."""
    result = shop.process("run", "checkout", "-i", 'order={"id":13}', "-i", "day=2026-11-24")
    assert (result.code, result.err) == (1, "")
    assert result.lines[0].startswith("checkout ")
    assert '  main.py:31   raise PermissionError("declined")' in result.lines
    assert "  PermissionError: declined" in result.lines
    whole = shop("run", "checkout", "-i", 'order={"id":13}', "-i", "day=2026-11-24", "--traceback")
    assert "line.py" in whole.out
    assert 'raise PermissionError("declined")' in whole.out


def test_what_failed_has_no_output(shop: Cli) -> None:
    """The document of a failed run has the outputs that there are."""
    result = shop("run", "checkout", "-i", 'order={"id":13}', "-i", "day=2026-11-24", "--json")
    assert (result.code, result.json["outputs"]) == (1, {"ship": [1, 2]})


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["nope"], "there is no chain 'nope'; there is checkout"),
        (["checkout"], "Chain 'checkout' needs 'order' and 'day', but was started without them."),
        (["checkout", "-i", "order"], "--input 'order' is none: --input name=value"),
        (["checkout", "-i", "ordr=1"], "chain 'checkout' has no input 'ordr'; it has order, day, note, anything"),
        (
            ["checkout", "-i", "order={"],
            "--input order is no Order: Invalid JSON: EOF while parsing an object at line 1 column 1",
        ),
        (
            ["checkout", "-i", 'order={"id":"x"}'],
            "--input order is no Order: id: Input should be a valid integer, unable to parse string as an integer",
        ),
        (["checkout", "-i", "order=@none.json"], "none.json cannot be read: No such file or directory"),
    ],
)
def test_what_cannot_be_run(shop: Cli, arguments: list[str], text: str) -> None:
    """One line says why; exit code 2."""
    result = shop("run", *arguments)
    assert (result.code, result.out, result.err) == (2, "", f"fastapi-chain: error: {text}\n")


def test_an_app_without_a_runtime(good: Cli) -> None:
    """A chain needs no `install` to run here."""
    result = good("run", "ingest", "--input", "raw=abc", "--json")
    assert (result.code, result.json["state"], result.json["outputs"]) == (0, "succeeded", {"notify": None})
