"""The public names, for type checkers; `__init__.py` imports some of them when they are first asked for."""

from .client import AsyncChainClient as AsyncChainClient, ChainClient as ChainClient, chain_client as chain_client
from .clock import ChainClock as ChainClock
from .graphs import assert_graph as assert_graph
from .inline import run_inline as run_inline
from .registries import fresh_registry as fresh_registry
from .stubs import Calls as Calls, StubbedTask as StubbedTask, flaky as flaky, stub as stub

__all__ = [
    "AsyncChainClient",
    "Calls",
    "ChainClient",
    "ChainClock",
    "StubbedTask",
    "assert_graph",
    "chain_client",
    "flaky",
    "fresh_registry",
    "run_inline",
    "stub",
]
