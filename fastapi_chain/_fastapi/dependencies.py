"""What a function depends on, as our own tree; what the parameters of an endpoint are."""

import functools
import inspect
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Literal, get_args

from fastapi_chain._record import record
from fastapi_chain.spec import EMPTY, ParamSpec

from .parts import FIELDS, OBJECTS, parts

if sys.version_info >= (3, 13):
    from inspect import iscoroutinefunction
else:
    # As FastAPI does: before 3.13 only asyncio's knows callables that are marked as `async` by hand.
    from asyncio import iscoroutinefunction

Kind = Literal["async_generator", "generator", "coroutine", "function"]
"""How a dependency is called. A class is a function: its constructor runs in a worker thread."""

InputKind = Literal["data", "dependency", "yield-dependency", "UploadFile", "request"]
"""What a parameter of an endpoint is.

- `data`: a validated value of the path, query, header, cookies, form or body;
- `dependency`: what a dependency returned;
- `yield-dependency`: what a dependency yielded, or one that is built over such a value; closed when the request ends;
- `UploadFile`: an uploaded file, or a form that holds one: closed as well;
- `request`: an object of the request itself (`Request`, `Response`, `BackgroundTasks`, …).
"""

_WITHOUT_REQUEST = frozenset({"Response", "BackgroundTasks", "SecurityScopes"})


@record(eq=False, slots=True)
class Dependency:
    """A function and what it depends on, the same for every version of FastAPI."""

    name: str
    """The parameter that takes its value; empty for the root."""
    call: Callable[..., Any]
    """What is called; for the root a stand-in for the task."""
    kind: Kind
    """How it is called."""
    use_cache: bool
    """Whether one value serves all who depend on it."""
    reads: tuple[tuple[str, str], ...]
    """What it takes from the request itself: the parameter and the thing (`Request`, `Header x_token`)."""
    special: bool
    """Whether it takes anything that only FastAPI's solver can give: what it reads, or `BackgroundTasks`, …"""
    ruled: bool
    """Whether a rule says when it is called or closed: `scope=`, `max_concurrency=`, security scopes."""
    dependencies: "tuple[Dependency, ...]"
    """What it depends on, in the order in which that is called."""
    dependant: Any
    """FastAPI's own description of it, for `solve`."""

    def walk(self) -> "Iterator[Dependency]":
        """Yield it and everything below, from the top."""
        yield self
        for dependency in self.dependencies:
            yield from dependency.walk()

    @property
    def title(self) -> str:
        """What users call it: the name of the function or class."""
        target = _bare(self.call)
        return str(getattr(target, "__name__", type(target).__name__))

    def request_path(self) -> tuple[str, ...]:
        """Return the way to the first thing that comes from the request: `("user", "current_user", "Request")`.

        The first name is the parameter, the last what is taken from the request. Empty if nothing is.
        """
        if self.reads:
            return self.reads[0]
        for dependency in self.dependencies:
            if path := dependency.request_path():
                return (dependency.name, dependency.title, *path[1:])
        return ()


def read_params(params: Sequence[ParamSpec]) -> Dependency:
    """Return what a function with the injected parameters *params* depends on.

    Raises:
        AssertionError: FastAPI refuses a parameter (two markers at once, a default inside `Query()`, …).
        RuntimeError: FastAPI refuses a parameter (a type it cannot validate, a package that is missing, …).
    """

    def task() -> None:
        """Stand in for the task: its other parameters are not for FastAPI, which would take them from the query."""

    # FastAPI reads the signature that it is told. Its annotations are resolved, so that no version has to.
    task.__signature__ = inspect.Signature([_parameter(param) for param in params])  # type: ignore[attr-defined]
    return _describe(parts().get_dependant(path="/", call=task), root=True)


def read_again(root: Dependency, path_params: Iterable[str]) -> Dependency:
    """Return *root*, which `read_params` gave, as it is under a route whose path has the parameters *path_params*.

    Only the path says that `def current_shop(shop: str)` takes its value from there, and not from the query.
    """
    path = "".join(f"/{{{name}}}" for name in path_params)
    return _describe(parts().get_dependant(path=path, call=root.call), root=True)


def read_call(call: Callable[..., Any]) -> Dependency:
    """Return what *call* depends on; raises as `read_params` does."""
    return _describe(parts().get_dependant(path="/", call=call), root=True)


