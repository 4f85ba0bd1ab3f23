"""What is FastAPI's and how it is called; the error for a FastAPI that looks different."""

import asyncio
import functools
import inspect
import subprocess
import sys
from collections.abc import Iterator
from typing import Annotated, Any

import pytest
from fastapi import (
    BackgroundTasks,
    Body,
    Cookie,
    Depends,
    File,
    Form,
    Header,
    Path,
    Query,
    Request,
    Response,
    Security,
    UploadFile,
    WebSocket,
    dependencies,
    routing,
)
from fastapi.responses import JSONResponse
from fastapi.security import SecurityScopes
from pydantic import Field
from starlette.requests import HTTPConnection
from typing_extensions import TypeAliasType

from fastapi_chain._fastapi import (
    commits_before_response,
    fastapi_version,
    injection_marker,
    is_injected,
    kind_of,
    read_params,
)
from fastapi_chain._fastapi.parts import parts
from fastapi_chain.declare.signature import read
from fastapi_chain.errors import ChainError


def get() -> int:
    return 1


@pytest.mark.parametrize(
    "marker",
    [
        Depends(get),
        Depends(),
        Security(get, scopes=["a"]),
        Header(),
        Query(),
        Path(),
        Cookie(),
        Body(),
        Form(),
        File(),
    ],
    ids=lambda marker: type(marker).__name__,
)
def test_every_object_of_fastapi_marks_a_parameter(marker):
    """In `Annotated` and as a default, among other metadata."""
    assert injection_marker(int, ("note", marker, Field(gt=1)), inspect.Parameter.empty) is marker
    assert injection_marker(int, (), marker) is marker


@pytest.mark.parametrize(
    ("annotation", "is_marked"),
    [
        (Request, True),
        (HTTPConnection, True),
        (WebSocket, True),
        (Response, True),
        (JSONResponse, True),  # FastAPI takes subclasses
        (BackgroundTasks, True),
        (SecurityScopes, True),
        (UploadFile, False),  # a value
        (int, False),
        (Request | None, False),  # FastAPI does not know it either
        ("Request", False),  # a name that could not be resolved
        (Any, False),
    ],
)
def test_some_types_mark_a_parameter(annotation, is_marked):
    """A type that belongs to the request is its own marker."""
    assert injection_marker(annotation, (), 1) is (annotation if is_marked else None)
    assert is_injected(annotation, (), 1) is is_marked


def test_the_last_object_counts():
    """Of several in `Annotated` FastAPI takes the last."""
    first, last = Depends(get), Header()
    assert injection_marker(int, (first, last), 1) is last


