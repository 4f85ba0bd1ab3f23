"""The only reader of signatures: what a function takes and returns, in our own words.

Annotations are resolved here and nowhere else: strings (PEP 563), lazily evaluated ones (PEP 649), `type` aliases
(PEP 695), `Annotated`, partials, bound methods, callable objects. A name that cannot be resolved stays a string: its
type is unknown, which is never an error by itself.
"""

import builtins
import functools
import inspect
import sys
import types
import typing
from collections.abc import Awaitable, Callable, Iterator, Mapping
from typing import Annotated, Any, Final, ForwardRef, Literal, NamedTuple, TypeGuard, Union, get_args, get_origin

import typing_extensions

from fastapi_chain._fastapi import injection_marker
from fastapi_chain.context import Progress, TaskContext
from fastapi_chain.outcome import Failed, Skipped, Succeeded
from fastapi_chain.run import Run
from fastapi_chain.spec import ANY_OUTCOME, EMPTY, SUCCEEDED_ONLY, OutcomeKind, ParamSpec, Role, Signature, TaskSpec
from fastapi_chain.tasks import Reference, Task

if sys.version_info >= (3, 12):
    from inspect import iscoroutinefunction
else:
    # Before 3.12 only asyncio's knows callables that are marked as `async` by hand, mocks among them.
    from asyncio import iscoroutinefunction

_SPECIAL: Final = ((Run, Role.RUN), (TaskContext, Role.CONTEXT), (Progress, Role.PROGRESS))
_OUTCOMES: Final[tuple[tuple[object, OutcomeKind], ...]] = (
    (Succeeded, "succeeded"),
    (Failed, "failed"),
    (Skipped, "skipped"),
)
_ALIASES: Final = (typing_extensions.TypeAliasType, getattr(typing, "TypeAliasType", typing_extensions.TypeAliasType))
_NO_NAMES: Final[Mapping[str, object]] = types.MappingProxyType({})

# ----------------------------------------------------------------------------------------------------------------------
# What is called
# ----------------------------------------------------------------------------------------------------------------------


def called(fn: object) -> object:
    """Return the routine that runs when *fn* is called, behind partials, tasks and callable objects."""
    while not inspect.isfunction(fn):
        if isinstance(fn, functools.partial):
            fn = fn.func
        elif isinstance(fn, Task):
            fn = fn.spec.fn
        elif isinstance(fn, staticmethod):
            fn = fn.__func__
        elif inspect.isroutine(fn) or inspect.isclass(fn) or not callable(fn):
            return fn
        else:
            fn = type(fn).__call__
    return fn


def underlying(fn: object) -> Callable[..., object]:
    """Return the plain function as the user wrote it, behind decorators, too."""
    while True:
        routine = called(fn)
        fn = getattr(routine, "__func__", None) or getattr(routine, "__wrapped__", None)
        if fn is None:
            return routine  # type: ignore[return-value]  # a routine or a class, both callable


def is_async(fn: Callable[..., object]) -> bool:
    """Whether calling *fn* gives a coroutine, as it is or behind decorators: FastAPI looks there, too."""
    return any(map(iscoroutinefunction, (fn, called(fn), underlying(fn), underlying(getattr(fn, "__wrapped__", fn)))))


def awaitable(fn: Callable[..., object]) -> Callable[..., Awaitable[object]]:
    """Return *fn*, for which `is_async` holds, so that what it gives, if only a decorator's value, can be awaited."""
    if any(map(iscoroutinefunction, (fn, called(fn)))):
        return fn  # type: ignore[return-value]  # it says so

    async def settled(*args: object, **kwargs: object) -> object:
        result = fn(*args, **kwargs)
        return await result if inspect.isawaitable(result) else result

    return settled


def is_generator(fn: Callable[..., object], *, decorated: bool = True) -> bool:
    """Whether calling *fn* gives a generator, sync or async.

    Args:
        fn: What will be called.
        decorated: Whether to look behind decorators, as FastAPI does. Without, what one of them returns counts.
    """
    target = underlying(fn) if decorated else called(fn)
    return inspect.isgeneratorfunction(target) or inspect.isasyncgenfunction(target)


