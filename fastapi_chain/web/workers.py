"""What uvicorn has told this process: whether it is one of several that serve the same app, and where."""

import sys
from typing import Any


def siblings() -> int:
    """Return how many workers uvicorn runs, where this process is one of them; else 1."""
    # `--reload` spawns a child, too, but only one.
    config = _config()
    workers = getattr(config, "workers", None)
    return workers if isinstance(workers, int) and not getattr(config, "should_reload", False) else 1


def address() -> str:
    """Return `http://127.0.0.1:8000` where uvicorn has spawned this process for it, as `fastapi dev` does; else ""."""
    config = _config()
    host, port = getattr(config, "host", None), getattr(config, "port", None)
    if not host or not port or getattr(config, "uds", None) or getattr(config, "fd", None) is not None:
        return ""
    return f"{'https' if getattr(config, 'ssl_certfile', None) else 'http'}://{host}:{port}"


def _config() -> Any:  # noqa: ANN401 - uvicorn's own
    """Return uvicorn's settings where it has spawned this process; the process object keeps what it is to call."""
    # It takes a while to import: a process that was spawned has done so, and any other has nothing to tell.
    spawned: Any = sys.modules.get("multiprocessing")
    process = None if spawned is None else spawned.current_process()
    return getattr(process, "_kwargs", {}).get("config")
