"""Progress by itself: what a task says, told to whoever listens."""

from collections.abc import Iterable

import pytest

from fastapi_chain.context import Outside, Progress
from fastapi_chain.outcome import ProgressInfo


class Listening(Outside):
    """Outside of a run, but somebody listens."""

    def __init__(self) -> None:
        self.told: list[ProgressInfo] = []

    def report(self, progress: ProgressInfo) -> None:
        self.told.append(progress)


@pytest.mark.parametrize(
    ("items", "given", "total"),
    [
        ("ab", None, 2),
        (iter("ab"), None, None),  # nobody knows how many there are
        (iter("ab"), 5, 5),
        ("ab", 5, 5),  # who says so knows better
    ],
)
def test_how_many_there_are_is_told_where_that_is_known(items: Iterable[str], given: float | None, total: float | None):
    """The length of what is walked through, unless somebody says otherwise; each item is told when it is done."""
    link = Listening()
    seen = [(item, len(link.told)) for item in Progress(link).track(items, given, "rows")]
    assert seen == [("a", 0), ("b", 1)]
    assert link.told == [ProgressInfo(done=n, total=total, text="rows") for n in (1, 2)]


def test_what_is_no_number_is_not_told():
    """Nor is a total that is none: then nobody knows how many there are."""
    link = Listening()
    for done, total in ((float("nan"), 2), (float("inf"), 2), (1, float("inf")), (2, float("nan"))):
        Progress(link)(done, total)
    assert link.told == [ProgressInfo(done=1, total=None, text=""), ProgressInfo(done=2, total=None, text="")]
