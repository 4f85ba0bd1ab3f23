"""What things are called in the database."""

import os
import secrets
import socket
from pathlib import Path
from typing import Final, NamedTuple

APPLICATION: Final = "fastapi-chain"
"""DBOS's name for whoever shares one set of queues."""

VERSION: Final = "fastapi-chain/1"
"""The format of stored runs. Not a hash of the user's code, which may change between a crash and the recovery."""

RUN: Final = "fastapi_chain.run"
"""The workflow that is a run."""

TASK: Final = "fastapi_chain.task"
"""The workflow that is one task with a queue of its own."""

RUNS: Final = "fastapi_chain"
"""The queue of runs that may begin."""

_HELD: Final = "fastapi_chain.held"

HELD: Final = f"{_HELD}/"
"""What the queues of runs begin with whose request is not over: one for each process, and nobody listens to any."""


class Holder(NamedTuple):
    """Who holds runs whose request is not over."""

    process: str
    """The process."""
    sure: bool
    """Whether nothing can roll them back any more: then they are run even if the process dies."""


def held_by(process: str, *, sure: bool) -> str:
    """Return the queue of the runs that *process* holds."""
    return f"{HELD}{'sure' if sure else 'unsure'}/{process}"


def holder_of(queue: str) -> Holder:
    """Return who holds the runs on *queue*, one of `held_by`."""
    sure, _, process = queue.removeprefix(HELD).partition("/")
    return Holder(process, sure == "sure")


def here() -> str:
    """Return what tells this machine (and container) from others as long as it is up."""
    files = ("/proc/sys/kernel/random/boot_id", "/proc/self/ns/pid")
    return "/".join([socket.gethostname(), *(_read(Path(file)) for file in files)])


def _read(path: Path) -> str:
    """Return what a file says or a link points to; nothing where there is none."""
    try:
        return str(path.readlink()) if path.is_symlink() else path.read_text().strip()
    except OSError:
        return ""


def new_process() -> str:
    """Return a name for this process that no other one has had."""
    return f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(4)}"
