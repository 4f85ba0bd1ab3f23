"""assert_graph: what comes before what, as one line."""

import pytest

from fastapi_chain import Chain, chain, task
from fastapi_chain.testing import assert_graph


def shop() -> Chain:
    """Return a chain with a fork and a task that stands alone."""

    @task
    async def clean() -> None:
        pass

    @task(after=[clean])
    async def save() -> None:
        pass

    @task(after=[save])
    async def notify() -> None:
        pass

    @task(after=[clean])
    async def index() -> None:
        pass

    @task
    async def audit() -> None:
        pass

    return chain(notify, index, audit, name="shop")


@pytest.mark.parametrize(
    "expected",
    [
        "clean -> save -> notify; clean -> index; audit",  # paths
        "clean -> save, index; save -> notify; audit",  # several tasks at one place
        "\n  clean -> index\n\n  clean -> save -> notify\n  audit\n",  # lines
    ],
)
def test_the_graph_as_it_is(expected: str) -> None:
    """All ways to write the same graph are as good."""
    assert_graph(shop(), expected)


def test_differences_are_listed() -> None:
    """What is missing and what is not expected is said, task by task and edge by edge."""
    with pytest.raises(AssertionError) as caught:
        assert_graph(shop(), "clean -> save -> notify -> index; bill")
    assert str(caught.value) == (
        "The graph of chain 'shop' has 4 differences:\n"
        "  no such task:   bill\n"
        "  not expected:   audit\n"
        "  missing edge:   notify -> index\n"
        "  not expected:   clean -> index"
    )
