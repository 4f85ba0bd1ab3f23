"""The command line: `fastapi-chain COMMAND`, or `python -m fastapi_chain COMMAND`.

commands.py    every command with its options: what is typed in, and what is called for it
discovery.py   which app is meant, as `fastapi run` finds it
check.py       `check`: what is wrong with the chains, as a compiler would say it
graph.py       `graph`: the drawing of a chain
runs.py        `runs`, `show`, `retry`, `cancel`: the runs of an app, wherever they are
start.py       `run`: one run of a chain, here
serve.py       `worker`: the runs of a durable engine, here
source.py      where runs are looked up; http.py: in an app that runs; store.py: in a database
output.py      how all of it is printed: colours, plain text, JSON
"""

import sys
from importlib import import_module
from typing import Final, NoReturn

_NEEDED: Final = frozenset({"fastapi", "fastapi_cli", "rich", "typer"})


def main() -> NoReturn:
    """Run the command that was typed in; exit with 0 if all is well, 1 if not, 2 if it cannot be done."""
    try:
        commands = import_module(f"{__name__}.commands")
    except ModuleNotFoundError as missing:
        package = (missing.name or "").partition(".")[0]
        if package not in _NEEDED:
            raise
        sys.stderr.write(f"fastapi-chain: error: {package} is not installed: pip install 'fastapi-chain[cli]'\n")
        sys.exit(2)
    sys.exit(commands.run())
