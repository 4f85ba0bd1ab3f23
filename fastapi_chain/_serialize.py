"""Values as JSON text, by the annotation of whoever makes them; never pickle.

A value that would not come back equal is refused where it is made: the mistake then shows in the first test, not after
the first crash.
"""

import json
import types
from collections.abc import Callable
from functools import cache
from typing import Any, Final, cast

from pydantic import ConfigDict, PydanticUserError, TypeAdapter, ValidationError
from pydantic.errors import PydanticSchemaGenerationError
from pydantic_core import PydanticSerializationError

from .spec import EMPTY

_CONFIG: Final = ConfigDict(ser_json_bytes="base64", val_json_bytes="base64", ser_json_inf_nan="constants")

_PLAIN: Final = (str, int, float, bool, types.NoneType)


class Unstorable(Exception):
    """The value cannot be stored, or would not come back as it was."""

    def __init__(self, type_: object, reason: str, where: str = "result") -> None:
        """Say what is to blame.

        Args:
            type_: The type of the value, or of the part of it that is to blame.
            reason: What went wrong.
            where: Where in the value that part is.
        """
        super().__init__(reason)
        self.type = type_
        self.reason = reason
        self.where = where


class Codec:
    """Dumps and loads the values of one annotation."""

    def __init__(self, dump: Callable[[object], str], load: Callable[[str], object]) -> None:
        """Put the two directions together."""
        self._dump = dump
        self.load = load
        """Returns the value of a text that `dump` has made.

        Raises ValueError where the annotation has changed so much that the text says nothing to it any more.
        """

    def dump(self, value: object) -> str:
        """Return *value* as text.

        Raises:
            Unstorable: It has no text, or would not come back equal.
        """
        text = self._dump(value)
        try:
            same = bool(self.load(text) == value)
        except Exception as error:
            raise Unstorable(type(value), f"it cannot be read again: {error}") from error
        if not same:
            raise Unstorable(type(value), "it does not come back equal from JSON")
        return text


def codec_of(annotation: object) -> Codec:
    """Return the codec of *annotation*; without one (`EMPTY`), that of plain JSON values.

    Raises:
        Unstorable: No value of that type can be stored.
    """
    try:
        return _cached(annotation)
    except TypeError:
        # Not hashable: Annotated[..., {}], say.
        return _build(annotation)


def _build(annotation: object) -> Codec:
    if annotation is EMPTY or annotation is Any or annotation is object or isinstance(annotation, str):
        return Codec(_plain_dump, json.loads)
    try:
        adapter = _adapter(annotation)
    except (PydanticSchemaGenerationError, PydanticUserError, TypeError) as error:
        raise Unstorable(annotation, str(error).partition("\n")[0]) from error

    def dump(value: object) -> str:
        try:
            return adapter.dump_json(value, by_alias=True, round_trip=True, warnings="error").decode()
        except (PydanticSerializationError, UnicodeDecodeError) as error:
            raise Unstorable(type(value), str(error).partition("\n")[0]) from error

    def load(text: str) -> object:
        try:
            return adapter.validate_json(text, strict=True)
        except ValidationError:
            # Some types have no strict form in JSON.
            return adapter.validate_json(text)

    return Codec(dump, load)


_cached = cache(_build)


def _adapter(annotation: object) -> TypeAdapter[object]:
    try:
        return TypeAdapter(cast("Any", annotation), config=_CONFIG)
    except PydanticUserError as error:
        if error.code != "type-adapter-config-unused":
            raise
        return TypeAdapter(cast("Any", annotation))


def _plain_dump(value: object) -> str:
    _require_plain(value, "result")
    return json.dumps(value, ensure_ascii=False)


def _require_plain(value: object, where: str) -> None:
    """Refuse what JSON would turn into something else: without an annotation nothing could turn it back."""
    kind = type(value)
    if kind in _PLAIN:
        return
    if isinstance(value, list) and kind is list:
        for i, item in enumerate(value):
            _require_plain(item, f"{where}[{i}]")
    elif isinstance(value, dict) and kind is dict and all(type(key) is str for key in value):
        for key, item in value.items():
            _require_plain(item, f"{where}[{key!r}]")
    else:
        raise Unstorable(kind, "without an annotation only plain JSON values can be stored", where)
