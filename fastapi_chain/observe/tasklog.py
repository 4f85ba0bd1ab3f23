"""Standard logging inside tasks: records know their task, and show up with its run.

`TaskFields` is for any handler: it gives records the fields `run_id`, `chain`, `task` and `attempt`. `TaskLogs` does
more, for an app with `install`: it also keeps what a task logs with its run, where the status page and `Run.events()`
find it.
"""

import logging
from collections import Counter
from collections.abc import Iterator
from functools import partial
from typing import Final
from weakref import WeakKeyDictionary

from fastapi_chain._record import record
from fastapi_chain._state import RunState
from fastapi_chain._threads import on_loop
from fastapi_chain.context import running
from fastapi_chain.events import TaskLogged
from fastapi_chain.execute.unit import Unit

LINES: Final = 200
"""How many lines are kept of one attempt."""

CHARACTERS: Final = 16_000
"""How much text is kept of one attempt."""

LINES_OF_RUN: Final = 2_000
"""How many lines are kept of one run: a fan-out has as many attempts as its list has items."""

_FIELDS: Final = ("run_id", "chain", "task", "attempt")

_OURS: Final = "fastapi_chain"
"""What we log ourselves says what is in the run already."""


def _here() -> Unit | None:
    """Return the task, or the item of a fan-out, that runs in this context."""
    here = running.get()
    link = None if here is None else here.link()
    return link if isinstance(link, Unit) else None


class TaskFields(logging.Filter):
    """Gives every record the fields `run_id`, `chain`, `task` and `attempt`; None outside a task.

    Put it on a handler, so that it sees the records of all loggers. It lets every record through, and leaves a field
    alone that a record has already.

    Example:
        >>> handler = logging.StreamHandler()
        >>> handler.addFilter(TaskFields())
        >>> handler.setFormatter(logging.Formatter("%(message)s [%(task)s of run %(run_id)s]"))
    """

    def filter(self, record: logging.LogRecord) -> bool:
        """Set the fields of *record*."""
        unit = _here()
        values = (None,) * len(_FIELDS) if unit is None else (unit.run_id, unit.run.plan.chain, unit.task, unit.attempt)
        for name, value in zip(_FIELDS, values, strict=True):
            vars(record).setdefault(name, value)
        return True


@record(slots=True)
class LogLine:
    """What a task has logged once."""

    task: str
    """The task, or the item of a fan-out."""
    attempt: int
    """The attempt that did."""
    level: str
    """`INFO`, `WARNING`, …"""
    text: str
    """The formatted message, with the traceback if there is one."""
    moment: float
    """When, on the monotonic clock of the run."""


class _Book:
    """What the tasks of one run have logged."""

    def __init__(self) -> None:
        self.lines: list[LogLine] = []
        self._count: Counter[tuple[str, int]] = Counter()
        self._size: Counter[tuple[str, int]] = Counter()

    def fit(self, line: LogLine) -> LogLine | None:
        """Keep *line*, cut to the room that there is for it; return what is kept of it."""
        about = line.task, line.attempt
        room = CHARACTERS - self._size[about]
        if room <= 0 or self._count[about] >= LINES or len(self.lines) >= LINES_OF_RUN:
            return None
        self._count[about] += 1
        self._size[about] += len(line.text)
        if len(line.text) > room:
            line = LogLine(
                task=line.task, attempt=line.attempt, level=line.level, text=line.text[:room] + " …", moment=line.moment
            )
        self.lines.append(line)
        return line


_books: "WeakKeyDictionary[RunState, _Book]" = WeakKeyDictionary()


def lines_of(run: RunState) -> Iterator[LogLine]:
    """Yield what the tasks of *run* have logged so far, as far as it is kept."""
    book = _books.get(run)
    yield from () if book is None else book.lines


def keep_line(run: RunState, event: TaskLogged) -> None:
    """Keep with *run* what one of its tasks has logged in another process, or before *run* was read from a database."""
    moment = event.at.timestamp() - run.epoch
    line = LogLine(task=event.task, attempt=event.attempt, level=event.level, text=event.text, moment=moment)
    _books.setdefault(run, _Book()).fit(line)


class _Keeper(logging.Handler):
    """Keeps records with the run of the task that has made them."""

    def emit(self, record: logging.LogRecord) -> None:
        """Keep *record*, and let it be seen where nobody else shows it."""
        self._take(record)
        last = logging.lastResort
        if last is not None and record.levelno >= last.level and self._is_alone(record.name):
            last.handle(record)

    def _is_alone(self, name: str) -> bool:
        """Whether no other handler hears the logger *name*: Python would print its warnings then, but for us."""
        logger: logging.Logger | None = logging.getLogger(name)
        while logger is not None:
            if any(handler is not self for handler in logger.handlers):
                return False
            logger = logger.parent
        return True

    def _take(self, record: logging.LogRecord) -> None:
        """Keep *record*; those that are made outside a task are none of our business."""
        unit = None if record.name == _OURS else _here()
        if unit is None or unit.run.loop is None:
            return
        try:
            text = self.format(record)
        except Exception:  # noqa: BLE001 - a record whose arguments do not fit: logging reports it, and goes on
            self.handleError(record)
            return
        run = unit.run
        line = LogLine(task=unit.task, attempt=unit.attempt, level=record.levelname, text=text, moment=run.now())
        # On the loop, so that nobody who begins to follow gets a line twice.
        on_loop(unit.run.loop, partial(_keep, run, line))


def _keep(run: RunState, line: LogLine) -> None:
    book = _books.setdefault(run, _Book())
    kept = book.fit(line)
    if kept is not None and run.followed and run.finished is None:
        run.tell(TaskLogged, kept.moment, task=kept.task, attempt=kept.attempt, level=kept.level, text=kept.text)


class TaskLogs:
    """Lets what tasks log show up with their runs, from `begin` to `end`; as often in a process as there are apps.

    It listens at the root logger, so the levels of the loggers decide what is logged at all.
    """

    _keeper: Final = _Keeper()
    _fields: Final = TaskFields()
    _users = 0

    def begin(self) -> None:
        """Keep what tasks log, and give the handlers of the root logger the fields."""
        root = logging.getLogger()
        TaskLogs._users += 1
        root.addHandler(self._keeper)
        for handler in root.handlers:
            handler.addFilter(self._fields)

    def end(self) -> None:
        """Leave logging as it was before, unless another app is still at it."""
        TaskLogs._users -= 1
        if TaskLogs._users == 0:
            root = logging.getLogger()
            root.removeHandler(self._keeper)
            for handler in root.handlers:
                handler.removeFilter(self._fields)
