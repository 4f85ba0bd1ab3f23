"""The dependencies of one task, compiled."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, cast

from fastapi_chain._fastapi import Dependency, read_params
from fastapi_chain.spec import ParamSpec, Role, Source

from .frame import AsyncCall, Hop, Slots, SyncCall
from .opening import open_in_thread, open_on_loop
from .recipe import Recipe, write_recipe
from .solving import solve_on_loop


class Injection:
    """The dependencies of one task. It keeps nothing of any attempt, so that all runs share it."""

    __slots__ = ("_overrides", "_recipe", "_root", "_task", "is_sync", "names", "request_path")

    def __init__(
        self,
        names: tuple[str, ...],
        root: Dependency,
        recipe: Recipe | None,
        overrides: Mapping[Any, Any],
        task: Source,
    ) -> None:
        self.names = names
        """The parameters that it fills."""
        self.is_sync = recipe is not None and recipe.is_sync
        """Whether all is `def`, so that everything can be opened and closed inside a worker thread."""
        self.request_path = root.request_path()
        """From a parameter through its dependencies to what is read from the request: `("user", "current_user",
        "Request")`; empty if nothing is."""
        self._root = root
        self._recipe = recipe
        self._overrides = overrides
        self._task = task

    def wrap_async(self, call: AsyncCall, hop: Hop) -> Callable[[Slots], Awaitable[object]]:
        """Return what makes one attempt on the loop.

        Args:
            call: Calls the task, with the run's slots and the injected values.
            hop: Runs `def` dependencies in a thread.
        """
        if self._recipe is None:
            return solve_on_loop(self._root, self._overrides, call, hop, self._task)
        return open_on_loop(self._recipe, call, hop, self._task)

    def wrap_sync(self, call: SyncCall) -> Callable[[Slots], object]:
        """Return what makes one attempt inside a worker thread; only if `is_sync`.

        Args:
            call: As for `wrap_async`.
        """
        return open_in_thread(cast("Recipe", self._recipe), call, self._task)


def compile_injection(params: Sequence[ParamSpec], *, task: Source, overrides: Mapping[Any, Any]) -> Injection | None:
    """Compile the dependencies of a task; None if it has none.

    Args:
        params: The parameters of the task; those that FastAPI does not fill are ignored.
        task: The task, for errors.
        overrides: `app.dependency_overrides` as it is now. It is copied: compile again when it changes.

    Raises:
        Exception: FastAPI refuses a dependency; a note names the task.
    """
    injected = [param for param in params if param.role is Role.INJECTED]
    if not injected:
        return None
    overrides = dict(overrides)
    try:
        root = read_params(injected)
        recipe = write_recipe(root, overrides)
    except Exception as error:
        error.add_note(f"raised for the dependencies of task {task.name!r}, {task.at}")
        raise
    return Injection(tuple(param.name for param in injected), root, recipe, overrides, task)
