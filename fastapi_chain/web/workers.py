"""Whether this process is one of several that serve the same app."""

import multiprocessing
from typing import Any


def siblings() -> int:
    """Return how many workers uvicorn runs, where this process is one of them; else 1."""
    # The process object of a spawned child keeps what it is to call; `--reload` spawns one, too, but only one.
    process: Any = multiprocessing.current_process()
    config = getattr(process, "_kwargs", {}).get("config")
    workers = getattr(config, "workers", None)
    return workers if isinstance(workers, int) and not getattr(config, "should_reload", False) else 1
