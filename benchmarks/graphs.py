"""The graphs that are timed: shapes, filled with real functions.

The functions are generated, because every parameter bears the name of a parent (roots take `x`): that is how most
contenders pass values on. A task returns its first parent's value plus one, so the value of the last task is known
beforehand and every contender's result can be checked before it is timed.
"""

import asyncio
import linecache
import random
import sys
import time
import types
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, partial
from itertools import count
from typing import Any, Final, Literal

Kind = Literal["async", "def"]
"""Whether the tasks are coroutines or run in threads."""

MS: Final = 1e-3
_TASKS_PER_COMPILE: Final = 2000  # one source of 100,000 functions takes the compiler minutes
_serial = count(1)


@dataclass(frozen=True, slots=True)
class Node:
    """One task of a graph."""

    name: str
    """Its name, a Python identifier."""
    parents: tuple[int, ...] = ()
    """Indices of the tasks whose values it takes."""
    delay: float = 0.0
    """Seconds that it sleeps."""


@dataclass(frozen=True)
class Graph:
    """Tasks in topological order; the last one is the only one without children."""

    name: str
    """What it is called in tables, `chain100`."""
    nodes: tuple[Node, ...]
    """Its tasks."""
    kind: Kind = "async"
    """What its tasks are."""

    def __len__(self) -> int:
        return len(self.nodes)

    @property
    def title(self) -> str:
        """Name and kind, for tables."""
        return self.name if self.kind == "async" else f"{self.name} def"

    @property
    def sleeps(self) -> bool:
        """Whether its tasks wait: then wall time counts, else (for coroutines) CPU time."""
        return any(node.delay for node in self.nodes)

    @property
    def linear(self) -> bool:
        """Whether it is a chain."""
        return all(node.parents == ((i - 1,) if i else ()) for i, node in enumerate(self.nodes))

    @property
    def unequal(self) -> bool:
        """Whether its delays differ, so that a barrier between levels costs time."""
        return len({node.delay for node in self.nodes}) > 1

    @property
    def last(self) -> str:
        """The name of the last task."""
        return self.nodes[-1].name

    @cached_property
    def levels(self) -> list[list[int]]:
        """The tasks by their distance from the roots."""
        level: list[int] = []
        for node in self.nodes:
            level.append(1 + max((level[parent] for parent in node.parents), default=-1))
        levels: list[list[int]] = [[] for _ in range(max(level) + 1)]
        for i, at in enumerate(level):
            levels[at].append(i)
        return levels

    @cached_property
    def critical_path(self) -> float:
        """Seconds that the slowest path sleeps."""
        ends: list[float] = []
        for node in self.nodes:
            ends.append(node.delay + max((ends[parent] for parent in node.parents), default=0.0))
        return max(ends)

    @cached_property
    def functions(self) -> list[Callable[..., Any]]:
        """One function for each task, in order."""
        return self.make_module()[1]

    def parameters(self, i: int) -> list[str]:
        """Return the parameter names of task *i*: its parents, or `x`."""
        return [self.nodes[parent].name for parent in self.nodes[i].parents] or ["x"]

    def parent_names(self, i: int) -> list[str]:
        """Return the names of the tasks that task *i* needs."""
        return [self.nodes[parent].name for parent in self.nodes[i].parents]

    def expected(self, x: int) -> int:
        """Return the value of the last task for the input *x*."""
        values: list[int] = []
        for node in self.nodes:
            values.append((values[node.parents[0]] if node.parents else x) + 1)
        return values[-1]

    def source(self, i: int) -> str:
        """Return the source of task *i*."""
        node, names = self.nodes[i], self.parameters(i)
        start, nap = ("async def", "await sleep") if self.kind == "async" else ("def", "block")
        return (
            f"{start} {node.name}({', '.join(f'{name}: int' for name in names)}) -> int:\n"
            f"    {f'{nap}({node.delay!r}); ' if node.delay else ''}return {names[0]} + 1\n"
        )

    def make_module(self) -> tuple[types.ModuleType, list[Callable[..., Any]]]:
        """Return a new module with these functions, and the functions in order (some contenders take a module)."""
        module = types.ModuleType(f"graph_{self.name}_{next(_serial)}")
        sys.modules[module.__name__] = module
        names = module.__dict__
        names.update(sleep=asyncio.sleep, block=time.sleep)
        for start in range(0, len(self), _TASKS_PER_COMPILE):
            stop = min(start + _TASKS_PER_COMPILE, len(self))
            run_source("\n".join(map(self.source, range(start, stop))), names, f"<{module.__name__}_{start}>")
        return module, [names[node.name] for node in self.nodes]


