"""The tree of errors as a whole: its drawing, its pickles, its page in the docs."""

import copy
import inspect
import pickle
import re
import traceback
from pathlib import Path

import pytest

import fastapi_chain.errors
from fastapi_chain.errors import ChainError, DeclarationError, GeneratorTask, RetryAfter, RunError, Skip, TaskTimeout
from fastapi_chain.spec import Source

PAGE = Path(__file__).parents[3] / "docs" / "errors.md"
BUILTIN = (TypeError, ValueError, RuntimeError, TimeoutError)


def walk(cls: type[ChainError]) -> list[type[ChainError]]:
    """Return *cls* and everything below it."""
    return [cls, *(below for child in children(cls) for below in walk(child))]


def children(cls: type[ChainError]) -> list[type[ChainError]]:
    """Return the direct subclasses of *cls* that the library defines, in their order."""
    return [child for child in cls.__subclasses__() if child.__module__ == "fastapi_chain.errors"]


def drawing(cls: type[ChainError], lead: str = "", below: str = "") -> list[str]:
    """Draw *cls* and everything below it."""
    inherited = [base for base in BUILTIN if base in cls.__bases__]
    lines = [lead + cls.__name__ + "".join(f" (also {base.__name__})" for base in inherited)]
    for child in children(cls):
        last = child is children(cls)[-1]
        lines += drawing(child, below + ("└── " if last else "├── "), below + ("    " if last else "│   "))
    return lines


def sections() -> dict[str, str]:
    """Return each section of the page by its anchor."""
    _, *parts = re.split(r"^#+ .*\{ #([\w-]+) \}$", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return dict(zip(parts[::2], parts[1::2], strict=True))


def shown(error: ChainError) -> str:
    """Return *error* as the last lines of a traceback, without the module's name."""
    return "".join(traceback.format_exception_only(error)).removeprefix("fastapi_chain.errors.").rstrip()


ALL = walk(ChainError)


def test_the_drawing_shows_the_tree():
    """The docstring of the module draws exactly the classes that there are."""
    doc = inspect.getdoc(fastapi_chain.errors)
    drawn = [line[4:].partition(":")[0] for line in doc.splitlines() if re.match(r"    [C│├└ ]", line)]

    assert drawn == drawing(ChainError)


@pytest.mark.parametrize("cls", ALL)
def test_every_class_is_exported(cls):
    """Every error can be imported from `fastapi_chain.errors`, and says so in a traceback."""
    assert cls.__name__ in fastapi_chain.errors.__all__
    assert getattr(fastapi_chain.errors, cls.__name__) is cls


def test_the_codes_are_unique():
    """No two classes share an anchor."""
    codes = [cls.code for cls in ALL]

    assert sorted(codes) == sorted(set(codes))


def test_the_page_has_a_section_for_every_code():
    """docs/errors.md has exactly one anchor for each code, and none besides."""
    assert sorted(sections()) == sorted(cls.code for cls in ALL)


@pytest.mark.parametrize("cls", ALL)
def test_the_page_shows_what_is_printed(cls, samples):
    """The text in a section is the very text of the error, followed by its cause and cure in words."""
    section = sections()[cls.code]

    block, words = re.fullmatch(r"\n+```text\n(.*?)\n```\n(.*)", section, flags=re.DOTALL).groups()

    assert block == shown(samples[cls])
    assert words.strip()


@pytest.mark.parametrize("cls", ALL)
def test_an_error_survives_pickling(cls, samples):
    """An error that comes out of a pickle is of the same class and says the same."""
    error = samples[cls]

    again = pickle.loads(pickle.dumps(error))

    assert type(again) is cls
    assert str(again) == str(error)
    assert again.problem() == error.problem()
    assert vars(again).keys() == vars(error).keys() | {"_text"}


@pytest.mark.parametrize("cls", ALL)
def test_an_error_names_its_page_last(cls, samples):
    """The last line of an error says where it is explained."""
    assert str(samples[cls]).endswith(f"See errors#{cls.code}") or cls.code == "invalid-chain"


def test_what_cannot_be_pickled_is_dropped():
    """An object that cannot be pickled, or cannot be unpickled, does not stop the error from being pickled."""

    class Declined(Exception):
        """An exception with a keyword, as users write them: it cannot be unpickled."""

        def __init__(self, *, amount: int) -> None:
            super().__init__(amount)

    error = RunError(what="The payment failed.")
    error.hook, error.cause, error.amount = (lambda: None), Declined(amount=3), 3

    again = pickle.loads(pickle.dumps(error))

    assert (again.hook, again.cause, again.amount) == (None, None, 3)
    assert str(again) == str(error)


def test_the_text_does_not_move_with_the_working_directory(tmp_path, monkeypatch):
    """A pickled error keeps its text where another process, in another directory, would print other paths."""
    error = GeneratorTask(task=Source(name="export_rows", file=str(Path.cwd() / "shop" / "tasks.py"), line=60))
    text, pickled = str(error), pickle.dumps(error)
    assert "   shop/tasks.py:60\n" in text

    monkeypatch.chdir(tmp_path)

    assert str(pickle.loads(pickled)) == text
    assert str(pickle.loads(pickle.dumps(pickle.loads(pickled)))) == text


def test_notes_survive_pickling_and_copying():
    """What `add_note` added is still there."""
    error = TaskTimeout(task="save", seconds=1, attempt=1, max_attempts=1)
    error.add_note("raised by task 'save', attempt 1 of 1, run 7f3a")

    assert pickle.loads(pickle.dumps(error)).__notes__ == error.__notes__
    assert copy.copy(error).__notes__ == error.__notes__


def test_repr_is_short():
    """The repr of an error is its class and first line."""
    assert repr(DeclarationError(what="No.", rows=[("a", "b")])) == "DeclarationError('No.')"


def test_errors_are_equal_only_to_themselves():
    """Two errors that say the same are two errors, and can be in a set."""
    one, other = (TaskTimeout(task="save", seconds=1, attempt=1, max_attempts=1) for _ in "ab")

    assert one != other
    assert len({one, other}) == 2


@pytest.mark.parametrize(
    ("signal", "text", "state"),
    [
        (Skip(), "", {"reason": ""}),  # no reason
        (Skip("no rows"), "no rows", {"reason": "no rows"}),
        (RetryAfter(1.5), "try again in 1.5 s", {"seconds": 1.5}),
    ],
)
def test_signals(signal, text, state):
    """What steers a chain says so, survives pickling, and is no error of the library."""
    again = pickle.loads(pickle.dumps(signal))

    assert type(again) is type(signal)
    assert str(again) == str(signal) == text
    assert vars(again) == vars(signal) == state
    assert not isinstance(signal, ChainError)
