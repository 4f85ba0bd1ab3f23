"""Whether a task can ever run: the outcomes that its parameters and its `run_if` want must not exclude each other."""

from collections.abc import Mapping, Sequence

from fastapi_chain._text import type_name
from fastapi_chain.errors import PlanError
from fastapi_chain.spec import ParamSpec, RunIf, TaskSpec

_WANTED: Mapping[RunIf, tuple[frozenset[str], frozenset[str]]] = {
    "any_failed": (frozenset({"failed", "skipped"}), frozenset({"failed"})),
    "any_succeeded": (frozenset({"succeeded"}), frozenset({"succeeded"})),
}
"""What one of the tasks in `after` must have come to; and what is possible where no parameter asks for anything."""


def impossible(
    spec: TaskSpec, taken: Sequence[tuple[ParamSpec, int]], after: Sequence[int], order: Sequence[TaskSpec]
) -> PlanError | None:
    """Return why *spec* can never run; None if it can.

    Args:
        spec: The task.
        taken: Its parameters that tasks upstream fill, each with the number of that task.
        after: The tasks that its `run_if` speaks about.
        order: All tasks by number.
    """
    if spec.run_if in _WANTED and not after:
        what = f"Task {spec.name!r} has run_if={spec.run_if!r}, which is about the tasks before it, and there are none."
        fixes = (f"name them: @task(after=[...], run_if={spec.run_if!r})",)
        return PlanError(what=what, rows=(("declared at", spec.source.at),), fixes=fixes)
    accepted: dict[int, frozenset[str]] = {}
    for param, p in taken:
        if not param.has_default:  # a default stands in for what does not come
            accepted[p] = accepted.get(p, param.accepts) & param.accepts
    never = [p for p, outcomes in accepted.items() if not outcomes]
    one_of, otherwise = _WANTED.get(spec.run_if, (None, frozenset[str]()))
    if one_of is not None and not any(one_of & accepted.get(p, otherwise) for p in after):
        never = list(after)
    if not never:
        return None
    return _excluding(spec, order[never[0]], [param for param, p in taken if p in never])


def _excluding(spec: TaskSpec, producer: TaskSpec, params: Sequence[ParamSpec]) -> PlanError:
    what = f"Task {spec.name!r} can never run: it wants outcomes of {producer.name!r} that exclude each other."
    rows = [(f"takes {param.name}: {type_name(param.annotation)}", spec.source.at) for param in params]
    if spec.run_if != "all_succeeded":
        rows.append((f"run_if={spec.run_if!r}", spec.source.at))
    fixes = (f"take Outcome[...] in {spec.name!r} and look at what it is", "make two tasks of it")
    return PlanError(what=what, rows=(*rows, (producer.name, producer.source.at)), fixes=fixes)
