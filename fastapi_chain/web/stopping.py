"""When the server is about to stop: its signals, heard before its lifespan is told.

A server waits for its connections before it says so through the lifespan, and a stream of events is a connection that
does not end by itself. So we listen to the signals that the server listens to.
"""

import asyncio
import signal
import threading
from collections.abc import Callable
from contextlib import suppress
from types import FrameType
from typing import Any, Final

SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)


class Stopping:
    """Tells everybody who listens that the server is about to stop, and then that it is to stop at once."""

    def __init__(self) -> None:
        """Begin with a server that runs."""
        self.begun = False
        """Whether it is about to stop."""
        self._heard: set[int] = set()
        self._listeners: set[Callable[[], None]] = set()
        self._urgent: Callable[[], None] = _nothing
        self._chained: dict[signal.Signals, tuple[Any, Any]] = {}
        self._loop: asyncio.AbstractEventLoop | None = None

    def begin(self, urgent: Callable[[], None]) -> None:
        """Listen to the signals that the server listens to, from now on; call it on the loop.

        Args:
            urgent: Called on the second signal.
        """
        self.begun = False
        self._heard.clear()
        self._urgent = urgent
        self._loop = asyncio.get_running_loop()
        if threading.current_thread() is not threading.main_thread():
            # Only the main thread may: streams end with their greatest age then.
            return
        for number in SIGNALS:
            server = signal.getsignal(number)
            # Where nobody listens, the signal ends the process as it always has.
            if callable(server):
                chained = self._chain(server)
                self._chained[number] = server, chained
                signal.signal(number, chained)

    def _chain(self, server: Callable[[int, FrameType | None], object]) -> Callable[[int, FrameType | None], None]:
        def hear(number: int, frame: FrameType | None) -> None:
            loop = self._loop
            if loop is not None:
                with suppress(RuntimeError):  # the loop is closed
                    loop.call_soon_threadsafe(self.stop, number)
            server(number, frame)

        return hear

    def end(self) -> None:
        """Listen no longer."""
        for number, (server, chained) in self._chained.items():
            if signal.getsignal(number) is chained:
                signal.signal(number, server)
        self._chained.clear()
        self._loop = None

    def stop(self, number: int | None = None) -> None:
        """The server has been told to stop, by signal *number* if any; the second time, to stop at once."""
        # Ctrl-C reaches a worker twice: from the terminal, and as the SIGTERM of its parent, which has heard it, too.
        passed_on = number == signal.SIGTERM and number not in self._heard
        if number is not None:
            self._heard.add(number)
        if self.begun:
            if not passed_on:
                self._urgent()
            return
        self.begun = True
        for listener in tuple(self._listeners):
            listener()

    def add(self, listener: Callable[[], None]) -> None:
        """Call *listener* when the server is about to stop."""
        self._listeners.add(listener)

    def remove(self, listener: Callable[[], None]) -> None:
        """Do not call *listener* any more."""
        self._listeners.discard(listener)


def _nothing() -> None:
    """Do nothing: nobody runs anything."""
