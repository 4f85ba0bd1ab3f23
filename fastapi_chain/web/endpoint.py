"""The endpoint decorator: the user's function, wrapped so that FastAPI tells us about the request.

The wrapper has the same signature, except for one more parameter, a dependency of ours, and without `run: Run`, which is not
FastAPI's to give. Called without that dependency, in a unit test, it is the plain function.
"""

import inspect
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Final, TypeVar, cast, get_origin
from weakref import WeakKeyDictionary

from fastapi import BackgroundTasks, Depends, Request, Response

from fastapi_chain._fastapi import InputKind, commits_before_response, input_kinds, read_call
from fastapi_chain._signature import is_async, is_generator, resolved_signature, strip_annotated, underlying
from fastapi_chain.declare import source_of
from fastapi_chain.errors import DeclarationError, StreamingEndpoint
from fastapi_chain.run import Run
from fastapi_chain.spec import EMPTY, EndpointSpec, Source

from .call import Call, Starter

F = TypeVar("F", bound=Callable[..., object])

_OURS: Final = "fastapi_chain_call"
"""The name of our parameter; nobody else's."""

_GIVEN: Final[frozenset[InputKind]] = frozenset({"data", "dependency"})
"""The parameters of an endpoint that outlive the request."""


@dataclass(eq=False, slots=True, kw_only=True)
class Endpoint:
    """An endpoint under a chain."""

    fn: Callable[..., object]
    """The user's function."""
    wrapper: Callable[..., object]
    """What FastAPI is given."""
    source: Source
    """Where it is written."""
    signature: inspect.Signature
    """The user's signature, resolved."""
    returns: str | None
    """The name under which its return value is an input."""
    route: str
    """`POST /orders` as soon as the route is known; before, the endpoint's name."""
    kinds: Mapping[str, InputKind] = field(default_factory=dict)
    """What FastAPI makes of each parameter, as soon as the route is known."""

    def describe(self) -> EndpointSpec:
        """Return what it gives to its chain."""
        kinds = self.kinds or input_kinds(read_call(self.wrapper).dependant)
        gives: dict[str, object] = {}
        closed: dict[str, str] = {}
        for name, parameter in self.signature.parameters.items():
            kind = kinds.get(name)
            if kind in _GIVEN:
                gives[name] = strip_annotated(parameter.annotation)[0]
            elif kind is not None and kind != "request":
                closed[name] = kind
        if self.returns is not None and not _is_response(self.signature.return_annotation):
            gives[self.returns] = self.signature.return_annotation
        return EndpointSpec(source=self.source, route=self.route, gives=gives, returns=self.returns, closed=closed)


_wrapped: "WeakKeyDictionary[Callable[..., object], Endpoint]" = WeakKeyDictionary()


def wrap(fn: F, starter: Starter, returns: str | None, namespace: Mapping[str, object]) -> tuple[F, Endpoint]:
    """Wrap the endpoint *fn* so that each request to it is a `Call` of *starter*.

    Raises:
        StreamingEndpoint: It is a generator.
        DeclarationError: It starts a chain already, or has an annotation that nobody can resolve.
    """
    source = source_of(fn)
    if is_generator(fn):
        raise StreamingEndpoint(endpoint=source)
    if any(layer in _wrapped for layer in _layers(fn)):
        raise DeclarationError(
            what=f"Endpoint {source.name!r} has two @chain decorators; it can start one chain.",
            rows=(("declared at", source.at),),
            fixes=("name all targets in one: @chain(save, notify)",),
        )
    signature = resolved_signature(fn, namespace)
    _resolved(signature, source)
    runs = [name for name, p in signature.parameters.items() if strip_annotated(p.annotation)[0] is Run]
    wrapper = (_async_wrapper if is_async(fn) else _sync_wrapper)(fn, tuple(runs))
    _dress(wrapper, fn, _extended(signature, starter, runs), source.name)
    endpoint = Endpoint(
        fn=fn, wrapper=wrapper, source=source, signature=signature, returns=returns, route=source.name
    )
    _wrapped[wrapper] = endpoint
    return cast("F", wrapper), endpoint


