"""The mypy plugin, which finds wrong wiring before it runs.

Switch it on with `plugins = ["fastapi_chain.mypy_plugin"]`.

    plugin      __init__    hooks, guarded: what fails reports itself
    hooks       decorated   a function becomes a task        chain, endpoint   an endpoint starts a chain
    rules       task        filling  items  undo  cycles     the same as at start-up, in the same words
    reading     declared    what `@task(...)` says           params            what a function takes
                upstream    what comes before                metadata, source  what mypy drops: `Annotated[T, ...]`
    below       flow        what flows, written into a type  view, names       the program as a hook sees it

The flow of a task rides in a type argument, see `flow`. So the plugin itself has no state but parsed sources.
"""

import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Final, TypeVar, cast

from mypy.checker import TypeChecker
from mypy.nodes import Context as Place
from mypy.options import Options
from mypy.plugin import FunctionContext, MethodContext, MethodSigContext, Plugin, ReportConfigContext
from mypy.types import FunctionLike, Type

from .chain import chain_made, start_signature
from .decorated import task_made
from .endpoint import endpoint_made
from .names import CHAIN, CHAIN_FUNCTION, DECORATORS, FLOW_CHAIN, TASK_METHOD, TASK_VARIABLE
from .source import Sources
from .view import CHAIN_FLOW, View

__version__: Final = hashlib.sha256(
    b"".join(p.read_bytes() for p in sorted(Path(__file__).parent.glob("*.py")))
).hexdigest()
"""mypy itself looks only at this file when it decides whether its cache is still good."""

_CHAIN_CALLS: Final = (f"{CHAIN}.__call__", f"{FLOW_CHAIN}.__call__")
_CHAIN_STARTS: Final = (f"{FLOW_CHAIN}.start", f"{FLOW_CHAIN}.run")
_RAISE: Final = "FASTAPI_CHAIN_MYPY_RAISE"
"""With this variable set a failing hook raises: for the plugin's own tests."""

Context = TypeVar("Context", FunctionContext, MethodContext, MethodSigContext)
Result = TypeVar("Result", bound=Type)


def plugin(version: str) -> type[Plugin]:  # noqa: ARG001 - the signature that mypy calls
    """Return the plugin, whatever the *version* of mypy."""
    return ChainPlugin


class ChainPlugin(Plugin):
    """Hooks for `task`, `chain` and what they return."""

    def __init__(self, options: Options) -> None:
        super().__init__(options)
        self._sources = Sources(dict(options.shadow_file or ()))
        self._failed: dict[tuple[str, str], int] = {}

    def report_config_data(self, ctx: ReportConfigContext) -> object:
        """Make part of a module's interface what others see of it but mypy does not: `Depends` in an alias.

        The plugin's version too: mypy forgets which plugins wrote a cache when a run without plugins shares it.
        """
        foreign = not ctx.path.endswith(".py") or "site-packages" in ctx.path
        return None if foreign else [__version__, self._sources.interface(ctx.path)]

    def get_function_hook(self, fullname: str) -> Callable[[FunctionContext], Type] | None:
        """Watch `task` and `chain`."""
        hooks = {TASK_VARIABLE: task_made, CHAIN_FUNCTION: chain_made}
        return self._guarded(hooks[fullname], _default_type) if fullname in hooks else None

    def get_method_hook(self, fullname: str) -> Callable[[MethodContext], Type] | None:
        """Watch `@orders.task`, `@task(...)`, and chains over endpoints."""
        if fullname == TASK_METHOD or fullname.removesuffix(".__call__") in DECORATORS:
            return self._guarded(task_made, _default_type)
        return self._guarded(endpoint_made, _default_type) if fullname in _CHAIN_CALLS else None

    def get_method_signature_hook(self, fullname: str) -> Callable[[MethodSigContext], FunctionLike] | None:
        """Give `start` and `run` of a chain its inputs as parameters."""
        return self._guarded(start_signature, _default_signature) if fullname in _CHAIN_STARTS else None

    def _guarded(
        self, hook: Callable[[View, Context], Result], otherwise: Callable[[Context], Result]
    ) -> Callable[[Context], Result]:
        """Guard a hook. mypy's inside is no stable interface: a surprise must not end the user's run."""

        def guarded(ctx: Context) -> Result:
            api = cast("TypeChecker", ctx.api)
            try:
                return hook(View(api, self.lookup_fully_qualified, self._sources), ctx)
            except Exception as error:
                if os.environ.get(_RAISE):
                    raise
                self._confess(api, ctx.context, error)
                return otherwise(ctx)

        return guarded

    def _confess(self, api: TypeChecker, at: Place, error: Exception) -> None:
        """Report that a hook failed; once for each module and kind of failure."""
        text = f"The mypy plugin of fastapi_chain does not understand this: {type(error).__name__}: {error}."
        if self._failed.setdefault((api.tree.fullname, text), at.line) == at.line:
            api.fail(text, at, code=CHAIN_FLOW)
            api.note("Fix: report it, with this line and what stands above it", at, code=CHAIN_FLOW)


def _default_type(ctx: FunctionContext | MethodContext) -> Type:
    return ctx.default_return_type


def _default_signature(ctx: MethodSigContext) -> FunctionLike:
    return ctx.default_signature
