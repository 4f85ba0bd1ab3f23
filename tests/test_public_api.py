"""What is public: names, stub, docstrings, hints, the codes of errors, and what an import costs."""

import ast
import importlib
import inspect
import itertools
import pkgutil
import re
import subprocess
import sys
import types
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import fastapi_chain
from fastapi_chain.errors import ChainError

ROOT = Path(__file__).parent.parent
PACKAGE = Path(fastapi_chain.__file__).parent
STUB = PACKAGE / "__init__.pyi"

PUBLIC = {name: getattr(fastapi_chain, name) for name in fastapi_chain.__all__}


def stub_sources() -> dict[str, str]:
    """Return the module that the stub takes each name from."""
    imports = [node for node in ast.parse(STUB.read_text()).body if isinstance(node, ast.ImportFrom)]
    return {
        alias.asname or alias.name: importlib.util.resolve_name("." * node.level + (node.module or ""), "fastapi_chain")
        for node in imports
        for alias in node.names
    }


def own_members(cls: type) -> Iterator[tuple[str, object]]:
    """Yield the public methods and properties that *cls* defines itself."""
    for name, member in vars(cls).items():
        if not name.startswith("_") and isinstance(member, types.FunctionType | property | classmethod | staticmethod):
            yield name, member


def function_of(member: object) -> Any:
    """Return the function behind a method, a property or a bound method."""
    if isinstance(member, property):
        return member.fget
    return getattr(member, "__func__", member)


def callables() -> dict[str, Any]:
    """Return every function that users can call or read a property through, by its dotted name."""
    found = {name: obj for name, obj in PUBLIC.items() if inspect.isroutine(obj)}
    for name, cls in PUBLIC.items():
        if inspect.isclass(cls):
            found |= {f"{name}.{member}": function_of(value) for member, value in own_members(cls)}
    return found


CALLABLES = callables()


def documented_names(path: Path) -> set[str]:
    """Return the names that are assigned at the head of a module, or in a class, with a docstring below."""
    documented: set[str] = set()
    for scope in ast.walk(ast.parse(path.read_text())):
        body = scope.body if isinstance(scope, ast.Module | ast.ClassDef) else []
        for node, below in itertools.pairwise(body):
            if (
                isinstance(below, ast.Expr)
                and isinstance(below.value, ast.Constant)
                and isinstance(below.value.value, str)
            ):
                targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
                documented |= {target.id for target in targets if isinstance(target, ast.Name)}
    return documented


def test_names_are_sorted_and_exist() -> None:
    """`__all__` is sorted, names nothing twice, and `dir` lists all of it."""
    names = list(fastapi_chain.__all__)
    assert names == sorted(set(names))
    assert set(names) <= set(dir(fastapi_chain))


def test_the_stub_declares_the_same_names() -> None:
    """Type checkers see through `__init__.pyi` exactly the names that there are at run time."""
    (declared,) = [
        ast.literal_eval(node.value)
        for node in ast.parse(STUB.read_text()).body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__"
    ]
    assert sorted(declared) == sorted(fastapi_chain.__all__)
    assert set(stub_sources()) == set(fastapi_chain.__all__)


@pytest.mark.parametrize(("name", "module"), stub_sources().items())
def test_the_stub_names_the_right_module(name: str, module: str) -> None:
    """A name of the package is the very object that the stub's module has under that name."""
    assert getattr(importlib.import_module(module), name) is getattr(fastapi_chain, name)


def test_an_unknown_name_is_an_attribute_error() -> None:
    """The lazy part of the package answers for no name but its own."""
    with pytest.raises(AttributeError) as caught:
        _ = fastapi_chain.no_such_name
    assert str(caught.value) == "module 'fastapi_chain' has no attribute 'no_such_name'"


def test_no_module_bears_the_name_of_a_public_object() -> None:
    """No import of a submodule puts a module in the place of a public object."""
    modules = {module.name for module in pkgutil.iter_modules(fastapi_chain.__path__)}
    assert modules & set(fastapi_chain.__all__) == set()


