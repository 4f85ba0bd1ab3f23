"""What a plan means to the database: its values as text, and the numbers under which its outcomes are kept.

DBOS keeps the outcome of a step under the number at which it was drawn. Drawn in the order in which tasks happen to
start, the numbers would mean other tasks after a crash; so each task has its number from the start, for each round of
retries, whatever runs first.
"""

from collections.abc import Iterator, Sequence
from typing import Final

from fastapi_chain._fastapi import read_params
from fastapi_chain._serialize import Codec, Unstorable, codec_of
from fastapi_chain._state import RunState, Sink
from fastapi_chain.errors import ChainError, EngineError, RequestBoundDependency, UnserializableOutput
from fastapi_chain.execute.unit import Unit
from fastapi_chain.plan import Node, Plan, UndoNode
from fastapi_chain.spec import EMPTY, Source

_ITEMS: Final = 2**20
"""The first number of an item of a fan-out; those of tasks are lower."""

_ROOM: Final = 2**15
"""How many items a fan-out has room for."""

_STRIDE: Final = 1024
"""How many tasks a chain of the usual size has room for, those that come with later versions of the code included."""

_LAST: Final = 2**31 - 1
"""The highest number that the database takes."""


class Schema:
    """The values of a plan, as an engine stores them."""

    def __init__(self, plan: Plan, engine: str) -> None:
        """Find out how to store the values of *plan*.

        Args:
            plan: The plan.
            engine: The engine's name, for errors.
        """
        self.plan = plan
        self.engine = engine
        self.problems: list[ChainError] = []
        """What speaks against running the plan on such an engine at all."""
        self._outputs = [self._codec(node.signature.returns, node.spec.source, None) for node in plan.nodes]
        self._inputs: dict[str, tuple[Codec, Source]] = {}
        for item in plan.inputs:
            need = next((need for need in item.needs if need.param.type is not EMPTY), item.needs[0])
            self._inputs.setdefault(item.name, (self._codec(need.param.type, need.task, item.name), need.task))
        self.problems += _bound(plan, engine)

    def _codec(self, annotation: object, task: Source, name: str | None) -> Codec:
        try:
            return codec_of(annotation)
        except Unstorable as reason:
            self.problems.append(self._refusal(task, reason, name))
            return codec_of(EMPTY)

    def _refusal(self, task: Source, reason: Unstorable, name: str | None) -> UnserializableOutput:
        return UnserializableOutput(
            task=task, input=name, engine=self.engine, type=reason.type, where=reason.where, reason=reason.reason
        )

    def dump_inputs(self, values: "dict[str, object]") -> dict[str, str]:
        """Return the inputs of a run as text.

        Raises:
            UnserializableOutput: One cannot be stored.
        """
        texts = {}
        for name, value in values.items():
            codec, task = self._inputs[name]
            try:
                texts[name] = codec.dump(value)
            except Unstorable as reason:
                raise self._refusal(task, reason, name) from reason
        return texts

    def load_inputs(self, texts: dict[str, str]) -> dict[str, object]:
        """Return the inputs of a run from their text; those that no task takes any more are left out."""
        return {name: self._inputs[name][0].load(text) for name, text in texts.items() if name in self._inputs}

    def dump(self, i: int, value: object) -> str:
        """Return what task *i*, or an item of it, has returned as text.

        Raises:
            UnserializableOutput: It cannot be stored.
        """
        try:
            return self._outputs[i].dump(value)
        except Unstorable as reason:
            raise self._refusal(self.plan.nodes[i].spec.source, reason, None) from reason

    def load(self, i: int, text: str) -> object:
        """Return the value of a text that `dump` has made.

        Raises:
            UnserializableOutput: The task's annotation has changed, and does not fit it any more.
        """
        try:
            return self._outputs[i].load(text)
        except ValueError as error:
            node = self.plan.nodes[i]
            reason = f"it was stored before the return annotation changed: {str(error).partition(chr(10))[0]}"
            raise UnserializableOutput(
                task=node.spec.source, engine=self.engine, type=node.signature.returns, reason=reason
            ) from error


