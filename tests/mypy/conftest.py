"""Programs as data: each is run through the plugin, `fastapi-chain typecheck` and the start-up check.

`mistakes.cases` says what is found where, `correct.cases` what must not be reported; all programs may use `shop.txt`.
"""

import ast
import functools
import os
import re
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
PRELUDE = "from shop import *\n"
MARK = re.compile(r"  # ([EPSN]): (.*?)(?=  # [EPSN]: |$)")


@dataclass(frozen=True)
class Mark:
    """What is found at a line."""

    file: str
    line: int
    kind: str
    """`E` by plugin and start-up, `P` by the plugin, `S` at start-up, `N` by mypy itself."""
    text: str
    """The words; for `N` the error code."""


@dataclass
class Program:
    """One program, of one file or several."""

    title: str
    name: str
    files: dict[str, str] = field(default_factory=dict)

    @property
    def least(self) -> tuple[int, ...]:
        """The version of mypy that understands it."""
        found = re.search(r"\(mypy (\d+)\.(\d+)\)", self.title)
        return (int(found[1]), int(found[2])) if found else (0, 0)

    def marks(self, kinds: str) -> list[Mark]:
        """Return what the comments of these kinds say."""
        return [
            Mark(name, number, kind, text)
            for name, source in self.files.items()
            for number, line in enumerate(source.splitlines(), 1)
            for kind, text in MARK.findall(line)
            if kind in kinds
        ]

    def function_at(self, mark: Mark) -> int:
        """Return the first line, decorators included, of the innermost function around a mark, or its own."""
        around = [
            min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
            for node in ast.walk(ast.parse(self.files[mark.file]))
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
            and node.lineno <= mark.line <= (node.end_lineno or 0)
        ]
        return max(around, default=mark.line)


def programs(file: str) -> list[Program]:
    """Read a file of programs."""
    found: list[Program] = []
    name = ""
    for line in (HERE / file).read_text().splitlines():
        if line.startswith("=== "):
            program = Program(line[4:], f"{file.partition('.')[0]}_{len(found):03}")
            found.append(program)
            name = f"{program.name}.py"
        elif line.startswith("# file: "):
            name = line.removeprefix("# file: ")
            found[-1].files[name] = ""
        elif found:
            own = name == f"{found[-1].name}.py"
            found[-1].files.setdefault(name, PRELUDE if own else "")
            found[-1].files[name] += line + "\n"
    return found


MISTAKES = programs("mistakes.cases")
CORRECT = programs("correct.cases")


@dataclass
class Project:
    """A folder with programs in it, as a user would have it."""

    folder: Path
    cache: Path

    def write(self, files: dict[str, str]) -> None:
        """Write files, `shop.py` among them."""
        for name, text in {"shop.py": (HERE / "shop.txt").read_text(), **files}.items():
            path = self.folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)

    def configure(self, *lines: str, plugins: str = "fastapi_chain.mypy_plugin") -> None:
        """Write the configuration of mypy."""
        parts = [
            "[mypy]",
            "disable_error_code = empty-body",
            f"plugins = {plugins}" if plugins else "",
            *lines,
            "[mypy-fastapi_chain.*]",
            "ignore_errors = True",
        ]
        (self.folder / "mypy.ini").write_text("\n".join(parts) + "\n")

    @property
    def flags(self) -> list[str]:
        """The flags of every run."""
        return [
            "--no-error-summary",
            "--show-traceback",
            f"--python-executable={sys.executable}",
            f"--cache-dir={self.cache}",
        ]

    def mypy(self, *arguments: str, raising: bool = True, path: str = str(ROOT)) -> list[str]:
        """Run mypy in the folder, and return what it prints."""
        # Without a fast exit the coverage of the plugin is written.
        return self.run("mypy", "--no-fast-exit", *self.flags, *arguments, raising=raising, path=path)

    def run(self, module: str, *arguments: str, raising: bool = True, path: str = str(ROOT)) -> list[str]:
        """Run a module of mypy, the version of which the environment may name."""
        environment = {
            **os.environ,
            "MYPYPATH": path,
            "PYTHONPATH": str(ROOT),
            "FASTAPI_CHAIN_MYPY_RAISE": "1" if raising else "",
        }
        done = subprocess.run(
            [os.environ.get("FASTAPI_CHAIN_MYPY") or sys.executable, "-m", module, *arguments],
            cwd=self.folder,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert not done.stderr, done.stderr
        return done.stdout.splitlines()

    @contextmanager
    def plain(self) -> Iterator[Callable[..., list[str]]]:
        """Give a way to run mypy, anew each time."""
        yield self.mypy

    @contextmanager
    def daemon(self) -> Iterator[Callable[..., list[str]]]:
        """Give a way to ask mypy's daemon, which ends with the block."""

        def ask(*arguments: str) -> list[str]:
            return self.run("mypy.dmypy", "--status-file", "status.json", "run", "--", *self.flags, *arguments)

        try:
            yield ask
        finally:
            self.run("mypy.dmypy", "--status-file", "status.json", "stop")


@pytest.fixture(scope="session")
def shared_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One cache for all runs of mypy, in which the library and FastAPI are already."""
    project = Project(tmp_path_factory.mktemp("first"), tmp_path_factory.mktemp("mypy-cache"))
    project.configure()
    project.write({})
    project.mypy("shop.py")
    return project.cache


@pytest.fixture
def project(tmp_path: Path, shared_cache: Path) -> Project:
    """An empty project with the plugin switched on."""
    project = Project(tmp_path, shared_cache)
    project.configure()
    return project


def errors(output: Iterable[str]) -> Iterator[tuple[str, int, str, str]]:
    """Yield file, line, text and code of every error that mypy prints."""
    for line in output:
        found = re.fullmatch(r"(.+?):(\d+): error: (.*?)(?:  \[([\w-]+)\])?", line)
        if found:
            yield found[1], int(found[2]), found[3], found[4]


@functools.cache
def mypy_version() -> tuple[int, ...]:
    """Return the version of mypy that is tested."""
    python = os.environ.get("FASTAPI_CHAIN_MYPY") or sys.executable
    done = subprocess.run([python, "-m", "mypy", "--version"], capture_output=True, text=True, check=True)
    return tuple(int(part) for part in done.stdout.split()[1].split(".")[:2])


def compiler_flags(path: Path) -> int:
    """Return the compiler's flag for postponed annotations, if a file asks for them."""
    return 0x1000000 if "from __future__ import annotations" in path.read_text() else 0


def dedented(text: str) -> str:
    """Return a program that is written with indentation; its first line stays empty."""
    return textwrap.dedent(text)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Give a test that asks for `mistake` or `correct` each program of that kind."""
    for name, found in (("mistake", MISTAKES), ("correct", CORRECT)):
        if name in metafunc.fixturenames:
            metafunc.parametrize(name, found, ids=[program.title for program in found])


@pytest.fixture(scope="session")
def tools() -> object:
    """This module: test files cannot import each other."""
    return sys.modules[__name__]
