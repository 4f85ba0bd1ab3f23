"""The limits on the size and shape of the code: what exceeds one of them is listed by file, name and number."""

import ast
import importlib.util
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

import fastapi_chain

PACKAGE = Path(fastapi_chain.__file__).parent
FILES = sorted(PACKAGE.rglob("*.py"))
TREES = {str(path.relative_to(PACKAGE)): ast.parse(path.read_text()) for path in FILES}

MAX_BODY_LINES = 50
MAX_COMPLEXITY = 10
MAX_PUBLIC_METHODS = 15
MAX_FILE_LINES = 400

FunctionNode = ast.FunctionDef | ast.AsyncFunctionDef


def functions(tree: ast.AST, inside: str = "") -> Iterator[tuple[str, FunctionNode]]:
    """Yield every function of a file, however deeply nested, with its qualified name."""
    for node in ast.iter_child_nodes(tree):
        name = f"{inside}.{node.name}".lstrip(".") if isinstance(node, FunctionNode | ast.ClassDef) else inside
        if isinstance(node, FunctionNode):
            yield name, node
        yield from functions(node, name)


ALL_FUNCTIONS = [(file, name, node) for file, tree in TREES.items() for name, node in functions(tree)]


def assert_none(problems: Iterable[str]) -> None:
    """Fail with all *problems*, one a line."""
    if found := list(problems):
        pytest.fail("\n".join(found), pytrace=False)


def body_lines(node: FunctionNode) -> int:
    """Return the number of lines from the first statement to the last, the docstring not counted."""
    body = node.body[1:] if ast.get_docstring(node, clean=False) is not None else node.body
    return (body[-1].end_lineno or 0) - body[0].lineno + 1 if body else 0


def is_public_method(node: ast.stmt) -> bool:
    """Tell whether *node* is a method that users may call; a property is an attribute to them, an overload a hint."""
    if not isinstance(node, FunctionNode) or node.name.startswith("_"):
        return False
    decorators = {ast.unparse(decorator).rpartition(".")[2] for decorator in node.decorator_list}
    return not decorators & {"property", "cached_property", "setter", "overload"}


def test_function_bodies_are_short() -> None:
    """No function has more than 50 lines below its docstring."""
    assert_none(
        f"{file}: {name}: {lines} lines"
        for file, name, node in ALL_FUNCTIONS
        if (lines := body_lines(node)) > MAX_BODY_LINES
    )


def test_functions_are_simple() -> None:
    """No function has a cyclomatic complexity above 10, and none is exempt: neither by a comment nor by a setting."""
    options = ["--isolated", "--select=C901", f"--config=lint.mccabe.max-complexity={MAX_COMPLEXITY}", "--ignore-noqa"]
    command = [sys.executable, "-m", "ruff", "check", *options, "--output-format=concise", "--quiet", str(PACKAGE)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("", "")


def test_classes_are_small() -> None:
    """No class has more than 15 public methods of its own."""
    assert_none(
        f"{file}: {node.name}: {len(names)} public methods"
        for file, tree in TREES.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef)
        if len(names := [child.name for child in node.body if is_public_method(child)]) > MAX_PUBLIC_METHODS
    )


def test_files_are_short() -> None:
    """No file has more than 400 lines."""
    assert_none(
        f"{path.relative_to(PACKAGE)}: {lines} lines"
        for path in FILES
        if (lines := len(path.read_text().splitlines())) > MAX_FILE_LINES
    )


def test_nothing_hides_behind_type_checking() -> None:
    """`TYPE_CHECKING` is nowhere used: hints are resolved at run time, and it hides import cycles."""
    assert_none(
        f"{path.relative_to(PACKAGE)}:{number}"
        for path in FILES
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if "TYPE_CHECKING" in line
    )


def module_name(file: str) -> str:
    """Return the dotted name of the module in *file*."""
    parts = ("fastapi_chain", *Path(file).with_suffix("").parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_name(file): file for file in TREES}


def own_ancestors(module: str) -> list[str]:
    """Return the packages that *module* lies in."""
    parts = module.split(".")
    return [".".join(parts[:end]) for end in range(1, len(parts))]


def imported_names(module: str) -> Iterator[str]:
    """Yield what *module* imports anywhere in its file, function bodies included, as absolute dotted names."""
    is_package = MODULES[module].endswith("__init__.py")
    package = module if is_package else module.rpartition(".")[0]
    for node in ast.walk(TREES[MODULES[module]]):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = importlib.util.resolve_name("." * node.level + (node.module or ""), package)
            names = (f"{base}.{alias.name}" for alias in node.names)
            yield from (name if name in MODULES else base for name in names)


def imports(module: str) -> set[str]:
    """Return the modules of ours that run when *module* is imported: `import a.b` runs the head of `a` as well."""
    named = {name for name in imported_names(module) if name in MODULES}
    # The heads of the packages around it have begun to run before the module has.
    return named.union(set().union(*map(own_ancestors, named)) - {module, *own_ancestors(module)})


def reachable(start: str, graph: dict[str, set[str]]) -> set[str]:
    """Return everything that *start* leads to; *start* itself only if it is part of a cycle."""
    seen: set[str] = set()
    queue = [start]
    while queue:
        new = graph[queue.pop()] - seen
        seen |= new
        queue += new
    return seen


def test_there_is_no_import_cycle() -> None:
    """No module leads back to itself, through imports in function bodies and the heads of packages neither."""
    graph = {module: imports(module) for module in MODULES}
    assert_none(module for module in graph if module in reachable(module, graph))


def test_nothing_is_imported_inside_a_function() -> None:
    """Our own modules are imported at the head of a file: elsewhere an import hides what depends on what."""
    assert_none(
        f"{file}:{node.lineno}: {name}"
        for file, name, function in ALL_FUNCTIONS
        for node in ast.walk(function)
        if (isinstance(node, ast.ImportFrom) and (node.level or str(node.module).startswith("fastapi_chain")))
        or (isinstance(node, ast.Import) and any(alias.name.startswith("fastapi_chain") for alias in node.names))
    )
