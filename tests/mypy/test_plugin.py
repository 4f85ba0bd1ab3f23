"""What the plugin says in full, and what it does in odd surroundings."""

import os
import subprocess
import sys
import textwrap

import pytest

WRONG = """
    from shop import *
    @task
    def find() -> int:
        return 1
    @task(after=[find])
    def use(find: str) -> None: ...
"""


def test_the_whole_text_of_each_kind_of_report(project, tools):
    """An error in the words of start-up, then reasons, then the likeliest cure."""
    project.write(
        {
            "app.py": tools.dedented("""
            from shop import *
            @task
            def rows() -> list[Priced]:
                return []
            @task(after=[rows])
            def clean_all(rows: list[Clean]) -> None: ...
            class Shut(Protocol):
                def commit(self) -> None: ...
                def close(self) -> None: ...
            @task
            def session() -> Session:
                return Session()
            @task(after=[session])
            def leave(session: Shut) -> None: ...
            @task
            def receipt_id(order: int) -> int:
                return 1
            @task(after=[receipt_id])
            def send(reciept_id: int) -> None: ...
            @app.post("/")
            @chain(send)
            async def checkout() -> None: ...
        """)
        }
    )
    output = project.mypy("app.py", "--show-column-numbers", "--show-error-end")
    assert [line.replace('"List" is', '"list" is') for line in output] == [  # as mypy 1.11 calls it
        (
            "app.py:7:15:7:31: error: Task 'rows' returns list[Priced], "
            "but task 'clean_all' takes 'rows' as list[Clean].  [chain-flow]"
        ),
        (
            'app.py:7:15:7:31: note: "list" is invariant -- see '
            "https://mypy.readthedocs.io/en/stable/common_issues.html#variance"
        ),
        'app.py:7:15:7:31: note: Consider using "Sequence" instead, which is covariant',
        (
            "app.py:15:11:15:23: error: Task 'session' returns Session, but task 'leave' takes 'session' as Shut."
            "  [chain-flow]"
        ),
        'app.py:15:11:15:23: note: "Session" is missing following "Shut" protocol member:',
        "app.py:15:11:15:23: note:     close",
        "app.py:23:1:23:33: error: Nothing provides 'reciept_id', a parameter of task 'send'.  [chain-flow]",
        "app.py:23:1:23:33: note: Fix: rename it to 'receipt_id'",
        (
            "app.py:23:1:23:33: error: Endpoint 'checkout' starts a chain that needs 'order', but does not give it."
            "  [chain-flow]"
        ),
        "app.py:23:1:23:33: note: Fix: add a parameter to the endpoint: order: int",
    ]


def test_types_stay_good(project, tools):
    """What users see of a task, an endpoint and a run is what the library declares."""
    project.write(
        {
            "app.py": tools.dedented("""
            from shop import *
            @task(retries=3)
            async def one(x: int, *, y: str = "") -> list[int]:
                return []
            @task(each=one)
            def many(item: int) -> str:
                return ""
            @app.post("/")
            @chain(many)
            async def endpoint(x: int) -> Accepted:
                return Accepted()
            async def main(run: Run) -> None:
                reveal_type(await one(1, y=""))
                reveal_type(run[one])
                reveal_type(run[many])
                reveal_type(From(many))
                reveal_type(endpoint)
                number: int = one
        """)
        }
    )
    texts = [line.partition(": ")[2] for line in project.mypy("app.py")]
    assert [text.replace("builtins.", "").replace("typing.", "") for text in texts] == [
        'note: Revealed type is "list[int]"',
        'note: Revealed type is "list[int]"',
        'note: Revealed type is "list[str]"',
        'note: Revealed type is "list[str]"',
        'note: Revealed type is "def (x: int) -> Coroutine[Any, Any, shop.Accepted]"',
        (
            "error: Incompatible types in assignment (expression has type "
            "\"FlowTask[[int, DefaultNamedArg(str, 'y')], Coroutine[Any, Any, list[int]], Flow]\", "
            'variable has type "int")  [assignment]'
        ),
    ]


def test_the_code_can_be_ignored_and_switched_off(project, tools):
    """`# type: ignore[chain-flow]` covers a report with its notes, and an ignore that is not needed is reported."""
    project.write(
        {
            "app.py": tools.dedented("""
            # mypy: warn-unused-ignores
            from shop import *
            @task
            def find() -> int:
                return 1
            @task(after=[find])
            def use(find: str) -> None: ...  # type: ignore[chain-flow]
            @task(after=[find])
            def use_well(find: int) -> None: ...  # type: ignore[chain-flow]
        """)
        }
    )
    assert project.mypy("app.py") == ['app.py:10: error: Unused "type: ignore" comment  [unused-ignore]']
    if tools.mypy_version() >= (1, 19):  # it looked for codes of plugins too early before
        project.write({"off.py": '# mypy: disable-error-code="chain-flow"' + tools.dedented(WRONG)})
        assert project.mypy("off.py") == []


