"""The mypy plugin, which finds wrong wiring before it runs.

Switch it on with `plugins = ["fastapi_chain.mypy_plugin"]`.

    plugin      __init__    which hook for which name         hooks             guarded: what fails reports itself
    hooks       decorated   a function becomes a task         chain, endpoint   an endpoint starts a chain
    rules       task        filling  items  undo  cycles      the same as at start-up, in the same words
    reading     declared    what `@task(...)` says            params, callables what a function takes
                upstream    what comes before                 metadata, source  what mypy drops: `Annotated[T, ...]`
    below       flow        what flows, written into a type   view, names       the program as a hook sees it

The flow of a task rides in a type argument, see `flow`. So the plugin itself has no state but parsed sources.
"""

import hashlib
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any, Final

from mypy.options import Options
from mypy.plugin import FunctionContext, MethodContext, MethodSigContext, Plugin, ReportConfigContext
from mypy.types import FunctionLike, Type

from .names import CHAIN, CHAIN_FUNCTION, DECORATORS, FLOW_CHAIN, TASK_METHOD, TASK_VARIABLE
from .source import Sources

_PACKAGE: Final = Path(__file__).parents[1]
_FILES: Final = [
    f for pattern in ("mypy_plugin/*.py", "errors/*.py", "_text.py") for f in sorted(_PACKAGE.glob(pattern))
]

__version__: Final = hashlib.sha256(b"".join(file.read_bytes() for file in _FILES)).hexdigest()
"""What the plugin does and says. mypy itself looks only at this one file to see whether its cache is still good."""

_FUNCTIONS: Final = {TASK_VARIABLE: "task_made", CHAIN_FUNCTION: "chain_made"}
_METHODS: Final = {
    TASK_METHOD: "task_made",
    **{f"{decorator}.__call__": "task_made" for decorator in DECORATORS},
    f"{CHAIN}.__call__": "endpoint_made",
    f"{FLOW_CHAIN}.__call__": "endpoint_made",
}
_SIGNATURES: Final = {f"{FLOW_CHAIN}.start": "start_signature", f"{FLOW_CHAIN}.run": "start_signature"}


def plugin(version: str) -> type[Plugin]:  # noqa: ARG001 - the signature that mypy calls
    """Return the plugin, whatever the *version* of mypy."""
    return ChainPlugin


class ChainPlugin(Plugin):
    """Hooks for `task`, `chain` and what they return."""

    def __init__(self, options: Options) -> None:
        super().__init__(options)
        self._sources = Sources(dict(options.shadow_file or ()))
        self._guard: Any = None

    def report_config_data(self, ctx: ReportConfigContext) -> object:
        """Make part of a module's interface what others see of it but mypy does not: `Depends` in an alias.

        The plugin's version too: mypy forgets which plugins wrote a cache when a run without plugins shares it.
        """
        if ctx.id.partition(".")[0] == "fastapi_chain":
            return __version__
        foreign = not ctx.path.endswith(".py") or "site-packages" in ctx.path
        return None if foreign else [__version__, self._sources.interface(ctx.path)]

    def get_function_hook(self, fullname: str) -> Callable[[FunctionContext], Type] | None:
        """Watch `task` and `chain`."""
        hook: Callable[[FunctionContext], Type] | None = self._hook(_FUNCTIONS.get(fullname))
        return hook

    def get_method_hook(self, fullname: str) -> Callable[[MethodContext], Type] | None:
        """Watch `@orders.task`, `@task(...)`, and chains over endpoints."""
        hook: Callable[[MethodContext], Type] | None = self._hook(_METHODS.get(fullname))
        return hook

    def get_method_signature_hook(self, fullname: str) -> Callable[[MethodSigContext], FunctionLike] | None:
        """Give `start` and `run` of a chain its inputs as parameters."""
        hook: Callable[[MethodSigContext], FunctionLike] | None = self._hook(_SIGNATURES.get(fullname))
        return hook

    def _hook(self, name: str | None) -> Any:  # noqa: ANN401 - the three kinds of hooks have no type in common
        """Return a hook. They are imported when the first is wanted: a run that checks nothing anew needs none."""
        if name is None:
            return None
        if self._guard is None:
            self._guard = import_module(".hooks", __name__).Guard(self.lookup_fully_qualified, self._sources)
        return self._guard.hook(name)
