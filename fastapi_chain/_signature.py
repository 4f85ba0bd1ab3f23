"""The only reader of signatures: what a function takes and returns, in our own words.

Annotations are resolved here and nowhere else: strings (PEP 563), lazily evaluated ones (PEP 649), `type` aliases
(PEP 695), `Annotated`, partials, bound methods, callable objects. A name that cannot be resolved stays a string: its type is
unknown, which is never an error by itself.
"""

import builtins
import functools
import inspect
import sys
import types
from collections.abc import Callable, Mapping
from typing import Annotated, Any, Union, get_args, get_origin

from ._fastapi import injection_marker
from .context import Progress, TaskContext
from .outcome import Failed, Skipped, Succeeded
from .run import Run
from .spec import ANY_OUTCOME, EMPTY, SUCCEEDED_ONLY, OutcomeKind, ParamSpec, Role, Signature
from .tasks import Reference

_SPECIAL: dict[object, Role] = {Run: Role.RUN, TaskContext: Role.CONTEXT, Progress: Role.PROGRESS}
_KINDS: dict[object, OutcomeKind] = {Succeeded: "succeeded", Failed: "failed", Skipped: "skipped"}


def underlying(fn: object) -> Callable[..., object]:
    """Return the plain function behind partials, bound methods, wrappers and callable objects."""
    while True:
        if isinstance(fn, functools.partial):
            fn = fn.func
        elif inspect.ismethod(fn):
            fn = fn.__func__
        elif hasattr(fn, "__wrapped__"):
            fn = fn.__wrapped__
        elif inspect.isroutine(fn) or inspect.isclass(fn) or not hasattr(type(fn), "__call__"):
            return fn  # type: ignore[return-value]  # a routine or a class, both callable
        else:
            fn = type(fn).__call__


def is_async(fn: Callable[..., object]) -> bool:
    """Whether calling *fn* gives a coroutine."""
    target: object = fn
    while isinstance(target, functools.partial):
        target = target.func
    if inspect.iscoroutinefunction(target):
        return True
    return not inspect.isroutine(target) and inspect.iscoroutinefunction(getattr(target, "__call__", None))  # noqa: B004


def is_generator(fn: Callable[..., object]) -> bool:
    """Whether calling *fn* gives a generator, sync or async."""
    target = underlying(fn)
    return inspect.isgeneratorfunction(target) or inspect.isasyncgenfunction(target)


def resolved_signature(fn: Callable[..., object], namespace: Mapping[str, object]) -> inspect.Signature:
    """Return the signature of *fn* with every annotation resolved that can be.

    Args:
        fn: What will be called.
        namespace: Names to try after the module's own: the locals of the function in which *fn* is defined.
    """
    try:
        return inspect.signature(fn, eval_str=True)
    except (NameError, AttributeError, TypeError, SyntaxError):
        # One bad name makes eval_str give up on all of them: resolve one by one.
        signature = _lenient_signature(fn)
    target = underlying(fn)
    names = {**vars(builtins), **getattr(target, "__globals__", {}), **namespace}
    names |= {getattr(param, "__name__", ""): param for param in getattr(target, "__type_params__", ())}
    parameters = [p.replace(annotation=_resolve(p.annotation, names)) for p in signature.parameters.values()]
    return signature.replace(parameters=parameters, return_annotation=_resolve(signature.return_annotation, names))


def _lenient_signature(fn: Callable[..., object]) -> inspect.Signature:
    """Return the signature of *fn* without evaluating what may fail."""
    if sys.version_info >= (3, 14):
        from annotationlib import Format  # noqa: PLC0415 - the module is new in 3.14

        return inspect.signature(fn, annotation_format=Format.FORWARDREF)
    return inspect.signature(fn)


def _resolve(annotation: object, names: Mapping[str, object]) -> object:
    """Evaluate a string annotation in the user's own names; give the string back if that fails."""
    text = annotation if isinstance(annotation, str) else getattr(annotation, "__forward_arg__", None)
    if text is None:
        return annotation
    try:
        return eval(text, dict(names))  # noqa: S307 - the user's own source, as typing.get_type_hints does
    except Exception:  # noqa: BLE001 - whatever is wrong with it, the type is unknown
        return text


