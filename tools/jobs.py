"""Run the tests on every supported FastAPI, Python and mypy, and measure the branch coverage of all together.

`make test` runs this with the newest of everything in `.venv`. The other jobs get a venv each under `.cache/jobs`,
which is made once, and again only when `pyproject.toml`, `constraints.txt` or the job itself has changed. A Python that
this machine does not have is left out, with a line that says so.

Two jobs run at a time where there are two cores. What a job prints comes in one piece when it has ended; until then it
is in `.cache/jobs/<job>.log`.
"""

import hashlib
import os
import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from xml.etree import ElementTree as ET

ROOT = Path(__file__).resolve().parent.parent
CACHE = ROOT / ".cache" / "jobs"
DATA_FILE = ROOT / ".cache" / "coverage" / "data"

PYTHONS = ("3.11", "3.12", "3.13", "3.14")
"""The versions of Python that the library supports."""

EXTRAS = "cli,dashboard,durable,mypy,otel,testing"
"""What the package's own tests need of its optional parts."""

FASTAPI_TESTS = ("tests/web",)
"""The tests that look at FastAPI: what runs on old versions of it."""

PYTHON_TESTS = ("tests/unit", "tests/engines", "tests/web")
"""The tests that look at Python: what runs on other versions of it."""

MYPYS = ("1.11.2", "1.18.2")
"""The versions of mypy for which the plugin is tested, beside the newest: the oldest that it supports is the first."""

MYPY_TESTS = tuple(f"tests/mypy/test_{name}.py" for name in ("programs", "plugin", "incremental", "source"))
"""The tests that run mypy."""

PEERS = ("celery==5.7.0", "fastapi-taskflow==0.12.1", "taskiq==0.13.0", "taskiq-pipelines==0.1.4")
"""The libraries whose programs the guide on migrating begins with."""

WITHOUT_DATABASES = ("-k", "not postgresql and not sqlite and not durable")
"""How pytest leaves out what takes long and was seen on one Python: it runs on the others when `full` is asked for."""

WAITING_TESTS = ("tests/engines", "tests/property", "tests/acceptance")
"""The tests that mostly wait, for databases and for processes to end: a job of their own, beside another."""

LANES = min(2, os.cpu_count() or 1)
"""How many jobs run at a time: never more than two, for many tests start servers and look at what comes when."""

NOT_PINNED = (
    "anyio",
    "fastapi",
    "httpx2",
    "pydantic",
    "pydantic_core",
    "python-dateutil",  # Celery wants one certain version.
    "starlette",
    "tenacity",
    "typing_extensions",
)
"""What a job may choose for itself; of all else it gets the version in constraints.txt."""


FEW = 8
"""So many failures of one job may be due to a machine that was slow for a moment: those tests run once more, alone."""

SOME_FAILED = 1
"""The exit code with which pytest says that it ran all tests and some failed."""

