"""The page on the design is about the package as it is."""

import re
import tomllib

from tests.docs.pages import DOCS, ROOT

PAGE = (DOCS / "design.md").read_text()
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


def rows(heading: str) -> list[list[str]]:
    """Return the cells of the first table below a heading."""
    section = PAGE.partition(f"## {heading}\n")[2].partition("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def test_the_house() -> None:
    """Its rows are those that import-linter holds, from top to bottom."""
    (layers,) = [each for each in PROJECT["tool"]["importlinter"]["contracts"] if each["id"] == "layers"]
    held = [set(re.findall(r"\w+", row)) for row in layers["layers"]]
    shown = [set(re.findall(r"`(\w+)`", row[1])) for row in rows("The house")]
    assert set().union(*shown) == set().union(*held)
    places = {name: row for row, names in enumerate(held) for name in names}
    lowest = -1
    for names in shown:
        there = sorted(places[name] for name in names)
        assert there[0] >= lowest, f"{names} stand too low"
        lowest = there[-1]


def test_extras() -> None:
    """Each extra is there with what it brings."""
    extras = PROJECT["project"]["optional-dependencies"]
    assert [row[0].strip("`") for row in rows("Dependencies")] == list(extras)
    for name, wanted in extras.items():
        (row,) = [row for row in rows("Dependencies") if row[0] == f"`{name}`"]
        packages = {re.split(r"[\[>=<]", package)[0] for package in wanted} - {"fastapi-chain", "fastapi"}
        assert packages <= set(re.findall(r"[\w-]+", row[1])), name
