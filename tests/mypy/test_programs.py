"""The plugin against all programs: planted mistakes are found at their lines, correct programs are left in peace."""

import pytest


@pytest.fixture(scope="session")
def findings(tmp_path_factory, shared_cache, tools):
    """What mypy says about all programs, in one run."""
    project = tools.Project(tmp_path_factory.mktemp("programs"), shared_cache)
    project.configure()
    files = {name: text for program in (*tools.MISTAKES, *tools.CORRECT) for name, text in program.files.items()}
    project.write(files)
    found = tools.errors(project.mypy(*files, "shop.py"))
    return {error for error in found if error[0] in files or error[0] == "shop.py"}


def test_planted_mistakes_are_found_at_their_lines(mistake, findings):
    """Every mistake is reported where it was planted, in the planned words, and nothing else is."""
    marks = mistake.marks("EPN")
    wanted = {(m.file, m.line, "chain-flow" if m.kind in "EP" else m.text) for m in marks}
    texts = {(m.file, m.line, m.text) for m in marks if m.kind in "EP"}
    own = [error for error in findings if error[0] in mistake.files]
    assert {(file, line, code) for file, line, _, code in own} == wanted
    assert {(file, line, text) for file, line, text, code in own if code == "chain-flow"} == texts


def test_correct_programs_are_left_in_peace(correct, findings, tools):
    """Nothing is reported for a program without mistakes."""
    if correct.least > tools.mypy_version():
        pytest.skip("this mypy does not understand it")
    assert [error for error in findings if error[0] in correct.files] == []


def test_there_are_programs_enough(tools):
    """The tables hold what was promised: 60 mistakes that each of the three checks finds, and 80 correct programs.

    `E` is what plugin, start-up and typecheck have to find: the latter two in test_startup.py and test_typecheck.py.
    """
    everywhere = [mark for program in tools.MISTAKES for mark in program.marks("E")]
    assert len({(mark.file, mark.line, mark.text) for mark in everywhere}) >= 90
    assert len([mark for program in tools.MISTAKES for mark in program.marks("EPN")]) >= 115
    assert len({tuple(program.files.values()) for program in tools.CORRECT}) >= 110
