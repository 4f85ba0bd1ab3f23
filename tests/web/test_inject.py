"""Dependencies of tasks: our compiled way, FastAPI's solver and a real endpoint do the same, on every FastAPI."""

import asyncio
import contextlib
import functools
import inspect
from collections.abc import Callable, Mapping
from types import SimpleNamespace
from typing import Annotated, Any

import pytest
from fastapi import Depends, FastAPI
from fastapi.testclient import TestClient

from fastapi_chain._fastapi import read_params
from fastapi_chain._threads import Hopper, ThreadPool
from fastapi_chain.declare.signature import read
from fastapi_chain.errors import RunError
from fastapi_chain.execute.inject import compile_injection
from fastapi_chain.execute.inject.solving import solve_on_loop
from fastapi_chain.spec import Source

Log = list[str]
Task = Callable[..., Any]

HERE = Source(name="save", file="shop/tasks.py", line=7)
OUTSIDE = SimpleNamespace(app=None, request_scope=None)
NOTHING: Mapping[Any, Any] = {}


async def as_recipe(task: Task, overrides: Mapping[Any, Any], hop: Hopper) -> Any:
    injection = compile_injection(read(task).params, task=HERE, overrides=overrides)
    assert injection is not None
    assert injection._recipe is not None
    return await injection.wrap_async(lambda _slots, injected: task(**injected), hop)([OUTSIDE])


async def as_solver(task: Task, overrides: Mapping[Any, Any], hop: Hopper) -> Any:
    attempt = solve_on_loop(
        read_params(read(task).params), overrides, lambda _slots, injected: task(**injected), hop, HERE
    )
    return await attempt([OUTSIDE])


def resolved(way: str, task: Task, overrides: Mapping[Any, Any] = NOTHING) -> Any:
    """Run *task* with its dependencies in one *way*."""
    if way == "endpoint":
        app = FastAPI()
        app.get("/", response_model=None)(task)
        app.dependency_overrides.update(overrides)
        return TestClient(app).get("/").json()
    attempt = as_recipe if way == "recipe" else as_solver
    return asyncio.run(attempt(task, overrides, Hopper(ThreadPool(2))))


in_every_way = pytest.mark.parametrize("way", ["recipe", "solver", "endpoint"])


class Told:
    """Dependencies of every kind that say what happens to them."""

    def __init__(self) -> None:
        self.log: Log = []

    def function(self) -> str:
        self.log.append("function")
        return "function"

    async def coroutine(self) -> str:
        self.log.append("coroutine")
        return "coroutine"

    def generator(self):
        self.log.append("generator opens")
        try:
            yield "generator"
        except BaseException as error:
            self.log.append(f"generator sees {type(error).__name__}")
            raise
        finally:
            self.log.append("generator closes")

    async def async_generator(self):
        self.log.append("async generator opens")
        try:
            yield "async generator"
        except BaseException as error:
            self.log.append(f"async generator sees {type(error).__name__}")
            raise
        finally:
            self.log.append("async generator closes")


class Boom(Exception):
    """What a task raises."""


@in_every_way
def test_dependencies_of_all_kinds_are_called_in_order_and_closed_in_reverse(way):
    """Functions, coroutines and generators of both kinds give their values; what was opened last is closed first."""
    told = Told()

    async def task(
        a: Annotated[str, Depends(told.async_generator)],
        b: Annotated[str, Depends(told.function)],
        c: Annotated[str, Depends(told.generator)],
        d: Annotated[str, Depends(told.coroutine)],
    ):
        told.log.append("task")
        return [a, b, c, d]

    assert resolved(way, task) == ["async generator", "function", "generator", "coroutine"]
    assert told.log == [
        "async generator opens",
        "function",
        "generator opens",
        "coroutine",
        "task",
        "generator closes",
        "async generator closes",
    ]


@in_every_way
def test_an_exception_travels_through_all_generators(way):
    """Every generator sees the exception of the task, the last one opened first, and it arrives as it was raised."""
    told = Told()

    async def task(a=Depends(told.async_generator), b=Depends(told.generator)):
        raise Boom

    with pytest.raises(Boom):
        resolved(way, task)
    assert told.log == [
        "async generator opens",
        "generator opens",
        "generator sees Boom",
        "generator closes",
        "async generator sees Boom",
        "async generator closes",
    ]


