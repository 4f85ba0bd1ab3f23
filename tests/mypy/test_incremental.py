"""The plugin over a series of edits: cold, from the cache, in parallel workers and in the daemon."""

import os
import shutil
import time
from dataclasses import dataclass

import pytest

FILES = {
    "pk/__init__.py": "",
    "pk/models.py": """
        class Raw: ...
        class Clean: ...
        class Priced(Clean): ...
    """,
    "pk/deps.py": """
        from typing import Annotated
        from fastapi import Depends
        class Session: ...
        def get_session() -> Session: return Session()
        DbDep = Annotated[Session, Depends(get_session)]
    """,
    "pk/a.py": """
        from fastapi_chain import task
        from pk.models import Clean, Priced, Raw
        @task
        async def clean(raw: Raw) -> Priced: return Priced()
        @task
        def lines() -> list[Clean]: return []
        @task
        def ready() -> int: return 1
    """,
    "pk/b.py": """
        from fastapi_chain import task
        from pk import a
        from pk.deps import DbDep
        from pk.models import Clean
        from pk.undo import give_back
        @task(after=[a.clean], undo=give_back)
        async def price(clean: Clean, db: DbDep) -> int: return 1
        @task(each=a.lines)
        def ship(line: Clean) -> int: return 1
    """,
    "pk/undo.py": """
        def give_back(price: int) -> None: ...
    """,
    "pk/alias.py": """
        from typing import Annotated
        from fastapi_chain import From
        from pk.a import clean, ready
        from pk.models import Clean
        Cleaned = Annotated[Clean, From(clean)]
    """,
    "pk/d.py": """
        from typing import Annotated
        from fastapi_chain import From, task
        from pk.a import clean
        from pk.alias import Cleaned
        from pk.models import Clean
        @task
        async def direct(one: Annotated[Clean, From(clean)]) -> int: return 1
        @task
        async def aliased(two: Cleaned) -> int: return 1
    """,
    "pk/e.py": """
        from fastapi_chain import task
        @task(after=["late"])
        def early(late: int) -> int: return late
        @task
        def late() -> int: return 1
    """,
    "pk/c.py": """
        from fastapi_chain import chain
        from pk.b import price, ship
        from pk.models import Raw
        @chain(price, ship)
        async def create(raw: Raw) -> None: ...
        async def main() -> None:
            await chain(price).start(raw=Raw())
    """,
}


@dataclass(frozen=True)
class Edit:
    """An edit, and what is reported because of it, mostly in modules that have not changed."""

    title: str
    file: str
    old: str
    new: str
    found: tuple[str, ...]


