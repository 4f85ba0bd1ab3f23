"""What is shipped: the wheel has all files and only those, and says what it needs."""

import subprocess
import sys
import tomllib
from email import message_from_string
from pathlib import Path
from zipfile import ZipFile

import pytest

import fastapi_chain

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> ZipFile:
    """Build the wheel."""
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (path,) = folder.glob("*.whl")
    return ZipFile(path)


def test_the_wheel_has_every_file_of_the_package(wheel: ZipFile) -> None:
    """Each file of the package is in the wheel, `py.typed`, templates and static files too; nothing else is."""
    listed = subprocess.run(["git", "ls-files", "fastapi_chain"], cwd=ROOT, capture_output=True, text=True, check=True)
    shipped = {name for name in wheel.namelist() if ".dist-info/" not in name}
    assert set(listed.stdout.split()) <= shipped
    assert {"fastapi_chain/py.typed", "fastapi_chain/__init__.pyi"} <= shipped
    assert {name.partition("/")[0] for name in shipped} == {"fastapi_chain"}


def test_the_wheel_says_what_it_needs(wheel: ZipFile) -> None:
    """The required packages are the four that the documentation names, and no version is capped but that of DBOS."""
    (path,) = [name for name in wheel.namelist() if name.endswith(".dist-info/METADATA")]
    metadata = message_from_string(wheel.read(path).decode())
    required = metadata.get_all("Requires-Dist", [])
    assert sorted(line for line in required if "extra ==" not in line) == [
        "fastapi!=0.137.0,!=0.137.1,>=0.115",
        "pydantic>=2.8",
        "tenacity>=8.2.3",
        "typing-extensions>=4.12",
    ]
    assert {line.partition(";")[0] for line in required if "<" in line} == {"dbos<4,>=3.4"}
    assert metadata["Requires-Python"] == ">=3.11"
    assert metadata["Version"] == fastapi_chain.__version__


def test_the_changelog_knows_the_version() -> None:
    """The version that is built is the newest in CHANGELOG.md, or what is unreleased will become it."""
    headings = [line for line in (ROOT / "CHANGELOG.md").read_text().splitlines() if line.startswith("## ")]
    assert headings[0] == "## [Unreleased]"
    assert len(headings) == 1 or headings[1].startswith(f"## [{fastapi_chain.__version__}]")


def test_standard_is_what_it_says() -> None:
    """The extra `standard` is the dashboard, the command line and FastAPI's own standard set."""
    standard = PROJECT["optional-dependencies"]["standard"]
    fastapi = next(line for line in PROJECT["dependencies"] if line.startswith("fastapi"))
    assert standard == ["fastapi-chain[cli,dashboard]", fastapi.replace("fastapi", "fastapi[standard]")]