@in_every_way
@pytest.mark.parametrize("kind", ["function", "coroutine", "generator", "async generator"])
def test_what_was_opened_is_closed_if_the_next_dependency_fails(way, kind):
    """A dependency that fails before its value is there ends the attempt; those before it see the exception."""
    told = Told()

    def function():
        raise Boom

    async def coroutine():
        raise Boom

    def generator():
        raise Boom
        yield

    async def async_generator():
        raise Boom
        yield

    fails = {"function": function, "coroutine": coroutine, "generator": generator, "async generator": async_generator}

    async def task(a=Depends(told.async_generator), b=Depends(told.generator), c=Depends(fails[kind])):
        told.log.append("task")

    with pytest.raises(Boom):
        resolved(way, task)
    assert told.log == [
        "async generator opens",
        "generator opens",
        "generator sees Boom",
        "generator closes",
        "async generator sees Boom",
        "async generator closes",
    ]


@in_every_way
def test_a_value_is_made_once_for_all_who_depend_on_it(way):
    """Within one attempt a dependency is called once, however many depend on it and however deep."""
    told = Told()

    def repository(session: Annotated[str, Depends(told.async_generator)]):
        return f"repository over {session}"

    async def service(repository: Annotated[str, Depends(repository)], session=Depends(told.async_generator)):
        return f"service over {repository}"

    async def task(
        session: Annotated[str, Depends(told.async_generator)],
        service: Annotated[str, Depends(service)],
        repository: Annotated[str, Depends(repository)],
    ):
        return [session, service, repository]

    assert resolved(way, task) == [
        "async generator",
        "service over repository over async generator",
        "repository over async generator",
    ]
    assert told.log == ["async generator opens", "async generator closes"]


@in_every_way
@pytest.mark.parametrize(
    ("caches", "values"),
    [
        ((True, True), [1, 1]),
        ((False, False), [1, 2]),  # each its own
        ((False, True), [1, 1]),  # the first refuses a cached value, but gives its own
        ((True, False), [1, 2]),  # the second refuses what is there
    ],
)
def test_use_cache_says_whether_a_cached_value_is_taken(way, caches, values):
    """`use_cache=False` calls anew; the value made first serves those that take it from the cache."""
    made = []

    async def counted():
        made.append(1)
        return len(made)

    first, second = caches

    async def task(a=Depends(counted, use_cache=first), b=Depends(counted, use_cache=second)):
        return [a, b]

    assert resolved(way, task) == values


@in_every_way
def test_what_refuses_the_cache_is_called_below_a_cached_dependency_too(way):
    """The dependencies of a dependency are looked at even where its own value comes from the cache."""
    log: Log = []

    def fresh():
        log.append("fresh")

    def cached(a=Depends(fresh, use_cache=False)):
        log.append("cached")

    async def task(a=Depends(cached), b=Depends(cached)):
        return None

    assert resolved(way, task) is None
    assert log == ["fresh", "cached", "fresh"]


class Session:
    def __init__(self, url: Annotated[str, Depends(lambda: "db://")]) -> None:
        self.url = url


class Reader:
    def __call__(self):
        return "sync"


class AsyncReader:
    async def __call__(self):
        return "async"


class Opener:
    def __call__(self):
        yield "opened"


class AsyncOpener:
    async def __call__(self):
        yield "opened async"


@in_every_way
def test_classes_and_callable_objects_are_dependencies(way):
    """A class is called as a function, an object as its `__call__` is; `Depends()` takes the class from the hint."""
    reader, async_reader, opener, async_opener = Reader(), AsyncReader(), Opener(), AsyncOpener()

    async def task(
        *,
        a: Annotated[Session, Depends()],
        b: Session = Depends(),
        c=Depends(reader),
        d=Depends(async_reader),
        e=Depends(opener),
        f=Depends(async_opener),
    ):
        assert a is b
        return [a.url, c, d, e, f]

    assert resolved(way, task) == ["db://", "sync", "async", "opened", "opened async"]


def test_partials_and_decorated_functions_are_what_they_wrap():
    """They are called as the newest FastAPI calls them, on old versions too, which do not look through them."""

    async def base(word):
        return word

    async def opened(word):
        yield word

    partial, partial_generator = functools.partial(base, "partial"), functools.partial(opened, "opened")

    @functools.wraps(base)
    def decorated():
        return base("decorated")

    decorated.__signature__ = inspect.Signature()

    async def task(
        a=Depends(partial),
        b=Depends(partial_generator),
        c=Depends(decorated),
    ):
        return [a, b, c]

    assert resolved("recipe", task) == ["partial", "opened", "decorated"]


