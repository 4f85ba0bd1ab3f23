"""How the pages say numbers, times and reasons."""

from datetime import UTC, datetime
from typing import Final

MINUTE: Final = 60
HOUR: Final = 3600
DAY: Final = 86400
_PRECISE: Final = 10


def duration(seconds: float) -> str:
    """Return `412 ms`, `9.3 s`, `2 m 05 s`, `3 h 10 m` or `2 d 4 h`.

    Example:
        >>> duration(0.4121), duration(9.31), duration(125), duration(11_400)
        ('412 ms', '9.3 s', '2 m 05 s', '3 h 10 m')
    """
    if seconds < 0.001:  # noqa: PLR2004 - a millisecond
        return "< 1 ms"
    if round(seconds, 3) < 1:
        return f"{seconds * 1000:.0f} ms"
    if round(seconds, 1) < MINUTE:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < HOUR:
        return f"{whole // MINUTE} m {whole % MINUTE:02d} s"
    if whole < DAY:
        return f"{whole // HOUR} h {whole % HOUR // MINUTE:02d} m"
    return f"{whole // DAY} d {whole % DAY // HOUR} h"


def ago(moment: datetime, now: datetime) -> str:
    """Return how long before *now* it was: `just now`, `41 s ago`, `5 min ago`, `3 h ago`, `2 d ago`."""
    seconds = (now - moment).total_seconds()
    if seconds < 1:
        return "just now"
    for unit, size, limit in (("s", 1, MINUTE), ("min", MINUTE, HOUR), ("h", HOUR, 2 * DAY)):
        if seconds < limit:
            return f"{int(seconds // size)} {unit} ago"
    return f"{int(seconds // DAY)} d ago"


def clock(moment: datetime, now: datetime) -> str:
    """Return `02:14:07 UTC`, with the date unless it is that of *now*."""
    utc = moment.astimezone(UTC)
    day = "" if utc.date() == now.astimezone(UTC).date() else f"{utc:%Y-%m-%d} "
    return f"{day}{utc:%H:%M:%S} UTC"


def number(value: float) -> str:
    """Return `10,000`, `512` or `12.5`."""
    return f"{int(value):,}" if value == int(value) else f"{value:,.1f}"


def percent(part: float) -> str:
    """Return `98 %`; what is not quite all is never said to be `100 %`, and what is not nothing never `0 %`."""
    if 0 < part < 1:
        part = min(0.99 if part < 0.995 else 0.999, max(0.01, part))  # noqa: PLR2004 - where rounding would lie
    return "99.9 %" if part == 0.999 else f"{part:.0%}".replace("%", " %")  # noqa: PLR2004 - as above


def skipped(reason: str | None) -> str:
    """Return why a task did not run, in words."""
    kind, _, about = (reason or "").partition(": ")
    words = {
        "upstream_failed": f"needs {about}",
        "upstream_skipped": f"needs {about}",
        "skip": about,
        "condition": "its condition did not hold",
    }
    return words.get(kind) or "skipped"


def cancelled(reason: str | None) -> str:
    """Return why a task or run was cancelled, in words."""
    words = {"run_cancelled": "run cancelled", "deadline": "deadline passed", "shutdown": "server shut down"}
    return words.get(reason or "") or reason or "cancelled"
