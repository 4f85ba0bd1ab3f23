"""Ask pyright whether every public name has a complete type: users of any type checker read these, and no others.

`pyright --verifytypes` takes every module without an underscore for public. Here only what `fastapi_chain.__all__`
names counts, with all that can be reached through it.
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import fastapi_chain

BIN = Path(sys.executable).parent

WITHOUT = frozenset({"Runtime", "install", "task"})
"""What cannot be complete: `task` is a method that is bound to an object, with overloads, and there is no way to write
that down; the two others name the engine and the history, which are no public names."""


def completeness() -> dict[str, Any]:
    """Return pyright's report on the package that is installed beside this interpreter."""
    command = [sys.executable, "-m", "pyright", "--verifytypes", "fastapi_chain", "--ignoreexternal", "--outputjson"]
    # It asks the `python` of PATH where the package is.
    env = os.environ | {"PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}"}
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    report: dict[str, Any] = json.loads(done.stdout)["typeCompleteness"]
    return report


def is_complete(symbol: dict[str, Any]) -> bool:
    """Tell whether every type checker must infer the same type for *symbol*, and no part of it is unknown."""
    return bool(symbol["isTypeKnown"]) and not symbol["isTypeAmbiguous"]


def problems(symbols: list[dict[str, Any]]) -> list[str]:
    """Return a line for each public name whose type is incomplete, and the messages on it and its members."""
    by_name = {symbol["name"]: symbol for symbol in symbols}
    found = []
    for name in sorted(set(fastapi_chain.__all__) - WITHOUT):
        symbol = by_name[f"fastapi_chain.{name}"]
        if not is_complete(symbol):
            public = getattr(fastapi_chain, name)
            members = f"{getattr(public, '__module__', '')}.{getattr(public, '__qualname__', '')}."
            of_members = [other for other in symbols if other["name"].startswith(members) and not is_complete(other)]
            messages = [
                f"{each['name']}: {d['message']}" for each in (symbol, *of_members) for d in each["diagnostics"]
            ]
            found.append("\n    ".join([f"{name}: its type is not complete", *messages]))
    return found


def main() -> int:
    """Print what is incomplete; return an exit code."""
    found = problems(completeness()["symbols"])
    print(*found, sep="\n", end="\n" if found else "")
    print(f"pyright: {len(found)} of {len(fastapi_chain.__all__)} public names have an incomplete type")
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main())