FLOOR = 99
"""The branch coverage in per cent below which the run fails; the goal is 100."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One run of pytest in one environment."""

    name: str
    """What it is called in the summary, and its folder under `.cache/jobs`."""
    tests: tuple[str, ...]
    """What pytest is given."""
    base: str = sys.executable
    """The interpreter that makes its venv."""
    requirements: tuple[str, ...] | None = None
    """What is installed beside the package; None for the venv that this script runs in."""
    pinned: bool = True
    """Whether constraints.txt holds for everything."""
    options: tuple[str, ...] = ()
    """What else pytest is given."""
    mypy: str | None = None
    """The version of mypy that the tests call, in a venv of its own; None for that of the venv they run in."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """How a job ended."""

    job: str
    """Its name."""
    passed: int = 0
    """Tests that passed."""
    failed: int = 0
    """Tests that failed, or could not be collected; 1 if pytest itself did not come that far."""
    skipped: int = 0
    """Tests that were skipped."""
    again: int = 0
    """Tests among those passed that had failed before."""
    code: int = 0
    """The exit code of pytest."""
    seconds: float = 0.0
    """How long pytest took, in seconds."""

    def __str__(self) -> str:
        counts = f"{self.passed:>5} passed {self.failed:>3} failed {self.skipped:>3} skipped"
        again = f", {self.again} of them when run once more" if self.again else ""
        return f"{self.job:<18} {counts} {self.seconds:>6.1f} s{again}"


def fastapi_jobs() -> list[Job]:
    """Return one job for each FastAPI that changed something for us; the first has the oldest of all else, too."""
    oldest = ("fastapi==0.115.0", "pydantic==2.8.0", "tenacity==8.2.3", "typing-extensions==4.12.2")
    # The TestClient of an older Starlette asks for httpx, where today's asks for httpx2.
    versions = [oldest, ("fastapi==0.121.*",), ("fastapi==0.136.3",), ("fastapi==0.141.1",)]
    return [
        Job(
            name=version[0].replace("==", "-").rstrip(".*"),
            tests=FASTAPI_TESTS,
            requirements=(*version, "httpx"),
            pinned=False,
            # What is deprecated between old versions of other packages is not for us to mend; nor does anyio's plugin
            # of those days, which no test uses, know the pytest of today.
            options=("-W", "ignore::DeprecationWarning", "-W", "ignore::PendingDeprecationWarning", "-p", "no:anyio"),
        )
        for version in versions
    ]


def mypy_jobs() -> list[Job]:
    """Return a job for each older mypy."""
    return [Job(name=f"mypy-{version}", tests=MYPY_TESTS, mypy=version) for version in MYPYS]


def python_jobs() -> tuple[list[Job], list[str]]:
    """Return a job for each other Python on this machine, and the versions that it does not have."""
    here = f"{sys.version_info.major}.{sys.version_info.minor}"
    found = {version: find_python(version) for version in PYTHONS if version != here}
    jobs = [
        Job(name=f"python-{version}", tests=PYTHON_TESTS, base=path, requirements=(), options=WITHOUT_DATABASES)
        for version, path in found.items()
        if path is not None
    ]
    return jobs, [version for version, path in found.items() if path is None]


def find_python(version: str) -> str | None:
    """Return an interpreter of *version* that starts, from PATH or from pyenv; None if there is none."""
    candidates = [shutil.which(f"python{version}")]
    if pyenv := shutil.which("pyenv"):
        root = subprocess.run([pyenv, "root"], capture_output=True, text=True, check=True).stdout.strip()
        candidates += sorted(str(path) for path in Path(root, "versions").glob(f"{version}.*/bin/python"))
    return next((path for path in candidates if path and starts(path)), None)


def starts(python: str) -> bool:
    """Return whether *python* can run code: a shim of pyenv may stand for nothing."""
    return subprocess.run([python, "-c", "import venv"], capture_output=True, check=False).returncode == 0


def prepare(job: Job) -> str:
    """Return the interpreter to run *job* with, in a venv that is made if it is missing or out of date."""
    if job.requirements is None:
        return sys.executable
    return venv(job, "--editable", f".[{EXTRAS}]" if job.pinned else ".", "--group", "test", *job.requirements)


def surroundings(job: Job) -> dict[str, str]:
    """Return the environment of *job*, which names the older mypy; pydantic's own plugin is beside it."""
    names = {"COVERAGE_FILE": str(DATA_FILE)}
    if job.mypy is not None:
        names["FASTAPI_CHAIN_MYPY"] = venv(job, f"mypy=={job.mypy}", "pydantic")
    return os.environ | names


def venv(job: Job, *what: str) -> str:
    """Return the interpreter of the venv of *job*, in which *what* is installed."""
    folder = CACHE / job.name
    python = str(folder / "bin" / "python")
    stamp = folder / "stamp"
    wanted = fingerprint(job)
    if stamp.exists() and stamp.read_text() == wanted:
        return python
    shutil.rmtree(folder, ignore_errors=True)
    subprocess.run([job.base, "-m", "venv", "--without-pip", folder], check=True)
    constraints = folder / "constraints.txt"
    constraints.write_text("\n".join(pins(job)))
    pip = [sys.executable, "-m", "pip", "-qq", "--disable-pip-version-check", "--python", python]
    subprocess.run([*pip, "install", "--constraint", constraints, *what], check=True, cwd=ROOT)
    stamp.write_text(wanted)
    return python


def pins(job: Job) -> list[str]:
    """Return the lines of constraints.txt that hold for *job*."""
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    free = {*(() if job.pinned else NOT_PINNED), *(() if job.mypy is None else ("mypy",))}
    return [line for line in lines if line.partition("==")[0] not in free]


def fingerprint(job: Job) -> str:
    """Return what changes when the venv of *job* must be made anew."""
    files = (ROOT / name for name in ("pyproject.toml", "constraints.txt"))
    parts = [repr(job).encode(), *(file.read_bytes() for file in files)]
    return hashlib.sha256(b"\0".join(parts)).hexdigest()


def run(job: Job) -> Result:
    """Run the tests of *job* under coverage, and print what pytest printed."""
    print(f"{job.name}: starts", flush=True)
    result = once(job, "--quiet", "--cache-clear")
    log = (CACHE / f"{job.name}.log").read_text(errors="replace")
    print(f"\n{job.name}: {' '.join(job.tests)}\n{log}", flush=True)
    return result


