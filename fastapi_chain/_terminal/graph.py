"""A plan as text: boxes, a tree, Graphviz, and a line of numbers."""

from collections.abc import Iterator
from importlib import import_module
from typing import Any, Final

from fastapi_chain._drawing.mermaid import mermaid
from fastapi_chain._text import counted, listed, seconds, type_name
from fastapi_chain.plan import Node, Plan
from fastapi_chain.plan.nodes import Fill
from fastapi_chain.spec import EMPTY, Role

from .styled import Line, Span

_MANY: Final = 300
"""Up to how many tasks it is worked out how many can run at once: that takes time, and the path from one to another."""

_SPECIAL: Final = {Role.RUN: "Run", Role.CONTEXT: "TaskContext", Role.PROGRESS: "Progress"}


def boxes(plan: Plan) -> str | None:
    """Return *plan* as boxes and arrows, drawn with lines; None without termaid."""
    try:
        termaid: Any = import_module("termaid")
    except ModuleNotFoundError:
        return None
    # Labels would hide each other in so little room; the tree names the parameters.
    text = "\n".join(_unlabelled(line) for line in mermaid(plan).splitlines())
    drawn: str = termaid.render(text, padding_x=1, padding_y=0, gap=3)
    return "".join(f"{line.rstrip()}\n" for line in drawn.strip("\n").splitlines())


def _unlabelled(line: str) -> str:
    """Return a line of Mermaid without the label of its arrow."""
    head, arrow, tail = line.partition(" -->|")
    return line if not arrow else f"{head} -->{tail.rpartition('|')[2]}"


def tree(plan: Plan, about: str) -> list[Line]:
    """Return *plan* as a tree: each task below one of those it needs, with its parameters, result and options.

    Args:
        plan: What to draw.
        about: What stands beside the chain's name.
    """
    below: dict[int | None, list[Node]] = {}
    for node in plan.nodes:
        below.setdefault(_place(node), []).append(node)
    lines: list[Line] = [(Span(plan.chain, "strong"), Span(f" {about}", "dim"))]
    lines += _branches(plan, below)
    return lines


def _place(node: Node) -> int | None:
    """Return the task below which *node* is drawn: the first one that gives it a value, else the first it waits for."""
    giving = [fill.slot for fill in node.fills if fill.kind == "task" and fill.slot in node.parents]
    return next(iter([*giving, *node.parents]), None)


def _branches(plan: Plan, below: dict[int | None, list[Node]]) -> Iterator[Line]:
    """Yield a line for each task; with a stack of our own, since a chain may be longer than Python's."""
    stack = [(node, "", node is below[None][-1]) for node in reversed(below[None])]
    while stack:
        node, indent, last = stack.pop()
        yield (Span(f"{indent}{'└── ' if last else '├── '}", "dim"), *_task(plan, node))
        following = below.get(node.index, [])
        deeper = f"{indent}{'    ' if last else '│   '}"
        stack += [(child, deeper, child is following[-1]) for child in reversed(following)]


def _task(plan: Plan, node: Node) -> Iterator[Span]:
    yield Span(node.name, "strong")
    yield Span(f" ({', '.join(map(_parameter, node.fills))})", "dim")
    returns = node.signature.returns
    if returns is not EMPTY and returns is not None and returns is not type(None):
        shown = f"list[{type_name(returns)}]" if node.over is not None else type_name(returns)
        yield Span(" → ", "dim")
        yield Span(shown, "type")
    options = list(_options(node))
    if options:
        yield Span(f"  {' '.join(options)}", "waiting")
    others = [plan.names[parent] for parent in node.parents if parent != _place(node)]
    if others:
        yield Span(f"  also after {listed(others)}", "dim")


def _parameter(fill: Fill) -> str:
    param = fill.param
    if param.role is Role.INJECTED:
        return f"{param.name}: Depends"
    shown = _SPECIAL.get(param.role) or type_name(param.type)
    return f"{param.name}: {shown}" if shown else param.name


def _options(node: Node) -> Iterator[str]:
    """Yield the options of a task that change when and how often it runs."""
    spec = node.spec
    if spec.retries:
        yield f"retries={spec.retries}"
    if spec.timeout is not None:
        yield f"timeout={seconds(spec.timeout)}"
    if node.over is not None:
        yield "each item"
    if spec.run_if != "all_succeeded":
        yield f"run_if={spec.run_if}"
    if spec.optional:
        yield "optional"


def dot(plan: Plan) -> str:
    """Return *plan* as Graphviz text: a solid arrow hands a value on, a dashed one only sets the order."""
    lines = [f"digraph {_quoted(plan.chain)} {{", "    rankdir=LR;", "    node [shape=box];"]
    lines += [f"    t{node.index} [label={_quoted(node.name)}];" for node in plan.nodes]
    for node in plan.nodes:
        for parent, names in node.incoming().items():
            look = f"label={_quoted(', '.join(names))}" if names else "style=dashed"
            lines.append(f"    t{parent} -> t{node.index} [{look}];")
    return "\n".join([*lines, "}\n"])


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def figures(plan: Plan) -> str:
    """Return how large *plan* is, in a line."""
    arrows = [names for node in plan.nodes for names in node.incoming().values()]
    carrying = sum(bool(names) for names in arrows)
    longest: list[int] = []
    for node in plan.nodes:
        longest.append(1 + max((longest[parent] for parent in node.parents), default=0))
    kinds = f" ({carrying} carry a value, {len(arrows) - carrying} order only)" if arrows else ""
    wide = f" · at most {counted(_widest(plan), 'task')} side by side" if len(plan.nodes) <= _MANY else ""
    return (
        f"{counted(len(plan.nodes), 'task')}, {counted(len(arrows), 'edge')}{kinds} · longest path {max(longest)}{wide}"
    )


def _widest(plan: Plan) -> int:
    """Return how many tasks can run at once: as many as it takes paths, at the least, to cover all (Dilworth)."""
    above: list[set[int]] = []
    for node in plan.nodes:
        above.append(set().union(node.parents, *(above[parent] for parent in node.parents)))
    follower: dict[int, int] = {}

    def follow(task: int, seen: set[int]) -> bool:
        """Find a task that *task* follows on its path, if need be by giving others another one."""
        for earlier in above[task] - seen:
            seen.add(earlier)
            if earlier not in follower or follow(follower[earlier], seen):
                follower[earlier] = task
                return True
        return False

    return len(plan.nodes) - sum(follow(node.index, set()) for node in plan.nodes)
