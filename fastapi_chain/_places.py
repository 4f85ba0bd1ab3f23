"""Places: how many requests may be on their way to a run of one chain.

A run exists when its endpoint has returned, but it must have room before the endpoint begins: so a request takes a place first, and
the place becomes the run.
"""

import threading
from collections.abc import Callable
from typing import TypeVar

R = TypeVar("R")


class Places:
    """The places of one chain that are taken by requests and not yet by runs."""

    __slots__ = ("_held", "_lock")

    def __init__(self) -> None:
        """Begin with none taken."""
        # `def` endpoints take places in their threads; and a place may die, and be given back, while another one is taken.
        self._lock = threading.RLock()
        self._held = 0

    def get(self, limit: int, runs: Callable[[], int]) -> "Place | None":
        """Return a place, or None if requests and runs together are *limit* already.

        Args:
            limit: How many there may be at once.
            runs: Says how many runs there are.
        """
        with self._lock:
            if self._held + runs() >= limit:
                return None
            self._held += 1
        return Place(self)

    def trade(self, make: Callable[[], R]) -> R:
        """Give back a place for the run that *make* makes, with nobody in between."""
        with self._lock:
            run = make()
            self._held -= 1
        return run


class Place:
    """A place that one request has taken."""

    __slots__ = ("_places",)

    def __init__(self, places: Places) -> None:
        """Hold a place among *places*."""
        self._places: Places | None = places

    def become(self, make: Callable[[], R]) -> R:
        """Return what *make* makes: the run that counts from now on instead of the place."""
        places, self._places = self._places, None
        return make() if places is None else places.trade(make)

    def free(self) -> None:
        """Give the place back, unless it has become a run."""
        self.become(_nothing)

    # Before FastAPI 0.118 nobody says that a request has failed after its endpoint: then its end is that of its objects.
    __del__ = free


def _nothing() -> None:
    """Be nothing."""
