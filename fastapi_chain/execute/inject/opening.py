"""A recipe as code: on the loop, or whole inside a worker thread.

On the loop the segments of a recipe are nested like `async with` blocks, so that Python itself sees to the order of
closing, to exceptions that pass through, and to those that take the place of others.
"""

from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import ExitStack, asynccontextmanager, contextmanager
from functools import cache

from anyio import CancelScope

from fastapi_chain.spec import Source

from .frame import AsyncCall, ClosingInThread, Frame, Hop, Slots, SyncCall
from .recipe import Needs, Recipe, Step, segments

Body = Callable[[Frame], Awaitable[None]]
"""Opens the rest of the dependencies, calls the task, and closes them."""

Values = list[object]


def open_on_loop(recipe: Recipe, call: AsyncCall, hop: Hop, task: Source) -> Callable[[Slots], Awaitable[object]]:
    """Return what makes one attempt: opens everything, awaits *call*, closes everything."""
    if all(step.kind == "coroutine" for step in recipe.steps):
        return _nothing_to_close(recipe, call)
    size = len(recipe.steps)
    body = _calling(call, recipe.gives)
    for segment in reversed(segments(recipe.steps)):
        body = _opening(segment, body, hop)

    async def attempt(slots: Slots) -> object:
        frame = Frame(slots, size)
        try:
            await body(frame)
            return frame.outcome(task)
        finally:
            frame.error = None  # an exception that leads back to itself would keep everything alive

    async def shielding(slots: Slots) -> object:
        frame = Frame(slots, size)
        try:
            # Entered before any dependency, so that those may hold cancel scopes of their own while they are open.
            with _scope_class()() as frame.shield:
                await body(frame)
            return frame.outcome(task)
        finally:
            frame.error = None

    return shielding if any(step.kind == "async_generator" for step in recipe.steps) else attempt


@cache
def _scope_class() -> type[CancelScope]:
    """Return what `CancelScope()` gives on asyncio: it looks for the running library each time, which costs 1.2 µs."""
    return type(CancelScope())


def _nothing_to_close(recipe: Recipe, call: AsyncCall) -> Callable[[Slots], Awaitable[object]]:
    """Return what does the same where there are only coroutines: no exception passes through those."""
    size, given = len(recipe.steps), _arguments(recipe.gives)
    calls = [(step.call, _arguments(step.needs) if step.needs else None, step.index) for step in recipe.steps]

    async def attempt(slots: Slots) -> object:
        values: Values = [None] * size
        for opens, arguments, index in calls:
            values[index] = await (opens() if arguments is None else opens(**arguments(values)))
        return await call(slots, given(values))

    return attempt


def _calling(call: AsyncCall, gives: Needs) -> Body:
    given = _arguments(gives)

    async def calling(frame: Frame) -> None:
        frame.result = await call(frame.slots, given(frame.values))

    return calling


def _opening(segment: Sequence[Step], rest: Body, hop: Hop) -> Body:
    """Return what opens *segment*, does *rest* and closes it."""
    first = segment[0]
    if first.kind == "async_generator":
        return _holding(first, rest)
    if first.kind == "coroutine":
        return _awaiting(segment, rest)
    return _hopping(segment, rest, hop)


def _awaiting(steps: Sequence[Step], rest: Body) -> Body:
    calls = [(step.call, _arguments(step.needs), step.index) for step in steps]

    async def awaiting(frame: Frame) -> None:
        values = frame.values
        for call, arguments, index in calls:
            values[index] = await call(**arguments(values))
        await rest(frame)

    return awaiting


def _holding(step: Step, rest: Body) -> Body:
    """Return what does the same as `async with asynccontextmanager(step.call)(...)`, in half the time."""
    call, arguments, index = step.call, _arguments(step.needs), step.index

    async def holding(frame: Frame) -> None:
        generator = call(**arguments(frame.values))
        try:
            frame.values[index] = await anext(generator)
        except StopAsyncIteration:
            raise RuntimeError("generator didn't yield") from None
        try:
            await rest(frame)
        except BaseException as error:
            frame.error = error
            frame.shield.shield = True
            # What may come of an exception inside a generator is for the standard library to tell apart.
            manager = asynccontextmanager(lambda: generator)()
            if not await manager.__aexit__(type(error), error, error.__traceback__):
                raise
        else:
            frame.shield.shield = True
            await _end(generator)

    return holding


async def _end(generator: AsyncGenerator[object, None]) -> None:
    """Close *generator* after a success."""
    try:
        await anext(generator)
    except StopAsyncIteration:
        return
    try:
        raise RuntimeError("generator didn't stop")
    finally:
        await generator.aclose()


def _hopping(steps: Sequence[Step], rest: Body, hop: Hop) -> Body:
    open_all = _opening_in_thread(steps)

    async def hopping(frame: Frame) -> None:
        stack = ExitStack()
        async with ClosingInThread(hop, stack):
            try:
                await hop(open_all, frame.values, stack)
                await rest(frame)
            except BaseException as error:
                frame.error = error
                raise

    async def calling(frame: Frame) -> None:
        await hop(open_all, frame.values, None)
        await rest(frame)

    return hopping if any(step.kind == "generator" for step in steps) else calling


def open_in_thread(recipe: Recipe, call: SyncCall, task: Source) -> Callable[[Slots], object]:
    """Return what makes one attempt inside a worker thread; every step is `def`."""
    size, gives = len(recipe.steps), recipe.gives
    open_all = _opening_in_thread(recipe.steps)

    def attempt(slots: Slots) -> object:
        values: Values = [None] * size
        open_all(values, None)
        return call(slots, {name: values[i] for name, i in gives})

    def closing(slots: Slots) -> object:
        frame = Frame(slots, size)
        try:
            with ExitStack() as stack:
                try:
                    open_all(frame.values, stack)
                    frame.result = call(slots, {name: frame.values[i] for name, i in gives})
                except BaseException as error:
                    frame.error = error
                    raise
            return frame.outcome(task)
        finally:
            frame.error = None

    return closing if any(step.kind == "generator" for step in recipe.steps) else attempt


def _opening_in_thread(steps: Sequence[Step]) -> Callable[[Values, ExitStack | None], None]:
    """Return what makes the calls of *steps* and leaves what is to be closed on the stack."""
    calls = [
        (
            contextmanager(step.call) if step.kind == "generator" else step.call,
            step.kind,
            _arguments(step.needs),
            step.index,
        )
        for step in steps
    ]

    def open_all(values: Values, stack: ExitStack | None) -> None:
        for call, kind, arguments, index in calls:
            value = call(**arguments(values))
            values[index] = stack.enter_context(value) if stack is not None and kind == "generator" else value

    return open_all


def _arguments(needs: Needs) -> Callable[[Values], dict[str, object]]:
    if not needs:
        return lambda _values: {}
    if len(needs) == 1:
        ((name, i),) = needs
        return lambda values: {name: values[i]}
    return lambda values: {name: values[i] for name, i in needs}
