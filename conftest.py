"""What every test and every example in a docstring gets: a default registry of its own."""

from collections.abc import Iterator

import pytest
from hypothesis import settings

from fastapi_chain.declare import default_registry

# The machines that run this are shared: how long one example takes says nothing about the code.
settings.register_profile("shared", deadline=None, print_blob=True)
settings.load_profile("shared")

collect_ignore_glob = ["**/*_app.py"]
"""Apps that tests start as servers; they read their settings when they are imported."""


@pytest.fixture(autouse=True)
def _own_default_registry() -> Iterator[None]:
    """Let each test declare a task `clean` of its own with the plain `@task`."""
    with default_registry.emptied():
        yield
