"""The result of a run as JSON: the outputs of its chain's targets, each by its return annotation."""

from collections.abc import Callable
from functools import cache, partial
from typing import Any, Final

from pydantic import PydanticUserError, TypeAdapter
from pydantic.errors import PydanticSchemaGenerationError
from pydantic_core import PydanticSerializationError, to_jsonable_python

from fastapi_chain._state.ledger import SUCCEEDED
from fastapi_chain.engines.base import KnownRun
from fastapi_chain.spec import EMPTY

from .encoding import json_of

Encoder = Callable[[object], Any]

# What JSON cannot say is said in words: a result is for looking at.
_in_words: Final[Encoder] = partial(to_jsonable_python, by_alias=True, serialize_unknown=True)


def result_of(run: KnownRun) -> bytes:
    """Return the outputs of the targets of *run* that have succeeded, by task; secrets stay masked."""
    inner = run.inner
    inner.settle()
    result: dict[str, Any] = {}
    for i in inner.plan.targets:
        if inner.ledger.states[i] == SUCCEEDED:
            node, value = inner.plan.nodes[i], inner.slots[i]
            encode = _encoder(node.signature.returns)
            result[node.name] = encode(value) if node.over is None else [encode(item) for item in _items(value)]
    return json_of(result)


def _items(value: object) -> list[object]:
    assert isinstance(value, list), "what a fan-out returns"
    return value


def _encoder(annotation: object) -> Encoder:
    try:
        return _cached(annotation)
    except TypeError:
        # Not hashable: Annotated[..., {}], say.
        return _build(annotation)


def _build(annotation: Any) -> Encoder:  # noqa: ANN401 - any annotation
    if annotation is EMPTY:
        return _in_words
    try:
        adapter: TypeAdapter[Any] = TypeAdapter(annotation)
    except (PydanticSchemaGenerationError, PydanticUserError):
        return _in_words

    def encode(value: object) -> Any:  # noqa: ANN401 - whatever JSON can say
        try:
            return adapter.dump_python(value, mode="json", by_alias=True)
        except PydanticSerializationError:
            return _in_words(value)

    return encode


_cached = cache(_build)
