"""`fastapi-chain graph`: drawings of chains."""

import pytest

from tests.cli.conftest import Cli

TREE = """\
ingest POST /data/{raw} · main.py:23
└── clean (raw: str) → int  retries=2
    ├── save (clean: int) → str
    └── notify ()  also after save
"""


def test_boxes(good: Cli) -> None:
    """On a terminal a chain is boxes and arrows, with a line of numbers below."""
    result = good("graph")
    assert (result.code, result.err) == (0, "")
    assert result.lines[0] == "ingest POST /data/{raw} · main.py:23"
    assert (
        result.lines[-1]
        == "3 tasks, 3 edges (1 carry a value, 2 order only) · longest path 3 · at most 1 task side by side"
    )
    assert "│clean ├" in result.out
    assert good.process("graph") == result


def test_tree(good: Cli) -> None:
    """A tree shows parameters, results and options."""
    assert good("graph", "ingest", "--format", "tree").out == TREE


def test_without_termaid_it_is_a_tree(good: Cli) -> None:
    """Without what draws boxes there is still a drawing, and a word about it beside the output."""
    result = good("graph", without=["termaid"])
    assert (result.code, result.out) == (0, TREE)
    assert result.err == "fastapi-chain: boxes need termaid: pip install 'fastapi-chain[cli]'\n"


@pytest.mark.parametrize(
    ("form", "beginning", "part"),
    [
        ("mermaid", "flowchart LR\n", "t0 -->|clean| t1"),
        ("dot", 'digraph "ingest" {\n', 't0 -> t1 [label="clean"];'),
        ("svg", "<svg ", "clean"),
    ],
)
def test_text_for_other_programs(good: Cli, form: str, beginning: str, part: str) -> None:
    """A chain can be printed, or written to a file, for what draws it elsewhere."""
    result = good("graph", "--format", form)
    assert result.code == 0
    assert result.out.startswith(beginning)
    assert part in result.out
    written = good("graph", "--format", form, "-o", "drawing")
    assert (written.code, written.out) == (0, "")
    assert (good.folder / "drawing").read_text().strip() == result.out.strip()


def test_json(good: Cli) -> None:
    """JSON is what `GET /chains/{name}/graph.json` answers."""
    graph = good("graph", "--json").json
    assert graph == good("graph", "--format", "json").json
    assert list(graph) == ["chain", "nodes", "edges"]
    assert [node["name"] for node in graph["nodes"]] == ["clean", "save", "notify"]
    assert {"source": "clean", "target": "save", "kind": "data", "params": ["clean"]} in graph["edges"]


def test_a_tree_in_a_file(good: Cli) -> None:
    """What is written to a file has no colours."""
    assert good("graph", "--format", "tree", "-o", "tree.txt").code == 0
    assert (good.folder / "tree.txt").read_text() == TREE


def test_several_chains(good: Cli) -> None:
    """Without a name all chains are drawn; a format with room for one asks which."""
    good.write("main.py", (good.folder / "main.py").read_text() + '\n\nby_hand = chain(save, name="by hand")\n')
    assert good("graph", "--format", "tree").out == (
        f"{TREE}\nby hand main.py:28\n└── clean (raw: str) → int  retries=2\n    └── save (clean: int) → str\n"
    )
    assert [graph["chain"] for graph in good("graph", "--json").json] == ["ingest", "by hand"]
    result = good("graph", "--format", "dot")
    assert (result.code, result.err) == (
        2,
        "fastapi-chain: error: --format dot draws one chain; name it: ingest, by hand\n",
    )


@pytest.mark.parametrize(
    ("arguments", "without", "text"),
    [
        (["ingst"], [], "there is no chain 'ingst', did you mean 'ingest'?"),  # a slip
        (["xyz"], [], "there is no chain 'xyz'; there is ingest"),  # something else
        (["--format", "svg"], ["graphlay"], "SVG needs graphlay: pip install 'fastapi-chain[dashboard]'"),
        (
            ["--format", "dot", "-o", "no/such/folder"],
            [],
            "no/such/folder cannot be written: No such file or directory",
        ),
    ],
)
def test_what_cannot_be_drawn(good: Cli, arguments: list[str], without: list[str], text: str) -> None:
    """One line says why; exit code 2."""
    result = good("graph", *arguments, without=without)
    assert (result.code, result.out, result.err) == (2, "", f"fastapi-chain: error: {text}\n")


def test_an_app_without_chains(cli: Cli) -> None:
    """There is nothing to draw."""
    cli.write("main.py", "from fastapi import FastAPI\n\napp = FastAPI()\n")
    assert cli("graph").err == "fastapi-chain: error: main:app has no chains\n"


def test_a_chain_in_which_something_is_wrong(cli: Cli) -> None:
    """A chain without a plan cannot be drawn, and `check` says why; exit code 1."""
    cli.write(
        "main.py",
        """
        from fastapi import FastAPI
        from fastapi_chain import chain, task

        app = FastAPI()

        @task(after=["nobody"])
        async def save() -> None:
            pass

        broken = chain(save)
        """,
    )
    result = cli("graph")
    assert (result.code, result.err) == (
        1,
        "fastapi-chain: error: Chain 'save' cannot run: 1 problem. fastapi-chain check says what is wrong\n",
    )
