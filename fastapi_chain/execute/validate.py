"""Whether a task returned what its annotation says: checked once, where the value is made, without coercion.

What is handed on is the very object that was returned; pydantic's result is thrown away.
"""

import collections.abc
import types
from collections.abc import Callable
from functools import cache, partial
from inspect import isclass
from typing import Any, Final, Never, NoReturn, Union, get_origin

from pydantic import BaseModel, ConfigDict, PydanticUserError, TypeAdapter, ValidationError
from pydantic.errors import PydanticSchemaGenerationError, PydanticUndefinedAnnotation
from pydantic_core import SchemaError, SchemaValidator, core_schema

from fastapi_chain.declare.signature import strip_annotated
from fastapi_chain.errors import OutputValidationError
from fastapi_chain.spec import EMPTY, Source

Check = Callable[[object], None]
"""Raises if the value is wrong."""


class Unchecked:
    """The exact type of nothing: a task with this one always goes through its check."""


_EXACT: Final = (int, str, float, bool, bytes, types.NoneType)
"""Types whose own instances are always right."""

_LAZY: Final = (
    collections.abc.Iterator,
    collections.abc.Iterable,
    collections.abc.Generator,
    collections.abc.AsyncIterator,
    collections.abc.AsyncIterable,
    collections.abc.AsyncGenerator,
    collections.abc.Awaitable,
    collections.abc.Coroutine,
)
"""What a look inside would use up."""


_OPEN: Final = (EMPTY, Any, object, NoReturn, Never)
"""Annotations that say nothing about a value."""


def exact_type(returns: object) -> type:
    """Return the type whose own instances need no further look; `Unchecked` if there is none.

    `type(value) is exact_type` costs 0.03 µs and settles nearly all cases.
    """
    if returns is None:
        return types.NoneType
    if returns in _EXACT:
        return returns
    if isclass(returns) and get_origin(returns) is None and issubclass(returns, BaseModel):
        schema = returns.__pydantic_core_schema__
        revalidated = returns.model_config.get("revalidate_instances", "never") != "never"
        # A validator around the whole model must see every value.
        if not revalidated and isinstance(schema, dict) and _kernel(schema) == "model":
            return returns
    return Unchecked


def _kernel(schema: Any) -> str:  # noqa: ANN401 - pydantic's core schemas are open dictionaries
    """Return the kind of a schema, behind the list of its definitions."""
    kind: str = schema["type"]
    if kind != "definitions":
        return kind
    inner = schema["schema"]
    known = {part["ref"]: part for part in schema["definitions"]}
    return _kernel(known.get(inner.get("schema_ref"), inner))


def check_of(returns: object, task: Source) -> Check:
    """Return what checks the output of *task*; pydantic's part is built when a value first needs it."""
    if returns in _OPEN or isinstance(returns, str):
        return partial(_anything_but_coroutines, task)
    return _Checking(returns, task)


class _Checking:
    """Checks the output of one task; a plan keeps one for each task, so it is as small as can be."""

    __slots__ = ("_returns", "_task", "_validate")

    def __init__(self, returns: object, task: Source) -> None:
        self._returns = returns
        self._task = task
        self._validate: Callable[[object], object] | None = None

    def __call__(self, value: object) -> None:
        returns = self._returns
        if self._validate is None:
            self._validate = _validator(returns) if _hashable(returns) else _build(returns)
        try:
            result = self._validate(value)
        except ValidationError as error:
            complaints = tuple(_complaint(item) for item in error.errors(include_url=False, include_input=False))
            # pydantic's own text would say it again, and keep the value alive.
            raise _wrong(self._task, value, returns, complaints) from None
        if result is not value and not _alike(value, result):
            # A string for a URL, say: pydantic takes it, and makes one of it.
            raise _wrong(self._task, value, returns)


