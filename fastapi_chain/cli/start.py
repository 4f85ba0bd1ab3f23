"""`run`: one run of a chain, here and now."""

import json
import logging
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

from pydantic import TypeAdapter, ValidationError

from fastapi_chain._lifespan import lifespan
from fastapi_chain._terminal import draw_run
from fastapi_chain._text import listed, type_name
from fastapi_chain.chains import Chain
from fastapi_chain.engines.base import KnownRun
from fastapi_chain.errors import ChainError
from fastapi_chain.plan import Plan
from fastapi_chain.run import Run
from fastapi_chain.spec import EMPTY

from .discovery import Found
from .graph import chosen
from .output import say, say_json
from .stopping import Stop
from .store import document_of, work_without_serving


async def run_chain(found: Found, name: str, inputs: Sequence[str], *, full: bool, as_json: bool) -> int:
    """Run the chain called *name* and print the run; return 1 if it has not succeeded.

    Raises:
        Stop: There is no such chain, or an input is missing or makes no sense.
    """
    # What went wrong is in the drawing; who wants it in a log has set one up.
    logging.getLogger("fastapi_chain").addHandler(logging.NullHandler())
    (chain, *_) = chosen(found, name)
    values = _values(chain.plan, inputs)
    work_without_serving(found.app)
    async with lifespan(found.app):
        run = await _run(chain, values)
        if as_json:
            known = cast("KnownRun", run._backend)  # noqa: SLF001 - the window is ours
            say_json({**document_of(known), "outputs": _outputs(chain.plan, run)})
        else:
            say(draw_run(run, now=datetime.now(UTC), full=full))
    return 0 if run.state == "succeeded" else 1


async def _run(chain: Chain, values: Mapping[str, object]) -> Run:
    try:
        return await chain.run(**values)
    except ChainError as error:
        raise Stop(error.problem()) from error


def _values(plan: Plan, inputs: Sequence[str]) -> dict[str, object]:
    """Return the inputs of a run, each `name=value` by the type that its tasks give it."""
    known = {item.name: item for item in plan.inputs}
    values: dict[str, object] = {}
    for text in inputs:
        name, equals, written = text.partition("=")
        if not equals:
            raise Stop(f"--input {text!r} is none: --input name=value")
        if name not in known:
            raise Stop(f"chain {plan.chain!r} has no input {name!r}; it has {listed(known)}")
        types = [need.param.type for need in known[name].needs if need.param.type is not EMPTY]
        values[name] = _value(name, _written(written), types[0] if types else Any)
    return values


def _written(text: str) -> str:
    """Return what was typed in, or what stands in the file that it names: `@order.json`."""
    if not text.startswith("@"):
        return text
    try:
        return Path(text[1:]).read_text(encoding="utf-8")
    except OSError as error:
        raise Stop(f"{text[1:]} cannot be read: {error.strerror}") from error


def _value(name: str, text: str, type_: Any) -> object:  # noqa: ANN401 - a type of the user's
    """Return *text* as a value of *type_*: as JSON, or as it stands where that is what the type wants."""
    if type_ is str:
        return text
    adapter: TypeAdapter[object] = TypeAdapter(type_)
    try:
        return adapter.validate_json(text)
    except ValidationError as as_json:
        try:
            return adapter.validate_python(text)
        except ValidationError:
            said = as_json.errors(include_url=False)[0]
            place = ".".join(map(str, said["loc"]))
            raise Stop(
                f"--input {name} is no {type_name(type_)}: {f'{place}: ' if place else ''}{said['msg']}"
            ) from None


def _outputs(plan: Plan, run: Run) -> dict[str, object]:
    """Return what the targets of the chain have made, as JSON by their return annotations."""
    made: dict[str, object] = {}
    for i in plan.targets:
        node = plan.nodes[i]
        if node.name in run.outputs:
            returns: Any = Any if node.signature.returns is EMPTY else node.signature.returns
            shown = returns if node.over is None else list[returns]
            made[node.name] = json.loads(TypeAdapter(shown).dump_json(run.outputs[node.name], fallback=repr))
    return made
