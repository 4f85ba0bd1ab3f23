"""Modules as the plugin reads them itself: with what mypy drops."""

import ast

import pytest
from mypy.nodes import GDEF, MypyFile, SymbolTable, SymbolTableNode, TypeAlias
from mypy.types import AnyType, TypeOfAny

from fastapi_chain.mypy_plugin.metadata import Marks, Metadata
from fastapi_chain.mypy_plugin.source import Source, Sources


@pytest.mark.parametrize("text", ["x = (", "x = 1\0"])
def test_what_python_itself_cannot_read_is_no_source(text):
    """A file in the syntax of a newer Python, for instance: the plugin runs on the Python of mypy."""
    assert Source.parse(text) is None


def test_a_function_is_found_by_name_and_line():
    """One name may stand for several functions: then the line decides."""
    source = Source.parse("def a(): ...\ndef b(): ...\nclass C:\n    def a(self): ...\n")
    assert source is not None
    found = source.function("a", 1), source.function("a", 4), source.function("a", 9), source.function("b", 9)
    assert [node and node.lineno for node in found] == [1, 4, None, 2]


def test_what_others_see_of_a_module_and_mypy_does_not(tmp_path):
    """Names that hold a call or a marker are part of a module's interface; without a file, or Python, nothing is."""
    path = tmp_path / "deps.py"
    path.write_text(
        "Db = Annotated[Session, Depends(get_session)]\nD = Depends\nx = 1\nAnnotated\nM = (\n  Query(1))\n"
    )
    (tmp_path / "broken.py").write_text("Db = Annotated[")
    (tmp_path / "plain.py").write_text("def f(x: Annotated[int, Depends(g)] = 1): ...\nif x == Depends: ...\n")
    sources = Sources({})
    assert sources.interface(str(path)) == {
        "Db": "Annotated[Session, Depends(get_session)]",
        "D": "Depends",
        "M": "Query(1)",
    }
    assert sources.interface(str(tmp_path / "plain.py")) == {}
    assert sources.interface(str(tmp_path / "missing.py")) == {}
    assert sources.interface(str(tmp_path / "broken.py")) == {}


def test_an_alias_without_a_source_is_unknown():
    """What an alias holds cannot be seen if its module cannot be read: then a parameter may be injected or not."""
    tree = MypyFile([], [])
    tree._fullname = "lib"
    tree.path = "missing.py"
    tree.names = SymbolTable()
    alias = TypeAlias(AnyType(TypeOfAny.special_form), "lib.Dep", "lib", -1, -1)
    tree.names["Dep"] = SymbolTableNode(GDEF, alias)
    metadata = Metadata(Sources({}), {"lib": tree})
    assert metadata.marks("lib", ast.Name("Dep")) == Marks(unknown=True)
    assert metadata.resolve("lib", ast.Attribute(ast.Name("Dep"), "inner")) is None


def test_an_annotation_that_is_no_expression_says_nothing():
    """That is for mypy itself to report."""
    metadata = Metadata(Sources({}), {})
    assert metadata.marks("lib", ast.Constant("in fact, a sentence")) == Marks()