def _bound(plan: Plan, engine: str) -> Iterator[ChainError]:
    """Yield the tasks and undos that need a request: there is none any more when they run."""
    calls: list[Node | UndoNode] = [*plan.nodes, *(node.undo for node in plan.nodes if node.undo is not None)]
    for call in calls:
        params = [fill.param for fill in call.fills if fill.kind == "injected"]
        path = read_params(params).request_path() if params else ()
        if path:
            yield RequestBoundDependency(task=call.spec.source, path=path, engine=engine)


class StoredState(RunState):
    """A run whose outcomes are kept."""

    started_by: str | None = None
    """The route whose request it is for."""

    def __init__(self, schema: Schema, values: dict[str, object], sinks: tuple[Sink, ...] = ()) -> None:
        """Prepare a run of the plan of *schema*."""
        super().__init__(schema.plan, values, sinks)
        self.schema = schema


class StoredUnit(Unit):
    """A task, or an item, whose outcome is kept; a value that cannot be stored makes it fail."""

    __slots__ = ("text",)

    def succeed(self, value: object) -> None:
        """The task returned."""
        state = self.run
        assert isinstance(state, StoredState), "such a unit belongs to such a run"
        try:
            self.text = state.schema.dump(self.step.index, value)
        except UnserializableOutput as error:
            self.fail(error)
        else:
            super().succeed(value)


class Numbers:
    """The numbers of one round of a run."""

    def __init__(self, names: Sequence[str], plan: Plan, round_: int) -> None:
        """Count the tasks in the order in which they stood when the run was made; those that came later stand behind.

        Args:
            names: The tasks of the plan of that time, in its order: all else follows from it.
            plan: The plan of today.
            round_: How often the run has been retried.

        Raises:
            EngineError: It has been retried too often for the room that there is, or many tasks have come since.
        """
        order = dict.fromkeys([*names, *plan.names])
        self._place = {name: place for place, name in enumerate(order)}
        self._stride = max(_STRIDE, 2 * len(names))
        self._first = 3 * self._stride * round_ + 1
        self._plan = plan
        self._round = round_
        full = self._first + 3 * self._stride >= _ITEMS or len(order) > self._stride
        if full or _ITEMS + 3 * self._stride * (round_ + 1) * _ROOM > _LAST:
            raise EngineError(
                what=f"A run of chain {plan.chain!r} has been retried {round_} times, and has no room for more.",
                fixes=("start a new run",),
            )

    def task(self, i: int) -> int:
        """Return the number of the outcome of task *i*."""
        return self._first + self._place[self._plan.names[i]]

    def mark(self, i: int) -> int:
        """Return the number of the note that task *i* is about to begin."""
        return self.task(i) + self._stride

    def undo(self, i: int) -> int:
        """Return the number of the undo of task *i*."""
        return self.task(i) + 2 * self._stride

    def item(self, i: int, k: int) -> int:
        """Return the number of item *k* of fan-out *i*."""
        return self._item(i, k, 0)

    def item_mark(self, i: int, k: int) -> int:
        """Return the number of the note that item *k* of fan-out *i* is about to begin."""
        return self._item(i, k, 1)

    def item_undo(self, i: int, k: int) -> int:
        """Return the number of the undo of item *k* of fan-out *i*."""
        return self._item(i, k, 2)

    def _item(self, i: int, k: int, part: int) -> int:
        if k >= _ROOM:
            name = self._plan.names[i]
            raise EngineError(
                what=f"Task {name!r} runs for more than {_ROOM} items, which is all a durable engine has room for.",
                fixes=("hand it fewer, larger items",),
            )
        place = self._round * self._stride + self._place[self._plan.names[i]]
        return _ITEMS + (3 * place + part) * _ROOM + k
