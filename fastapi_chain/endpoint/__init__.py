"""The endpoint decorator: the user's function, wrapped so that FastAPI tells us about the request.

The wrapper has the same signature, except for a few more parameters, in which FastAPI hands us objects of the request,
and without `run: Run`, which is not FastAPI's to give. Called without them, in a unit test, it is the plain function.
"""

import functools
import inspect
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import field
from importlib import import_module
from typing import Annotated, Any, Final, TypeVar, cast, get_origin
from weakref import WeakKeyDictionary, WeakValueDictionary

from fastapi import BackgroundTasks, Depends, Request, Response, WebSocket
from starlette.background import BackgroundTasks as StarletteBackgroundTasks
from starlette.requests import HTTPConnection
from starlette.responses import Response as StarletteResponse
from starlette.routing import get_name

from fastapi_chain._fastapi import InputKind, endpoint_ids, input_kinds, kind_of, read_call
from fastapi_chain._record import record
from fastapi_chain.declare import source_of
from fastapi_chain.declare.signature import resolved_signature, strip_annotated
from fastapi_chain.errors import DeclarationError, StreamingEndpoint
from fastapi_chain.run import Run
from fastapi_chain.spec import EndpointSpec, Source

from .call import COMMITS_FIRST, Call, Starter

F = TypeVar("F", bound=Callable[..., object])

_GIVEN: Final[frozenset[InputKind]] = frozenset({"data", "dependency"})
"""The parameters of an endpoint that outlive the request."""


@record(eq=False, frozen=False, slots=True)
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


_wrappers: "WeakValueDictionary[int, Any]" = WeakValueDictionary()
"""Every wrapper there is, by its id."""

_bare: "WeakKeyDictionary[Any, Source]" = WeakKeyDictionary()
"""Every function that has been wrapped, whatever has become of its wrapper, and where it is written."""


def starts_chain(layers: Iterable[int]) -> bool:
    """Whether an endpoint starts a chain: one of its layers, as from `endpoint_ids`, is a wrapper."""
    return any(layer in _wrappers for layer in layers)


def bare_functions() -> dict[int, tuple[Source, bool]]:
    """Return every function that has been wrapped, by its id: where it is written, and whether it is `async`.

    A route that leads to one of them and to no wrapper has been given it before the chain was.
    """
    return {id(fn): (source, kind_of(fn) == "coroutine") for fn, source in _bare.items()}


def wrap(fn: F, starter: Starter, returns: str | None, namespace: Mapping[str, object]) -> tuple[F, Endpoint]:
    """Wrap the endpoint *fn* so that each request to it is a `Call` of *starter*.

    Raises:
        StreamingEndpoint: It is a generator.
        DeclarationError: It starts a chain already, is for WebSockets, or has an annotation that nobody can resolve.
    """
    source = source_of(fn)
    kind = kind_of(fn)
    if kind.endswith("generator"):
        raise StreamingEndpoint(endpoint=source)
    signature = resolved_signature(fn, namespace)
    _refuse(fn, signature, source)
    wiring = _wire(signature, in_background=COMMITS_FIRST or starter.start_at == "response")
    wrapper = (_async_wrapper if kind == "coroutine" else _sync_wrapper)(fn, starter, wiring)
    _dress(wrapper, fn, wiring.signature)
    endpoint = Endpoint(fn=fn, wrapper=wrapper, source=source, signature=signature, returns=returns, route=source.name)
    _wrappers[id(wrapper)] = wrapper
    with suppress(TypeError):  # a callable object may not be hashable; a route could not be told from others by it
        _bare[fn] = source
    return cast("F", wrapper), endpoint


def _refuse(fn: object, signature: inspect.Signature, source: Source) -> None:
    """Refuse what cannot work."""
    if starts_chain(endpoint_ids(fn)):
        raise DeclarationError(
            what=f"Endpoint {source.name!r} has two @chain decorators; it can start one chain.",
            rows=(("declared at", source.at),),
            fixes=("name all targets in one: @chain(save, notify)",),
        )
    for name, parameter in signature.parameters.items():
        plain = strip_annotated(parameter.annotation)[0]
        if isinstance(plain, str):
            # FastAPI would take it for a parameter of the query.
            raise DeclarationError(
                what=f"Endpoint {source.name!r} annotates {name!r} as {plain!r}, a name that is not known here.",
                rows=(("declared at", source.at),),
                fixes=("define or import it above the endpoint",),
            )
        if _is_a(plain, WebSocket):
            raise DeclarationError(
                what=f"Endpoint {source.name!r} is for WebSockets, which have no end that a chain could wait for.",
                rows=(("declared at", source.at),),
                fixes=("start a run where it is due: await chain(...).start(...)",),
            )


def _is_a(annotation: object, cls: type[object]) -> bool:
    """Whether FastAPI takes a parameter with this annotation for a *cls*."""
    return isinstance(annotation, type) and issubclass(annotation, cls)


# ----------------------------------------------------------------------------------------------------------------------
# What FastAPI hands us
# ----------------------------------------------------------------------------------------------------------------------


@record(kw_only=False, slots=True)
class _Tap:
    """The parameter in which FastAPI hands over one object of the request."""

    name: str
    """Its name."""
    ours: bool
    """Whether it is one that we have added."""

    def draw(self, given: dict[str, Any]) -> Any:  # noqa: ANN401 - what FastAPI has put there
        """Return the object; take it out of *given* if the endpoint does not want it."""
        return given.pop(self.name, None) if self.ours else given.get(self.name)


