"""The examples under type checkers, each at its strictest: what users copy is clean in their projects as well."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.docs.pages import EXAMPLES, ROOT

BIN = Path(sys.executable).parent

FOLDERS = ("", "tutorial", "guide")
"""The folders from which examples are started, and import each other."""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project that has the examples and nothing else."""
    # What is written for other libraries is theirs to check.
    left_out = shutil.ignore_patterns("__pycache__", "*.db*", "before")
    shutil.copytree(EXAMPLES, tmp_path / "examples", ignore=left_out)
    return tmp_path


def check(project: Path, *command: str) -> tuple[int, str]:
    """Run a checker in the project."""
    done = subprocess.run(
        [str(BIN / command[0]), *command[1:]], cwd=project, capture_output=True, text=True, check=False
    )
    return done.returncode, done.stdout + done.stderr


@pytest.mark.timeout(180)
def test_mypy(project: Path) -> None:
    """Mypy --strict with our plugin and pydantic's: no error, and no comment to silence one."""
    path = ":".join(str(project / "examples" / folder) for folder in FOLDERS)
    settings = ["[mypy]", "plugins = fastapi_chain.mypy_plugin, pydantic.mypy", "strict = true", f"mypy_path = {path}"]
    settings += ["explicit_package_bases = true", "warn_unreachable = true"]
    settings += ["[mypy-fastapi_chain.*]", "follow_imports = silent"]
    (project / "mypy.ini").write_text("\n".join(settings))
    assert check(project, "mypy", "--no-error-summary", f"--python-executable={sys.executable}", "examples") == (0, "")
    assert not [file for file in EXAMPLES.rglob("*.py") if "type: ignore" in file.read_text()]


@pytest.mark.timeout(180)
def test_pyright(project: Path) -> None:
    """The same with pyright."""
    config = {
        "include": ["examples"],
        "extraPaths": [str(ROOT)],
        "executionEnvironments": [
            {"root": f"examples/{folder}", "extraPaths": [f"examples/{folder}", str(ROOT)]} for folder in FOLDERS[::-1]
        ],
        "typeCheckingMode": "strict",
        "reportMissingTypeStubs": False,
    }
    (project / "pyrightconfig.json").write_text(json.dumps(config))
    _, output = check(project, "pyright", "--project", ".", "--pythonpath", sys.executable)
    assert "0 errors, 0 warnings" in output, output
