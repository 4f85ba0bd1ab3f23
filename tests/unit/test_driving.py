"""Driving a coroutine by hand: what is thrown in goes to the body, and what comes back."""

import types
from types import SimpleNamespace

import pytest

from fastapi_chain.engines.driving import driven


@types.coroutine
def pause(value):
    """Suspend with *value*."""
    return (yield value)


@pytest.mark.parametrize("error", [GeneratorExit(), KeyError("x")])
def test_what_is_thrown_in_is_for_the_body(error):
    """Whatever is thrown in, be it that the run is closed, lets the body clean up, and counts as nothing left behind."""
    seen = []

    async def body():
        try:
            await pause("first")
        except BaseException as caught:
            seen.append(caught)
            raise

    run = SimpleNamespace(left_behind=0)
    watching = driven(run, body())
    assert watching.send(None) == "first"
    with pytest.raises(type(error)):
        watching.throw(error)
    assert (seen, run.left_behind) == ([error], 0)


def test_what_comes_back_is_for_the_body():
    """Values go in, what is waited for comes out, and the result is the body's."""

    async def body():
        return [await pause(1), await pause(2)]

    watching = driven(SimpleNamespace(left_behind=0), body())
    assert [watching.send(None), watching.send("a")] == [1, 2]
    with pytest.raises(StopIteration) as ended:
        watching.send("b")
    assert ended.value.value == ["a", "b"]