def test_fastapi_is_not_imported_to_answer():
    """As long as nobody has imported it, no parameter can be FastAPI's; and importing our part does not."""
    code = (
        "import sys\n"
        "from fastapi_chain._fastapi import injection_marker\n"
        "import fastapi_chain.execute.inject\n"
        "assert injection_marker(int, ('note',), 1) is None\n"
        "assert not {'fastapi', 'starlette'} & set(sys.modules)\n"
        "import starlette.requests\n"
        "assert injection_marker(starlette.requests.Request, (), 1) is starlette.requests.Request\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


async def coroutine() -> None: ...


def generator() -> Iterator[None]:
    yield


async def async_generator():
    yield


class Plain:
    def __call__(self) -> None: ...

    async def method(self) -> None: ...


class Coroutine:
    async def __call__(self) -> None: ...


class Generator:
    def __call__(self):
        yield


class AsyncGenerator:
    async def __call__(self):
        yield


def wrapping(fn: Any) -> Any:
    @functools.wraps(fn)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        return fn(*args, **kwargs)

    return wrapper


@pytest.mark.parametrize(
    ("call", "kind"),
    [
        (get, "function"),
        (coroutine, "coroutine"),
        (generator, "generator"),
        (async_generator, "async_generator"),
        (Plain, "function"),  # its constructor
        (Coroutine, "function"),
        (Plain(), "function"),
        (Coroutine(), "coroutine"),
        (Generator(), "generator"),
        (AsyncGenerator(), "async_generator"),
        (Plain().method, "coroutine"),
        (functools.partial(coroutine), "coroutine"),
        (functools.partial(functools.partial(generator)), "generator"),
        (functools.partial(AsyncGenerator()), "async_generator"),
        (wrapping(coroutine), "coroutine"),
        (wrapping(functools.partial(async_generator)), "async_generator"),
        (functools.partial(wrapping(generator)), "generator"),
        (len, "function"),
    ],
)
def test_a_dependency_is_called_as_the_newest_fastapi_calls_it(call, kind):
    """Partials and wrappers are looked through, and a callable object is what its `__call__` is."""
    assert kind_of(call) == kind


def test_a_parameter_is_told_to_fastapi_as_the_user_wrote_it():
    """Defaults, aliases of types and names that nobody can resolve reach every version in a form that it reads."""
    DbDep = TypeAliasType("DbDep", Annotated[int, Depends(get)])

    def task(
        a: Annotated[int, Depends(get)],
        b: DbDep,
        c: int = Depends(get),
        d: "Unknown" = Depends(get),  # noqa: F821 - what is tested
        e: Annotated[int, Header()] = 3,
        *,
        f: int = Query(4),
        g: Request,
    ) -> None: ...

    root = read_params(read(task).params)
    assert [(below.name, below.call) for below in root.dependencies] == [(name, get) for name in "abcd"]
    assert root.reads == (("f", "Query f"), ("e", "Header e"), ("g", "Request"))
    assert root.dependant.header_params[0].default == 3
    assert root.dependant.query_params[0].default == 4


@pytest.fixture
def unprobed() -> Iterator[None]:
    """Let FastAPI be probed anew, before and after."""
    parts.cache_clear()
    yield
    parts.cache_clear()


def unknown(what: str) -> str:
    return (
        f"This FastAPI is unknown to fastapi_chain: {what}.\n"
        f"    installed   fastapi=={fastapi_version()}\n"
        "    supported   fastapi>=0.115,!=0.137.0,!=0.137.1\n"
        "Fix, one of:\n"
        "  - pip install --upgrade fastapi-chain\n"
        "  - pip install 'fastapi==0.165.0'\n"
        "See errors#chain-error"
    )


@pytest.mark.usefixtures("unprobed")
def test_a_fastapi_without_one_of_its_parts_is_an_error(monkeypatch):
    """What is missing is named."""
    monkeypatch.delattr(dependencies.utils, "solve_dependencies")
    with pytest.raises(ChainError) as caught:
        parts()
    assert str(caught.value).startswith(
        "This FastAPI is unknown to fastapi_chain: cannot import name 'solve_dependencies' from "
        "'fastapi.dependencies.utils'"
    )
    assert isinstance(caught.value.__cause__, ImportError)


@pytest.mark.usefixtures("unprobed")
@pytest.mark.parametrize(
    "parameters",
    [
        "request, dependant, dependency_overrides_provider, async_exit_stack",  # one less
        "request, dependant, dependency_overrides_provider, async_exit_stack, embed_body_fields, more",
    ],
)
def test_a_solver_that_takes_something_else_is_an_error(monkeypatch, parameters):
    """A parameter less, or one more that we do not know, is noticed before the first call."""
    scope: dict[str, Any] = {}
    exec(f"async def solve_dependencies({parameters}): ...", scope)
    monkeypatch.setattr(dependencies.utils, "solve_dependencies", scope["solve_dependencies"])
    with pytest.raises(ChainError) as caught:
        parts()
    assert str(caught.value) == unknown(f"solve_dependencies() takes {parameters}")


@pytest.mark.usefixtures("unprobed")
def test_a_description_without_an_attribute_is_an_error(monkeypatch):
    """All attributes that we read are looked for at once."""

    class Dependant:
        def __init__(self, *, path: str, call: Any) -> None:
            self.path_params = self.query_params = self.header_params = self.cookie_params = self.dependencies = ()
            self.name = self.call = self.use_cache = self.request_param_name = self.http_connection_param_name = None
            self.websocket_param_name = self.response_param_name = self.background_tasks_param_name = None

    monkeypatch.setattr(dependencies.utils, "get_dependant", Dependant)
    with pytest.raises(ChainError) as caught:
        parts()
    assert str(caught.value) == unknown("Dependant has no body_params, security_scopes_param_name")


@pytest.mark.usefixtures("unprobed")
def test_flat_routes_need_no_walk(monkeypatch):
    """Before 0.137 an app's list of routes is flat; then there is nothing to ask FastAPI for."""
    monkeypatch.delattr(routing, "iter_route_contexts", raising=False)
    assert list(parts().route_contexts([1, 2])) == [1, 2]


@pytest.mark.parametrize(
    ("version", "before"),
    [
        ("0.115.0", True),
        ("0.117.1", True),
        ("0.118.0", False),
        ("0.118.0rc1", False),
        ("0.165.0", False),
        ("1.0.0", False),
    ],
)
def test_the_version_says_when_dependencies_are_closed(monkeypatch, version, before):
    """The order changed with 0.118, and a stack that is missing later is an error, not a way back."""
    monkeypatch.setattr("fastapi.__version__", version)
    # The answer is kept, since every request asks: here the function itself is asked.
    assert commits_before_response.__wrapped__() is before


def test_hand_marked_coroutines_are_known():
    """A callable that is marked as `async` by hand is awaited, on every Python by its own mark."""

    def marked() -> Any:
        return coroutine()

    if sys.version_info >= (3, 13):
        inspect.markcoroutinefunction(marked)
    else:
        marked._is_coroutine = asyncio.coroutines._is_coroutine
    assert kind_of(marked) == "coroutine"
