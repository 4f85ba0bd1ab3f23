"""`fastapi-chain check`: what is wrong with the chains of an app."""

import pytest

from fastapi_chain._terminal import plain
from fastapi_chain.cli.check import Problem, Report, as_text
from tests.cli.conftest import Cli

BROKEN = """
from fastapi import FastAPI
from fastapi_chain import chain, task

app = FastAPI()


@task
async def parse(text: str) -> list[int]:
    return []


@task(after=[parse])
async def store(parse: list[str]) -> None:
    pass


@task(after=["second"])
async def first() -> None:
    pass


@task(after=[first])
async def second() -> None:
    pass


@task(timeout=1)
def slow() -> None:
    pass


@app.post("/a")
@chain(store)
async def imports(text: str) -> None:
    pass


@app.post("/b")
@chain(second)
async def cycle() -> None:
    pass


@app.post("/c")
@chain(slow)
async def fine() -> None:
    pass


@chain(slow, name="above")
@app.post("/d")
async def above() -> None:
    pass


by_hand = chain(slow, name="by hand")
"""


def test_all_is_well(good: Cli) -> None:
    """The app, how it was found, each chain with its size, and a line that sums up; exit code 0."""
    result = good("check")
    assert result.out == (
        "App main:app  found as `fastapi run` finds it\n\n✓ ingest  3 tasks\n\n0 errors in 1 chain, 3 tasks\n"
    )
    assert (result.code, result.err) == (0, "")
    assert good.process("check") == result


def test_problems_are_told_as_a_compiler_tells_them(cli: Cli) -> None:
    """Each problem with its code, its place, the line there, the evidence and what to do; exit code 1."""
    cli.write("main.py", BROKEN)
    result = cli("check")
    assert (result.code, result.err) == (1, "")
    assert result.lines[:9] == [
        "App main:app  found as `fastapi run` finds it",
        "",
        "✗ imports  1 error",
        "✗ cycle    1 error",
        "✓ fine     1 task, 1 warning",
        "✓ above    1 task, 1 warning",
        "✓ by hand  1 task, 1 warning",
        "",
        result.lines[8],
    ]
    assert result.lines[-1] == "3 errors, 3 warnings in 5 chains, 3 tasks"
    assert (
        "error[type-mismatch]: Task 'parse' returns list[int], but task 'store' takes 'parse' as list[str].\n"
        "  --> main.py:12\n"
        "    13 │ async def store(parse: list[str]) -> None:\n"
        "       returned   parse(...) -> list[int]   main.py:7\n"
        "       taken      store(parse: list[str])   main.py:12\n"
        "       help: take list[int] in 'store'\n"
        "       help: return list[str] in 'parse'\n"
        "       see: errors#type-mismatch\n"
    ) in result.out
    assert "error[cycle]: 2 tasks wait for each other, so none of them can ever start.\n  --> main.py:" in result.out
    assert "error[decorator-order]: " in result.out
    assert "warning[warning]: task 'slow' is a plain def with timeout=1" in result.out


def test_json(cli: Cli) -> None:
    """`--json` and `--format json` print one document, with the same keys whatever was found."""
    cli.write("main.py", BROKEN)
    result = cli("check", "--json")
    assert result.code == 1
    assert result.json == cli("check", "--format", "json").json
    assert list(result.json) == ["app", "ok", "chains", "problems"]
    assert (result.json["app"], result.json["ok"]) == ("main:app", False)
    assert result.json["chains"][0] == {"name": "imports", "tasks": None, "errors": 1, "warnings": 0}
    assert result.json["chains"][2] == {"name": "fine", "tasks": 1, "errors": 0, "warnings": 1}
    (mismatch,) = [problem for problem in result.json["problems"] if problem["code"] == "type-mismatch"]
    assert mismatch == {
        "severity": "error",
        "code": "type-mismatch",
        "message": "Task 'parse' returns list[int], but task 'store' takes 'parse' as list[str].",
        "chain": "imports",
        "file": "main.py",
        "line": 12,
        "evidence": [
            "returned   parse(...) -> list[int]   main.py:7",
            "taken      store(parse: list[str])   main.py:12",
        ],
        "help": ["take list[int] in 'store'", "return list[str] in 'parse'"],
    }
    assert {problem["severity"] for problem in result.json["problems"]} == {"error", "warning"}


def test_github(cli: Cli) -> None:
    """`--format github` prints annotations for the lines of a pull request."""
    cli.write("main.py", BROKEN)
    result = cli("check", "--format", "github")
    assert result.code == 1
    assert (
        "::error file=main.py,line=12,title=type-mismatch::"
        "Task 'parse' returns list[int], but task 'store' takes 'parse' as list[str]."
        "%0Areturned   parse(...) -> list[int]   main.py:7"
        "%0Ataken      store(parse: list[str])   main.py:12"
        "%0Ahelp: take list[int] in 'store'%0Ahelp: return list[str] in 'parse'"
    ) in result.lines
    assert any(line.startswith("::warning file=main.py,line=") for line in result.lines)
    assert result.lines[-1] == "3 errors, 3 warnings in 5 chains, 3 tasks"


