"""What a recipe cannot say: FastAPI's own solver does it.

That is all that reads the request, and what has rules of its own (`scope="function"`, `max_concurrency`, security
scopes).
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, ExitStack, contextmanager
from functools import lru_cache, partial
from typing import Any, Final, cast

from fastapi_chain._fastapi import Dependency, Kind, Solved, read_again, replace_calls, solve, synthetic_scope
from fastapi_chain.spec import Source

from .frame import MISSING, AsyncCall, ClosingInThread, Environment, Frame, Hop, Slots

_ROUTES: Final = 16
"""How many sets of path parameters the dependencies of one task are kept for: one for each kind of route."""


def solve_on_loop(
    root: Dependency, overrides: Mapping[Any, Any], call: AsyncCall, hop: Hop, task: Source
) -> Callable[[Slots], Awaitable[object]]:
    """Return what makes one attempt: lets FastAPI open everything, awaits *call*, closes everything.

    Background tasks that dependencies have added run when everything is closed.
    """
    # Our own threads, since FastAPI's serve requests; and before 0.162.7 its solver leaves `def` generators open when
    # the attempt is cancelled. Overrides are looked up by the original call: with them FastAPI's threads must do.
    rooted = lru_cache(_ROUTES)(partial(_rooted, root, hop if not overrides else None))

    async def attempt(slots: Slots) -> object:
        frame = Frame(slots, 0)
        try:
            async with AsyncExitStack() as stack:
                try:
                    solved = await _inside(frame, stack)
                except BaseException as error:
                    frame.error = error
                    raise
            result = frame.outcome(task)
            if solved.background is not None:
                await solved.background()
            return result
        finally:
            frame.error = None

    async def _inside(frame: Frame, stack: AsyncExitStack) -> Solved:
        """Do what FastAPI does while the dependencies of scope "function" are open."""
        environment = cast("Environment", frame.slots[-1])
        scope = environment.request_scope or synthetic_scope(environment.app, {})
        result = MISSING
        async with AsyncExitStack() as function_stack:
            try:
                path_params = cast("Mapping[str, object]", scope["path_params"])
                solved = await solve(rooted(tuple(path_params)), scope, overrides, stack, function_stack)
                result = await call(frame.slots, solved.values)
            except BaseException as error:
                frame.error = error
                raise
        # Only now: an attempt whose dependencies of that scope have failed to close has no result.
        frame.result = result
        return solved

    return attempt


def _rooted(root: Dependency, hop: Hop | None, path_params: tuple[str, ...]) -> Dependency:
    """Return *root* as it is under a route with these parameters in its path; its calls go through *hop*, if given."""
    queried = {thing for dependency in root.walk() for _, thing in dependency.reads}
    if any(f"Query {name}" in queried for name in path_params):
        root = read_again(root, path_params)
    return root if hop is None else replace_calls(root, partial(_through, hop))


def _through(hop: Hop, call: Callable[..., Any], kind: Kind) -> Callable[..., Any]:
    """Return *call* as something that FastAPI awaits: what blocks runs through *hop*."""
    if kind == "function":

        async def called(**values: object) -> object:
            return await hop(call, **values)

        return called
    if kind == "generator":
        opened = contextmanager(call)

        async def held(**values: object) -> AsyncIterator[object]:
            stack = ExitStack()
            async with ClosingInThread(hop, stack):
                yield await hop(lambda: stack.enter_context(opened(**values)))

        return held
    return call