@record(kw_only=False, slots=True)
class _Wiring:
    """How a request gets to us through the parameters of its endpoint."""

    signature: inspect.Signature
    """The signature that FastAPI reads."""
    request: _Tap
    response: _Tap
    background: _Tap | None
    """The request's background tasks, where we need them."""
    runs: tuple[str, ...]
    """The endpoint's parameters of type `Run`."""


async def _connection(connection: HTTPConnection) -> HTTPConnection:
    """Hand over the request of an endpoint that takes an `HTTPConnection` itself: FastAPI fills only one of them."""
    return connection


def _wire(signature: inspect.Signature, *, in_background: bool) -> _Wiring:
    """Extend *signature* by what we need.

    A parameter costs nothing where a dependency of ours would cost a sixth of a small request. FastAPI fills only one
    parameter of each kind in a function, so where the user has one, we look at that. The request itself must come in a
    parameter of ours: it tells FastAPI's call from one by hand. Almost nobody takes an `HTTPConnection`.
    """
    users = {name: strip_annotated(p.annotation)[0] for name, p in signature.parameters.items()}
    added: dict[str, object] = {}

    def own(name: str, annotation: object) -> _Tap:
        added[f"fastapi_chain_{name}"] = annotation
        return _Tap(f"fastapi_chain_{name}", ours=True)

    def tap(name: str, cls: type[object], annotation: object) -> _Tap:
        taken = [user for user, plain in users.items() if _is_a(plain, cls)]
        # FastAPI fills the last of them.
        return _Tap(taken[-1], ours=False) if taken else own(name, annotation)

    connects = any(_is_a(p, HTTPConnection) and not _is_a(p, Request) for p in users.values())
    request = own("request", Annotated[object, Depends(_connection)] if connects else HTTPConnection)
    response = tap("response", StarletteResponse, Response)
    background = tap("background", StarletteBackgroundTasks, BackgroundTasks) if in_background else None
    runs = tuple(name for name, plain in users.items() if plain is Run)
    return _Wiring(_extended(signature, added, runs), request, response, background, runs)


def _extended(signature: inspect.Signature, added: Mapping[str, object], gone: tuple[str, ...]) -> inspect.Signature:
    """Return *signature* with more parameters, and without those that are *gone*."""
    parameters = [p for p in signature.parameters.values() if p.name not in gone]
    at = len(parameters) - any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters)
    parameters[at:at] = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, annotation=annotation)
        for name, annotation in added.items()
    ]
    return signature.replace(parameters=parameters)


# ----------------------------------------------------------------------------------------------------------------------
# The wrapper
# ----------------------------------------------------------------------------------------------------------------------


def _async_wrapper(fn: Callable[..., Any], starter: Starter, wiring: _Wiring) -> Callable[..., object]:
    marker = wiring.request.name

    async def wrapper(*args: Any, **kwargs: Any) -> object:
        if marker not in kwargs:
            return await fn(*args, **kwargs)
        call = _open(starter, wiring, kwargs)
        if call.once is not None and (answer := await call.admit(kwargs)) is not None:
            return answer
        result = await (fn(*args, **kwargs, **_promises(call, wiring)) if wiring.runs else fn(*args, **kwargs))
        return call.returned(kwargs, result)

    return wrapper


def _sync_wrapper(fn: Callable[..., Any], starter: Starter, wiring: _Wiring) -> Callable[..., object]:
    # Sync as the user's own, so that FastAPI runs it in a thread and a direct call gives the value.
    marker = wiring.request.name

    def wrapper(*args: Any, **kwargs: Any) -> object:
        if marker not in kwargs:
            return fn(*args, **kwargs)
        call = _open(starter, wiring, kwargs)
        if call.once is not None and (answer := _from_thread().run(call.admit, kwargs)) is not None:
            return answer
        result = fn(*args, **kwargs, **_promises(call, wiring)) if wiring.runs else fn(*args, **kwargs)
        return call.returned(kwargs, result)

    return wrapper


@functools.cache
def _from_thread() -> Any:  # noqa: ANN401 - a module
    # A millisecond, for nobody but `def` endpoints whose chain is `idempotent`.
    return import_module("anyio.from_thread")


def _open(starter: Starter, wiring: _Wiring, given: dict[str, Any]) -> Call:
    """Take from *given* what is ours, and begin a call."""
    background = None if wiring.background is None else wiring.background.draw(given)
    return Call(starter, wiring.request.draw(given), wiring.response.draw(given), background)


def _promises(call: Call, wiring: _Wiring) -> dict[str, Run]:
    return dict.fromkeys(wiring.runs, call.promise())


def _dress(wrapper: Callable[..., object], fn: Callable[..., object], signature: inspect.Signature) -> None:
    """Make *wrapper* look like *fn*."""
    functools.update_wrapper(wrapper, fn)
    # Partials and callable objects have no name; FastAPI gives routes and operations this one.
    wrapper.__name__ = get_name(fn)
    # An explicit signature wins everywhere: FastAPI takes it as it is, with the annotations resolved where they stand.
    wrapper.__signature__ = signature  # type: ignore[attr-defined]  # the protocol of inspect.signature
    annotations = {p.name: p.annotation for p in signature.parameters.values() if p.annotation is not p.empty}
    wrapper.__annotations__ = annotations


def _is_response(annotation: object) -> bool:
    """Whether the endpoint says that it returns a response, of which no task could make anything."""
    return _is_a(get_origin(annotation) or annotation, StarletteResponse)
