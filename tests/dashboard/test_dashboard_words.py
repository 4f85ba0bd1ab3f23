"""How the pages say numbers, times and reasons."""

from datetime import UTC, datetime, timedelta

import pytest

from fastapi_chain.dashboard import words
from fastapi_chain.dashboard.axis import Axis, Span, Tick

NOON = datetime(2026, 11, 24, 12, 0, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        # Too short to say.
        (0.0, "< 1 ms"),
        (0.00049, "< 1 ms"),
        (0.412, "412 ms"),
        # What rounds up to the next unit is said in it.
        (0.9996, "1.0 s"),
        (9.31, "9.3 s"),
        (59.94, "59.9 s"),
        (59.96, "1 m 00 s"),
        (125, "2 m 05 s"),
        (3599.6, "1 h 00 m"),
        (11_400, "3 h 10 m"),
        (187_200, "2 d 4 h"),
    ],
)
def test_durations(seconds: float, text: str) -> None:
    """A duration is said in the two units that matter."""
    assert words.duration(seconds) == text


@pytest.mark.parametrize(
    ("before", "text"),
    [
        (0.2, "just now"),
        # A clock that is a little ahead.
        (-3, "just now"),
        (41, "41 s ago"),
        (330, "5 min ago"),
        (3 * 3600, "3 h ago"),
        (47 * 3600, "47 h ago"),
        (49 * 3600, "2 d ago"),
    ],
)
def test_how_long_ago(before: float, text: str) -> None:
    """A moment is said as one speaks of it."""
    assert words.ago(NOON - timedelta(seconds=before), NOON) == text


def test_the_time_of_day() -> None:
    """It is in UTC, with the date where that is another one."""
    assert words.clock(NOON - timedelta(hours=1), NOON) == "11:00:00 UTC"
    assert words.clock(NOON - timedelta(days=1), NOON) == "2026-11-23 12:00:00 UTC"


@pytest.mark.parametrize(("value", "text"), [(10_000, "10,000"), (512.0, "512"), (12.5, "12.5")])
def test_numbers(value: float, text: str) -> None:
    """Thousands are set apart; only what is no whole number has a decimal."""
    assert words.number(value) == text


@pytest.mark.parametrize(
    ("part", "text"),
    [
        (0.0, "0 %"),
        # Not quite nothing, and not quite all.
        (0.0001, "1 %"),
        (0.41, "41 %"),
        (0.993, "99 %"),
        (0.9999, "99.9 %"),
        (1.0, "100 %"),
    ],
)
def test_percentages(part: float, text: str) -> None:
    """What is not all is never said to be 100 %."""
    assert words.percent(part) == text


@pytest.mark.parametrize(
    ("reason", "text"),
    [
        ("upstream_failed: charge", "needs charge"),
        ("upstream_skipped: charge", "needs charge"),
        ("skip: nothing to do", "nothing to do"),
        ("condition", "its condition did not hold"),
        # A reason of a later version, and none.
        ("weather", "skipped"),
        (None, "skipped"),
    ],
)
def test_why_a_task_was_skipped(reason: str | None, text: str) -> None:
    """The reason in words."""
    assert words.skipped(reason) == text


@pytest.mark.parametrize(
    ("reason", "text"),
    [("deadline", "deadline passed"), ("shutdown", "server shut down"), ("weather", "weather"), (None, "cancelled")],
)
def test_why_something_was_cancelled(reason: str | None, text: str) -> None:
    """The reason in words; one that is not known, as it is."""
    assert words.cancelled(reason) == text


def test_an_axis_places_moments() -> None:
    """Moments are placed in proportion, those outside at the edges; the last mark is the end."""
    axis = Axis([Span(0.0, 4.0), Span(2.0, 9.3)], 9.3)
    assert [axis.x(moment) for moment in (-1.0, 0.0, 4.65, 9.3, 20.0)] == [0.0, 0.0, 50.0, 100.0, 100.0]
    assert axis.cuts == []
    assert [tick.label for tick in axis.ticks(closed=True)] == ["0 s", "2 s", "4 s", "6 s", "8 s", "9.3 s"]
    assert axis.ticks(closed=True)[-1] == Tick(100.0, "9.3 s")
    assert axis.ticks(closed=False)[-1].label == "8 s"


def test_an_axis_leaves_long_pauses_out() -> None:
    """A run that was retried a day later is shown as two stretches with a cut between them."""
    day = 86_400.0
    axis = Axis([Span(0.0, 4.0), Span(day, day + 4.0)], day + 4.0)
    assert axis.cuts == [pytest.approx(50.0)]
    assert axis.x(4.0) == 48.0
    # What lies within the cut is placed at its end.
    assert axis.x(day / 2) == 52.0
    assert axis.x(day) == 52.0
    assert axis.x(day + 4.0) == 100.0
    labels = [tick.label for tick in axis.ticks(closed=True)]
    assert labels[0] == "0 s"
    assert "1 d 0 h" in labels


def test_a_short_pause_stays() -> None:
    """What is not long beside the rest is no pause."""
    axis = Axis([Span(0.0, 4.0), Span(4.5, 9.0)], 9.0)
    assert axis.cuts == []


@pytest.mark.parametrize(
    ("end", "labels"),
    [
        # Nothing has happened yet.
        (0.0, ["0 s", "1 ms"]),
        (0.0124, ["0 s", "5 ms", "10 ms", "12 ms"]),
        (0.9, ["0 s", "200 ms", "400 ms", "600 ms", "800 ms", "900 ms"]),
        (3.0, ["0 s", "500 ms", "1 s", "1.5 s", "2 s", "2.5 s", "3.0 s"]),
        (600.0, ["0 s", "2 m", "4 m", "6 m", "8 m", "10 m 00 s"]),
        (10_368_000.0, ["0 s", "20 d 0 h", "40 d 0 h", "60 d 0 h", "80 d 0 h", "100 d 0 h", "120 d 0 h"]),
    ],
)
def test_the_marks_of_an_axis_are_round(end: float, labels: list[str]) -> None:
    """Whatever the length, there are a handful of marks at round times."""
    assert [tick.label for tick in Axis([], end).ticks(closed=True)] == labels
