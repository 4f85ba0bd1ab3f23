"""An empty default registry."""

from collections.abc import Iterator
from contextlib import contextmanager

from fastapi_chain.declare import Registry, default_registry


@contextmanager
def fresh_registry() -> Iterator[Registry]:
    """Let the default registry be empty within the block, so that a test may define tasks of any names.

    What was in it before is back afterwards. The fixture of the same name does it for one test.

    Example:
        >>> from fastapi_chain import task
        >>> with fresh_registry() as registry:
        ...     @task
        ...     async def save() -> None: ...
        ...     list(registry.tasks)
        ['save']
    """
    with default_registry.emptied() as registry:
        yield registry