# ----------------------------------------------------------------------------------------------------------------------
# Annotations
# ----------------------------------------------------------------------------------------------------------------------


def local_names(fn: object) -> Mapping[str, object]:
    """Return the local names of the running functions in which *fn* is defined, if its annotations may need them."""
    target = underlying(fn)
    home = getattr(target, "__qualname__", "").rpartition(".<locals>.")[0]
    if not home or not any(map(_has_reference, _raw_annotations(target).values())):
        return _NO_NAMES
    names: dict[str, object] = {}
    frame: types.FrameType | None = sys._getframe(1)  # noqa: SLF001 - the documented way to the names of a caller
    while frame is not None:
        around = f"{home}.".startswith(f"{frame.f_code.co_qualname}.")
        if around and frame.f_globals is getattr(target, "__globals__", None):
            names = {**frame.f_locals, **names}
        frame = frame.f_back
    return names


def _raw_annotations(fn: Callable[..., object]) -> Mapping[str, object]:
    """Return the annotations of *fn* without evaluating anything that could fail."""
    if sys.version_info >= (3, 14):  # pragma: no cover - no job has it yet
        from annotationlib import Format, get_annotations  # noqa: PLC0415 - the module is new in 3.14

        return get_annotations(fn, format=Format.FORWARDREF)
    return getattr(fn, "__annotations__", _NO_NAMES)


def resolved_signature(fn: Callable[..., object], namespace: Mapping[str, object]) -> inspect.Signature:
    """Return the signature of *fn* with every annotation resolved that can be; the others are strings.

    Args:
        fn: What will be called.
        namespace: The names around it that are not its module's, see `local_names`.
    """
    signature = _raw_signature(fn)
    written = (*(param.annotation for param in signature.parameters.values()), signature.return_annotation)
    if not any(map(_has_reference, written)):
        return signature
    target = underlying(fn)
    generic = {getattr(param, "__name__", ""): param for param in getattr(target, "__type_params__", ())}
    scope = _Scope(getattr(target, "__globals__", {}), {**namespace, **generic})
    params = [p.replace(annotation=scope.resolve(p.annotation)) for p in signature.parameters.values()]
    return signature.replace(parameters=params, return_annotation=scope.resolve(signature.return_annotation))


def _raw_signature(fn: Callable[..., object]) -> inspect.Signature:
    """Return the signature of *fn* without evaluating anything that could fail."""
    if sys.version_info >= (3, 14):  # pragma: no cover - no job has it yet
        from annotationlib import Format  # noqa: PLC0415 - the module is new in 3.14

        return inspect.signature(fn, annotation_format=Format.FORWARDREF)
    return inspect.signature(fn)


class _Scope:
    """The names that the annotations of one function may use."""

    def __init__(self, global_names: dict[str, Any], local: Mapping[str, object]) -> None:
        self._globals = global_names
        self._local = dict(local)

    def resolve(self, annotation: object) -> object:
        """Evaluate what is written as a string in *annotation*; what cannot be is a string afterwards."""
        if not _has_reference(annotation):
            return annotation
        text = annotation if isinstance(annotation, str) else getattr(annotation, "__forward_arg__", None)
        if text is not None:
            return self._evaluate(text)
        try:
            # Strings within an annotation: `list["Line"]`.
            holder = types.SimpleNamespace(__annotations__={"it": annotation})
            hints = typing.get_type_hints(holder, self._globals, self._local, include_extras=True)
        except Exception:  # noqa: BLE001 - whatever is wrong with it, that part of the type is unknown
            return annotation
        return hints["it"]

    def _evaluate(self, text: str) -> object:
        found: object = text
        try:
            for _ in range(2):  # with postponed annotations, one that is quoted is a string in a string
                if isinstance(found, str):
                    found = eval(found, self._globals, self._local)  # noqa: S307 - as typing.get_type_hints does
        except Exception:  # noqa: BLE001 - whatever is wrong with it, the type is unknown
            return self._evaluate_marks(text)
        return text if isinstance(found, str) else self.resolve(found)

    def _evaluate_marks(self, text: str) -> object:
        """Return `Annotated[...]` even if the type in it is unknown (imported for type checkers only)."""
        try:
            found = eval(text, self._globals, _Guesses(self._globals, self._local))  # noqa: S307 - as above
        except Exception:  # noqa: BLE001 - as above
            return text
        return found if get_origin(found) is Annotated else text