def run_source(source: str, names: dict[str, Any], file: str) -> dict[str, Any]:
    """Execute *source* in *names*, so that tracebacks and `inspect` find its lines under *file*."""
    linecache.cache[file] = (len(source), None, source.splitlines(keepends=True), file)
    exec(compile(source, file, "exec"), names)
    return names


def chain(length: int, delay: float = 0.0) -> tuple[Node, ...]:
    """Return tasks that follow one another."""
    return tuple(Node(f"t{i}", (i - 1,) if i else (), delay) for i in range(length))


def diamond(delay: float = 0.0) -> tuple[Node, ...]:
    """Return 1 -> 2 -> 1."""
    return (Node("a", (), delay), Node("b", (0,), delay), Node("c", (0,), delay), Node("d", (1, 2), delay))


def wide(width: int, delay: float = 0.0) -> tuple[Node, ...]:
    """Return 1 -> *width* -> 1."""
    middle = (Node(f"w{i}", (0,), delay) for i in range(width))
    return (Node("first", (), delay), *middle, Node("last", tuple(range(1, width + 1)), delay))


def layered(depth: int, width: int, delay: Callable[[random.Random], float] | None = None) -> tuple[Node, ...]:
    """Return *depth* layers of *width* tasks and one last task.

    Every task takes two tasks of the layer above, chosen at random but always alike, and has a child.
    """
    dice = random.Random(7)
    nap = delay or (lambda _dice: 0.0)
    nodes = [Node(f"l0_{j}", (), nap(dice)) for j in range(width)]
    for layer in range(1, depth):
        above = (layer - 1) * width
        firsts = dice.sample(range(width), width)
        for j, first in enumerate(firsts):
            second = dice.choice([k for k in range(width) if k != first])
            nodes.append(Node(f"l{layer}_{j}", (above + first, above + second), nap(dice)))
    nodes.append(Node("last", tuple(range((depth - 1) * width, depth * width)), nap(dice)))
    return tuple(nodes)


def lanes(number: int, slow: float, fast: float) -> tuple[Node, ...]:
    """Return as many chains as steps, each slow at a step of its own, and one last task.

    With a barrier after every step each step is slow; without, each chain is slow once.
    """
    nodes = [
        Node(f"s{step}_{lane}", ((step - 1) * number + lane,) if step else (), slow if step == lane else fast)
        for step in range(number)
        for lane in range(number)
    ]
    return (*nodes, Node("last", tuple(range((number - 1) * number, number * number))))


def _random_delay(dice: random.Random) -> float:
    return MS * (1 + round(dice.lognormvariate(1.2, 0.9)))


def _equal_delay(_dice: random.Random) -> float:
    return MS


SHAPES: Final[dict[str, Callable[[], tuple[Node, ...]]]] = {
    "chain1": partial(chain, 1),
    "chain10": partial(chain, 10),
    "chain100": partial(chain, 100),
    "chain1000": partial(chain, 1000),
    "diamond": diamond,
    "wide100": partial(wide, 100),
    "layers10x10": partial(layered, 10, 10),
    "layers100x10": partial(layered, 100, 10),
    "layers1000x10": partial(layered, 1000, 10),
    "chain10_1ms": partial(chain, 10, MS),
    "diamond_1ms": partial(diamond, MS),
    "wide100_1ms": partial(wide, 100, MS),
    "layers10x10_1ms": partial(layered, 10, 10, _equal_delay),
    "lanes5_20_2ms": partial(lanes, 5, 20 * MS, 2 * MS),
    "random10x10": partial(layered, 10, 10, _random_delay),
}
"""Every shape, by the name of its graph."""

SETS: Final[dict[str, list[str]]] = {
    "noop": ["chain10", "chain100", "chain1000", "diamond", "wide100", "layers10x10", "layers100x10"],
    "sleep": ["chain10_1ms", "diamond_1ms", "wide100_1ms", "layers10x10_1ms", "lanes5_20_2ms", "random10x10"],
    "def": ["chain10/def", "chain100/def", "diamond/def", "wide100/def", "layers10x10/def"],
    "block": ["wide100_1ms/def", "layers10x10_1ms/def", "lanes5_20_2ms/def"],
}
"""The graphs that every contender is given, by subject."""


def graph(name: str) -> Graph:
    """Return the graph *name*: a shape of coroutines, or `<shape>/def` for the same in threads."""
    shape, _, kind = name.partition("/")
    return Graph(shape, SHAPES[shape](), "def" if kind == "def" else "async")
