"""Every block of code in every page: it is a file that is run, or it is run here."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

from tests.docs.pages import ALL_BLOCKS, ALL_COMMANDS, EXAMPLES, ROOT, SKILL, Block, Command, blocks, title

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())

WRITTEN_OUT = {ROOT / "README.md": 2, SKILL: None}
"""The pages that cannot include files: the first holds that many blocks of Python, the other any number."""

PYTHON = [block for block in ALL_BLOCKS if block.language == "python"]


@pytest.mark.parametrize("block", [block for block in PYTHON if block.page not in WRITTEN_OUT], ids=str)
def test_python_is_included_from_a_file(block: Block) -> None:
    """Code in a page is a file in docs/examples, or a part of one."""
    assert block.is_included, f"{block}: put it into docs/examples and include it"
    assert all((EXAMPLES / snippet).exists() for snippet in block.snippets)


def test_readme_shows_two_files() -> None:
    """README's code is that of docs/examples, word for word."""
    shown = [block.text for block in PYTHON if block.page == ROOT / "README.md"]
    assert shown == [(EXAMPLES / name).read_text() for name in ("first_chain.py", "main.py")]


def test_the_skill_runs(tmp_path: Path) -> None:
    """The code that agents are taught by is one program: each block goes on where the one before ended."""
    source = "\n".join(block.text for block in blocks(SKILL) if block.language == "python")
    (tmp_path / "skill.py").write_text(source)
    done = subprocess.run(
        [sys.executable, "-W", "error", "-m", "pytest", "-q", "-p", "no:cacheprovider", "skill.py"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_example_is_shown_or_run() -> None:
    """No file in docs/examples is forgotten: a page includes it, or it belongs to a package of which one does."""
    shown = {snippet for block in ALL_BLOCKS for snippet in block.snippets}
    folders = {str(Path(name).parent) for name in shown}
    files = {str(path.relative_to(EXAMPLES)) for path in EXAMPLES.rglob("*.py")}
    forgotten = {name for name in files - shown if not name.endswith("__init__.py")}
    alone = {"main.py"}  # README shows it, and cannot include it
    assert {name for name in forgotten - alone if str(Path(name).parent) not in folders} == set()


def test_every_example_is_shown_as_a_whole() -> None:
    """Whoever has the site alone can copy each file: it is on a page as a whole, however many parts of it there are."""
    parts = {snippet for block in ALL_BLOCKS for snippet in block.snippets}
    wholes = {block.whole for block in ALL_BLOCKS if block.whole}
    others = {name for name in parts if name.startswith("before/")}
    assert parts - wholes - others == set()


@pytest.mark.parametrize("page", [ROOT / "README.md", ROOT / "CONTRIBUTING.md"], ids=title)
def test_links_between_files(page: Path) -> None:
    """What README and CONTRIBUTING link to is in the repository; the links of the site are looked at as it is built."""
    links = re.findall(r'\]\(([^)#:]+)\)|(?:src|srcset)="([^"]+)"', page.read_text())
    assert [link for pair in links for link in pair if link and not (ROOT / link).exists()] == []


@pytest.mark.parametrize("block", [block for block in ALL_BLOCKS if block.language in {"toml", "yaml"}], ids=str)
def test_data_is_well_formed(block: Block) -> None:
    """What is to be put into a file of settings can be read."""
    if block.language == "toml":
        assert tomllib.loads(block.text)
    else:
        assert all(isinstance(document, dict) for document in yaml.safe_load_all(block.text))


@pytest.mark.parametrize("command", [command for command in ALL_COMMANDS if "pip" in command.words], ids=str)
def test_what_is_to_be_installed_exists(command: Command) -> None:
    """Every extra that a page asks for is one of the package's."""
    extras = PROJECT["project"]["optional-dependencies"]
    for word in command.words:
        name, bracket, wanted = word.partition("[")
        if name == "fastapi-chain" and bracket:
            assert set(wanted.rstrip("]").split(",")) <= set(extras)


@pytest.mark.parametrize("command", [command for command in ALL_COMMANDS if command.words[0] == "make"], ids=str)
def test_make_knows_its_targets(command: Command) -> None:
    """Every target that a page names is in the Makefile."""
    targets = {line.partition(":")[0] for line in (ROOT / "Makefile").read_text().splitlines() if ": " in line}
    assert {word for word in command.words[1:] if "=" not in word} <= targets
