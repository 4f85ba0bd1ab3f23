"""The axis of time: from moments to places between 0 and 100.

A run that is retried the next day must not squash what happened: where nothing happens for long, the axis is cut.
"""

from collections.abc import Iterable, Iterator
from math import ceil
from typing import Final, NamedTuple

from .words import DAY, MINUTE, duration

_GAP: Final = 4.0
"""How wide a cut is, in percent."""
_IDLE: Final = 0.35
"""A pause is cut out if it is longer than this part of all that is busy."""
_SHORTEST: Final = 0.001
"""The shortest time that an axis shows, in seconds."""
_LEAST: Final = 0.5
"""No pause shorter than this, in seconds, is cut out."""
_TICKS: Final = 6
_STEPS: Final = (
    *(0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30),
    *(60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 43200, 86400),
)


class Tick(NamedTuple):
    """A mark on the axis."""

    x: float
    """Its place, in percent."""
    label: str
    """The time since the start."""


class Span(NamedTuple):
    """A stretch of time, in seconds since the start."""

    begin: float
    end: float


class Axis:
    """Places moments, given in seconds since the run began."""

    def __init__(self, busy: Iterable[Span], end: float) -> None:
        """Show all of *busy*, up to *end* at least."""
        self._end = max(end, _SHORTEST)
        self._stretches = _cut([*_merged([*busy, Span(0.0, 0.0)])], self._end)
        shown = sum(stretch.end - stretch.begin for stretch in self._stretches)
        self._scale = (100.0 - _GAP * (len(self._stretches) - 1)) / shown
        self._shown = shown

    def x(self, moment: float) -> float:
        """Return the place of *moment*, in percent."""
        x = 0.0
        for i, stretch in enumerate(self._stretches):
            if i:
                x += _GAP
            if moment < stretch.begin:
                return round(x, 2)
            x += (min(moment, stretch.end) - stretch.begin) * self._scale
            if moment <= stretch.end:
                break
        return round(min(x, 100.0), 2)

    @property
    def cuts(self) -> list[float]:
        """Where the axis is cut: the middle of each cut, in percent."""
        return [self.x(stretch.begin) - _GAP / 2 for stretch in self._stretches[1:]]

    def ticks(self, *, closed: bool) -> list[Tick]:
        """Return the marks; if *closed* the last one is the end, in its own words."""
        step = next((step for step in _STEPS if self._shown / step <= _TICKS), None)
        if step is None:
            step = DAY * ceil(self._shown / DAY / _TICKS)
        ticks = [tick for stretch in self._stretches for tick in self._inside(stretch, step)]
        if closed:
            # The end takes the place of what would stand too near.
            ticks = [tick for tick in ticks if tick.x < 90]  # noqa: PLR2004 - percent
            ticks.append(Tick(100.0, duration(self._end)))
        return [tick for i, tick in enumerate(ticks) if i == 0 or tick.x - ticks[i - 1].x > 3]  # noqa: PLR2004 - percent

    def _inside(self, stretch: Span, step: float) -> Iterator[Tick]:
        for i in range(ceil(stretch.begin / step), int(stretch.end / step) + 1):
            x = self.x(i * step)
            # The text of a mark that stands further to the right would leave the picture.
            if x <= 97:  # noqa: PLR2004 - percent
                yield Tick(x, "0 s" if i == 0 else _tick(i * step))


def _tick(seconds: float) -> str:
    """Return a round time: `500 ms`, `2 s`, `1.5 s`, `2 m`."""
    if seconds < 1:
        return f"{round(seconds * 1000):g} ms"
    if seconds < MINUTE:
        return f"{round(seconds, 3):g} s"
    return duration(seconds).replace(" 00 s", "").replace(" 00 m", "")


def _merged(spans: list[Span]) -> Iterator[Span]:
    """Yield *spans* in order, those that touch or overlap as one."""
    spans.sort()
    begin, end = spans[0]
    for span in spans[1:]:
        if span.begin > end:
            yield Span(begin, end)
            begin, end = span
        end = max(end, span.end)
    yield Span(begin, end)


def _cut(busy: list[Span], end: float) -> list[Span]:
    """Return the stretches that are shown: pauses that are long beside all that is busy lie between them."""
    limit = max(_IDLE * sum(span.end - span.begin for span in busy), _LEAST)
    stretches = [busy[0]]
    for span in busy[1:]:
        last = stretches[-1]
        if span.begin - last.end > limit:
            stretches.append(span)
        else:
            stretches[-1] = Span(last.begin, span.end)
    last = stretches.pop()
    return [*stretches, Span(last.begin, max(end, last.end, last.begin + _SHORTEST))]