def _layers(fn: object) -> "list[Callable[..., object]]":
    """Return *fn* and what it wraps."""
    layers: list[Callable[..., object]] = []
    while inspect.isfunction(fn):
        layers.append(fn)
        fn = getattr(fn, "__wrapped__", None)
    return layers


def _resolved(signature: inspect.Signature, source: Source) -> None:
    """Refuse annotations that are still strings: FastAPI would take the parameter for one of the query."""
    for name, parameter in signature.parameters.items():
        if isinstance(parameter.annotation, str):
            raise DeclarationError(
                what=f"Endpoint {source.name!r} annotates {name!r} as {parameter.annotation!r}, a name that is not known here.",
                rows=(("declared at", source.at),),
                fixes=("define or import it above the endpoint",),
            )


def _extended(signature: inspect.Signature, starter: Starter, runs: list[str]) -> inspect.Signature:
    """Return *signature* as FastAPI shall see it."""
    parameters = [p for p in signature.parameters.values() if p.name not in runs]
    ours = inspect.Parameter(
        _OURS, inspect.Parameter.KEYWORD_ONLY, annotation=Annotated[Call, Depends(_opener(starter))]
    )
    at = len(parameters)
    if parameters and parameters[-1].kind is inspect.Parameter.VAR_KEYWORD:
        at -= 1
    parameters.insert(at, ours)
    return signature.replace(parameters=parameters)


def _opener(starter: Starter) -> Callable[..., Awaitable[Call]]:
    """Return the dependency that makes the call; it asks FastAPI for no more than it needs."""

    async def open_call(request: Request, response: Response) -> Call:
        call = Call(starter, request, response, None)
        starter.open(call)
        return call

    async def open_call_in_background(request: Request, response: Response, background: BackgroundTasks) -> Call:
        call = Call(starter, request, response, background)
        starter.open(call)
        return call

    in_background = starter.start_at == "response" or commits_before_response()
    return open_call_in_background if in_background else open_call


def _async_wrapper(fn: Callable[..., object], runs: tuple[str, ...]) -> Callable[..., object]:
    async def wrapper(*args: Any, **kwargs: Any) -> object:  # noqa: ANN401 - the user's arguments
        call: Call | None = kwargs.pop(_OURS, None)
        if call is None:
            return await fn(*args, **kwargs)  # type: ignore[misc]  # an async function
        result = await fn(*args, **kwargs, **dict.fromkeys(runs, call.run))  # type: ignore[misc]  # an async function
        return call.returned(kwargs, result)

    return wrapper


def _sync_wrapper(fn: Callable[..., object], runs: tuple[str, ...]) -> Callable[..., object]:
    # Sync as the user's own, so that FastAPI runs it in a thread and a direct call gives the value.
    def wrapper(*args: Any, **kwargs: Any) -> object:  # noqa: ANN401 - the user's arguments
        call: Call | None = kwargs.pop(_OURS, None)
        if call is None:
            return fn(*args, **kwargs)
        result = fn(*args, **kwargs, **dict.fromkeys(runs, call.run))
        return call.returned(kwargs, result)

    return wrapper


def _dress(wrapper: Callable[..., object], fn: Callable[..., object], signature: inspect.Signature, name: str) -> None:
    """Make *wrapper* look like *fn*."""
    named = fn if hasattr(fn, "__name__") else underlying(fn)
    for attribute in ("__module__", "__qualname__", "__doc__"):
        setattr(wrapper, attribute, getattr(named, attribute, None))
    wrapper.__name__ = name
    # An explicit signature wins everywhere: FastAPI takes it as it is, with the annotations resolved in the user's module.
    wrapper.__signature__ = signature  # type: ignore[attr-defined]  # the protocol of inspect.signature
    wrapper.__wrapped__ = fn  # type: ignore[attr-defined]  # the protocol of functools.wraps
    wrapper.__annotations__ = {p.name: p.annotation for p in signature.parameters.values() if p.annotation is not EMPTY}


def _is_response(annotation: object) -> bool:
    """Whether the endpoint says that it returns a response, of which no task could make anything."""
    plain = get_origin(annotation) or annotation
    return isinstance(plain, type) and issubclass(plain, Response)
