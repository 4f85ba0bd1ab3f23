"""The pages of the documentation as data: their blocks of code, and what is typed in and printed in a console."""

import importlib
import re
import shlex
import sys
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
EXAMPLES = DOCS / "examples"
SKILL = ROOT / "fastapi_chain" / ".agents" / "skills" / "fastapi-chain" / "SKILL.md"

ID = "6f2c…"
"""What stands for the id of a run in a page."""

PAGES = sorted([*DOCS.rglob("*.md"), DOCS / "llms.txt", ROOT / "README.md", ROOT / "CONTRIBUTING.md", SKILL])
"""Every page, README and what is written for agents too."""

_FENCE = re.compile(r"^(?P<indent> *)```(?P<info>[^\n`]*)\n(?P<text>.*?)^(?P=indent)```$", re.MULTILINE | re.DOTALL)

_SNIPPET = re.compile(r'--8<-- "([\w/.-]+\.py)(?::([\w-]+))?"')


def title(page: Path) -> str:
    """Return what a page is called in the name of a test."""
    return str(page.relative_to(ROOT))


@dataclass(frozen=True)
class Block:
    """A block of code in a page."""

    page: Path
    line: int
    language: str
    """What stands behind the fence: `python`, `console`, …"""
    title: str
    text: str

    def __str__(self) -> str:
        return f"{title(self.page)}:{self.line}"

    @property
    def snippets(self) -> list[str]:
        """The files of docs/examples that it includes."""
        return [match[1] for match in _SNIPPET.finditer(self.text)]

    @property
    def whole(self) -> str | None:
        """The file that it includes as a whole; None if it does not."""
        found = _SNIPPET.search(self.text)
        return found[1] if found and not found[2] else None

    @property
    def is_included(self) -> bool:
        """Whether it consists of nothing else."""
        return not _SNIPPET.sub("", self.text).strip()


def blocks(page: Path) -> list[Block]:
    """Return the blocks of a page, in order."""
    text = page.read_text()
    found = []
    for match in _FENCE.finditer(text):
        language, _, rest = match["info"].strip().partition(" ")
        named = re.search(r'title="([^"]*)"', rest)
        line = text.count("\n", 0, match.start()) + 1
        body = re.sub(rf"^{match['indent']}", "", match["text"], flags=re.MULTILINE)
        found.append(Block(page, line, language, named[1] if named else "", body))
    return found


ALL_BLOCKS = [block for page in PAGES for block in blocks(page)]


@dataclass(frozen=True)
class Command:
    """What is typed in behind a `$`, and what is printed then."""

    block: Block
    words: list[str]
    printed: list[str]

    def __str__(self) -> str:
        return f"{self.block}: {' '.join(self.words[:6])}"


def commands(block: Block) -> list[Command]:
    """Return the commands of a console, in order."""
    found: list[Command] = []
    for line in block.text.replace("\\\n", " ").splitlines():
        if line.startswith("$ "):
            found.append(Command(block, shlex.split(line[2:], comments=True), []))
        elif line.strip() and found:
            found[-1].printed.append(line.rstrip())
    return found


ALL_COMMANDS = [command for block in ALL_BLOCKS if block.language == "console" for command in commands(block)]


def fits(shown: str, printed: str) -> bool:
    """Whether *shown*, a line of a page, is what was *printed*; `…` stands for anything, and `6f2c…` for an id."""
    return re.fullmatch(".*".join(map(re.escape, shown.replace(ID, "…").split("…"))), printed) is not None


def load(name: str) -> ModuleType:
    """Import an example afresh, as a module of its own: `first_chain`, `tutorial/first`, `guide/shop/main`."""
    folder, _, module = name.rpartition("/")
    package = folder.startswith("guide/")
    path = str(EXAMPLES / (folder.rpartition("/")[0] if package else folder))
    dotted = f"{folder.rpartition('/')[2]}.{module}" if package else module
    for known in [known for known in sys.modules if known.split(".")[0] == dotted.split(".")[0]]:
        del sys.modules[known]
    sys.path.insert(0, path)
    try:
        return importlib.import_module(dotted)
    finally:
        sys.path.remove(path)
        importlib.invalidate_caches()