@in_every_way
@pytest.mark.parametrize("kind", ["generator", "async generator"])
def test_a_dependency_that_fails_to_close_fails_the_attempt(way, kind):
    """What a generator raises after the task has succeeded (a commit) is the outcome; those outside see it."""
    told = Told()

    def generator():
        yield
        raise Boom("commit")

    async def async_generator():
        yield
        raise Boom("commit")

    fails = generator if kind == "generator" else async_generator

    async def task(a=Depends(told.async_generator), b=Depends(fails)):
        told.log.append("task")

    with pytest.raises(Boom, match=r"^commit$"):
        resolved(way, task)
    assert told.log == ["async generator opens", "task", "async generator sees Boom", "async generator closes"]


@in_every_way
@pytest.mark.parametrize("kind", ["generator", "async generator"])
def test_a_generator_may_put_another_exception_in_its_place(way, kind):
    """An exception raised while handling that of the task takes its place, for the generators outside as well."""
    told = Told()

    def generator():
        try:
            yield
        except Boom as error:
            raise LookupError("instead") from error

    async def async_generator():
        try:
            yield
        except Boom as error:
            raise LookupError("instead") from error

    replaces = generator if kind == "generator" else async_generator

    async def task(a=Depends(told.async_generator), b=Depends(replaces)):
        raise Boom

    with pytest.raises(LookupError, match="instead") as caught:
        resolved(way, task)
    assert isinstance(caught.value.__cause__, Boom)
    assert told.log == ["async generator opens", "async generator sees LookupError", "async generator closes"]


@in_every_way
@pytest.mark.parametrize("kind", ["generator", "async generator"])
def test_an_exception_that_a_generator_swallows_is_an_error(way, kind):
    """The attempt has no result then; generators outside close as after a success, as FastAPI has it."""
    told = Told()

    def generator():
        try:
            yield
        except Boom:
            told.log.append("swallowed")

    async def async_generator():
        try:
            yield
        except Boom:
            told.log.append("swallowed")

    swallows = generator if kind == "generator" else async_generator

    async def task(a=Depends(told.async_generator), b=Depends(swallows)):
        raise Boom("no rows")

    with pytest.raises(RuntimeError) as caught:
        resolved(way, task)
    assert told.log == ["async generator opens", "swallowed", "async generator closes"]
    if way != "endpoint":
        assert isinstance(caught.value, RunError)
        assert isinstance(caught.value.__cause__, Boom)
        assert str(caught.value) == (
            "A dependency of task 'save' caught Boom: no rows and did not raise it again.\n"
            "    declared at   shop/tasks.py:7\n"
            "Fix: end the except block of the dependency with a bare `raise`\n"
            "See errors#run"
        )


@in_every_way
def test_a_dependency_may_swallow_the_error_of_another_one_that_closes(way):
    """The task has succeeded already: its result stands."""

    async def outer():
        with contextlib.suppress(Boom):
            yield

    async def inner():
        yield
        raise Boom

    async def task(a=Depends(outer), b=Depends(inner)):
        return "done"

    assert resolved(way, task) == "done"


@in_every_way
def test_a_swallowed_error_of_opening_is_an_error(way):
    """If a dependency cannot be opened and one before it swallows that, the task has not run: that is no success."""

    async def outer():
        with contextlib.suppress(Boom):
            yield

    async def inner():
        raise Boom

    async def task(a=Depends(outer), b=Depends(inner)):
        raise AssertionError

    with pytest.raises(RuntimeError) as caught:
        resolved(way, task)
    if way != "endpoint":
        assert str(caught.value).splitlines()[0] == (
            "A dependency of task 'save' caught Boom and did not raise it again."
        )


def never():
    if False:
        yield


async def never_async():
    if False:
        yield


def twice():
    yield 1
    yield 2


async def twice_async():
    yield 1
    yield 2


def twice_after_error():
    try:
        yield 1
    except Boom:
        yield 2


async def twice_after_error_async():
    try:
        yield 1
    except Boom:
        yield 2


@in_every_way
@pytest.mark.parametrize(
    ("dependency", "raises", "message"),
    [
        (never, False, r"^generator didn't yield$"),
        (never_async, False, r"^generator didn't yield$"),
        (twice, False, r"^generator didn't stop$"),
        (twice_async, False, r"^generator didn't stop$"),
        (twice_after_error, True, r"^generator didn't stop after throw\(\)$"),
        (twice_after_error_async, True, r"^generator didn't stop after athrow\(\)$"),
    ],
)
def test_a_generator_yields_exactly_once(way, dependency, raises, message):
    """One that yields never or twice is an error, in the words of `contextlib`."""

    async def task(a=Depends(dependency)):
        if raises:
            raise Boom
        return a

    with pytest.raises(RuntimeError, match=message):
        resolved(way, task)


