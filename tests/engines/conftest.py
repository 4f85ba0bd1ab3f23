"""The engines that the conformance tests run on."""

from collections.abc import Callable, Iterator
from typing import Final

import pytest

from tests.engines.durable_kit import Databases, DurableKit
from tests.engines.kit import Kit, MemoryKit

KITS: Final[dict[str, Callable[[Databases], Kit]]] = {
    "memory": lambda _: MemoryKit(fast=True),
    "plain": lambda _: MemoryKit(fast=False),
    "sqlite": lambda databases: DurableKit(databases.sqlite),
    "postgresql": lambda databases: DurableKit(databases.postgres),
}

IN_MEMORY: Final = {
    # They count turns of the loop; a checkpoint takes some, and who is back first from the database is open.
    "test_a_fast_branch_does_not_wait_for_a_slow_one",
    "test_while_it_runs_a_run_shows_how_things_stand",
    "test_while_it_waits_a_task_is_retrying",
    "test_waiting_for_a_retry_holds_no_thread_and_no_place",
    # It measures waits on a clock that jumps ahead whenever only a database is waited for.
    "test_a_rate_spaces_the_starts",
    # A task with a limit runs in whatever process has room: what it raised comes back in words.
    "test_a_thread_may_try_to_end_the_process",
    # What cannot be stored is refused: test_durable_values.py.
    "test_the_value_handed_on_is_the_very_object",
    "test_iterators_are_not_consumed",
    "test_no_annotation_no_check",
    # Tasks with a limit report from wherever they run.
    "test_progress_is_thrown_together_and_the_last_is_told",
    "test_threads_report_progress",
}
"""What only the memory engine promises, with the reason."""


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run each test of the suite on every engine that promises what it says."""
    if "engine" in metafunc.fixturenames:
        kits = ["memory", "plain"] if metafunc.function.__name__ in IN_MEMORY else list(KITS)
        metafunc.parametrize("engine", kits, indirect=True)


@pytest.fixture(scope="session")
def databases(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Databases]:
    """Where durable engines get a database of their own."""
    made = Databases(tmp_path_factory.mktemp("databases"))
    yield made
    made.close()


@pytest.fixture
def engine(request: pytest.FixtureRequest, databases: Databases) -> Kit:
    """Each engine in turn."""
    return KITS[request.param](databases)


@pytest.fixture(params=[True, False], ids=["fast", "plain"])
def memory(request: pytest.FixtureRequest) -> MemoryKit:
    """The memory engine on each of its paths, where databases can add nothing but time."""
    return MemoryKit(fast=request.param)


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, databases: Databases) -> str:
    """A new database of each kind in turn."""
    return databases.sqlite() if request.param == "sqlite" else databases.postgres()
