"""What the router answers, as pydantic models: they are the schema in OpenAPI as well.

They are built, and their docstrings read, when somebody needs that: most of what the import of this package took.
"""

import ast
import inspect
import sys
from collections.abc import Iterator, Mapping
from contextlib import suppress
from datetime import datetime
from functools import cache
from itertools import pairwise
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, GetJsonSchemaHandler

from fastapi_chain.outcome import AttemptState, RunState, TaskState


class Model(BaseModel):
    """What all have in common: their docstrings are their descriptions."""

    model_config = ConfigDict(defer_build=True, frozen=True, populate_by_name=True)

    @classmethod
    def __get_pydantic_json_schema__(cls, core_schema: Any, handler: GetJsonSchemaHandler) -> dict[str, Any]:  # noqa: ANN401 - pydantic's core schemas are open dictionaries
        schema = handler(core_schema)
        properties = handler.resolve_ref_schema(schema)["properties"]
        for made in cls.__mro__:
            for name, text in _docstrings().get(made.__name__, {}).items():
                properties[cls.model_fields[name].alias or name]["description"] = text
        return schema


@cache
def _docstrings() -> Mapping[str, Mapping[str, str]]:
    """Return the docstrings of the fields of each class here; none where Python has no source of this file.

    pydantic could read them (`use_attribute_docstrings`), but does so at import, and parses each class by itself.
    """
    with suppress(OSError):
        tree = ast.parse(inspect.getsource(sys.modules[__name__]))
        return {made.name: dict(_fields(made)) for made in tree.body if isinstance(made, ast.ClassDef)}
    return {}


def _fields(made: ast.ClassDef) -> Iterator[tuple[str, str]]:
    """Yield the fields of a class, each with its docstring."""
    for field, after in pairwise(made.body):
        match field, after:
            case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(text))):
                yield name, inspect.cleandoc(text)
            case _:
                pass


class ErrorModel(Model):
    """What went wrong; its class and its text only with `install(expose_errors=True)`."""

    type: str = "about:blank"
    """Always `about:blank`: errors of tasks have no page of their own."""
    title: str
    """The exception's class, or a fixed text."""
    detail: str
    """The exception's text, or a fixed one."""
    task: str | None = None
    """The task that failed."""


class TaskErrorModel(ErrorModel):
    """What went wrong in a task, and where."""

    traceback: str | None = None
    """Where it was raised, as Python prints it, without the exception's text; not in lists, nor of listed items."""


class AttemptModel(Model):
    """One attempt of a task."""

    n: int
    """Its number, from 1."""
    state: AttemptState
    """How it ended, or `running`."""
    started_at: datetime
    """When it began."""
    finished_at: datetime | None = None
    """When it ended."""
    backoff_ms: float | None = None
    """How long the run had waited before it, in milliseconds."""
    error: ErrorModel | None = None
    """What went wrong."""


class ProgressModel(Model):
    """How far a task has come, in its own units."""

    done: float
    """Units done."""
    total: float | None = None
    """Units in all, if that is known."""
    text: str = ""
    """What it is doing."""


class TaskModel(Model):
    """One task of a run, or one item of a fan-out."""

    name: str
    """Its name; an item is `ship[3]`."""
    state: TaskState
    """Where it stands."""
    after: list[str] = []
    """The tasks that come first."""
    attempt: int
    """The number of the last attempt; 0 before the first."""
    max_attempts: int
    """How many attempts it may make."""
    optional: bool = False
    """Whether the run succeeds even if it fails."""
    started_at: datetime | None = None
    """When its first attempt began."""
    finished_at: datetime | None = None
    """When its last attempt ended."""
    next_attempt_at: datetime | None = None
    """When the next attempt begins, while it is `retrying`."""
    progress: ProgressModel | None = None
    """How far it has come, as far as it says."""
    error: TaskErrorModel | None = None
    """What went wrong in the last attempt."""
    skip_reason: str | None = None
    """Why it was skipped: `upstream_failed: <task>`, `upstream_skipped: <task>`, `condition` or `skip: <text>`."""
    cancel_reason: str | None = None
    """Why it was cancelled: `run_cancelled`, `deadline` or `shutdown`."""
    undone: bool = False
    """Whether its effect has been taken back."""
    undo_error: ErrorModel | None = None
    """What went wrong with its undo; of a fan-out, with the first undo of an item that failed."""
    attempts: list[AttemptModel] = []
    """Every attempt, in order."""
    items: "list[TaskModel] | None" = None
    """The items of a fan-out; null where they are too many, and in lists of runs: ask for the task itself then."""
    item_counts: Mapping[TaskState, int] | None = None
    """How many items of a fan-out are in each state."""


