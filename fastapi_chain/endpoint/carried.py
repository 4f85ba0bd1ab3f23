"""Awaiting in another context, without a task of one's own."""

from collections.abc import Awaitable, Generator
from contextvars import Context
from typing import Any


class Carried:
    """Awaits something with the context variables of *context*, in the task that awaits this.

    A new task would do the same for a turn of the loop and ten microseconds.
    """

    __slots__ = ("_awaitable", "_context")

    def __init__(self, awaitable: Awaitable[None], context: Context) -> None:
        """Carry *awaitable* to *context*, which nobody else is in."""
        self._awaitable = awaitable
        self._context = context

    def __await__(self) -> Generator[Any, Any, None]:
        run = self._context.run
        steps = self._awaitable.__await__()
        step, value = steps.send, None
        try:
            while True:
                signal = run(step, value)
                try:
                    value = yield signal
                except GeneratorExit:
                    run(steps.close)
                    raise
                except BaseException as error:  # noqa: BLE001 - it is for whoever is being awaited
                    step, value = steps.throw, error
                else:
                    step = steps.send
        except StopIteration:
            return
