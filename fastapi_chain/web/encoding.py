"""What is answered, as JSON: always text that every client can read."""

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel
from pydantic_core import PydanticSerializationError, to_json

from fastapi_chain._text import readable


def json_of(value: object) -> bytes:
    """Return *value*, a model or what JSON can say, as JSON; numbers that are none become null."""
    try:
        return to_json(value, by_alias=True, inf_nan_mode="null")
    except PydanticSerializationError:
        # Texts of users may hold what no encoding has: a file name that is no text, in the words of an error. That must
        # not cost a whole page of runs.
        return to_json(_readable(value), inf_nan_mode="null")


def _readable(value: Any) -> Any:  # noqa: ANN401 - whatever JSON can say
    if isinstance(value, BaseModel):
        return _readable(value.model_dump(by_alias=True))
    if isinstance(value, str):
        return readable(value)
    if isinstance(value, Mapping):
        return {_readable(key): _readable(item) for key, item in value.items()}
    return [_readable(item) for item in value] if isinstance(value, list) else value
