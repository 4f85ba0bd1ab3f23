"""The chains of an app and their tasks: what they are, and how they have done lately."""

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import NamedTuple
from urllib.parse import quote

from fastapi_chain.chains import Chain
from fastapi_chain.engines.base import KnownRun
from fastapi_chain.plan import Node

from .definition import Definition, definition
from .stats import Stats, of_runs, of_task
from .subject import Part, Subject
from .task_words import about
from .words import duration


class ChainLine(NamedTuple):
    """A chain."""

    name: str
    href: str
    tasks: int
    endpoints: tuple[str, ...]
    place: str
    inputs: tuple[str, ...]
    options: tuple[tuple[str, str], ...]
    recent: tuple[str, ...]
    stats: Stats
    last: datetime | None


class TaskLine(NamedTuple):
    """A task within a chain."""

    name: str
    href: str
    chain: str
    chain_href: str
    place: str
    stats: Stats
    definition: Definition | None = None


class Seen(NamedTuple):
    """What became of a task in one run."""

    id: str
    href: str
    state: str
    created: datetime
    about: str


def chain_href(base: str, chain: str) -> str:
    """Return the address of a chain's page."""
    return f"{base}/chains/{quote(chain, safe='')}"


def task_href(base: str, chain: str, task: str) -> str:
    """Return the address of a task's page."""
    return f"{base}/tasks/{quote(task, safe='')}?chain={quote(chain, safe='')}"


def chain_line(chain: Chain, runs: Sequence[KnownRun], base: str) -> ChainLine:
    """Return what is said about *chain*, whose last runs are *runs*."""
    plan, stats = chain.plan, of_runs(runs)
    return ChainLine(
        name=chain.name,
        href=chain_href(base, chain.name),
        tasks=len(plan.nodes),
        endpoints=tuple(dict.fromkeys(endpoint.route for endpoint in chain.endpoints)),
        place=chain.source.at,
        inputs=tuple(item.name if item.required else f"{item.name}?" for item in plan.inputs),
        options=tuple(_options(chain)),
        recent=stats.strip,
        stats=stats,
        last=runs[-1].created_at if runs else None,
    )


def _options(chain: Chain) -> Iterator[tuple[str, str]]:
    """Yield the options that are not at their default."""
    options = chain.options
    if options.start != "commit":
        yield "Starts", "right after the response"
    if options.deadline is not None:
        yield "Deadline", duration(options.deadline)
    if options.key is not None:
        yield "Key", options.key
    if options.max_pending is not None:
        yield "At most pending", str(options.max_pending)
    if options.cron is not None:
        yield "Cron", options.cron


def task_line(chain: Chain, node: Node, runs: Sequence[KnownRun], base: str) -> TaskLine:
    """Return what is said about one task of *chain*."""
    return TaskLine(
        name=node.name,
        href=task_href(base, chain.name, node.name),
        chain=chain.name,
        chain_href=chain_href(base, chain.name),
        place=node.spec.source.at,
        stats=of_task(runs, node.name),
    )


def full_task(chain: Chain, name: str, runs: Sequence[KnownRun], base: str) -> TaskLine:
    """Return the same of the task called *name*, with its definition."""
    node = chain.plan.nodes[chain.plan.index[name]]
    return task_line(chain, node, runs, base)._replace(definition=definition(chain.plan, node))


def seen(task: str, runs: Sequence[KnownRun], base: str, now: datetime) -> Iterator[Seen]:
    """Yield what became of *task* in *runs*, the newest first."""
    for run in reversed(runs):
        subject = Subject(run, now)
        index = subject.plan.index.get(task)
        if index is not None:
            part = Part(index)
            record = subject.record(part)
            said = str(record.error) if record.state == "failed" and record.error else about(subject, part, record)
            href = f"{base}/runs/{quote(run.id, safe='')}?task={quote(task, safe='')}#task"
            yield Seen(run.id, href, record.state, run.created_at, said)