def test_strict_options_are_quiet(project, tools):
    """Under the strictest options there is no `Any` and no untyped decorator to complain about."""
    project.write(
        {
            "app.py": tools.dedented("""
            # mypy: disallow-any-decorated, disallow-any-explicit, disallow-any-unimported, disallow-any-generics
            # mypy: disallow-untyped-decorators, disallow-untyped-defs, disallow-untyped-calls, warn-return-any
            # mypy: strict-equality, extra-checks, warn-unused-ignores, disallow-subclassing-any
            from typing import Annotated
            from fastapi import FastAPI
            from fastapi_chain import From, Registry, chain, task
            app = FastAPI()
            orders = Registry("orders")
            @orders.task
            def one(x: int) -> str:
                return ""
            @orders.task(after=[one])
            def two(one: str, y: Annotated[str, From(one)]) -> None: ...
            @app.post("/")
            @chain(two)
            async def endpoint(x: int) -> None: ...
        """)
        }
    )
    assert project.mypy("app.py") == []


@pytest.mark.timeout(180)
def test_pydantics_plugin_works_beside_it(project, tools):
    """Both plugins see what is theirs; models that `dataclass_transform` makes, as SQLModel does, flow too."""
    project.cache = project.folder / "cache"  # other plugins would spoil the shared one
    project.configure(plugins="fastapi_chain.mypy_plugin, pydantic.mypy")
    project.write(
        {
            "app.py": tools.dedented("""
            from typing import Any, dataclass_transform
            from pydantic import BaseModel, ConfigDict, Field
            from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
            from fastapi_chain import chain, task
            class Strict(BaseModel):
                model_config = ConfigDict(frozen=True)
                x: int
            @dataclass_transform(kw_only_default=True, field_specifiers=(Field,))
            class Meta(type): ...
            class Model(metaclass=Meta):
                def __init__(self, **data: Any) -> None: ...
            class Hero(Model):
                id: int | None = Field(default=None)
                name: str
            class Base(DeclarativeBase): ...
            class Row(Base):
                __tablename__ = "row"
                id: Mapped[int] = mapped_column(primary_key=True)
            @task
            def strict() -> Strict:
                value = Strict(x=1)
                value.x = 2
                return value
            @task
            def hero() -> Hero:
                return Hero(name="x")
            @task
            def row() -> Row:
                return Row()
            @task(after=[strict, hero, row])
            def use(strict: Hero, hero: Row, row: Strict) -> None: ...
            @task(after=[strict, hero, row])
            def use_well(strict: Strict, hero: Hero, row: Row) -> int:
                return hero.id or row.id
        """)
        }
    )
    assert list(tools.errors(project.mypy("app.py"))) == [
        ("app.py", 23, 'Property "x" defined in "Strict" is read-only', "misc"),
        ("app.py", 32, "Task 'strict' returns Strict, but task 'use' takes 'strict' as Hero.", "chain-flow"),
        ("app.py", 32, "Task 'hero' returns Hero, but task 'use' takes 'hero' as Row.", "chain-flow"),
        ("app.py", 32, "Task 'row' returns Row, but task 'use' takes 'row' as Strict.", "chain-flow"),
    ]


def test_what_is_refused_where_it_is_written_is_left_to_that(project, tools):
    """Options that raise as soon as the module is imported are none of the plugin's business; it stays open."""
    project.write(
        {
            "app.py": tools.dedented("""
            from shop import *
            @task
            def one() -> list[int]:
                return []
            @task(each={"x": one, "y": one})
            def two(x: int) -> None: ...
            @app.post("/")
            @chain(two, key="order-{", tags={"a": "{}"})
            async def endpoint() -> None: ...
        """)
        }
    )
    assert project.mypy("app.py") == []


@pytest.mark.timeout(180)
def test_a_cache_of_a_run_without_plugins_is_not_believed(project, tools):
    """A run without the plugin, on the same cache, does not make later runs forget what the plugin found."""
    project.cache = project.folder / "cache"
    light = ("[mypy-fastapi.*,pydantic.*,starlette.*,tenacity.*,anyio.*]", "follow_imports = skip")
    wrong = WRONG.replace("from shop import *", "from fastapi_chain import task")
    project.write({"app.py": tools.dedented(wrong)})
    project.configure(*light)
    found = project.mypy("app.py")
    assert len(found) == 1
    project.configure(*light, plugins="")
    assert project.mypy("app.py") == []
    project.configure(*light)
    assert project.mypy("app.py") == found