@in_every_way
def test_an_exception_that_generators_know_themselves_passes_through(way):
    """`StopAsyncIteration` of a task is not taken for the end of a generator."""
    told = Told()

    async def task(a=Depends(told.async_generator), b=Depends(told.generator)):
        raise StopAsyncIteration("from the task")

    with pytest.raises(StopAsyncIteration, match="from the task"):
        resolved(way, task)
    assert "async generator sees StopAsyncIteration" in told.log


@in_every_way
def test_overrides_replace_a_dependency_wherever_it_is_used(way):
    """What stands in `dependency_overrides` is called instead, with its own dependencies, cached as the original."""
    told = Told()

    def session():
        raise AssertionError("replaced")

    def repository(session=Depends(session)):
        return f"repository over {session}"

    async def fake(word=Depends(told.coroutine)):
        told.log.append("fake opens")
        yield f"fake with {word}"
        told.log.append("fake closes")

    async def task(a=Depends(repository), b=Depends(session)):
        return [a, b]

    assert resolved(way, task, {session: fake}) == ["repository over fake with coroutine", "fake with coroutine"]
    assert told.log == ["coroutine", "fake opens", "fake closes"]


@in_every_way
def test_an_override_of_something_else_changes_nothing(way):
    """Overrides that a task does not meet leave it as it is."""
    told = Told()

    async def task(a=Depends(told.generator)):
        return a

    assert resolved(way, task, {never: twice}) == "generator"
    assert told.log == ["generator opens", "generator closes"]


@in_every_way
def test_what_an_override_depends_on_may_be_overridden_but_not_the_override_itself(way):
    """The overrides are looked up once for each dependency, by the function that the user wrote."""

    def one():
        return "one"

    def two(below=Depends(one)):
        return f"two over {below}"

    def three():
        return "three"

    async def task(a=Depends(three)):
        return a

    assert resolved(way, task, {three: two, two: three, one: three}) == "two over three"


def test_the_overrides_are_those_of_the_moment_of_compiling():
    """A change of the mapping afterwards does not reach what has been compiled."""

    def word():
        return "word"

    async def task(a=Depends(word)):
        return a

    overrides: dict[Any, Any] = {}
    injection = compile_injection(read(task).params, task=HERE, overrides=overrides)
    overrides[word] = lambda: "other"
    assert injection is not None
    attempt = injection.wrap_async(lambda _slots, injected: task(**injected), Hopper(ThreadPool(1)))
    assert asyncio.run(attempt([OUTSIDE])) == "word"


def test_a_task_without_dependencies_has_no_injection():
    """Nothing is compiled where there is nothing to inject."""

    async def task(order: int, note: str = "-"):
        return order

    assert compile_injection(read(task).params, task=HERE, overrides={}) is None


def test_each_attempt_has_its_own_values():
    """Two attempts of one task, at the same time too, never share what a dependency gave."""
    made = []

    async def session():
        made.append(object())
        yield made[-1]

    async def task(session=Depends(session)):
        await asyncio.sleep(0)
        return session

    injection = compile_injection(read(task).params, task=HERE, overrides={})
    assert injection is not None

    async def main():
        attempt = injection.wrap_async(lambda _slots, injected: task(**injected), Hopper(ThreadPool(1)))
        return await asyncio.gather(*[attempt([OUTSIDE]) for _ in range(50)])

    assert len(set(map(id, asyncio.run(main())))) == 50


def test_the_values_of_the_slots_reach_the_task_beside_the_injected_ones():
    """The call gets the run's slots as they are, and the injected values by name."""

    async def task(order: int, word: Annotated[str, Depends(lambda: "word")]):
        return order, word

    injection = compile_injection(read(task).params, task=HERE, overrides={})
    assert injection is not None
    assert injection.names == ("word",)
    attempt = injection.wrap_async(lambda slots, injected: task(slots[0], **injected), Hopper(ThreadPool(1)))
    assert asyncio.run(attempt([7, OUTSIDE])) == (7, "word")


def test_a_dependency_that_fastapi_refuses_is_reported_with_its_task():
    """The error is FastAPI's own, with a note that names the task."""

    def word():
        return "word"

    async def task(a: Annotated[str, Depends(word)] = Depends(word)):
        return a

    with pytest.raises(AssertionError) as caught:
        compile_injection(read(task).params, task=HERE, overrides={})
    assert caught.value.__notes__ == ["raised for the dependencies of task 'save', shop/tasks.py:7"]
