"""The options of `@task`, checked where they are written: a wrong one never gets as far as a run."""

import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Final, Literal, TypeAlias, TypedDict, cast

from .errors import BadOption, CalledInsteadOfNamed
from .spec import RUN_IF, Backoff, Each, Rate, RunIf, Source, TaskSpec
from .tasks import AnyTask, Task

After: TypeAlias = AnyTask | str | Sequence[AnyTask | str]
"""What `after=` takes: tasks, or their names."""

EachOver: TypeAlias = AnyTask | str | Mapping[str, AnyTask | str]
"""What `each=` takes: the task that gives the list, or `{"line": lines}`."""

_SECONDS: Final = {"s": 1.0, "m": 60.0, "h": 3600.0}
_RATE: Final = re.compile(r"(\d+)/([smh])")


class Options(TypedDict, total=False):
    """The options of `@task`, as the user wrote them."""

    name: str | None
    output: str | None
    after: After
    retries: int
    backoff: Backoff | float | None
    retry_on: type[BaseException] | tuple[type[BaseException], ...] | None
    give_up_on: type[BaseException] | tuple[type[BaseException], ...]
    retry: object
    timeout: float | None
    run_if: RunIf
    optional: bool
    each: EachOver | None
    limit: int | None
    rate: str | None
    undo: Callable[..., object] | None
    effect: Literal["safe", "once"]
    queue: str | None


class Checked(TypedDict):
    """The options of `@task` as fields of `TaskSpec`."""

    after: "tuple[TaskSpec | str, ...]"
    retries: int
    backoff: Backoff
    retry_on: tuple[type[BaseException], ...]
    give_up_on: tuple[type[BaseException], ...]
    policy: object
    timeout: float | None
    run_if: RunIf
    optional: bool
    each: Each | None
    limit: int | None
    rate: Rate | None
    effect: Literal["safe", "once"]
    queue: str | None