class _Guesses(dict[str, object]):
    """Local names; one that is known nowhere is an `_Unknown`."""

    def __init__(self, global_names: Mapping[str, object], local: Mapping[str, object]) -> None:
        super().__init__(local)
        self._known = global_names

    def __missing__(self, name: str) -> object:
        if name in self._known or hasattr(builtins, name):
            raise KeyError(name)  # found next, in the place where it is
        return _Unknown(name)


class _Unknown(str):
    """A type that is not known here; so are its attributes, and what stands in its brackets."""

    __slots__ = ()

    def __getattr__(self, name: str) -> "_Unknown":
        if name.startswith("__"):
            raise AttributeError(name)
        return _Unknown(f"{self}.{name}")

    def __getitem__(self, item: object) -> "_Unknown":
        return self

    def __or__(self, other: object) -> object:
        return Union[str(self), other]  # noqa: UP007 - between strings there is no `|`

    def __ror__(self, other: object) -> object:
        return Union[other, str(self)]  # noqa: UP007 - as above


def _has_reference(annotation: object) -> bool:
    """Whether a part of *annotation* is written as a string."""
    if isinstance(annotation, type):
        return False
    if isinstance(annotation, (str, ForwardRef)):
        return True
    if isinstance(annotation, list):  # the parameters of Callable[[int, "Line"], None]
        return any(map(_has_reference, annotation))
    args = get_args(annotation)
    origin = get_origin(annotation)
    if origin is Annotated:
        return _has_reference(args[0])
    return origin is not Literal and any(map(_has_reference, args))


def strip_annotated(annotation: object) -> tuple[object, tuple[object, ...]]:
    """Split *annotation* into the type and all metadata, through nested `Annotated` and `type` aliases."""
    if isinstance(annotation, type):  # nearly all there are
        return annotation, ()
    metadata: tuple[object, ...] = ()
    while True:
        origin = get_origin(annotation)
        if origin is Annotated:
            annotation, *more = get_args(annotation)
            metadata = (*more, *metadata)
        elif isinstance(annotation, _ALIASES) or isinstance(origin, _ALIASES):
            value = _alias_value(annotation)
            if value is None:
                return annotation, metadata
            annotation = value
        else:
            return annotation, metadata


def _alias_value(alias: Any) -> object:  # noqa: ANN401 - of two modules, and generic or not
    """Return what a `type` alias stands for, `type DbDep = Annotated[Session, Depends(...)]`; None if unknown."""
    try:
        value: Any = alias.__value__
        return value[get_args(alias)] if getattr(value, "__parameters__", ()) and get_args(alias) else value
    except Exception:  # noqa: BLE001 - a lazily evaluated alias may raise anything
        return None


# ----------------------------------------------------------------------------------------------------------------------
# Parameters
# ----------------------------------------------------------------------------------------------------------------------


def read(fn: Callable[..., object], namespace: Mapping[str, object] = _NO_NAMES) -> Signature:
    """Read what *fn* takes and returns.

    Args:
        fn: What will be called.
        namespace: The names around it that are not its module's, see `local_names`.
    """
    signature = resolved_signature(fn, namespace)
    bound = set(_bound_keywords(fn))
    params = tuple(
        _param(parameter)
        for parameter in signature.parameters.values()
        if parameter.kind not in {parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD} and parameter.name not in bound
    )
    return Signature(params=params, returns=signature.return_annotation)


def named_references(fn: Callable[..., object]) -> "Iterator[TaskSpec | str]":
    """Yield what the parameters of *fn* name in `From(...)`, as far as it is no string yet to be resolved."""
    target = underlying(fn)
    yield from (item.target for item in getattr(target, "__defaults__", None) or () if isinstance(item, Reference))
    keywords = (getattr(target, "__kwdefaults__", None) or {}).values()
    yield from (item.target for item in keywords if isinstance(item, Reference))
    for annotation in _raw_annotations(target).values():
        yield from (item.target for item in strip_annotated(annotation)[1] if isinstance(item, Reference))


