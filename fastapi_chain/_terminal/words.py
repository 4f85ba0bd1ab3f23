"""Moments, durations and states, in words."""

from collections.abc import Mapping
from datetime import datetime
from typing import Final

from .styled import Style

SIGNS: Final[Mapping[str, tuple[str, Style]]] = {
    "queued": ("·", "dim"),
    "pending": ("·", "dim"),
    "running": ("●", "busy"),
    "retrying": ("↻", "waiting"),
    "succeeded": ("✓", "good"),
    "failed": ("✗", "bad"),
    "timed_out": ("✗", "bad"),
    "skipped": ("»", "dim"),
    "cancelled": ("⊘", "dim"),
}
"""The sign of each state, and what it means: colour alone tells not everybody."""

_MINUTE: Final = 60
_HOUR: Final = 3600
_DAY: Final = 86400


def lasted(seconds: float) -> str:
    """Return a duration as a person would say it.

    Example:
        >>> [lasted(0.0004), lasted(0.12), lasted(9.31), lasted(75), lasted(7300)]
        ['<1 ms', '120 ms', '9.3 s', '1 min 15 s', '2 h 1 min']
    """
    if seconds < 0.001:  # noqa: PLR2004 - a millisecond
        return "<1 ms"
    if round(seconds, 3) < 1:
        return f"{seconds * 1000:.0f} ms"
    if round(seconds, 1) < _MINUTE:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < _HOUR:
        return f"{whole // _MINUTE} min {whole % _MINUTE} s"
    return f"{whole // _HOUR} h {whole % _HOUR // _MINUTE} min"


def ago(moment: datetime, now: datetime) -> str:
    """Return how long ago *moment* was."""
    seconds = max(0, int((now - moment).total_seconds()))
    if seconds < _MINUTE:
        return f"{seconds} s ago"
    if seconds < _HOUR:
        return f"{seconds // _MINUTE} min ago"
    if seconds < _DAY:
        return f"{seconds // _HOUR} h ago"
    days = seconds // _DAY
    return "1 day ago" if days == 1 else f"{days} days ago"


_BEHIND: Final[Mapping[str, str]] = {
    "upstream_failed": "needs {}",
    "upstream_skipped": "needs {}, which was skipped",
    "skip": "{}",
}


def why_skipped(reason: str) -> str:
    """Return the reason for which a task was skipped, in words."""
    kind, _, about = reason.partition(": ")
    return _BEHIND[kind].format(about) if kind in _BEHIND else "its condition did not hold"
