"""Inputs and outputs as a page shows them: bounded, and with what must stay secret masked."""

import dataclasses
import json
import re
from collections.abc import Mapping
from typing import Any, Final

from pydantic import BaseModel, SecretBytes, SecretStr

from fastapi_chain._text import short_repr

MASK: Final = "••••••"
"""What stands for a secret."""

_SECRET: Final = re.compile(
    r"pass(word|wd|phrase)|secret|token|api_?key|authorization|credential|private_?key|cookie|cvc|cvv|iban|card_?number",
    re.IGNORECASE,
)
_DEEPEST: Final = 6
_MOST: Final = 50
"""How many entries of a list or mapping are shown."""
_LONGEST: Final = 4000
"""How many characters of the whole are shown."""
_TEXT: Final = 500
"""How many characters of one text are shown."""


def shown(value: object, name: str = "") -> str:
    """Return *value* as JSON where it is data, as its `repr` where it is not.

    `SecretStr` is masked, and so is whatever is called like a secret: `password`, `api_key`, … A field says so
    with `json_schema_extra={"redact": True}`.

    Args:
        value: What a task took or returned.
        name: What it is called.
    """
    if _SECRET.search(name):
        return MASK
    plain = _plain(value, 0)
    if isinstance(plain, str) and not isinstance(value, str):
        # No data, but what its `repr` says.
        text = plain
    else:
        text = json.dumps(plain, ensure_ascii=False, indent=1)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}\n… {len(text) - _LONGEST:,} more characters"


def _plain(value: Any, depth: int) -> Any:  # noqa: ANN401 - whatever a task returns
    """Return *value* as JSON has it."""
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, str):
        return value if len(value) <= _TEXT else f"{value[:_TEXT]}… ({len(value):,} characters)"
    if isinstance(value, SecretStr | SecretBytes):
        return MASK
    if isinstance(value, bytes | bytearray | memoryview):
        return f"<{len(value):,} bytes>"
    if depth >= _DEEPEST:
        return short_repr(value)
    return _container(value, depth + 1)


def _container(value: Any, depth: int) -> Any:  # noqa: ANN401 - as above
    if isinstance(value, Mapping):
        return _entries({str(key): entry for key, entry in value.items()}, frozenset(), depth)
    if isinstance(value, list | tuple | set | frozenset):
        listed = list(value)
        more = [f"… {len(listed) - _MOST:,} more"] if len(listed) > _MOST else []
        return [*(_plain(entry, depth) for entry in listed[:_MOST]), *more]
    if isinstance(value, BaseModel):
        fields = type(value).model_fields
        redacted = frozenset(name for name, field in fields.items() if _says_so(field.json_schema_extra))
        return _entries({name: getattr(value, name, None) for name in fields}, redacted, depth)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        hidden = frozenset(field.name for field in dataclasses.fields(value) if not field.repr)
        return _entries(
            {field.name: getattr(value, field.name, None) for field in dataclasses.fields(value)}, hidden, depth
        )
    return short_repr(value, 200)


def _says_so(extra: object) -> bool:
    return isinstance(extra, Mapping) and bool(extra.get("redact"))


def _entries(values: Mapping[str, object], redacted: frozenset[str], depth: int) -> dict[str, object]:
    entries: dict[str, object] = {}
    for name, value in list(values.items())[:_MOST]:
        entries[name] = MASK if name in redacted or _SECRET.search(name) else _plain(value, depth)
    if len(values) > _MOST:
        entries["…"] = f"{len(values) - _MOST:,} more"
    return entries