def is_resolved(signature: Signature) -> bool:
    """Whether every annotation could be resolved; if not, it may be later, when more has been imported."""
    annotations = (*(param.annotation for param in signature.params), signature.returns)
    return not any(map(_has_reference, annotations))


def _bound_keywords(fn: object) -> Iterator[str]:
    """Yield the names that `functools.partial(fn, name=...)` has given: they are no longer open."""
    while isinstance(fn, functools.partial):
        yield from fn.keywords
        fn = fn.func


def _param(parameter: inspect.Parameter) -> ParamSpec:
    """Read one parameter."""
    plain, metadata = strip_annotated(parameter.annotation)
    default = parameter.default
    reference = next((item for item in (default, *metadata) if isinstance(item, Reference)), None)
    marker = None if reference else injection_marker(plain, metadata, default)
    if isinstance(default, Reference) or (marker is not None and default is marker):
        default = EMPTY
    tolerance = _tolerance(plain)
    return ParamSpec(
        name=parameter.name,
        kind=parameter.kind,
        annotation=parameter.annotation,
        type=tolerance.type,
        default=default,
        role=Role.REFERENCE if reference else Role.INJECTED if marker is not None else _role(plain),
        reference=reference.target if reference else None,
        marker=marker,
        accepts=tolerance.accepts,
        outcomes=tolerance.outcomes,
        collects=tolerance.collects,
    )


def _role(plain: object) -> Role:
    """Return the role of a parameter by its type: `Run`, `TaskContext`, `Progress`, or one of them and None."""
    only: object = plain
    if not isinstance(plain, type):
        members = [member for member in _members(plain) if member is not types.NoneType]
        only = members[0] if len(members) == 1 else None
    return next((role for cls, role in _SPECIAL if only is cls), Role.VALUE)


def _members(annotation: object) -> tuple[object, ...]:
    """Return the members of a union; of anything else itself."""
    return get_args(annotation) if _is_union(annotation) else (annotation,)


def _is_union(annotation: object) -> bool:
    return get_origin(annotation) in {Union, types.UnionType}


class _Tolerance(NamedTuple):
    """With which outcomes of its producer a parameter can be filled."""

    type: object
    """The type of the value: of `Outcome[T]` it is `T`."""
    accepts: frozenset[OutcomeKind] = SUCCEEDED_ONLY
    """The outcomes."""
    outcomes: frozenset[OutcomeKind] = frozenset()
    """Those that it takes as they are, see `ParamSpec`."""
    collects: bool = False
    """Whether it takes the outcomes of the items of a fan-out."""


def _tolerance(annotation: object) -> _Tolerance:
    """Read `Outcome[T]`, `Failed`, `Failed | None`, `list[Outcome[T]]` and the like."""
    if isinstance(annotation, type) and _outcome(annotation) is None:
        return _Tolerance(annotation)
    if get_origin(annotation) is list:
        item = _tolerance(strip_annotated(get_args(annotation)[0])[0])
        if item.outcomes and item.outcomes == item.accepts:
            # Items may end in any way, the fan-out as a whole only by running.
            return item._replace(accepts=ANY_OUTCOME - {"skipped"}, collects=True)
    members = _members(annotation)
    kinds: list[OutcomeKind | None] = [_outcome(member) for member in members if member is not types.NoneType]
    if not kinds or not _all_known(kinds):
        return _Tolerance(annotation)
    value = next((get_args(m)[0] for m in members if get_origin(m) is Succeeded), Any)
    outcomes = frozenset(kinds)
    return _Tolerance(value, outcomes if len(kinds) == len(members) else ANY_OUTCOME, outcomes)


def _outcome(member: object) -> OutcomeKind | None:
    cls = member if isinstance(member, type) else get_origin(member)
    return next((kind for known, kind in _OUTCOMES if cls is known), None)


def _all_known(kinds: list[OutcomeKind | None]) -> TypeGuard[list[OutcomeKind]]:
    return None not in kinds
