"""All hooks, guarded."""

import os
from collections.abc import Callable
from typing import Final, TypeAlias, cast

from mypy.checker import TypeChecker
from mypy.nodes import Context, SymbolTableNode
from mypy.plugin import FunctionContext, MethodContext, MethodSigContext
from mypy.types import FunctionLike, Type

from .chain import chain_made, start_signature
from .decorated import task_made
from .endpoint import endpoint_made
from .names import CHAIN_FLOW
from .source import Sources
from .view import View

HookContext: TypeAlias = FunctionContext | MethodContext | MethodSigContext
Hook: TypeAlias = Callable[[View, HookContext], Type | FunctionLike]

_HOOKS: Final = cast(
    "dict[str, Hook]",
    {
        "task_made": task_made,
        "chain_made": chain_made,
        "endpoint_made": endpoint_made,
        "start_signature": start_signature,
    },
)
_RAISE: Final = "FASTAPI_CHAIN_MYPY_RAISE"
"""With this variable set a failing hook raises: for the plugin's own tests."""


class Guard:
    """Calls hooks. mypy's inside is no stable interface: a surprise must not end the user's run."""

    def __init__(self, lookup: Callable[[str], SymbolTableNode | None], sources: Sources) -> None:
        """Give hooks what they need: *lookup* finds a name by its full name."""
        self._lookup = lookup
        self._sources = sources
        self._failed: dict[tuple[str, str], int] = {}

    def hook(self, name: str) -> Callable[[HookContext], Type]:
        """Return the hook called *name*, guarded."""

        def guarded(ctx: HookContext) -> Type:
            api = cast("TypeChecker", ctx.api)
            try:
                return _HOOKS[name](View(api, self._lookup, self._sources), ctx)
            except Exception as error:
                if os.environ.get(_RAISE):
                    raise
                self._confess(api, ctx.context, error)
                return ctx.default_signature if isinstance(ctx, MethodSigContext) else ctx.default_return_type

        return guarded

    def _confess(self, api: TypeChecker, at: Context, error: Exception) -> None:
        """Report that a hook failed; once for each module and kind of failure."""
        text = f"The mypy plugin of fastapi_chain does not understand this: {type(error).__name__}: {error}."
        if self._failed.setdefault((api.tree.fullname, text), at.line) == at.line:
            api.fail(text, at, code=CHAIN_FLOW)
            api.note("Fix: report it, with this line and what stands above it", at, code=CHAIN_FLOW)
