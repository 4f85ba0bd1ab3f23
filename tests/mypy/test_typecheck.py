"""`fastapi-chain typecheck` against the same programs, with every checker."""

import ast
import re
import sys
import types

import pytest

from fastapi_chain import DeclarationError, chain, chains, default_registry, task
from fastapi_chain.typecheck import CHECKERS, check_types, run

FLOWS = re.compile(
    r"(Task|Endpoint) '.*' (returns|gives|runs for each item and gives) .*, but task '.*' takes .* as .*\."
)
NOT_NAMED = {"loc_one", "loc_two", "lop_lop_one", "lop_lop_two", "f_one", "f_two"}
"""Tasks that are made inside a function or a loop."""


@pytest.fixture(scope="module")
def imported(tmp_path_factory, tools):
    """All programs, imported as far as they can be: their tasks, what was refused, and their chains."""
    project = tools.Project(tmp_path_factory.mktemp("typecheck"), tmp_path_factory.mktemp("unused"))
    project.write({name: text for program in (*tools.MISTAKES, *tools.CORRECT) for name, text in program.files.items()})
    made, refused = set(), set()
    with pytest.MonkeyPatch.context() as patch, default_registry.emptied():
        patch.setattr(chains, "all_chains", made)
        patch.syspath_prepend(project.folder)
        patch.chdir(project.folder)
        for program in (*tools.MISTAKES, *tools.CORRECT):
            path = project.folder / list(program.files)[-1]
            module = types.ModuleType(path.stem)
            patch.setitem(sys.modules, path.stem, module)
            flags = tools.compiler_flags(path)
            for statement in ast.parse(path.read_text()).body:
                code = compile(ast.Module([statement], []), str(path), "exec", flags, dont_inherit=True)
                try:
                    exec(code, vars(module))
                except DeclarationError as error:
                    refused.add(error.problem())
                except (TypeError, NameError):
                    continue  # in want of what was refused
        yield (
            dict(default_registry._own),
            refused,
            sorted(made, key=lambda chain: (chain.source.file, chain.source.line)),
        )


@pytest.mark.timeout(180)
@pytest.mark.parametrize("checker", CHECKERS)
def test_every_checker_finds_what_flows_wrongly(checker, imported, tools, monkeypatch):
    """Each of the four finds all values that do not fit, at their lines and nowhere else; start-up finds the rest."""
    tasks, refused, found = imported
    monkeypatch.setattr(default_registry, "_own", tasks)  # every test gets an empty one
    report = check_types(found, checker, [str(tools.ROOT)])
    got = {(finding.file.rpartition("/")[2], finding.line, finding.message) for finding in report.findings}
    marks = [mark for program in tools.MISTAKES for mark in program.marks("EPS")]
    flows = {(mark.file, mark.line, mark.text) for mark in marks if FLOWS.fullmatch(mark.text)}
    said_at_start = {problem.problem() for problem in report.problems}
    assert got <= flows
    assert {text for _, _, text in flows - got} <= said_at_start
    assert len(got) >= 48
    assert {mark.text for mark in marks if mark.kind in "ES"} <= {text for *_, text in got} | said_at_start | refused
    assert set(report.left_out) == NOT_NAMED
    assert report.tasks > 300


def test_what_is_written_out(tmp_path, monkeypatch, tools):
    """Problems of start-up in full, then each finding with its place and the checker's own words, then a summary."""
    (tmp_path / "orders.py").write_text(
        tools.dedented("""
            from fastapi_chain import chain, task
            @task
            def total() -> int:
                return 1
            @task(after=[total])
            def bill(
                total: str,
            ) -> None: ...
            @task(after=["sent"])
            def thank() -> None: ...
            wrong = chain(bill, thank, name="orders")
            right = chain(total)
        """)
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    import orders  # noqa: PLC0415

    texts = []
    assert run([orders.wrong], "mypy", texts.append, [str(tools.ROOT)]) == 1
    assert "\n".join(texts) == tools.dedented(f"""\
        Task 'thank' runs after 'sent', but chain 'orders' has no such task.
            declared at   orders.py:10
            tasks known   total, bill, thank
        Fix: import the module that defines 'sent' before the app starts
        See errors#unknown-task
        {tmp_path}/orders.py:8: Task 'total' returns int, but task 'bill' takes 'total' as str.
            mypy: Argument "total" to "__call__" of "Task" has incompatible type "int"; expected "str"
        2 problems in 3 tasks, checked with mypy""")
    texts.clear()
    assert run([orders.right], "mypy", texts.append, [str(tools.ROOT)]) == 0
    assert texts == ["0 problems in 1 task, checked with mypy"]
    sys.modules.pop("orders")


def test_a_checker_that_is_not_there():
    """The command ends with 2 and says what to install."""

    @task
    def one() -> int:
        return 1

    texts = []
    assert run([chain(one)], "pytype", texts.append) == 2
    assert texts == ["there is no checker 'pytype': choose one of mypy, pyright, ty, pyrefly"]