EDITS = (
    (
        Edit(
            "a parameter of the endpoint is renamed",
            "pk/c.py",
            "create(raw: Raw)",
            "create(row: Raw)",
            ("pk/c.py:6: error: Nothing provides 'raw', a parameter of task 'clean'.  [chain-flow]",),
        ),
        Edit(
            "a task returns another type",
            "pk/a.py",
            "-> Priced: return Priced()",
            "-> Raw: return raw",
            (
                "pk/b.py:8: error: Task 'clean' returns Raw, but task 'price' takes 'clean' as Clean.  [chain-flow]",
                "pk/d.py:8: error: Task 'clean' returns Raw, but task 'direct' takes 'one' as Clean.  [chain-flow]",
                "pk/d.py:10: error: Task 'clean' returns Raw, but task 'aliased' takes 'two' as Clean.  [chain-flow]",
            ),
        ),
        Edit(
            "a list has other items",
            "pk/a.py",
            "list[Clean]",
            "list[Raw]",
            (
                (
                    "pk/b.py:10: error: Task 'ship' runs for each item of 'lines', "
                    "but none of its parameters certainly takes it.  [chain-flow]"
                ),
            ),
        ),
        Edit(
            "an undo in another module takes another type",
            "pk/undo.py",
            "price: int",
            "price: str",
            ("pk/b.py:7: error: Task 'price' returns int, but task 'give_back' takes 'price' as str.  [chain-flow]",),
        ),
        Edit(
            "a task that is named by a string returns another type",
            "pk/e.py",
            "late() -> int: return 1",
            "late() -> str: return ''",
            ("pk/e.py:4: error: Task 'late' returns str, but task 'early' takes 'late' as int.  [chain-flow]",),
        ),
    ),
    (
        Edit(
            "an input two modules up changes",
            "pk/a.py",
            "clean(raw: Raw)",
            "clean(raw: Clean)",
            (
                (
                    "pk/c.py:6: error: Endpoint 'create' gives 'raw' as Raw, "
                    "but task 'clean' takes it as Clean.  [chain-flow]"
                ),
                (
                    'pk/c.py:8: error: Argument "raw" to "start" of "Chain" has incompatible type "Raw"; '
                    'expected "Clean"  [arg-type]'
                ),
            ),
        ),
        Edit(
            "a base class goes",
            "pk/models.py",
            "Priced(Clean)",
            "Priced(Raw)",
            (
                "pk/b.py:8: error: Task 'clean' returns Priced, but task 'price' takes 'clean' as Clean.  [chain-flow]",
                "pk/d.py:8: error: Task 'clean' returns Priced, but task 'direct' takes 'one' as Clean.  [chain-flow]",
                (
                    "pk/d.py:10: error: Task 'clean' returns Priced, "
                    "but task 'aliased' takes 'two' as Clean.  [chain-flow]"
                ),
            ),
        ),
    ),
    (
        Edit(
            "Depends goes from an alias",
            "pk/deps.py",
            "Annotated[Session, Depends(get_session)]",
            "Annotated[Session, 'a session.......']",
            (
                (
                    "pk/c.py:6: error: Endpoint 'create' starts a chain that needs 'db', "
                    "but does not give it.  [chain-flow]"
                ),
                'pk/c.py:8: error: Missing named argument "db" for "start" of "Chain"  [call-arg]',
            ),
        ),
        Edit(
            "From names another task in an alias",
            "pk/alias.py",
            "From(clean)",
            "From(ready)",
            ("pk/d.py:10: error: Task 'ready' returns int, but task 'aliased' takes 'two' as Clean.  [chain-flow]",),
        ),
    ),
)
MODES = {
    "default": (),
    "old parser, old cache": ("--no-native-parser", "--no-fixed-format-cache", "--no-sqlite-cache"),
    "workers": ("-n", "2"),
    "daemon": (),
}
GROUPS = {
    "default": (0, 1, 2),
    "old parser, old cache": (2,),  # an older mypy has no others: it goes through all
    "workers": (0, 1, 2),
    "daemon": (0, 1),  # it compares aliases without their metadata, and sees no change in group 2
}


class Editor:
    """Edits the files of a project."""

    def __init__(self, folder):
        self._folder = folder
        self._clock = time.time()

    def replace(self, name, old, new):
        path = self._folder / name
        assert old in path.read_text()
        path.write_text(path.read_text().replace(old, new))
        self._clock += 5
        os.utime(path, (self._clock, self._clock))  # mypy compares whole seconds


@pytest.mark.timeout(180)
@pytest.mark.parametrize("mode", MODES)
def test_every_edit_shows(mode, tools, tmp_path, shared_cache):
    """After each edit exactly what is wrong is reported, as if mypy had started anew; and nothing when it is undone."""
    if tools.mypy_version() < (2, 0) and MODES[mode]:
        pytest.skip("this mypy has only one parser, one cache and no workers")
    cache = tmp_path / "cache"
    if mode in {"default", "workers"}:
        shutil.copytree(shared_cache, cache)
    project = tools.Project(tmp_path / "project", cache)
    project.write({name: tools.dedented(text) for name, text in FILES.items()})
    project.configure()
    editor = Editor(project.folder)
    with project.daemon() if mode == "daemon" else project.plain() as check:

        def errors():
            return sorted(line for line in check(*MODES[mode], "-p", "pk") if ": error: " in line)

        assert errors() == []
        for edits in [EDITS[n] for n in GROUPS[mode]]:
            for edit in edits:
                editor.replace(edit.file, edit.old, edit.new)
            wanted = sorted(line for edit in edits for line in edit.found)
            assert errors() == wanted
            if mode == "default":
                assert errors() == wanted  # now from the cache
            for edit in edits:
                editor.replace(edit.file, edit.new, edit.old)
        assert errors() == []