def test_only_warnings(cli: Cli) -> None:
    """A warning alone is told, and is no error."""
    cli.write(
        "main.py",
        """
        from fastapi import FastAPI
        from fastapi_chain import chain, install, task

        app = FastAPI()
        install(app)

        @task(timeout=1)
        def slow() -> None:
            pass

        by_hand = chain(slow)
        """,
    )
    result = cli("check")
    assert (result.code, result.lines[-1]) == (0, "1 warning in 1 chain, 1 task")


def test_a_dashboard_that_nobody_protects(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """Outside development such an app does not start: that is a warning with its cures. `run` serves no pages, and runs."""
    monkeypatch.delenv("FASTAPI_ENV", raising=False)
    cli.write(
        "main.py",
        """
        from fastapi import FastAPI
        from fastapi_chain import chain, install, task

        app = FastAPI()
        app.include_router(install(app).dashboard(), prefix="/ui")

        @task
        async def greet() -> str:
            return "hello"

        hello = chain(greet, name="hello")
        """,
    )
    result = cli("check")
    assert (result.code, result.lines[-1]) == (0, "1 warning in 1 chain, 1 task")
    assert (
        "warning[chain-error]: The dashboard is included without dependencies, "
        "so everybody could see and retry every run.\n       included at   /ui/\n"
    ) in result.out
    assert cli("check", "--json", FASTAPI_ENV="development").json["problems"] == []
    assert cli("run", "hello", "--json").json["outputs"] == {"greet": "hello"}


def test_a_mistake_in_a_declaration(cli: Cli) -> None:
    """What raises while the app is imported, because it is declared wrongly, is a problem like any other."""
    cli.write(
        "main.py",
        """
        from fastapi import FastAPI
        from fastapi_chain import task

        app = FastAPI()

        @task
        def rows():
            yield 1
        """,
    )
    result = cli("check")
    assert (result.code, result.err) == (1, "")
    assert result.lines[1] == "error[generator-task]: Task 'rows' is a generator: calling it would run nothing."
    assert result.lines[2] == "  --> main.py:6"
    assert result.lines[-1] == "1 error in 0 chains, 0 tasks"


def test_an_engine_that_cannot_run_a_chain(cli: Cli) -> None:
    """What only the app's own engine objects to is told as well."""
    cli.write(
        "main.py",
        """
        from fastapi import FastAPI
        from fastapi_chain import chain, install, task

        app = FastAPI()
        install(app, engine="sqlite:///chains.db")

        class Handle:
            pass

        @task
        async def opened() -> Handle:
            return Handle()

        @app.post("/")
        @chain(opened)
        async def start() -> None:
            pass
        """,
    )
    result = cli("check")
    assert result.code == 1
    assert (
        "error[unserializable-output]: Task 'opened' returned a value that engine 'sqlite' cannot store." in result.out
    )
    assert result.lines[-1] == "1 error in 1 chain, 1 task"


@pytest.mark.parametrize(
    ("arguments", "how"),
    [
        (["--app", "shop.api:service"], "from --app"),  # module and name
        (["--app", "shop/api.py"], "from --app"),  # a file
        (["--app", "shop"], "from --app"),  # a package that has the app
    ],
)
def test_the_app_is_named(cli: Cli, arguments: list[str], how: str) -> None:
    """`--app` names a module and its app, or a file."""
    cli.write("shop/api.py", "from fastapi import FastAPI\n\nservice = FastAPI()\n")
    cli.write("shop/__init__.py", "from .api import service\n")
    result = cli("check", *arguments)
    assert (result.code, result.err) == (0, "")
    assert result.lines[0].endswith(how)
    assert ":service" in result.lines[0]


def test_the_app_is_found_as_fastapi_finds_it(cli: Cli) -> None:
    """pyproject.toml may name the app, and an environment variable may; the latter wins."""
    cli.write("pyproject.toml", '[tool.fastapi]\nentrypoint = "shop:service"\n')
    cli.write("shop.py", "from fastapi import FastAPI\n\nservice = FastAPI()\nother = FastAPI()\n")
    assert cli("check").lines[0] == "App shop:service  from entrypoint in pyproject.toml"
    assert cli("check", FASTAPI_CHAIN_APP="shop:other").lines[0] == "App shop:other  from --app"


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        # No file where `fastapi run` looks.
        ([], "Could not find a default file to run, please provide an explicit path; say which app: --app module:app"),
        (["--app", "nothing.py"], "Path does not exist nothing.py; say which app: --app module:app"),
        # Half of a name.
        (
            ["--app", "shop"],
            "Import string must be in the format module.submodule:app_name; say which app: --app module:app",
        ),
        (["--app", "good:nope"], "good has no app 'nope'"),
        (["--app", "nowhere:app"], "the app cannot be imported: ModuleNotFoundError: No module named 'nowhere'"),
        # The user's own errors, with the place in the user's code.
        (["--app", "raising:app"], "the app cannot be imported: ZeroDivisionError: division by zero (raising.py:1)"),
        (["--app", "raising.py"], "the app cannot be imported: ZeroDivisionError: division by zero (raising.py:1)"),
        (
            ["--app", "syntax:app"],
            "the app cannot be imported: SyntaxError: invalid syntax (syntax.py, line 2) (syntax.py:2)",
        ),
        (["--app", "leaving:app"], "the app cannot be imported: SystemExit: 3 (leaving.py:1)"),
    ],
)
def test_there_is_no_app(cli: Cli, arguments: list[str], text: str) -> None:
    """What keeps the app from being imported is one line on the error output; exit code 2."""
    cli.write("good.py", "from fastapi import FastAPI\n\napp = FastAPI()\n")
    cli.write("raising.py", "1 / 0\n")
    cli.write("syntax.py", "import sys\n= 1\n")
    cli.write("leaving.py", "raise SystemExit(3)\n")
    result = cli("check", *arguments)
    assert (result.code, result.out, result.err) == (2, "", f"fastapi-chain: error: {text}\n")


