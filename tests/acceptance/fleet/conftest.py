"""Fleets: servers and workers on one database, each a process of its own."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.acceptance.fleet.stage import Fleet
from tests.engines.zygote import Zygote


@pytest.fixture
def fleet(url: str, tmp_path: Path, zygote: Zygote) -> Iterator[Fleet]:
    """A fleet on each kind of database in turn; it is empty."""
    made = Fleet(zygote, url, tmp_path)
    yield made
    made.close()