class OptionReader:
    """Reads the options of one task and complains in its name."""

    def __init__(self, task: Source, options: Options) -> None:
        """Read *options*, written at *task*."""
        self._task = task
        self._options = options

    def read(self) -> Checked:
        """Return the options as fields of `TaskSpec`.

        Raises:
            BadOption: A value makes no sense.
            CalledInsteadOfNamed: `after=` holds the coroutine of a task that was called.
        """
        options = self._options
        return Checked(
            after=self._after(options.get("after", ())),
            retries=self._count("retries", options.get("retries", 0), least=0),
            backoff=self._backoff(options.get("backoff")),
            retry_on=self._errors("retry_on", options.get("retry_on") or Exception),
            give_up_on=self._errors("give_up_on", options.get("give_up_on", ())),
            policy=self._policy(options.get("retry")),
            timeout=self._seconds("timeout", options.get("timeout")),
            run_if=self._choice("run_if", options.get("run_if", "all_succeeded"), RUN_IF),
            optional=self._flag("optional", options.get("optional", False)),
            each=self._each(options.get("each")),
            limit=self._limit(options.get("limit")),
            rate=self._rate(options.get("rate")),
            effect=self._choice("effect", options.get("effect", "safe"), ("safe", "once")),
            queue=self._queue(options.get("queue")),
        )

    def _bad(self, option: str, value: object, wanted: str, example: str) -> BadOption:
        return BadOption(task=self._task, option=option, value=value, wanted=wanted, example=example)

    def _after(self, value: After) -> "tuple[TaskSpec | str, ...]":
        single = isinstance(value, (Task, str)) or not isinstance(value, Sequence)
        items = (value,) if single else tuple(value)
        return tuple(self._reference("after", item) for item in items)

    def _reference(self, option: str, item: object) -> "TaskSpec | str":
        """Return the spec or the name that *item* stands for."""
        if isinstance(item, Task):
            return item.spec
        if isinstance(item, str) and item:
            return item
        if inspect.iscoroutine(item):
            # It would only warn that nobody awaited it, far from the mistake.
            item.close()
            raise CalledInsteadOfNamed(task=self._task, option=option, called=item.__name__)
        wanted = "tasks, or their names" if option == "after" else "a task, or its name"
        if callable(item):
            wanted += "; a plain function becomes one through @task"
        example = "after=[clean]" if option == "after" else f"{option}=lines"
        raise self._bad(option, item, wanted, example)

    def _count(self, option: str, value: object, *, least: int) -> int:
        if isinstance(value, int) and not isinstance(value, bool) and value >= least:
            return value
        raise self._bad(option, value, f"a whole number, {least} or more", f"{option}=3")

    def _limit(self, value: object) -> int | None:
        return None if value is None else self._count("limit", value, least=1)

    def _seconds(self, option: str, value: object) -> float | None:
        if value is None or (isinstance(value, (int, float)) and not isinstance(value, bool) and value > 0):
            return cast("float | None", value)
        raise self._bad(option, value, "seconds, more than 0", f"{option}=30.0")

    def _backoff(self, value: object) -> Backoff:
        if value is None:
            return Backoff()
        if isinstance(value, Backoff):
            numbers = (value.initial, value.factor, value.maximum)
            if min(numbers) >= 0:
                return value
        elif isinstance(value, (int, float)) and not isinstance(value, bool) and value >= 0:
            return Backoff(initial=float(value), factor=1.0, maximum=float(value), jitter=False)
        wanted = "a Backoff of numbers that are 0 or more, or seconds as a number"
        raise self._bad("backoff", value, wanted, "backoff=Backoff(initial=0.5, maximum=10.0)")

    def _errors(self, option: str, value: object) -> tuple[type[BaseException], ...]:
        classes = value if isinstance(value, tuple) else (value,)
        if all(isinstance(item, type) and issubclass(item, BaseException) for item in classes):
            return classes
        raise self._bad(option, value, "exception classes", f"{option}=(ConnectionError,)")

    def _policy(self, policy: object) -> object:
        if policy is None:
            return None
        for option in ("retries", "backoff", "retry_on"):
            if self._options.get(option):
                raise self._bad(option, self._options.get(option), "to be left out beside retry=, which decides alone", "")
        if not all(callable(getattr(policy, name, None)) for name in ("stop", "wait", "retry")):
            raise self._bad("retry", policy, "a tenacity policy", "retry=AsyncRetrying(stop=stop_after_attempt(3))")
        silent = ("before_sleep", "retry_error_callback")
        if any(getattr(policy, name, None) is not None for name in silent) or _has_hooks(policy):
            wanted = "a tenacity policy without callbacks: what watches a run is install(sinks=[...])"
            raise self._bad("retry", policy, wanted, "retry=AsyncRetrying(stop=stop_after_attempt(3))")
        return policy

    def _choice(self, option: str, value: object, known: tuple[object, ...]) -> Literal["safe"]:
        if value in known:
            # The caller knows which literal type: a cast for each would say no more than this one.
            return cast("Literal['safe']", value)
        raise self._bad(option, value, " or ".join(repr(item) for item in known), f"{option}={known[0]!r}")

    def _flag(self, option: str, value: object) -> bool:
        if isinstance(value, bool):
            return value
        raise self._bad(option, value, "True or False", f"{option}=True")

    def _each(self, value: object) -> Each | None:
        if value is None:
            return None
        if not isinstance(value, Mapping):
            return Each(over=self._reference("each", value))
        if len(value) == 1:
            ((param, over),) = value.items()
            if isinstance(param, str):
                return Each(over=self._reference("each", over), param=param)
        raise self._bad("each", value, "one parameter and one task", 'each={"line": lines}')

    def _rate(self, value: object) -> Rate | None:
        if value is None:
            return None
        match = _RATE.fullmatch(value) if isinstance(value, str) else None
        if match is None or int(match[1]) == 0:
            raise self._bad("rate", value, "starts per second, minute or hour", 'rate="50/s"')
        return Rate(count=int(match[1]), seconds=_SECONDS[match[2]])

    def _queue(self, value: object) -> str | None:
        if value is None or (isinstance(value, str) and value):
            return cast("str | None", value)
        raise self._bad("queue", value, "the name of a queue", 'queue="gpu"')


def _has_hooks(policy: object) -> bool:
    """Whether a tenacity policy has a `before` or `after` of the user's own; its defaults do nothing."""
    return any(
        getattr(getattr(policy, name, None), "__name__", f"{name}_nothing") != f"{name}_nothing"
        for name in ("before", "after")
    )