def read(
    fn: Callable[..., object],
    namespace: Mapping[str, object] = types.MappingProxyType({}),
) -> Signature:
    """Read what *fn* takes and returns."""
    signature = resolved_signature(fn, namespace)
    bound = _bound_keywords(fn)
    params = tuple(
        _param(parameter)
        for parameter in signature.parameters.values()
        if parameter.kind not in {parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD} and parameter.name not in bound
    )
    return Signature(params=params, returns=signature.return_annotation)


def _bound_keywords(fn: object) -> set[str]:
    """Return the names that `functools.partial(fn, name=...)` has given: they are no longer open."""
    names: set[str] = set()
    while isinstance(fn, functools.partial):
        names |= set(fn.keywords)
        fn = fn.func
    return names


def _param(parameter: inspect.Parameter) -> ParamSpec:
    """Read one parameter."""
    plain, metadata = strip_annotated(parameter.annotation)
    reference = _reference(parameter.default, metadata)
    marker = None if reference else injection_marker(plain, metadata, parameter.default)
    default = EMPTY if isinstance(parameter.default, Reference) else parameter.default
    role = _SPECIAL.get(plain, Role.VALUE) if _hashable(plain) else Role.VALUE
    if reference:
        role = Role.REFERENCE
    elif marker is not None:
        role = Role.INJECTED
        default = EMPTY if parameter.default is marker else parameter.default
    inner, accepts, wrapped, collects = _tolerance(plain)
    return ParamSpec(
        name=parameter.name,
        kind=parameter.kind,
        annotation=parameter.annotation,
        type=inner,
        default=default,
        role=role,
        reference=reference.target if reference else None,
        marker=marker,
        accepts=accepts,
        wrapped=wrapped,
        collects=collects,
    )


def strip_annotated(annotation: object) -> tuple[object, tuple[object, ...]]:
    """Split *annotation* into the type and all metadata, through nested `Annotated` and `type` aliases."""
    metadata: tuple[object, ...] = ()
    while True:
        if get_origin(annotation) is Annotated:
            annotation, *more = get_args(annotation)
            metadata = (*more, *metadata)
        elif hasattr(annotation, "__value__") and hasattr(annotation, "__type_params__"):
            # `type DbDep = Annotated[Session, Depends(...)]` (PEP 695)
            annotation = annotation.__value__
        else:
            return annotation, metadata


def _reference(default: object, metadata: tuple[object, ...]) -> Reference | None:
    """Return the `From(...)` of a parameter."""
    return next((item for item in (default, *metadata) if isinstance(item, Reference)), None)


def _hashable(value: object) -> bool:
    return getattr(type(value), "__hash__", None) is not None and not isinstance(value, str)


def _tolerance(annotation: object) -> tuple[object, frozenset[OutcomeKind], bool, bool]:
    """Return the value type, the outcomes that are accepted, whether they come wrapped, and whether per item."""
    if get_origin(annotation) is list and len(get_args(annotation)) == 1:
        inner, accepts, wrapped, _ = _tolerance(get_args(annotation)[0])
        if wrapped:
            # Items may end in any way, the fan-out as a whole only by running.
            return inner, accepts - {"skipped"}, True, True
    members = get_args(annotation) if get_origin(annotation) in {Union, types.UnionType} else (annotation,)
    kinds = [_KINDS.get(get_origin(member) or member) if _hashable(member) else None for member in members]
    if not members or any(kind is None for kind in kinds):
        return annotation, SUCCEEDED_ONLY, False, False
    inner = next((get_args(m)[0] for m in members if get_origin(m) is Succeeded), Any)
    accepts = frozenset(kind for kind in kinds if kind is not None)
    return inner, ANY_OUTCOME if len(accepts) == len(ANY_OUTCOME) else accepts, True, False