def test_pyproject_is_wrong(cli: Cli) -> None:
    """An entrypoint that is no text is told in one line."""
    cli.write("pyproject.toml", "[tool.fastapi]\nentrypoint = 3\n")
    result = cli("check")
    assert (result.code, result.err) == (
        2,
        "fastapi-chain: error: pyproject.toml: [tool.fastapi] Input should be a valid string\n",
    )


TYPED = """
from fastapi import FastAPI
from fastapi_chain import chain, task

app = FastAPI()


@task
async def parse(text: str) -> list[int]:
    return []


@task(after=[parse])
async def store(parse: list[str]) -> None:
    pass


@task(after=["nobody"])
async def lost() -> None:
    pass


def make():
    @task
    async def inner() -> None:
        pass

    return inner


@app.post("/a")
@chain(store, lost, make())
async def imports(text: str) -> None:
    pass
"""


def test_typecheck(cli: Cli) -> None:
    """A type checker looks at what flows between tasks; what it finds is told like the problems of `check`."""
    cli.write("main.py", TYPED)
    result = cli("typecheck", "--checker", "mypy")
    assert (result.code, result.err) == (1, "")
    assert result.lines[0] == "App main:app  found as `fastapi run` finds it, checked with mypy"
    assert (
        "error[chain-flow]: Task 'parse' returns list[int], but task 'store' takes 'parse' as list[str]."
        in result.lines
    )
    assert any(line.startswith("       mypy: ") for line in result.lines)
    assert any(line.startswith("error[unknown-task]: ") for line in result.lines)
    assert "warning[warning]: task 'inner' is left out: it is made where no module can name it" in result.lines
    document = cli.process("typecheck", "--checker", "mypy", "--json").json
    assert [problem["code"] for problem in document["problems"]] == ["chain-flow", "unknown-task", "warning"]


def test_a_checker_that_is_none(cli: Cli) -> None:
    """A checker that cannot be run is told in one line; exit code 2."""
    cli.write("main.py", "from fastapi import FastAPI\n\napp = FastAPI()\n")
    result = cli("typecheck", "--checker", "pylint")
    assert (result.code, result.err) == (
        2,
        "fastapi-chain: error: there is no checker 'pylint': choose one of mypy, pyright, ty, pyrefly\n",
    )


def test_a_module_that_checks_its_own_chain(cli: Cli) -> None:
    """A module that calls `check()` when it is imported raises all problems at once; each is told."""
    cli.write("main.py", f"{TYPED}\n\nchain(store, lost, make()).check()\n")
    result = cli("check")
    assert (result.code, result.err) == (1, "")
    assert [line for line in result.lines if line.startswith("error[")] == [
        "error[unknown-task]: Task 'lost' runs after 'nobody', but chain 'store+lost+inner' has no such task.",
        "error[type-mismatch]: Task 'parse' returns list[int], but task 'store' takes 'parse' as list[str].",
    ]


def test_a_place_that_cannot_be_read() -> None:
    """Where the file of a problem is not at hand, its line is left out."""
    problem = Problem(severity="error", code="cycle", message="A cycle.", file="<string>", line=3)
    assert plain(as_text(Report(app="main:app", how="", others=[problem]))) == (
        "\nerror[cycle]: A cycle.\n  --> <string>:3\n       see: errors#cycle\n\n1 error in 0 chains, 0 tasks\n"
    )
