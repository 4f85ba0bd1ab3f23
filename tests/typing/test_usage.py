"""Types that are good without a plugin: the same file under every checker, each at its strictest."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent


def run(folder, program, *arguments):
    """Run a checker in a folder, and return its exit code and what it prints."""
    done = subprocess.run(
        [BIN / program, *arguments],
        cwd=folder,
        env={**os.environ, "MYPYPATH": str(ROOT), "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


@pytest.fixture
def folder(tmp_path):
    """A folder with the file, as a project of its own."""
    shutil.copy(Path(__file__).with_name("usage.py"), tmp_path)
    return tmp_path


@pytest.mark.timeout(180)
@pytest.mark.parametrize("plugins", ["", "plugins = fastapi_chain.mypy_plugin"], ids=["bare", "plugin"])
def test_mypy(folder, plugins):
    """Mypy --strict, without the plugin and with it."""
    ours = "[mypy-fastapi_chain.*]\nfollow_imports = silent\n"
    # `deprecated` and `Annotated` metadata apart, the plugin changes no type that users write.
    (folder / "mypy.ini").write_text(f"[mypy]\n{plugins}\ndisable_error_code = empty-body, ignore-without-code\n{ours}")
    flags = ["--strict", "--no-error-summary", f"--python-executable={sys.executable}"]
    assert run(folder, "mypy", *flags, "usage.py") == (0, "")


@pytest.mark.timeout(180)
def test_pyright(folder):
    """pyright, strict, with a report of every ignore that is not needed."""
    config = {
        "include": ["usage.py"],
        "extraPaths": [str(ROOT)],
        "typeCheckingMode": "strict",
        "reportUnnecessaryTypeIgnoreComment": "error",
        "reportUnusedExpression": False,
        "reportUnusedCoroutine": False,
        "reportUnusedParameter": False,
    }
    (folder / "pyrightconfig.json").write_text(json.dumps(config))
    _, output = run(folder, "pyright", "--project", ".", "--pythonpath", sys.executable)
    assert "0 errors, 0 warnings" in output, output


def test_ty(folder):
    """ty, all rules as errors that concern types, and ignores that are not needed."""
    flags = ["--python", sys.prefix, "--extra-search-path", str(ROOT), "--output-format", "concise"]
    code, output = run(folder, "ty", "check", *flags, "--error", "unused-ignore-comment", "usage.py")
    assert code == 0, output


def test_pyrefly(folder):
    """pyrefly, with a report of every ignore that is not needed."""
    rows = {
        "project-includes": ["usage.py"],
        "search-path": [str(ROOT)],
        "python-interpreter-path": sys.executable,
    }
    text = "".join(f"{key} = {json.dumps(value)}\n" for key, value in rows.items()) + "[errors]\nunused-ignore = true\n"
    (folder / "pyrefly.toml").write_text(text)
    code, output = run(folder, "pyrefly", "check", "--output-format", "min-text")
    assert code == 0, output
