"""mypy, pyright, ty and pyrefly: how they are called, and what they answer."""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final, NamedTuple

_FILE: Final = "chain_flow.py"
_CONCISE: Final = re.compile(r"^[^:]*chain_flow\.py:(\d+)(?::\d+)?: error(?:\[[^\]]*\])?:? (.*)$", re.MULTILINE)
_MYPY_CODE: Final = re.compile(r"  \[[\w-]+\]$")


class CheckerMissing(Exception):
    """A type checker cannot be run."""


class Checker(NamedTuple):
    """One type checker."""

    command: Callable[[Path, Sequence[str]], list[str]]
    """Its arguments, for a folder with the module and the folders of the user's modules; it may write files there."""
    answers: Callable[[str], Iterator[tuple[int, str]]]
    """Reads line and text of each error from what it prints."""
    files: tuple[str, ...]
    """Files that show that a project uses it."""


def run_checker(name: str, source: str, path: Sequence[str] = ()) -> list[tuple[int, str]]:
    """Let a checker look at a module; return line and text of each error.

    Raises:
        CheckerMissing: It is not installed, or fails.
    """
    if name not in CHECKERS:
        raise CheckerMissing(f"there is no checker {name!r}: choose one of {', '.join(CHECKERS)}")
    program = _program(name)
    if program is None:
        raise CheckerMissing(f"{name} is not installed: pip install {name}")
    checker = CHECKERS[name]
    folders = list(dict.fromkeys([str(Path.cwd()), *path, *_own_folders()]))
    with tempfile.TemporaryDirectory(prefix="fastapi-chain-") as folder:
        (Path(folder) / _FILE).write_text(source, encoding="utf-8")
        arguments = checker.command(Path(folder), folders)
        given = os.environ.get("MYPYPATH", "").split(os.pathsep)
        environment = {**os.environ, "MYPYPATH": os.pathsep.join([*folders, *filter(None, given)])}
        done = subprocess.run(  # noqa: S603 - a program of the user's own, and files that we have written
            [program, *arguments], env=environment, capture_output=True, text=True, check=False
        )
    try:
        found = list(checker.answers(done.stdout))
    except ValueError:
        found = []
    # 0: all is well; 1: errors, which then must be there.
    if done.returncode not in {0, 1} or (done.returncode and not found and done.stderr.strip()):
        raise CheckerMissing(f"{name} failed: {(done.stderr or done.stdout).strip()}")
    return found


def checker_here() -> str:
    """Return the checker of this project: the first that is installed and configured here, else the first installed.

    Raises:
        CheckerMissing: None is installed.
    """
    installed = [name for name in CHECKERS if _program(name) is not None]
    project = Path("pyproject.toml")
    text = project.read_text(encoding="utf-8") if project.is_file() else ""
    for name in installed:
        if f"[tool.{name}" in text or any(Path(file).is_file() for file in CHECKERS[name].files):
            return name
    if not installed:
        raise CheckerMissing(f"no type checker is installed: pip install mypy, or one of {', '.join(CHECKERS)}")
    return installed[0]


def _program(name: str) -> str | None:
    """Return the program, that of this environment first."""
    beside = shutil.which(name, path=str(Path(sys.executable).parent))
    return beside or shutil.which(name)


def _own_folders() -> Iterator[str]:
    """Yield the folders from which this process imports modules of the user's own."""
    for entry in sys.path:
        installed = any(Path(entry).is_relative_to(prefix) for prefix in (sys.prefix, sys.base_prefix))
        if entry and not installed and Path(entry).is_dir():
            yield entry


def _mypy(folder: Path, _: Sequence[str]) -> list[str]:
    flags = ["--follow-imports=silent", "--no-pretty", "--no-error-summary", "--hide-error-context"]
    return [*flags, "--no-color-output", f"--python-executable={sys.executable}", str(folder / _FILE)]


def _pyright(folder: Path, path: Sequence[str]) -> list[str]:
    config = {"include": [_FILE], "extraPaths": list(path), "typeCheckingMode": "basic"}
    (folder / "pyrightconfig.json").write_text(json.dumps(config), encoding="utf-8")
    return ["--project", str(folder), "--pythonpath", sys.executable, "--outputjson"]


def _ty(folder: Path, path: Sequence[str]) -> list[str]:
    more = [argument for entry in path for argument in ("--extra-search-path", entry)]
    flags = ["--project", str(folder), "--python", sys.prefix, "--output-format", "concise"]
    return ["check", *flags, *more, str(folder / _FILE)]


def _pyrefly(folder: Path, path: Sequence[str]) -> list[str]:
    config = folder / "pyrefly.toml"
    rows = {"project-includes": [_FILE], "search-path": list(path), "python-interpreter-path": sys.executable}
    config.write_text("".join(f"{key} = {json.dumps(value)}\n" for key, value in rows.items()), encoding="utf-8")
    return ["check", "--output-format", "json", "--config", str(config)]


def _concise(output: str) -> Iterator[tuple[int, str]]:
    for line, text in _CONCISE.findall(output):
        yield int(line), _MYPY_CODE.sub("", text)


def _from_pyright(output: str) -> Iterator[tuple[int, str]]:
    for found in json.loads(output)["generalDiagnostics"]:
        if found["severity"] == "error":
            yield found["range"]["start"]["line"] + 1, " ".join(found["message"].split())


def _from_pyrefly(output: str) -> Iterator[tuple[int, str]]:
    for found in json.loads(output)["errors"]:
        if found["severity"] == "error":
            yield found["line"], " ".join(found["description"].split())


CHECKERS: Final = {
    "mypy": Checker(_mypy, _concise, ("mypy.ini", ".mypy.ini")),
    "pyright": Checker(_pyright, _from_pyright, ("pyrightconfig.json",)),
    "ty": Checker(_ty, _concise, ("ty.toml",)),
    "pyrefly": Checker(_pyrefly, _from_pyrefly, ("pyrefly.toml",)),
}
"""All checkers, by the names of their programs."""
