"""Tests of chains: run them without HTTP, replace tasks, let time pass at once.

    run_inline     run a chain here, and raise what failed
    stub           values or fakes in the place of tasks, checked against their types
    flaky          a fake that fails a few times first
    chain_client   a test client that waits for the runs that it starts
    assert_graph   what comes before what, as one line
    fresh_registry an empty default registry
    ChainClock     virtual time; the fixture `chain_clock` puts one in place

With pytest, the fixtures `chain_clock` and `fresh_registry` are there by themselves, and a test that fails shows its
runs.
"""

from importlib import import_module
from typing import Final

from .clock import ChainClock
from .registries import fresh_registry

_LAZY: Final = {
    "AsyncChainClient": "client",
    "Calls": "stubs",
    "ChainClient": "client",
    "StubbedTask": "stubs",
    "assert_graph": "graphs",
    "chain_client": "client",
    "flaky": "stubs",
    "run_inline": "inline",
    "stub": "stubs",
}
"""What needs FastAPI, which is not to be imported whenever pytest starts; `__init__.pyi` declares the same."""

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


def __getattr__(name: str) -> object:
    """Import what needs FastAPI when it is first asked for (PEP 562)."""
    if name not in _LAZY:
        text = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(text)
    value: object = getattr(import_module(f".{_LAZY[name]}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_LAZY})