def test_a_program_without_a_file_is_open(project):
    """What has no source to read is checked as far as it goes: nothing is said about what cannot be seen."""
    project.write({})
    code = textwrap.dedent(WRONG) + "@chain(use)\ndef endpoint() -> None: ...\n"
    assert project.mypy("-c", code) == []


def test_a_shadow_file_is_read_in_place_of_its_original(project, tools):
    """Editors check what is not saved yet: `--shadow-file`."""
    good = """
        from shop import *
        @task
        def one(session: Annotated[Session, 'plain']) -> int:
            return 1
        @app.post("/")
        @chain(one)
        async def endpoint() -> None: ...
    """
    project.write(
        {
            "app.py": tools.dedented(good.replace("'plain'", "Depends(get_session)")),
            "unsaved.py": tools.dedented(good),
        }
    )
    assert project.mypy("app.py") == []
    shadow = [str(project.folder / "app.py"), str(project.folder / "unsaved.py")]
    assert [line for _, line, *_ in tools.errors(project.mypy(shadow[0], "--shadow-file", *shadow))] == [8]


LOADED = """
import sys
from mypy import api
print(api.run(sys.argv[1:]), sorted(name for name in sys.modules if name.partition(".")[0] == "fastapi_chain"))
"""


def test_a_run_that_checks_nothing_loads_nothing(project, tools):
    """With everything in the cache neither the library nor a hook of the plugin is imported: that costs nothing."""
    good = tools.dedented(WRONG).replace("find: str", "find: int")
    project.write({"app.py": good, "loaded.py": LOADED})
    assert project.mypy("app.py") == []
    environment = {**os.environ, "MYPYPATH": str(tools.ROOT), "PYTHONPATH": str(tools.ROOT)}
    command = [os.environ.get("FASTAPI_CHAIN_MYPY") or sys.executable, "loaded.py", *project.flags, "app.py"]
    done = subprocess.run(command, cwd=project.folder, env=environment, capture_output=True, text=True, check=True)
    plugin = [f"fastapi_chain.mypy_plugin{part}" for part in ("", ".names", ".source")]
    assert done.stdout == f"('', '', 0) {['fastapi_chain', *plugin]}\n"


STUBS = {
    "fastapi_chain/__init__.pyi": "from .chains import Chain as Chain\n",
    "fastapi_chain/chains.pyi": "class Chain:\n    def __call__(self) -> int: ...\n"
    "class FlowChain(Chain):\n    def start(self) -> int: ...\n",
}


def test_a_hook_that_fails_reports_itself_once(project, tools):
    """A surprise, here a library of another shape, is one error at its place; mypy goes on."""
    project.write(
        {
            **STUBS,
            "app.py": tools.dedented("""
            from fastapi_chain.chains import Chain, FlowChain
            number: str = Chain()()
            other: int = Chain()()
            FlowChain().start()
        """),
        }
    )
    lost = "error: The mypy plugin of fastapi_chain does not understand this: IndexError:"
    report = "note: Fix: report it, with this line and what stands above it"
    assert project.mypy("app.py", raising=False, path=str(project.folder)) == [
        f"app.py:3: {lost} list index out of range.  [chain-flow]",
        f"app.py:3: {report}",
        (
            'app.py:3: error: Incompatible types in assignment (expression has type "int", variable has type "str")'
            "  [assignment]"
        ),
        f"app.py:5: {lost} tuple index out of range.  [chain-flow]",
        f"app.py:5: {report}",
    ]
    project.write({"loud.py": "from fastapi_chain.chains import Chain\nChain()()\n"})
    with pytest.raises(AssertionError, match="INTERNAL ERROR"):
        project.mypy("loud.py", path=str(project.folder))  # as these tests ask for, lest a failure goes unseen


def test_a_library_without_the_types_of_the_plugin_is_left_alone(project, tools):
    """Where the hidden classes are missing, as in an older version of the library, tasks are plain tasks."""
    project.write(
        {
            "fastapi_chain/__init__.pyi": "from .declare import task as task\n",
            "fastapi_chain/tasks.pyi": "class Task: ...\n",
            "fastapi_chain/declare.pyi": "from collections.abc import Callable\nfrom .tasks import Task\n"
            "def task(fn: Callable[..., object], /) -> Task: ...\n",
            "app.py": tools.dedented("""
            from fastapi_chain import task
            @task
            def one() -> int: return 1
            reveal_type(one)
        """),
        }
    )
    assert project.mypy("app.py", path=str(project.folder)) == [
        'app.py:5: note: Revealed type is "fastapi_chain.tasks.Task"'
    ]
