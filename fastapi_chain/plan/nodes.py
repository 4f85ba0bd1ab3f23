"""What a plan consists of: the tasks in their places, the inputs, and where each parameter comes from."""

from dataclasses import field
from typing import Final, Literal, NamedTuple, TypeAlias

from fastapi_chain._record import record
from fastapi_chain.spec import EMPTY, ParamSpec, Signature, Source, TaskSpec

FillKind: TypeAlias = Literal["task", "input", "item", "injected", "run", "context", "progress"]
"""Who gives a parameter its value."""


MISSING: Final = object()
"""What lies in the slot of a task that has no value (yet)."""


class Fill(NamedTuple):
    """Where one parameter of a task comes from."""

    param: ParamSpec
    """The parameter."""
    kind: FillKind
    """Who gives it."""
    slot: int = -1
    """Where in a run's slots it lies: the task's number, or the input's slot."""


class Need(NamedTuple):
    """A parameter that an input fills."""

    param: ParamSpec
    """The parameter."""
    task: Source
    """The task, or undo, that has it."""
    below: int
    """The number of that task; of the task that is undone."""
    elsewhere: Source | None
    """A task that gives a value of this name, but does not come before."""


@record(eq=False)
class InputSpec:
    """A value that a run is given from outside."""

    name: str
    """Its name: a parameter of the endpoint, the chain's `returns=`, or a keyword of `start()`."""
    slot: int
    """Where in a run's slots it lies."""
    default: object = EMPTY
    """What stands in for it when it is not given; `EMPTY`: it must be given."""
    needs: list[Need] = field(default_factory=list)
    """The parameters that take it."""

    @property
    def required(self) -> bool:
        """Whether a run cannot start without it."""
        return self.default is EMPTY


@record(eq=False)
class UndoNode:
    """The compensation of a task: what to call and with what."""

    spec: TaskSpec
    """The function and its options."""
    fills: tuple[Fill, ...]
    """Where each parameter comes from."""


@record(eq=False, slots=True)
class Node:
    """One task in its place in a plan."""

    index: int
    """Its place in the topological order, and its slot in a run."""
    spec: TaskSpec
    """What was declared."""
    signature: Signature
    """What the function takes and returns."""
    fills: tuple[Fill, ...]
    """Where each parameter comes from."""
    parents: tuple[int, ...]
    """All it waits for."""
    after: tuple[int, ...]
    """Those named in `after=`, about which `run_if` speaks."""
    over: int | None
    """The task whose items it is called for; None without `each=`."""
    undo: UndoNode | None
    """What takes its effect back."""
    children: tuple[int, ...]
    """All that wait for it."""
    conditional: bool
    """Whether it may be decided not to run it although all upstream has succeeded."""

    @property
    def name(self) -> str:
        """The task's name."""
        return self.spec.name

    @property
    def max_attempts(self) -> int:
        """How many attempts it may make, as far as its own options say."""
        return self.spec.retries + 1

    def incoming(self) -> dict[int, list[str]]:
        """Return the tasks that it waits for, in order, each with the parameters that take its output."""
        taken: dict[int, list[str]] = {parent: [] for parent in self.parents}
        for fill in self.fills:
            if fill.kind == "task":
                taken.setdefault(fill.slot, []).append(fill.param.name)
            elif fill.kind == "item" and self.over is not None:
                taken.setdefault(self.over, []).append(fill.param.name)
        return dict(sorted(taken.items()))
