"""What comes before what, as one line."""

from fastapi_chain._text import counted
from fastapi_chain.chains import Chain


def assert_graph(chain: Chain, expected: str) -> None:
    """Assert that *chain* has exactly the tasks and edges of *expected*.

    Example:
        >>> from fastapi_chain import chain, task
        >>> @task
        ... async def clean() -> None: ...
        >>> @task(after=[clean])
        ... async def save() -> None: ...
        >>> @task(after=[clean])
        ... async def index() -> None: ...
        >>> assert_graph(chain(save, index), "clean -> save; clean -> index")

    Args:
        chain: The chain.
        expected: Paths, parted by semicolons or lines: `"clean -> save -> notify; clean -> index"`. Commas stand for
            several tasks at one place: `"clean -> save, index"`. A task that neither waits nor is waited for stands
            alone.

    Raises:
        AssertionError: The graph is another one; what is missing and what is not expected is said.
        InvalidChain: Something is wrong with the chain.
    """
    __tracebackhide__ = True
    plan = chain.plan
    names, edges = _read(expected)
    actual = {(plan.names[parent], node.name) for node in plan.nodes for parent in node.parents}
    differences = [
        *(f"  no such task:   {name}" for name in sorted(names - set(plan.names))),
        *(f"  not expected:   {name}" for name in sorted(set(plan.names) - names)),
        *(f"  missing edge:   {a} -> {b}" for a, b in sorted(edges - actual)),
        *(f"  not expected:   {a} -> {b}" for a, b in sorted(actual - edges)),
    ]
    if differences:
        head = f"The graph of chain {chain.name!r} has {counted(len(differences), 'difference')}:"
        raise AssertionError("\n".join([head, *differences]))


def _read(expected: str) -> tuple[set[str], set[tuple[str, str]]]:
    """Return the tasks and the edges of a text."""
    names: set[str] = set()
    edges: set[tuple[str, str]] = set()
    for path in expected.replace("\n", ";").split(";"):
        before: list[str] = []
        for place in path.split("->"):
            here = [name for part in place.split(",") if (name := part.strip())]
            names.update(here)
            edges.update((a, b) for a in before for b in here)
            before = here
    return names, edges
