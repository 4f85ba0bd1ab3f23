"""`def` dependencies: in threads of our own, and all in one with a `def` task."""

import asyncio
import contextlib
import sqlite3
import threading
from contextvars import ContextVar
from types import SimpleNamespace
from typing import Annotated, Any

import pytest
from fastapi import Depends, Request

from fastapi_chain._threads import Hopper, ThreadPool
from fastapi_chain.declare.signature import read
from fastapi_chain.errors import RunError
from fastapi_chain.execute.inject import Injection, compile_injection
from fastapi_chain.spec import Source

HERE = Source(name="save", file="shop/tasks.py", line=7)
OUTSIDE = SimpleNamespace(app=None, request_scope=None)


def injection_of(task: Any) -> Injection:
    injection = compile_injection(read(task).params, task=HERE, overrides={})
    assert injection is not None
    return injection


def in_thread(task: Any) -> Any:
    """Run one attempt of a `def` task as the engine does: all of it in one hop."""
    attempt = injection_of(task).wrap_sync(lambda _slots, injected: task(**injected))

    async def main():
        return await Hopper(ThreadPool(1))(attempt, [OUTSIDE])

    return asyncio.run(main())


def on_loop(task: Any, hop: Any = None) -> Any:
    """Run one attempt of an `async` task."""
    attempt = injection_of(task).wrap_async(lambda _slots, injected: task(**injected), hop or Hopper(ThreadPool(2)))
    return asyncio.run(attempt([OUTSIDE]))


class Boom(Exception):
    """What a task raises."""


def function():
    return "function"


def generator():
    yield "generator"


async def coroutine():
    return "coroutine"


async def async_generator():
    yield "async generator"


def over_coroutine(a=Depends(coroutine)):
    return a


def reading(request: Request):
    return request


class Class:
    pass


@pytest.mark.parametrize(
    ("dependency", "is_sync"),
    [
        (function, True),
        (generator, True),
        (Class, True),
        (coroutine, False),
        (async_generator, False),
        (over_coroutine, False),  # what it depends on counts, too
        (reading, False),  # FastAPI's solver runs on a loop
    ],
)
def test_an_injection_knows_whether_a_thread_can_open_it(dependency, is_sync):
    """Only where every dependency is `def` and none needs FastAPI's solver can all happen inside a thread."""

    def task(a=Depends(dependency)):
        return a

    assert injection_of(task).is_sync is is_sync


def test_a_def_task_and_its_def_dependencies_share_one_thread():
    """Dependencies are opened, used and closed in the thread of the task: a connection may be bound to it."""

    def connection():
        # sqlite3 refuses a connection that another thread has opened.
        made = sqlite3.connect(":memory:")
        try:
            yield made
        finally:
            made.close()

    def cursor(connection: Annotated[sqlite3.Connection, Depends(connection)]):
        return connection.execute("select 41 + 1")

    def task(cursor: Annotated[sqlite3.Cursor, Depends(cursor)]):
        return cursor.fetchone(), threading.current_thread() is threading.main_thread()

    assert in_thread(task) == ((42,), False)


def test_plain_def_dependencies_need_no_stack():
    """Functions and classes that are only called give their values to a `def` task."""

    def three(a=Depends(function), b=Depends(Class)):
        return [a, type(b)]

    def task(a=Depends(function), b=Depends(three)):
        return [a, b]

    assert in_thread(task) == ["function", ["function", Class]]


def test_in_a_thread_the_exception_travels_through_generators_too():
    """Generators see the exception of a `def` task in reverse order, and what they make of it is the outcome."""
    log = []

    def outer():
        try:
            yield
        except LookupError:
            log.append("outer sees LookupError")
            raise

    def inner():
        try:
            yield
        except Boom as error:
            log.append("inner sees Boom")
            raise LookupError("instead") from error

    def task(a=Depends(outer), b=Depends(inner)):
        raise Boom

    with pytest.raises(LookupError, match="instead"):
        in_thread(task)
    assert log == ["inner sees Boom", "outer sees LookupError"]


def test_in_a_thread_swallowing_is_an_error_too():
    """A `def` task whose exception a dependency has swallowed has no result."""

    def swallows():
        with contextlib.suppress(Boom):
            yield

    def task(a=Depends(swallows)):
        raise Boom

    with pytest.raises(RunError) as caught:
        in_thread(task)
    assert str(caught.value).splitlines()[0] == "A dependency of task 'save' caught Boom and did not raise it again."
    assert isinstance(caught.value.__cause__, Boom)


def test_def_dependencies_of_an_async_task_run_in_one_hop_in_a_row():
    """What blocks never runs on the loop, and neighbours share a hop; what is opened there is closed there."""
    hops = []
    pool = Hopper(ThreadPool(1))

    async def counting(fn, *args, **kwargs):
        hops.append(fn.__name__)
        return await pool(fn, *args, **kwargs)

    def where():
        return threading.current_thread() is threading.main_thread()

    def opened(a=Depends(where)):
        yield where()

    async def task(a=Depends(where), b=Depends(opened), c=Depends(coroutine), d=Depends(where, use_cache=False)):
        return [a, b, c, d]

    assert on_loop(task, counting) == [False, False, "coroutine", False]
    assert hops == ["open_all", "open_all", "__exit__"]


def test_def_dependencies_see_the_context_variables_of_the_run():
    """A context variable that is set outside is seen in threads; what a thread sets stays there."""
    tenant: ContextVar[str] = ContextVar("tenant")

    def seen():
        before = tenant.get()
        tenant.set("changed")
        return before

    async def task(a=Depends(seen)):
        return a, tenant.get()

    tenant.set("blue")
    assert on_loop(task) == ("blue", "blue")
