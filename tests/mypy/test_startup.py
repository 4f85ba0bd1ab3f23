"""The start-up check against the same programs as the plugin, in the same words."""

import ast
import sys
import types

import pytest

from fastapi_chain import ChainError, DeclarationError, InvalidChain, chains


@pytest.fixture(scope="session")
def folder(tmp_path_factory, tools):
    """The folder of all programs, importable."""
    project = tools.Project(tmp_path_factory.mktemp("startup"), tmp_path_factory.mktemp("unused"))
    project.write({name: text for program in (*tools.MISTAKES, *tools.CORRECT) for name, text in program.files.items()})
    return project.folder


@pytest.fixture
def run(folder, monkeypatch, tools):
    """Return a function that runs a program statement by statement and returns all errors."""
    monkeypatch.syspath_prepend(folder)
    for name in ("shop", "up", "postponed"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    made = set()
    monkeypatch.setattr(chains, "all_chains", made)
    monkeypatch.chdir(folder)

    def run(program):
        problems = []
        path = folder / list(program.files)[-1]
        module = types.ModuleType(path.stem)
        monkeypatch.setitem(sys.modules, path.stem, module)  # models look up the names of their module
        names = vars(module)
        for statement in ast.parse(path.read_text()).body:
            code = compile(
                ast.Module([statement], []), str(path), "exec", dont_inherit=True, flags=tools.compiler_flags(path)
            )
            try:
                exec(code, names)
            except (DeclarationError, TypeError) as error:
                problems.append(error)
            except NameError as error:
                if not problems:  # else an earlier mistake did not define it
                    problems.append(error)
        for chain in made:
            try:
                chain.check()
            except InvalidChain as error:
                problems.extend(error.problems)
        return problems

    return run


def elsewhere(mark, texts):
    """Whether start-up names another place: the task that needs something, two tasks of one chain; or none."""
    placeless = not any(".py:" in text for text in texts)
    return placeless or mark.text.startswith(("Nothing provides", "Two tasks of chain"))


def test_planted_mistakes_are_found_in_the_same_words(mistake, run):
    """Every mistake that start-up can see is found there, in the plugin's words, with the place of its function."""
    problems = run(mistake)
    found = {(problem.problem(), str(problem)) for problem in problems if isinstance(problem, ChainError)}
    for mark in mistake.marks("ES"):
        whole = [text for line, text in found if line == mark.text]
        assert whole, (mark, sorted(line for line, _ in found))
        place = f"{mark.file}:{mistake.function_at(mark)}"
        assert any(place in text for text in whole) or elsewhere(mark, whole), (place, whole)


def test_correct_programs_are_left_in_peace(correct, run):
    """Nothing is reported for a program without mistakes."""
    assert [str(problem) for problem in run(correct)] == []
