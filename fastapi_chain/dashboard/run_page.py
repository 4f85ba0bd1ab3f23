"""All that the page of one run shows."""

from collections.abc import Mapping
from typing import Final
from urllib.parse import quote, urlencode

from .graph import of_run
from .headline import headline
from .items import PAGE
from .log import entries
from .panel import Query, panel
from .subject import Part, Subject
from .timeline import timeline

_PAUSE: Final = "250ms"
"""How often an open page asks at most; it is the longer one where there is much to draw."""
_LONG_PAUSE: Final = "1s"
_MANY: Final = 60


async def run_values(subject: Subject, query: Query, base: str, *, values: bool) -> Mapping[str, object]:
    """Return what the template of a run's page is filled with.

    Args:
        subject: The run.
        query: What of it is looked at.
        base: The way to the root of the dashboard.
        values: Whether inputs and outputs may be shown.
    """
    part = chosen(subject, query.task)

    def href(task: str, tab: str = "", state: str | None = "", first: int = 0) -> str:
        asked = {"task": task, "tab": tab, "state": state, "first": first}
        return f"?{urlencode({key: value for key, value in asked.items() if value})}#task"

    shown = panel(subject, part, query, href, values=values)
    run = f"{base}/runs/{quote(subject.run.id, safe='')}"
    asked = {key: value for key, value in query._asdict().items() if value}
    return {
        "subject": subject,
        "address": f"{run}?{urlencode(asked)}",
        "actions": run,
        "started": subject.run.started_at or subject.run.created_at,
        "headline": headline(subject),
        "can_retry": can_retry(subject),
        "drawing": await of_run(subject, part, href),
        "timeline": timeline(subject, part, href),
        "entries": entries(subject),
        "panel": shown,
        "href": href,
        "values": values,
        "page_size": PAGE,
        "pause": _PAUSE if len(subject.plan.nodes) <= _MANY else _LONG_PAUSE,
    }


def chosen(subject: Subject, title: str) -> Part:
    """Return the task or item that is looked at: what is asked for, else what a reader looks for first."""
    asked = subject.find(title)
    if asked is not None:
        return asked
    failed = subject.first_failed()
    if failed is not None:
        return failed
    busy = [*subject.indices("retrying"), *subject.indices("running")]
    return Part(busy[0] if busy else 0)


def can_retry(subject: Subject) -> bool:
    """Whether "from failed" has anything to begin with."""
    states = {state for state, _ in subject.counts()}
    return subject.done and (bool(states & {"failed", "cancelled"}) or bool(subject.ledger.undone))
