"""The options of `chain(...)`, checked where they are written."""

import inspect
import string
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal, NoReturn

from .declare import Registry
from .errors import BadOption, CalledInsteadOfNamed
from .spec import Source, TaskSpec
from .tasks import AnyTask, Task

Target = AnyTask | str | Registry
"""What a chain can name: tasks, their names, whole registries."""

_DURABLE = ("delay", "priority", "cron")


@dataclass(frozen=True, slots=True, kw_only=True)
class ChainOptions:
    """The options of a chain."""

    returns: str | None = None
    start: Literal["commit", "response"] = "commit"
    deadline: float | None = None
    key: str | None = None
    idempotent: bool = False
    tags: Mapping[str, str] = field(default_factory=dict)
    max_pending: int | None = None
    expose_result: bool = False
    delay: float | None = None
    priority: int | None = None
    cron: str | None = None

    @property
    def durable(self) -> tuple[str, ...]:
        """The options in use that only a durable engine can honour."""
        return tuple(name for name in _DURABLE if getattr(self, name) is not None)

    def fields(self) -> Iterator[tuple[str, str]]:
        """Yield the names that the templates of `key` and `tags` use, each with its option."""
        for option, template in [("key", self.key), *((f"tags[{name!r}]", text) for name, text in self.tags.items())]:
            for _, name, _, _ in string.Formatter().parse(template or ""):
                if name is not None:
                    yield option, name.partition(".")[0].partition("[")[0]


def check_options(chain: Source, options: ChainOptions) -> None:
    """Refuse options that make no sense.

    Raises:
        BadOption: One does not.
    """

    def bad(option: str, wanted: str, example: str) -> NoReturn:
        value = getattr(options, option)
        raise BadOption(task=chain, option=option, value=value, wanted=wanted, example=example, kind="chain")

    if options.returns is not None and not (isinstance(options.returns, str) and options.returns.isidentifier()):
        bad("returns", "the name of an input", '@chain(..., returns="order")')
    if options.start not in {"commit", "response"}:
        bad("start", "'commit' or 'response'", '@chain(..., start="commit")')
    for option in ("deadline", "delay"):
        seconds = getattr(options, option)
        if seconds is not None and not (_number(seconds) and seconds > 0):
            bad(option, "seconds, more than 0", f"@chain(..., {option}=300.0)")
    if options.max_pending is not None and not (_number(options.max_pending) and options.max_pending >= 1):
        bad("max_pending", "a whole number, 1 or more", "@chain(..., max_pending=1000)")
    templates = [("key", options.key), *(("tags", text) for text in options.tags.values())]
    for option, template in templates:
        if template is not None and not _is_template(template):
            bad(option, "a template over the chain's inputs", '@chain(..., key="order-{order_id}")')


def _number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _is_template(template: object) -> bool:
    """Whether *template* is for `str.format`, with a name in every pair of braces."""
    if not isinstance(template, str):
        return False
    try:
        names = [name for _, name, _, _ in string.Formatter().parse(template) if name is not None]
    except ValueError:
        return False
    return all(name.partition(".")[0].partition("[")[0].isidentifier() for name in names)


def check_target(chain: Source, target: object) -> "TaskSpec | str | Registry":
    """Return what a target of a chain stands for.

    Raises:
        CalledInsteadOfNamed: It is the coroutine of a task that was called.
        BadOption: It is no target at all.
    """
    if isinstance(target, Task):
        return target.spec
    if isinstance(target, Registry) or (isinstance(target, str) and target):
        return target
    if inspect.iscoroutine(target):
        target.close()
        raise CalledInsteadOfNamed(task=chain, option="chain", called=target.__name__)
    wanted = "tasks, their names, or registries"
    example = "@chain(save, notify)"
    if inspect.isfunction(target):
        wanted += "; a bare @chain needs parentheses, and a plain function becomes a task through @task"
        example = "@chain()"
    raise BadOption(task=chain, option="targets", value=target, wanted=wanted, example=example, kind="chain")