def run_again(job: Job, first: Result) -> Result:
    """Run what has failed in *job* once more, now that no other job runs; return both results as one."""
    # Any other code says that pytest did not come to its end: what it never ran cannot be run again.
    if first.code != SOME_FAILED or first.failed > FEW:
        return first
    second = once(job, "--verbose", "--last-failed", "--last-failed-no-failures=none")
    log = (CACHE / f"{job.name}.log").read_text(errors="replace")
    print(f"\n{job.name}: what has failed, once more\n{log}", flush=True)
    return replace(
        first,
        passed=first.passed + second.passed,
        failed=max(second.failed, first.failed - second.passed),
        again=second.passed,
        seconds=first.seconds + second.seconds,
    )


def once(job: Job, *options: str) -> Result:
    """Call pytest for *job* with *options*; what it prints goes into the log of the job."""
    try:
        python, environment = prepare(job), surroundings(job)
    except subprocess.CalledProcessError as error:
        (CACHE / f"{job.name}.log").write_text(f"Its venv could not be made: {error}\n")
        return Result(job=job.name, failed=1)
    report = CACHE / f"{job.name}.xml"
    report.unlink(missing_ok=True)
    kept = ("-o", f"cache_dir={CACHE / job.name}.pytest")
    command = [python, "-m", "coverage", "run", "-m", "pytest", f"--junitxml={report}", *kept]
    began = time.monotonic()
    with (CACHE / f"{job.name}.log").open("w") as log:
        arguments = [*command, *job.options, *job.tests, *options]
        code = subprocess.run(
            arguments,
            cwd=ROOT,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            check=False,
        ).returncode
    return summary(job, report, code, time.monotonic() - began)


def summary(job: Job, report: Path, code: int, seconds: float) -> Result:
    """Return the counts that pytest wrote into *report*; a non-zero *code* is never less than one failure."""
    if not report.exists():
        return Result(job=job.name, failed=1, code=code, seconds=seconds)
    # Written a moment ago by pytest: nothing in it comes from elsewhere.
    suites = ET.parse(report).getroot().iter("testsuite")  # noqa: S314
    counts = [{key: int(suite.get(key, 0)) for key in ("tests", "failures", "errors", "skipped")} for suite in suites]
    failed = sum(count["failures"] + count["errors"] for count in counts)
    skipped = sum(count["skipped"] for count in counts)
    passed = sum(count["tests"] for count in counts) - failed - skipped
    failed = max(failed, int(code != 0))
    return Result(job=job.name, passed=passed, failed=failed, skipped=skipped, code=code, seconds=seconds)


def coverage(*arguments: str) -> int:
    """Run coverage's own command with the data of all jobs, and return its exit code."""
    command = [sys.executable, "-m", "coverage", *arguments]
    return subprocess.run(command, cwd=ROOT, env=os.environ | {"COVERAGE_FILE": str(DATA_FILE)}, check=False).returncode


def report_coverage(missing: list[str]) -> bool:
    """Print the coverage of all jobs together; return whether it is enough."""
    coverage("combine", "--quiet")
    if missing:
        print(f"\nWithout Python {', '.join(missing)}, what only they run stays open.")
    return coverage("report", f"--fail-under={FLOOR}") == 0


def main(chosen: list[str]) -> int:
    """Run the jobs whose name contains one of *chosen*, or all jobs and the coverage report; return an exit code.

    With `full` among them, other Pythons run the tests of databases and random graphs, too.
    """
    others, missing = python_jobs()
    if "full" in chosen:
        chosen = [part for part in chosen if part != "full"]
        others = [replace(job, tests=(*job.tests, "tests/property"), options=()) for job in others]
    # Playwright keeps an event loop running in the thread of its tests: no other test may follow them.
    apart = [part for path in (*WAITING_TESTS, "tests/browser") for part in ("--ignore", path)]
    jobs = [
        Job(name="waiting", tests=WAITING_TESTS),
        Job(name="newest", tests=("tests", "fastapi_chain"), options=tuple(apart)),
        Job(name="browser", tests=("tests/browser",)),
        Job(name="peers", tests=("tests/docs/test_before.py",), requirements=PEERS, pinned=False),
        *fastapi_jobs(),
        *mypy_jobs(),
        *others,
    ]
    jobs = [job for job in jobs if not chosen or any(part in job.name for part in chosen)]
    CACHE.mkdir(parents=True, exist_ok=True)
    DATA_FILE.parent.mkdir(parents=True, exist_ok=True)
    coverage("erase")
    with ThreadPoolExecutor(LANES) as lanes:
        results = list(lanes.map(run, jobs))
    results = [run_again(job, result) for job, result in zip(jobs, results, strict=True)]
    covered = bool(chosen) or report_coverage(missing)
    print("", *results, sep="\n")
    failed = sum(result.failed for result in results)
    passed = sum(result.passed for result in results)
    skipped = sum(result.skipped for result in results)
    print(f"\n{passed} passed, {failed} failed, {skipped} skipped")
    return int(failed > 0 or passed == 0 or not covered)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