@pytest.mark.parametrize("name", fastapi_chain.__all__)
def test_every_public_name_is_documented(name: str) -> None:
    """A class or function says what it is in its own docstring; an alias or value in the one below its assignment."""
    obj = PUBLIC[name]
    if inspect.isclass(obj):
        assert obj.__dict__.get("__doc__")
    elif inspect.isroutine(obj):
        assert inspect.getdoc(obj)
    else:
        assert name in documented_names(Path(str(importlib.import_module(stub_sources()[name]).__file__)))


@pytest.mark.parametrize("name", CALLABLES)
def test_every_public_member_is_documented(name: str) -> None:
    """A public method or property of a public class says what it does."""
    assert inspect.getdoc(CALLABLES[name])


@pytest.mark.parametrize("name", CALLABLES)
def test_hints_resolve(name: str) -> None:
    """The hints of a public function or method can be resolved at run time, and leave no parameter without one."""
    function = CALLABLES[name]
    hints = typing.get_type_hints(function, include_extras=True)
    parameters = list(inspect.signature(function).parameters)
    assert [parameter for parameter in parameters if parameter not in hints] in ([], ["self"], ["cls"])
    assert "return" in hints


@pytest.mark.parametrize("name", [name for name, obj in PUBLIC.items() if inspect.isclass(obj)])
def test_hints_of_classes_resolve(name: str) -> None:
    """The hints of a public class's fields can be resolved at run time."""
    typing.get_type_hints(PUBLIC[name], include_extras=True)


def all_errors(base: type[ChainError] = ChainError) -> Iterator[type[ChainError]]:
    """Yield every error class of ours, `ChainError` first."""
    yield base
    for cls in base.__subclasses__():
        yield from all_errors(cls)


ERRORS = {cls.__name__: cls for cls in all_errors() if cls.__module__.startswith("fastapi_chain.")}


def test_every_error_is_public() -> None:
    """Users can catch every error of ours by a name from `fastapi_chain`."""
    assert {name: PUBLIC.get(name) for name in ERRORS} == ERRORS


def test_every_error_has_a_code_of_its_own() -> None:
    """No two error classes lead to one section of docs/errors.md, and a code is words joined by hyphens."""
    codes = [cls.code for cls in ERRORS.values()]
    assert sorted(codes) == sorted(set(codes))
    assert [code for code in codes if not re.fullmatch(r"[a-z]+(-[a-z]+)*", code)] == []


def anchors(text: str) -> list[str]:
    """Return the anchors of the sections of a page: `{ #name }` behind a heading, else the heading itself as a slug."""
    headings = re.findall(
        r"^##+ +(.+?) *$", re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE), re.MULTILINE
    )
    explicit = [re.search(r"\{ *#([\w-]+) *\}$", heading) for heading in headings]
    return [
        match[1] if match else re.sub(r"[^\w]+", "-", heading.lower()).strip("-")
        for heading, match in zip(headings, explicit, strict=True)
    ]


def test_every_code_has_its_section() -> None:
    """docs/errors.md has one section for each code, and each section that bears an explicit anchor is for a code."""
    page = (ROOT / "docs" / "errors.md").read_text()
    assert sorted(anchors(page)) == sorted(cls.code for cls in ERRORS.values())


HEAVY = (
    "fastapi",
    "starlette",
    "tenacity",
    "dbos",
    "sqlalchemy",
    "jinja2",
    "graphlay",
    "typer",
    "opentelemetry",
    "mypy",
)


def test_importing_the_package_is_light() -> None:
    """`import fastapi_chain` loads no framework: a worker, mypy and the command line start without waiting for one."""
    code = f"import sys, fastapi_chain; print(*sorted(set({HEAVY!r}) & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


LATER = (
    "tenacity",  # a task that has retries
    "multiprocessing",  # a server that has more than one process
    "pickle",  # an error that is sent to another process
    "anyio.from_thread",  # an idempotent chain on a `def` endpoint
    "fastapi_chain.web.models",  # the router
    "fastapi_chain._drawing",  # somebody who looks at a graph
    "fastapi_chain.engines.durable",  # a database
    "fastapi_chain.dashboard",
)


def test_what_only_some_apps_need_is_loaded_by_those() -> None:
    """`chain` and `install` load what every app needs, and leave the rest to whoever asks for it."""
    code = f"""
import sys, fastapi
before = set(sys.modules)
from fastapi_chain import chain, install
print(*sorted(set({LATER!r}) & (set(sys.modules) - before)))"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
