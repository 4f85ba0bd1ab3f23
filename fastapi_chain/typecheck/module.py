"""The module that writes the flow of values down, and what each of its lines is about."""

import ast
from collections.abc import Iterable, Mapping, Sequence
from inspect import Parameter
from pathlib import Path
from typing import Final, NamedTuple, TypeVar, get_origin

from fastapi_chain.chains.coverage import what_is_given
from fastapi_chain.errors import TypeMismatch
from fastapi_chain.plan import Node, Plan, UndoNode
from fastapi_chain.plan.compatible import strip
from fastapi_chain.spec import EMPTY, EndpointSpec, ParamSpec, Signature, Source, TaskSpec

from .written import Names, TaskNames, type_source

_HEAD: Final = (
    "# pyright: basic, reportUnusedCoroutine=false, reportPrivateUsage=false",
    "from collections.abc import Callable, Iterable",
    "from typing import Any, Literal, TypeVar",
    "from fastapi_chain import From, Succeeded",
)
_TOOLS: Final = (
    "_any_type = Any",
    "_any: Any = None",
    '_T = TypeVar("_T")',
    "def _item(items: Iterable[_T]) -> _T: ...",
)


class Place(NamedTuple):
    """What a line of the module is about."""

    file: str
    line: int
    mismatch: TypeMismatch | None
    """What is wrong if the checker does not accept the line; None: it says so itself."""


class Value(NamedTuple):
    """What flows into a parameter."""

    source: str
    """As an expression."""
    place: Place | None
    """What it is about; None if there is nothing to be wrong."""


_UNKNOWN: Final = Value("_any", None)


class CheckModule:
    """Grows by the flow of one plan after the other."""

    def __init__(self) -> None:
        """Begin with nothing."""
        self.places: dict[int, Place] = {}
        """What lines are about; complete when `source` has been called."""
        self.left_out: dict[str, None] = {}
        """The tasks that no module can name."""
        self._names = Names()
        self._tasks = TaskNames(self._names)
        self._lines = Lines()
        self._calls: dict[tuple[str, ...], list[Value]] = {}
        self._functions: list[tuple[str, list[list[Value]]]] = []
        self._checked: set[TaskSpec] = set()

    @property
    def tasks(self) -> int:
        """How many tasks are checked."""
        return len(self._checked)

    def add(self, plan: Plan, endpoints: Iterable[EndpointSpec]) -> None:
        """Write down what flows in *plan*, and what *endpoints* give to it."""
        for node in plan.nodes:
            written = self._tasks.of(node.spec)
            if written is None:
                self.left_out[node.name] = None
                continue
            self._checked.add(node.spec)
            values = {fill.param.name: self._flow(plan, node, fill.param, fill.kind, fill.slot) for fill in node.fills}
            self._call(written, node.signature, values)
            self._undo(plan, node)
        for endpoint in endpoints:
            self._endpoint(plan, endpoint)

    def source(self) -> str:
        """Return the module."""
        lines: list[str] = [*_HEAD, *self._names.imports(), *_TOOLS]
        self._write(lines, "def _flow() -> None:", list(self._calls.values()))
        for head, calls in self._functions:
            self._write(lines, head, calls)
        return "\n".join(lines) + "\n"

    def _write(self, lines: list[str], head: str, calls: Sequence[Sequence[Value]]) -> None:
        lines += [head, "    pass"]
        for opening, *values in calls:
            for value in (opening, *values):
                lines.append(value.source)
                if value.place is not None:
                    self.places[len(lines)] = value.place
            lines.append("    )")

    # ------------------------------------------------------------------------------------------------------------------
    # Calls
    # ------------------------------------------------------------------------------------------------------------------

    def _call(self, function: str, signature: Signature, values: Mapping[str, Value]) -> None:
        """Call a function with *values*; what is not among them is of no interest here."""
        call = _call(function, signature, values)
        if len(call) > 1:
            self._calls.setdefault(tuple(value.source for value in call), call)

    def _flow(self, plan: Plan, node: Node, param: ParamSpec, kind: str, slot: int) -> Value:
        """Return what flows into a parameter of a task."""
        if kind == "item" and node.over is not None:
            producer = plan.nodes[node.over]
            written = self._tasks.of(producer.spec)
            # Checkers do not agree on what the items of a tuple have in common.
            mixed = get_origin(strip(producer.signature.returns)) is tuple
            if written is None or mixed:
                return _UNKNOWN
            return _value(f"_item(From({written}))", self._place(node.spec, param, producer, "item"))
        return self._output(plan.nodes[slot], node.spec, param) if kind == "task" else _UNKNOWN

    def _output(self, producer: Node, consumer: TaskSpec, param: ParamSpec) -> Value:
        """Return the output of a task, as the parameter takes it."""
        written = self._tasks.of(producer.spec)
        if written is None or (param.outcomes and "succeeded" not in param.outcomes):
            return _UNKNOWN
        value = f"From({written})"
        if param.collects:
            value = f"[Succeeded(_one) for _one in {value}]"
        elif param.outcomes:
            value = f"Succeeded({value})"
        fan = producer.spec.each is not None and not param.collects
        return _value(value, self._place(consumer, param, producer, "fan-out" if fan else "task"))

    def _undo(self, plan: Plan, node: Node) -> None:
        """Call the undo of a task."""
        undo = node.undo
        written = self._tasks.of_function(undo.spec) if undo is not None else None
        own = self._tasks.of(node.spec)
        if undo is None or written is None or own is None:
            return
        values: dict[str, Value] = {}
        for fill in undo.fills:
            if fill.kind == "item":
                place = self._place(undo.spec, fill.param, node, "task")
                values[fill.param.name] = _value(f"_item(From({own}))", place)
            elif fill.kind == "task":
                values[fill.param.name] = self._output(plan.nodes[fill.slot], undo.spec, fill.param)
        self._call(written, _signature(undo), values)

    def _place(self, consumer: TaskSpec, param: ParamSpec, producer: Node, via: str) -> Place | None:
        """Return what it is about that *param* takes the output of *producer*; None if that cannot be judged."""
        returns = producer.signature.returns
        if isinstance(strip(returns), TypeVar) or getattr(returns, "__parameters__", None):
            return None  # it depends on the call
        line = self._lines.of(consumer.source, param.name)
        if returns is EMPTY:
            return Place(consumer.source.file, line, None)
        error = TypeMismatch(
            param=param.name,
            producer=producer.spec.source,
            returns=list[returns] if via == "item" and producer.spec.each is not None else returns,  # type: ignore[valid-type]  # a type that is known only now
            consumer=consumer.source,
            takes=param.type,
            via=via,  # type: ignore[arg-type]  # one of its words
        )
        return Place(consumer.source.file, line, error)

    # ------------------------------------------------------------------------------------------------------------------
    # Endpoints
    # ------------------------------------------------------------------------------------------------------------------

    def _endpoint(self, plan: Plan, endpoint: EndpointSpec) -> None:
        """Give to every task what an endpoint gives: a function with its parameters calls them."""
        given: dict[str, tuple[Signature, dict[str, Value]]] = {}
        used: dict[str, str] = {}
        for item in plan.inputs:
            if endpoint.gives.get(item.name, EMPTY) is EMPTY:
                continue
            for need in item.needs:
                function = self._function(plan.nodes[need.below], need.task)
                if function is not None:
                    used[item.name] = type_source(what_is_given(endpoint, item.name), self._names)
                    place = self._given(endpoint, need.param, need.task)
                    written, signature = function
                    given.setdefault(written, (signature, {}))[1][item.name] = Value(item.name, place)
        if given:
            params = ", ".join(f"{name}: {written}" for name, written in used.items())
            calls = [_call(written, signature, values) for written, (signature, values) in given.items()]
            self._functions.append((f"def _endpoint{len(self._functions)}({params}) -> None:", calls))

    def _function(self, node: Node, source: Source) -> tuple[str, Signature] | None:
        """Return the task of *node* that stands at *source*, or its undo; None if no module can name it."""
        if node.undo is None or source == node.spec.source:
            written, signature = self._tasks.of(node.spec), node.signature
        else:
            written, signature = self._tasks.of_function(node.undo.spec), _signature(node.undo)
        return None if written is None else (written, signature)

    def _given(self, endpoint: EndpointSpec, param: ParamSpec, task: Source) -> Place:
        error = TypeMismatch(
            param=param.name,
            producer=endpoint.source,
            returns=what_is_given(endpoint, param.name),
            consumer=task,
            takes=param.type,
            via="endpoint" if param.name == endpoint.returns else "input",
        )
        return Place(endpoint.source.file, self._lines.of(endpoint.source, param.name), error)


