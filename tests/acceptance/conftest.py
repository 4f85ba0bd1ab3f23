"""Databases, and processes that start at once, for tests of whole servers."""

from collections.abc import Iterator

import pytest

from tests.engines.durable_kit import Databases
from tests.engines.zygote import Zygote


@pytest.fixture(scope="session")
def databases(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Databases]:
    """Where durable engines get a database of their own."""
    made = Databases(tmp_path_factory.mktemp("databases"))
    yield made
    made.close()


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, databases: Databases) -> str:
    """A new database of each kind in turn."""
    return databases.sqlite() if request.param == "sqlite" else databases.postgres()


@pytest.fixture(scope="module")
def zygote() -> Iterator[Zygote]:
    """What starts processes."""
    made = Zygote()
    yield made
    made.close()
