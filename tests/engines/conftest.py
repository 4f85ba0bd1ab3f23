"""The engines that the conformance tests run on."""

import pytest

from tests.engines.kit import Kit, MemoryKit

KITS = {"memory": lambda: MemoryKit(fast=True), "plain": lambda: MemoryKit(fast=False)}


@pytest.fixture(params=KITS)
def engine(request: pytest.FixtureRequest) -> Kit:
    """Each engine in turn."""
    return KITS[request.param]()