def _anything_but_coroutines(task: Source, value: object) -> None:
    """Check what can be checked without an annotation: a coroutine is what nobody has awaited."""
    if type(value) is types.CoroutineType:
        raise _wrong(task, value, EMPTY)


def _wrong(task: Source, value: object, expected: object, complaints: tuple[str, ...] = ()) -> OutputValidationError:
    """Return the error of a *task* that has returned *value*."""
    if type(value) is types.CoroutineType:
        value.close()  # left open, it would only warn that nobody has awaited it
        complaints = ()
    return OutputValidationError(task=task, value=value, expected=expected, complaints=complaints)


class _Wrong:
    """What comes of a value that is not an instance of its class."""


def _alike(value: object, result: object) -> bool:
    """Whether *value* is of the kind that pydantic made of it; an `int` is as good as a `float`."""
    return isinstance(value, type(result)) or (isinstance(value, (int, float)) and type(result) in {float, complex})


def _complaint(error: Any) -> str:  # noqa: ANN401 - a line of pydantic's, an open dictionary
    place = ".".join(str(part) for part in error["loc"])
    message: str = error["msg"]
    return f"{place}: {message}" if place else message


def _hashable(annotation: object) -> bool:
    try:
        hash(annotation)
    except TypeError:
        return False
    return True


def _build(returns: object) -> Callable[[object], object]:
    """Return a strict validator for *returns*; where pydantic has none, a test of the class."""
    plain, _ = strip_annotated(returns)
    outer = get_origin(plain) or plain
    if outer in _LAZY:
        return _instance_of(outer)
    try:
        validate = SchemaValidator(_instances_only(_adapter(returns).core_schema)).validate_python
    except (
        PydanticSchemaGenerationError,
        PydanticUndefinedAnnotation,
        PydanticUserError,
        SchemaError,
        TypeError,
        NameError,
    ):
        # A union is not what its values are instances of.
        return _instance_of(object if outer in {Union, types.UnionType} else outer)
    return lambda value: validate(value, strict=True)


_validator = cache(_build)

_NO_SCHEMA: Final = {"metadata", "serialization", "config", "default", "expected"}
"""What in a core schema may look like one."""


def _instances_only(schema: Any) -> Any:  # noqa: ANN401 - a part of a core schema
    """Return *schema* with models taken only as instances: pydantic takes dictionaries as well, even if strict."""
    if isinstance(schema, (list, tuple)):
        return type(schema)(_instances_only(part) for part in schema)
    if not isinstance(schema, dict):
        return schema
    if schema.get("type") != "model":
        return {name: part if name in _NO_SCHEMA else _instances_only(part) for name, part in schema.items()}
    steps: list[Any] = [core_schema.is_instance_schema(schema["cls"])]
    if schema.get("config", {}).get("revalidate_instances", "never") != "never":
        steps.append({name: part for name, part in schema.items() if name != "ref"})
    return core_schema.chain_schema(steps, ref=schema.get("ref"))


def _adapter(returns: Any) -> TypeAdapter[object]:  # noqa: ANN401 - an annotation of any kind
    try:
        # Classes that pydantic does not know (ORM classes, say) are then told by isinstance, inside containers too.
        return TypeAdapter(returns, config=ConfigDict(arbitrary_types_allowed=True))
    except PydanticUserError as error:
        if error.code != "type-adapter-config-unused":
            raise
        return TypeAdapter(returns)


def _instance_of(cls: object) -> Callable[[object], object]:
    """Return a test for the class; one that accepts everything where a class cannot tell."""

    def check(value: object) -> object:
        try:
            wrong = isclass(cls) and not isinstance(value, dict if _is_typed_dict(cls) else cls)
        except TypeError:
            # A protocol that is not @runtime_checkable, or a class that refuses to be asked.
            wrong = False
        return _Wrong() if wrong else value

    return check


def _is_typed_dict(cls: object) -> bool:
    return hasattr(cls, "__total__") and hasattr(cls, "__required_keys__")
