"""Places: a request takes one before its endpoint runs, and it becomes the run."""

import gc
import threading

from fastapi_chain._places import BothPlaces, Places


def test_there_are_as_many_places_as_the_limit_says_and_no_more():
    """Places and runs count together."""
    places = Places()
    first = places.get(3, lambda: 1)
    second = places.get(3, lambda: 1)
    assert first is not None
    assert second is not None
    assert places.held == 2
    assert places.get(3, lambda: 1) is None


def test_a_place_becomes_a_run_with_nobody_in_between():
    """While the run is made, it counts as a place; afterwards as a run."""
    places, runs = Places(), []
    place = places.get(1, lambda: len(runs))
    assert place is not None
    assert place.become(lambda: runs.append("run") or places.held) == 1
    assert places.held == 0
    assert places.get(1, lambda: len(runs)) is None


def test_a_place_is_given_back_once():
    """By hand, by becoming a run, or by being forgotten."""
    places = Places()
    place = places.get(2, lambda: 0)
    assert place is not None
    place.free()
    place.free()
    place.become(lambda: None)
    assert places.held == 0
    place = places.get(2, lambda: 0)
    del place
    gc.collect()
    assert places.held == 0


def test_two_places_are_held_and_given_back_together():
    """Those of a chain and of its app."""
    of_chain, of_app = Places(), Places()
    pairs = [(of_chain.get(2, lambda: 0), of_app.get(2, lambda: 0)) for _ in range(2)]
    first, second = (BothPlaces(chain, app) for chain, app in pairs)
    del pairs
    assert (of_chain.held, of_app.held) == (2, 2)
    assert first.become(lambda: "run") == "run"
    assert (of_chain.held, of_app.held) == (1, 1)
    second.free()
    assert (of_chain.held, of_app.held) == (0, 0)


def test_threads_never_take_more_than_there_are():
    """Of many at once, exactly as many get a place."""
    places = Places()
    gate = threading.Barrier(8)
    got = []

    def take() -> None:
        gate.wait()
        got.extend(place for place in [places.get(5, lambda: 0) for _ in range(100)] if place is not None)

    threads = [threading.Thread(target=take) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(got) == places.held == 5
