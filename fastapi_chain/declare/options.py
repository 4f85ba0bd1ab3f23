"""The options of `@task`, checked where they are written: a wrong one never gets as far as a run."""

import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final, Literal, TypeAlias, TypedDict, TypeVar

from typing_extensions import TypeIs

from fastapi_chain.errors import BadOption, CalledInsteadOfNamed
from fastapi_chain.spec import RUN_IF, Backoff, Each, Rate, RunIf, Source, TaskSpec
from fastapi_chain.tasks import AnyTask, Task

T = TypeVar("T")

After: TypeAlias = AnyTask | str | Sequence[AnyTask | str]
"""What `after=` takes: tasks, or their names."""

EachOver: TypeAlias = AnyTask | str | Mapping[str, AnyTask | str]
"""What `each=` takes: the task that gives the list, or `{"line": lines}`."""

Effect: TypeAlias = Literal["safe", "once"]
"""What `effect=` takes."""

_EFFECTS: Final[tuple[Effect, ...]] = ("safe", "once")
_SECONDS: Final = {"s": 1.0, "m": 60.0, "h": 3600.0}
_POLICY: Final = "AsyncRetrying(stop=stop_after_attempt(4))"


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
    effect: Effect
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
    effect: Effect
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
        retry_on = options.get("retry_on")
        return Checked(
            after=self._after(options.get("after", ())),
            retries=self._retries(),
            backoff=self._backoff(options.get("backoff")),
            retry_on=self._errors("retry_on", Exception if retry_on is None else retry_on),
            give_up_on=self._errors("give_up_on", options.get("give_up_on", ())),
            policy=self._policy(options.get("retry")),
            timeout=self._seconds("timeout", options.get("timeout")),
            run_if=self._choice("run_if", options.get("run_if", "all_succeeded"), RUN_IF),
            optional=self._flag("optional", options.get("optional", False)),
            each=self._each(options.get("each")),
            limit=self._limit(options.get("limit")),
            rate=self._rate(options.get("rate")),
            effect=self._choice("effect", options.get("effect", "safe"), _EFFECTS),
            queue=self._queue(options.get("queue")),
        )

    def _bad(self, option: str, value: object, wanted: str, example: str) -> BadOption:
        return BadOption(task=self._task, option=option, value=value, wanted=wanted, example=f"@task({example})")

    # --- tasks

    def _after(self, value: object) -> "tuple[TaskSpec | str, ...]":
        items = tuple(value) if isinstance(value, Iterable) and not isinstance(value, (str, Mapping)) else (value,)
        called = close_coroutines(items)
        if called is not None:
            raise CalledInsteadOfNamed(task=self._task, option="after", called=called)
        return tuple(self._reference("after", item) for item in items)

    def _reference(self, option: str, item: object) -> "TaskSpec | str":
        """Return the spec or the name that *item* stands for."""
        if isinstance(item, Task):
            return item.spec
        if isinstance(item, str) and item:
            return item
        called = close_coroutines([item])
        if called is not None:
            raise CalledInsteadOfNamed(task=self._task, option=option, called=called)
        wanted = "tasks, or their names" if option == "after" else "a task, or the name of its output"
        if callable(item):
            wanted += "; a plain function becomes one through @task"
        raise self._bad(option, item, wanted, "after=[clean]" if option == "after" else "each=lines")

    def _each(self, value: object) -> Each | None:
        if value is None:
            return None
        if not isinstance(value, Mapping):
            return Each(over=self._reference("each", value))
        params = list(value)
        if len(params) != 1 or not isinstance(params[0], str):
            raise self._bad("each", value, "one parameter and one task", 'each={"line": lines}')
        return Each(over=self._reference("each", value[params[0]]), param=params[0])

    # --- numbers and words

    def _count(self, option: str, value: object, *, least: int) -> int:
        if not isinstance(value, int) or isinstance(value, bool) or value < least:
            raise self._bad(option, value, f"a whole number, {least} or more", f"{option}=3")
        return value

    def _limit(self, value: object) -> int | None:
        return None if value is None else self._count("limit", value, least=1)

    def _seconds(self, option: str, value: object) -> float | None:
        if value is None:
            return None
        if not is_number(value) or not value > 0:  # `not >` refuses what is not a number (nan), too
            raise self._bad(option, value, "seconds, more than 0", f"{option}=30.0")
        return value

    def _choice(self, option: str, value: object, known: Sequence[T]) -> T:
        if value not in known:
            raise self._bad(option, value, " or ".join(repr(item) for item in known), f"{option}={known[0]!r}")
        return known[known.index(value)]

    def _flag(self, option: str, value: object) -> bool:
        if not isinstance(value, bool):
            raise self._bad(option, value, "True or False", f"{option}=True")
        return value

    def _rate(self, value: object) -> Rate | None:
        if value is None:
            return None
        count, _, unit = value.partition("/") if isinstance(value, str) else ("", "", "")
        if unit not in _SECONDS or not count.isascii() or not count.isdecimal() or int(count) == 0:
            raise self._bad("rate", value, "starts per second, minute or hour", 'rate="50/s"')
        return Rate(count=int(count), seconds=_SECONDS[unit])

    def _queue(self, value: object) -> str | None:
        if value is not None and (not isinstance(value, str) or not value):
            raise self._bad("queue", value, "the name of a queue", 'queue="gpu"')
        return value

    # --- retries

    def _retries(self) -> int:
        """Return how many more attempts there are after the first: a policy's own number where it has one."""
        most = getattr(getattr(self._options.get("retry"), "stop", None), "max_attempt_number", 1)
        return self._count("retries", self._options.get("retries", max(0, most - 1)), least=0)

    def _backoff(self, value: object) -> Backoff:
        if value is None:
            return Backoff()
        if isinstance(value, Backoff):
            numbers: tuple[object, ...] = (value.initial, value.factor, value.maximum)
            if all(is_number(number) and number >= 0 for number in numbers) and value.jitter in (True, False):
                return value
        elif is_number(value) and value >= 0:
            return Backoff(initial=float(value), factor=1.0, maximum=float(value), jitter=False)
        wanted = "a Backoff of numbers that are 0 or more, or seconds as a number"
        raise self._bad("backoff", value, wanted, "backoff=Backoff(initial=0.5, maximum=10.0)")

    def _errors(self, option: str, value: object) -> tuple[type[BaseException], ...]:
        given: tuple[object, ...] = value if isinstance(value, tuple) else (value,)
        classes = tuple(item for item in given if isinstance(item, type) and issubclass(item, BaseException))
        if len(classes) < len(given):
            raise self._bad(option, value, "an exception class, or a tuple of them", f"{option}=(ConnectionError,)")
        return classes

    def _policy(self, policy: object) -> object:
        if policy is None:
            return None
        for option in ("retries", "backoff", "retry_on"):
            value = self._options.get(option)
            if value is not None:
                raise self._bad(option, value, "left out beside retry=, which decides alone", f"retry={_POLICY}")
        if isinstance(policy, type) or not all(callable(getattr(policy, n, None)) for n in ("stop", "wait", "retry")):
            raise self._bad("retry", policy, "a tenacity policy", f"retry={_POLICY}")
        hook = _hook_of(policy)
        if hook is not None:
            wanted = (
                f"a tenacity policy without callbacks, and it has {hook}=: who watches runs is install(sinks=[...])"
            )
            raise self._bad("retry", policy, wanted, f"retry={_POLICY}")
        return policy


def close_coroutines(items: Iterable[object]) -> str | None:
    """Close the coroutines among *items*, tasks that were called where they should be named; return one's name.

    Left open they would only warn, far from the mistake, that nobody has awaited them.
    """
    called = None
    for item in items:
        if inspect.iscoroutine(item):
            item.close()
            called = called or item.__name__
    return called


def is_number(value: object) -> TypeIs[float]:
    """Whether *value* is a number; True and False are none."""
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _hook_of(policy: object) -> str | None:
    """Return the callback of the user's own that a tenacity policy has; its own defaults do nothing."""
    for name in ("before", "after", "before_sleep", "retry_error_callback"):
        hook = getattr(policy, name, None)
        if hook is not None and getattr(hook, "__name__", "") != f"{name}_nothing":
            return name
    return None
