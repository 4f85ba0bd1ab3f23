"""The options of `chain(...)`, checked where they are written."""

import string
from collections.abc import Iterator, Mapping
from inspect import isfunction
from typing import Final, Literal, TypeAlias

from fastapi_chain._record import record
from fastapi_chain.declare import Registry
from fastapi_chain.declare.options import close_coroutines, is_number
from fastapi_chain.errors import BadOption, CalledInsteadOfNamed
from fastapi_chain.spec import Source
from fastapi_chain.tasks import AnyTask, Task

from .targets import Target as FoundTarget

Target: TypeAlias = AnyTask | str | Registry
"""What a chain can name: tasks, their names, whole registries."""

_DURABLE: Final = ("delay", "priority", "cron")


@record
class ChainOptions:
    """The options of a chain."""

    returns: str | None
    start: Literal["commit", "response"]
    deadline: float | None
    key: str | None
    idempotent: bool | str
    tags: Mapping[str, str]
    max_pending: int | None
    expose_result: bool
    delay: float | None
    priority: int | None
    cron: str | None

    @property
    def durable(self) -> tuple[str, ...]:
        """The options in use that only a durable engine can honour."""
        return tuple(name for name in _DURABLE if getattr(self, name) is not None)

    @property
    def caller(self) -> tuple[str, ...]:
        """The parameters of an endpoint by which `idempotent="{user.id}"` names the caller."""
        return tuple(_names(self.idempotent)) if isinstance(self.idempotent, str) else ()

    def fields(self) -> Iterator[tuple[str, str]]:
        """Yield the names that the templates of `key` and `tags` use, each with its option."""
        for option, template in [("key", self.key), *((f"tags[{name!r}]", text) for name, text in self.tags.items())]:
            yield from ((option, name) for name in _names(template or ""))


def check_options(chain: Source, name: object, options: ChainOptions) -> None:
    """Refuse options that make no sense; *name* is that of the chain.

    Raises:
        BadOption: One does not.
    """
    for option, wanted, example, fits in _RULES:
        value = name if option == "name" else getattr(options, option)
        if not fits(value):
            written = f"chain(..., {option}={example})"
            raise BadOption(task=chain, option=option, value=value, wanted=wanted, example=written, kind="chain")


def _is_seconds(value: object) -> bool:
    return value is None or (is_number(value) and value > 0)


def _is_whole(value: object) -> bool:
    return value is None or (isinstance(value, int) and not isinstance(value, bool))


def _is_count(value: object) -> bool:
    return value is None or (_is_whole(value) and isinstance(value, int) and value >= 1)


def _is_flag(value: object) -> bool:
    return isinstance(value, bool)


def _is_flag_or_template(value: object) -> bool:
    return _is_flag(value) or (isinstance(value, str) and _is_template(value))


def _is_text(value: object) -> bool:
    return value is None or (isinstance(value, str) and bool(value.strip()))


def _is_name(value: object) -> bool:
    return value is None or (isinstance(value, str) and value.isidentifier())


def _is_start(value: object) -> bool:
    return value in ("commit", "response")


def _is_template(value: object) -> bool:
    """Whether *value* is for `str.format`, with a name in every pair of braces."""
    if value is None:
        return True
    if not isinstance(value, str):
        return False
    try:
        return all(name.isidentifier() for name in _names(value))
    except ValueError:
        return False


def _are_templates(value: object) -> bool:
    return isinstance(value, Mapping) and all(
        isinstance(name, str) and isinstance(text, str) and _is_template(text) for name, text in value.items()
    )


_RULES: Final = (
    ("name", "a name", '"checkout"', _is_text),
    ("returns", "the name of an input", '"order"', _is_name),
    ("start", "'commit' or 'response'", '"commit"', _is_start),
    ("deadline", "seconds, more than 0", "300.0", _is_seconds),
    ("key", "a template over the chain's inputs", '"order-{order_id}"', _is_template),
    ("idempotent", "True, False or a template that names the caller", '"{user.id}"', _is_flag_or_template),
    ("tags", "templates over the chain's inputs, by name", '{"order": "{order_id}"}', _are_templates),
    ("max_pending", "a whole number, 1 or more", "1000", _is_count),
    ("expose_result", "True or False", "True", _is_flag),
    ("delay", "seconds, more than 0", "60.0", _is_seconds),
    ("priority", "a whole number", "1", _is_whole),
    ("cron", "when it starts, as in a crontab", '"0 6 * * *"', _is_text),
)


def _names(template: str) -> Iterator[str]:
    """Yield the names that a template uses, without what follows them: of `{order.id}` it is `order`."""
    for _, name, spec, _ in string.Formatter().parse(template):
        if name is not None:
            yield name.partition(".")[0].partition("[")[0]
            yield from _names(spec or "")


def check_targets(chain: Source, targets: tuple[object, ...]) -> list[FoundTarget]:
    """Return what the targets of a chain stand for.

    Raises:
        CalledInsteadOfNamed: One is the coroutine of a task that was called.
        BadOption: One is no target at all.
    """
    called = close_coroutines(targets)
    if called is not None:
        raise CalledInsteadOfNamed(task=chain, option="chain", called=called)
    return [_target(chain, target) for target in targets]


def _target(chain: Source, target: object) -> FoundTarget:
    if isinstance(target, Task):
        return target.spec
    if isinstance(target, Registry) or (isinstance(target, str) and target):
        return target
    wanted, example = "tasks, their names, or registries", "chain(save, notify)"
    if isfunction(target):
        wanted += "; a bare @chain needs parentheses, and a plain function becomes a task through @task"
        example = "@chain()"
    raise BadOption(task=chain, option="targets", value=target, wanted=wanted, example=example, kind="chain")
