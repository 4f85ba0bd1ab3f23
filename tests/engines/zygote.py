"""Processes that start at once: one process imports everything, and is copied for each that a test wants and kills.

    python -m tests.engines.zygote

It reads commands, one JSON document a line: `{"target": "module:function", "args": [...]}`; the answer is the number
of the new process.
"""

import importlib
import json
import os
import signal
import subprocess
import sys
import time
import traceback
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]


class Zygote:
    """What makes processes."""

    def __init__(self) -> None:
        command = [sys.executable, "-m", "tests.engines.zygote"]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT)
        self._children: list[int] = []

    def start(self, target: str, *args: Any) -> int:
        """Call `module:function` in a new process; return its number."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps({"target": target, "args": args}) + "\n")
        self._process.stdin.flush()
        pid = int(self._process.stdout.readline())
        self._children.append(pid)
        return pid

    def kill(self, pid: int, with_signal: int = signal.SIGKILL) -> None:
        """Send a signal to a process, and wait for its end."""
        os.kill(pid, with_signal)
        wait_for(lambda: not alive(pid), f"the end of process {pid}")

    def close(self) -> None:
        for pid in self._children:
            if alive(pid):
                self.kill(pid)
        self._process.kill()
        self._process.communicate()


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def wait_for(condition: Any, what: str, seconds: float = 50) -> None:
    """Return when *condition* holds: of another process there is nothing to await."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError(what)
        time.sleep(0.01)


def _serve() -> None:
    # Whoever ends is gone at once, and leaves no zombie that looks alive.
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    for module in (
        "fastapi",
        "fastapi_chain.engines.durable.engine",
        "fastapi_chain.web.runtime",
        "uvicorn",
        "psycopg",
    ):
        importlib.import_module(module)
    for line in sys.stdin:
        command = json.loads(line)
        pid = os.fork()
        if pid == 0:
            _run(command)
        sys.stdout.write(f"{pid}\n")
        sys.stdout.flush()


def _run(command: dict[str, Any]) -> None:
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    # The answers are the parent's to give.
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(2, 1)
    code = 1
    try:
        module, _, name = command["target"].partition(":")
        getattr(importlib.import_module(module), name)(*command["args"])
        code = 0
    except BaseException:  # noqa: BLE001 - it is shown, and the process ends
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    _serve()