def _parameter(param: ParamSpec) -> inspect.Parameter:
    """Write *param* in the way that all versions of FastAPI read."""
    annotation = param.annotation
    while hasattr(annotation, "__value__") and hasattr(annotation, "__type_params__"):
        # `type DbDep = Annotated[Session, Depends(...)]`: FastAPI knows it since 0.128.2.
        annotation = getattr(annotation, "__value__")  # noqa: B009 - an attribute that only some annotations have
    default = param.default
    if isinstance(param.marker, parts().markers) and not any(
        param.marker is item for item in getattr(annotation, "__metadata__", ())
    ):
        default = param.marker
    if isinstance(annotation, str):
        # A name that nobody can resolve. Beside `= Depends(f)` it says nothing; elsewhere FastAPI does what it can.
        annotation = EMPTY
    return inspect.Parameter(param.name, inspect.Parameter.KEYWORD_ONLY, annotation=annotation, default=default)


def _describe(dependant: Any, *, root: bool = False) -> Dependency:  # noqa: ANN401 - FastAPI's, of any version
    takes = (*_fields(dependant), *_objects(dependant))
    return Dependency(
        name="" if root else dependant.name or "",
        call=dependant.call,
        kind=kind_of(dependant.call),
        use_cache=dependant.use_cache,
        reads=tuple((name, thing) for name, thing in takes if thing not in _WITHOUT_REQUEST),
        special=bool(takes),
        ruled=any(getattr(dependant, name, None) for name in _RULES),
        dependencies=tuple(_describe(sub) for sub in dependant.dependencies),
        dependant=dependant,
    )


_RULES = (
    "scope",  # Depends(scope="function"), since 0.121
    "concurrency",  # Depends(max_concurrency=3), since 0.163
    "own_oauth_scopes",  # Security(f, scopes=["a"]), since 0.123
    "parent_oauth_scopes",
    "security_scopes",  # both, before
)
"""The attributes of `Dependant` that say more about when something is called and closed."""


def _fields(dependant: Any) -> Iterator[tuple[str, str]]:  # noqa: ANN401 - FastAPI's, of any version
    for place in (*FIELDS, "body"):
        for field in getattr(dependant, f"{place}_params"):
            yield field.name, f"{place.capitalize()} {field.name}"


def _objects(dependant: Any) -> Iterator[tuple[str, str]]:  # noqa: ANN401 - FastAPI's, of any version
    for attribute, thing in OBJECTS.items():
        if name := getattr(dependant, attribute):
            yield name, thing


def kind_of(call: Callable[..., object]) -> Kind:
    """Return how FastAPI calls the dependency *call*, by the rules of its newest version.

    Partials and wrappers are looked through; a callable object is what its `__call__` is.
    """
    faces = list(_faces(call))
    if any(inspect.isasyncgenfunction(face) for face in faces):
        return "async_generator"
    if any(inspect.isgeneratorfunction(face) for face in faces):
        return "generator"
    return "coroutine" if any(map(iscoroutinefunction, faces)) else "function"


def _faces(call: object) -> Iterator[object]:
    for face in (_bare(call), inspect.unwrap(_bare(call))):  # type: ignore[arg-type]  # a callable
        yield face
        if not inspect.isclass(face):
            called = _bare(face.__call__)  # type: ignore[operator]  # a callable
            yield called
            yield inspect.unwrap(called)  # type: ignore[arg-type]  # a callable


def _bare(call: object) -> object:
    while isinstance(call, functools.partial):
        call = call.func
    return call


def input_kinds(dependant: Any) -> dict[str, InputKind]:  # noqa: ANN401 - FastAPI's, of any version
    """Return what each parameter of an endpoint is.

    Args:
        dependant: The `dependant` of its route.
    """
    kinds: dict[str, InputKind] = {}
    for place in FIELDS:
        kinds |= {field.name: "data" for field in getattr(dependant, f"{place}_params")}
    for field in dependant.body_params:
        kinds[field.name] = "UploadFile" if _holds_upload(field.field_info.annotation) else "data"
    kinds |= {name: "request" for name, _ in _objects(dependant)}
    for sub in dependant.dependencies:
        # One of `@app.post(dependencies=[...])` fills no parameter.
        if sub.name is not None:
            yields = any(each.kind.endswith("generator") for each in _describe(sub).walk())
            kinds[sub.name] = "yield-dependency" if yields else "dependency"
    return kinds


def _holds_upload(annotation: object) -> bool:
    """Whether a value of this type is, or contains, an uploaded file."""
    if isinstance(annotation, type) and issubclass(annotation, parts().upload):
        return True
    fields = getattr(annotation, "model_fields", {})  # a form as a pydantic model
    return any(map(_holds_upload, (*get_args(annotation), *(field.annotation for field in fields.values()))))
