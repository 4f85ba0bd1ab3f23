"""Places: how many requests may be on their way to a run.

A run exists when its endpoint has returned, but it must have room before the endpoint begins: so a request takes a
place first, and the place becomes the run.
"""

import threading
from collections.abc import Callable
from typing import TypeVar

R = TypeVar("R")


class Places:
    """The places that are taken by requests and not yet by runs: those of one chain, or of a whole app."""

    __slots__ = ("_held", "_lock")

    def __init__(self) -> None:
        """Begin with none taken."""
        # `def` endpoints take places in their threads.
        self._lock = threading.Lock()
        self._held: dict[int, None] = {}

    @property
    def held(self) -> int:
        """How many requests have a place."""
        return len(self._held)

    def get(self, limit: int, runs: Callable[[], int]) -> "Place | None":
        """Return a place, or None if requests and runs together are *limit* already.

        Args:
            limit: How many there may be at once.
            runs: Says how many runs there are.
        """
        with self._lock:
            if len(self._held) + runs() >= limit:
                return None
            place = Place(self)
            self._held[id(place)] = None
            return place

    def trade(self, place: int, make: Callable[[], R]) -> R:
        """Give a place back for the run that *make* makes, with nobody in between."""
        with self._lock:
            run = make()
            self.give_back(place)
        return run

    def give_back(self, place: int) -> None:
        """Give a place back; nothing happens if it has been given back already."""
        # Without the lock: objects may die, and give their places back, at any moment.
        self._held.pop(place, None)


class Place:
    """A place that one request has taken."""

    __slots__ = ("_places",)

    def __init__(self, places: Places) -> None:
        """Hold a place among *places*."""
        self._places = places

    def become(self, make: Callable[[], R]) -> R:
        """Return what *make* makes: the run that counts from now on instead of the place."""
        return self._places.trade(id(self), make)

    def free(self) -> None:
        """Give the place back, unless it has become a run."""
        self._places.give_back(id(self))

    def __del__(self) -> None:
        # Before FastAPI 0.118 nobody says that a request has failed after its endpoint: then its end is that of its
        # objects.
        self.free()


class BothPlaces(Place):
    """Two places of one request: among those of its chain, and among those of its app."""

    __slots__ = ("_first", "_second")

    def __init__(self, first: Place, second: Place) -> None:
        """Hold both."""
        self._first = first
        self._second = second

    def become(self, make: Callable[[], R]) -> R:
        """Return what *make* makes: the run that counts from now on instead of both."""
        return self._first.become(lambda: self._second.become(make))

    def free(self) -> None:
        """Give both back."""
        self._first.free()
        self._second.free()