class RunLinks(Model):
    """Where to go from a run."""

    self: str
    """The run."""
    events: str
    """Its events, as they happen."""
    result: str
    """What it has made."""
    cancel: str | None
    """Where to cancel it; null once it has finished."""
    retry: str | None
    """Where to retry it; null until it has finished."""


class RunModel(Model):
    """One run of a chain."""

    id: str
    """Its id."""
    chain: str
    """The name of its chain."""
    state: RunState
    """Where it stands."""
    done: bool
    """Whether it has finished."""
    reason: str | None = None
    """Why it failed or was cancelled, where the tasks do not say: `deadline`, `run_cancelled`, `shutdown`, …"""
    created_at: datetime
    """When it was made."""
    started_at: datetime | None = None
    """When it began."""
    finished_at: datetime | None = None
    """When it ended."""
    duration_ms: float | None = None
    """How long it took from beginning to end, in milliseconds; null until it has finished."""
    seq: int
    """The number of its last event."""
    counts: Mapping[TaskState, int]
    """How many tasks are in each state."""
    progress: float
    """How much of it is over, from 0 to 1."""
    tags: Mapping[str, str]
    """Its tags."""
    started_by: str | None = None
    """The route whose request started it."""
    trace_id: str | None = None
    """The OpenTelemetry trace of that request."""
    error: ErrorModel | None = None
    """What made it fail."""
    tasks: list[TaskModel]
    """Its tasks, in order."""
    links: RunLinks
    """Where to go from here."""


class RunPage(Model):
    """Some runs, the newest first."""

    items: list[RunModel]
    """The runs."""
    next_cursor: str | None = None
    """Give it as `cursor` to get the next page; null on the last one."""


class Retry(Model):
    """What is to run again."""

    from_: Annotated[str, Field(alias="from", min_length=1)] = "failed"
    """`failed`: what failed or was skipped because of it; `start`: everything; a task: that one and all after it."""


class InputModel(Model):
    """What a chain must or may be given."""

    name: str
    """Its name."""
    required: bool
    """Whether a run cannot do without."""


class DeclaredTask(Model):
    """A task as its chain declares it."""

    name: str
    """Its name."""
    output: str
    """The name under which others receive its result."""
    after: list[str]
    """The tasks that come first."""
    max_attempts: int
    """How many attempts it may make."""
    optional: bool
    """Whether the run succeeds even if it fails."""
    each: str | None = None
    """The task for whose items it is called; null without a fan-out."""


class ChainLinks(Model):
    """Where to go from a chain."""

    self: str
    """The chain."""
    graph: str
    """Its graph, as JSON."""
    runs: str
    """Its runs."""


class ChainModel(Model):
    """A chain."""

    name: str
    """Its name."""
    started_by: list[str]
    """The routes that start it."""
    targets: list[str]
    """The tasks that it names."""
    inputs: list[InputModel]
    """What it is given."""
    tasks: list[DeclaredTask]
    """All of its tasks, in an order in which each comes after what it needs."""
    links: ChainLinks
    """Where to go from here."""


class ChainList(Model):
    """All chains of the app."""

    items: list[ChainModel]
    """The chains."""


class Edge(Model):
    """What one task has to do with another."""

    source: str
    """The task that comes first."""
    target: str
    """The task that comes after it."""
    kind: Literal["data", "order"]
    """Whether a value is handed on, or only the order is set."""
    params: list[str] = []
    """The parameters that receive the value."""


class Graph(Model):
    """A chain as a graph."""

    chain: str
    """The name of the chain."""
    nodes: list[DeclaredTask]
    """Its tasks."""
    edges: list[Edge]
    """What they have to do with each other."""


class Problem(Model):
    """An error (RFC 9457)."""

    model_config = ConfigDict(extra="allow")

    type: str
    """A URI that ends in a fixed slug, as `run-not-found`."""
    title: str
    """The status in words."""
    status: int
    """The status."""
    detail: str
    """What is wrong, for people."""


Result = dict[str, Any]
"""The outputs of a chain's targets, by task."""
