"""The pytest plugin: the fixtures `chain_clock` and `fresh_registry`, and the runs of tests that fail."""

from collections.abc import Generator, Iterator
from datetime import UTC, datetime

import pytest

from fastapi_chain._terminal import draw_run, plain
from fastapi_chain.declare import Registry

from . import registries, seen
from .clock import ChainClock


@pytest.fixture
def chain_clock() -> Iterator[ChainClock]:
    """Virtual time for all chains: back-offs and rates cost nothing, and deadlines come by `advance`."""
    with ChainClock().in_place() as clock:
        yield clock


@pytest.fixture
def fresh_registry() -> Iterator[Registry]:
    """An empty default registry, for tests that define tasks of the same names."""
    with registries.fresh_registry() as registry:
        yield registry


def pytest_runtest_setup() -> None:
    """Forget the runs of the test before."""
    seen.runs.clear()


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport() -> Generator[None, "pytest.CallInfo[None]", None]:
    """Show the runs of a test that failed."""
    outcome = yield
    report: pytest.TestReport = outcome.get_result()  # type: ignore[attr-defined]
    if report.when == "call" and report.failed and seen.runs:
        now = datetime.now(UTC)
        text = "\n".join(plain(draw_run(run, now=now)) for run in seen.runs)
        report.sections.append(("fastapi_chain runs", text))