def _signature(undo: UndoNode) -> Signature:
    """Return what an undo takes, as far as it is filled."""
    return Signature(params=tuple(fill.param for fill in undo.fills), returns=EMPTY)


def _value(source: str, place: Place | None) -> Value:
    return _UNKNOWN if place is None else Value(source, place)


def _call(function: str, signature: Signature, values: Mapping[str, Value]) -> list[Value]:
    """Return a call, one line for each argument; parameters of no interest get a value of any type if they need one."""
    by_name = [param for param in signature.params if param.kind is not Parameter.POSITIONAL_ONLY]
    by_position = [param for param in signature.params if param.kind is Parameter.POSITIONAL_ONLY]
    last = max((i for i, param in enumerate(by_position) if _needed(param, values)), default=-1)
    lines = [Value(f"    _ = {function}(", None)]
    for param in by_position[: last + 1]:
        value = values.get(param.name, _UNKNOWN)
        lines.append(Value(f"        {value.source},", value.place))
    for param in by_name:
        if _needed(param, values):
            value = values.get(param.name, _UNKNOWN)
            lines.append(Value(f"        {param.name}={value.source},", value.place))
    return lines


def _needed(param: ParamSpec, values: Mapping[str, Value]) -> bool:
    """Whether a parameter has to be given: there is something to check, or it has no default."""
    value = values.get(param.name)
    # `= From(task)` and `= Depends(f)` are defaults for a type checker, though not for us.
    return (value is not None and value.place is not None) or not param.has_default


class Lines:
    """The lines on which parameters stand."""

    def __init__(self) -> None:
        """Read files when they are asked about."""
        self._files: dict[str, dict[int, dict[str, int]]] = {}

    def of(self, source: Source, param: str) -> int:
        """Return the line of a parameter of the function at *source*; that of its `def` if it is not found there."""
        functions = self._files.get(source.file)
        if functions is None:
            functions = self._files[source.file] = _functions(source.file)
        lines = functions.get(source.line, {})
        return lines.get(param, lines.get("", source.line))


def _functions(file: str) -> dict[int, dict[str, int]]:
    """Return the lines of the parameters of all functions of a file, by the first line of the function."""
    try:
        tree = ast.parse(Path(file).read_bytes())
    except (OSError, SyntaxError, ValueError):
        return {}
    found: dict[int, dict[str, int]] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            first = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
            arguments = (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)
            found[first] = {"": node.lineno, **{argument.arg: argument.lineno for argument in arguments}}
    return found
